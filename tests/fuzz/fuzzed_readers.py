"""Every reader of files, as a function of bytes: what it may do with any bytes, and what not.

A reader may return, or raise one of ``ALLOWED``: a ValueError (FileFormatError is one) or an
OSError, of one line, that names the file. Anything else is a finding, and so is a crash, a hang or
memory that the file does not account for.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sigah import LSH, HammingIndex, KeyedIndex, KeyedVectorIndex, VectorIndex, files, load
from sigah.files.folders import MANIFEST
from sigah.files.indexes import save_index
from sigah.files.models import save_model
from sigah.rows import open_vectors
from sigah.rows.readers import open_array
from sigah.serving import Deployment
from sigah.serving.changes import MAGIC, ChangeLog
from sigah.serving.manifest import MANIFEST as SERVED
from sigah.serving.manifest import Entry, Manifest, log_path
from sigah.streams.journal import Journal

__all__ = ["ALLOWED", "READERS", "read", "suffix_of"]

ALLOWED = (ValueError, OSError)
MOST = 1 << 22  # values that are read of what a small file may promise


def _vectors(file: Path) -> None:
    rows = open_vectors(file)
    n, d = rows.shape
    if n * d < MOST:
        np.asarray(rows[:])
    np.asarray(rows[n - 1 :])


def _array(file: Path) -> None:
    open_array(file)


def _index(file: Path) -> None:
    if files.is_index(file):
        _use(HammingIndex.open(file))
    HammingIndex.load(file)


def _use(index: HammingIndex) -> None:
    if index.n_bits < 1 << 12:
        index.search(np.zeros((1, index.n_bits // 8), np.uint8), 3)
    index.get(index.ids[:1])


def _zeros(content: Any) -> dict[str, np.ndarray]:
    """Arrays of the shapes and types that a header claims."""
    return {
        name: np.zeros(tuple(shape), dtype) for name, (dtype, shape) in content["arrays"].items()
    }


def _resealed_index(file: Path) -> None:
    """JSON of a header and shapes becomes an index file whose checksums are right."""
    content = _json(file)
    target = file.with_suffix(".index")
    try:
        save_index(target, content["header"], _zeros(content), overwrite=True)
    except ValueError:
        return
    _use(HammingIndex.open(target))


def _resealed_model(file: Path) -> None:
    content = _json(file)
    target = file.with_suffix(".model")
    try:
        save_model(target, content["header"], _zeros(content), overwrite=True)
    except ValueError:
        return
    load(target)


def _json(file: Path) -> dict[str, Any]:
    """A header and small arrays; other content is not what these readers are about."""
    content = json.loads(file.read_bytes())
    if not isinstance(content, dict) or not isinstance(content.get("header"), dict):
        raise ValueError("no header")
    arrays = content.get("arrays")
    if not isinstance(arrays, dict):
        raise ValueError("no arrays")
    for entry in arrays.values():
        dtype, shape = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        if dtype not in ("|u1", "<i8", "<f4", "<f8", "|b1") or not isinstance(shape, list):
            raise ValueError("no array")
        if not all(type(n) is int and 0 <= n < 999 for n in shape) or len(shape) > 4:
            raise ValueError("no shape")
        if np.prod([1, *shape]) > MOST:
            raise ValueError("too large")
    return content


def _manifest(file: Path) -> None:
    folder = file.with_suffix(".folder")
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_bytes(file.read_bytes())
    files.load_codes(folder)


def _journal(file: Path) -> None:
    """The bytes are a journal, beside the codes of three blocks."""
    out = file.with_name("codes.npy")
    out.with_name("codes.npy.journal").write_bytes(file.read_bytes())
    out.with_name("codes.npy.partial").write_bytes(bytes(128 + 6))
    with Journal(out, {"model": "c0ffee"}, 2, 128) as journal:
        assert 0 <= journal.n_rows <= 3
        journal.append(np.zeros((1, 2), np.uint8))
        assert sum(map(len, journal.chunks())) == 2 * journal.n_rows


@cache
def _generations(folder: Path) -> None:
    """Files of generations: 1 has keys, 2 ids, 3 vectors, 4 vectors with keys; an empty log."""
    rows = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    hasher = LSH(16, random_state=0).fit(rows)
    codes = hasher.transform(rows)
    keyed, plain = KeyedIndex.of(hasher), HammingIndex.of(hasher)
    keyed.add(codes, [f"key {row}" for row in range(40)])
    plain.add(codes)
    folder.mkdir(exist_ok=True)
    for number, index in enumerate((keyed, plain), 1):
        hasher.save(folder / f"{number}.model")
        index.save(folder / f"{number}.index")
    vectors = VectorIndex.build(rows, n_bytes=4, random_state=0)
    vectors.save(folder / "3.vectors")
    KeyedVectorIndex.of(vectors).save(folder / "4.vectors")
    ChangeLog.create(log_path(folder, 1))


def _served(folder: Path) -> Path:
    _generations(folder / "served")
    return folder / "served"


def _serve(folder: Path) -> None:
    serving = Deployment(folder, n_threads=1)
    serving.stats()
    if serving.current().dim < 1 << 12:
        serving.search(np.zeros((1, serving.current().dim), np.float32), 3)


def _deployment(file: Path) -> None:
    """The bytes say what serves; all that they may name is there."""
    folder = _served(file.parent)
    (folder / SERVED).write_bytes(file.read_bytes())
    manifest = Manifest.read(folder)
    assert manifest.new_number > manifest.current.number
    _serve(folder)


def _changes(file: Path) -> None:
    log = ChangeLog(file)
    for change in log.read(log.start):
        assert log.start < change.end <= log.size


def _resealed_changes(file: Path) -> None:
    """A record of these bytes, its checksums right, is taken in by an index of each kind."""
    folder, content = _served(file.parent), file.read_bytes()
    head = struct.pack("<QI", len(content), zlib.crc32(content))
    sealed = MAGIC + head + struct.pack("<I", zlib.crc32(head)) + content
    log_path(folder, 9).write_bytes(sealed)
    refused = []
    for number, kind in enumerate(("keys", "ids", "vectors"), 1):
        Manifest(kind, log=9, current=Entry(number, ChangeLog.start)).write(folder)
        try:
            _serve(folder)
        except ValueError as error:
            assert str(log_path(folder, 9)) in str(error)
            refused.append(error)
    if len(refused) == 3:
        raise refused[0]


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "model": ("x.model", load),
    "codes": ("x.npy", files.load_codes),
    "codes-parquet": ("x.parquet", files.load_codes),
    "codes-safetensors": ("x.safetensors", files.load_codes),
    "describe": ("x.safetensors", files.describe),
    "index": ("x.index", _index),
    "index-resealed": ("x.json", _resealed_index),
    "model-resealed": ("x.json", _resealed_model),
    "manifest": ("x.json", _manifest),
    "journal": ("x.journal", _journal),
    "deployment": ("x.json", _deployment),
    "changes": ("x.changes", _changes),
    "changes-resealed": ("x.record", _resealed_changes),
    "kind": ("x", files.kind_of),
    "npy": ("x.npy", _vectors),
    "array": ("x.npy", _array),
    "npz": ("x.npz", _vectors),
    "fvecs": ("x.fvecs", _vectors),
    "bvecs": ("x.bvecs", _vectors),
    "fbin": ("x.fbin", _vectors),
    "csv": ("x.csv", _vectors),
    "idx": ("x.idx", _vectors),
    "idx-gz": ("x.idx.gz", _vectors),
    "hdf5": ("x.h5", _vectors),
    "mat": ("x.mat", _vectors),
    "parquet": ("x.parquet", _vectors),
    "arrow": ("x.arrow", _vectors),
}


def suffix_of(reader: str) -> str:
    """The name of the file that a reader is given."""
    return READERS[reader][0]


def read(reader: str, content: bytes, folder: Path) -> str:
    """Give bytes to a reader; returns what it said, or raises what it must not.

    Returns
    -------
    str
        The message of the error that it raised; empty if it raised none.
    """
    name, use = READERS[reader]
    file = folder / name
    file.write_bytes(content)
    try:
        use(file)
    except ALLOWED as error:
        said = str(error)
        assert "\n" not in said, f"an error of several lines: {said!r}"
        return said or type(error).__name__
    return ""
