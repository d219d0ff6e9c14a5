"""The cache of named sets: fetched once, checked, and loaded from.

A set is a folder below ``$SIGAH_CACHE`` (or the user's cache directory) of plain ``.npy`` files and
a ``manifest.json`` that says where they came from and what checksum each array has. An array whose
checksum the catalogue knows must have that one, wherever it was fetched from. The texts that
vectors were made of, where they can be had, are lines of ``texts.txt``.

Every byte is verified by :func:`fetch` and :func:`check`. Loading verifies arrays of up to 64 MiB;
of larger ones it compares header and size only, which takes no time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs
from filelock import FileLock, Timeout
from numpy.lib import format as npy
from numpy.typing import NDArray

from sigah.files import atomic_write
from sigah.lab.datasets.dataset import Dataset, Split, Texts
from sigah.lab.datasets.downloads import Progress
from sigah.rows.formats.plain import open_npy
from sigah.rows.lazy import naming

__all__ = ["check", "fetch", "folder_of", "load", "path", "texts"]

MANIFEST = "manifest.json"
TEXTS = "texts.txt"  # UTF-8, a text a line: those of the base, then those of the queries
VERIFIED_ON_LOAD = 64 << 20  # bytes: hashed in well under a second
BLOCK_BYTES = 8 << 20

Arrays = dict[str, NDArray[Any]]
Record = dict[str, Any]  # dtype, shape and sha256 of an array


def fetch(entry: Dataset, *, progress: Progress | None = None) -> Path:
    """Put a data set into the cache, unless it is there and whole; return its folder.

    The sources of the set are tried in turn. Cached arrays are verified and a damaged set is
    fetched again. Files are replaced atomically, so an interrupted fetch harms nothing; what it
    had downloaded is used by the next one. Where a set has texts, they are fetched too. Of several
    processes that want a set, one fetches it and the others wait.
    """
    try:
        _cached(entry, whole=True)
    except (FileNotFoundError, ValueError):
        _fetch_arrays(entry, progress or _silent)
    if entry.texts is not None:
        try:
            _kept_texts(entry)
        except (FileNotFoundError, ValueError):
            _fetch_texts(entry, progress or _silent)
    return folder_of(entry.name)


def _fetch_arrays(entry: Dataset, progress: Progress) -> None:
    folder = folder_of(entry.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        turn = lock.acquire(timeout=0)
    except Timeout:
        progress(f"waiting for another process that fetches {entry.name}", 0, None)
        turn = lock.acquire()
    with turn:
        try:
            _cached(entry, whole=True)  # by now, if another process has fetched it
        except (FileNotFoundError, ValueError):
            _fetch_alone(entry, progress)


def _fetch_alone(entry: Dataset, progress: Progress) -> None:
    folder, failures = folder_of(entry.name), []
    downloads = folder / "downloads"
    for source in entry.sources:
        downloads.mkdir(parents=True, exist_ok=True)
        try:
            arrays = source.read(downloads, progress)
            _store(entry, arrays, str(source), progress)
        except OSError as error:
            failures.append(f"\n- {source}: {error}")
        except ValueError as error:
            failures.append(f"\n- {source}: {error}")
            shutil.rmtree(downloads)  # wrong bytes must not be resumed
        else:
            del arrays  # they may be maps of the files that go now
            shutil.rmtree(downloads)
            return
    raise OSError(
        f"{entry.name} could not be fetched:{''.join(failures)}\nWhen that is mended, run"
        f" `sigah data fetch {entry.name}` again: downloads go on where they stopped."
    )


def path(entry: Dataset) -> Path:
    """The folder of a fetched data set, or a FileNotFoundError that says how to fetch it."""
    folder = folder_of(entry.name)
    needed = [f"{part}.npy" for part in entry.shapes]
    if set(entry.shapes) > set(entry.sha256):
        needed.append(MANIFEST)
    if not all((folder / file).is_file() for file in needed):
        raise FileNotFoundError(
            f"{entry.name} is not in {folder}; run `sigah data fetch {entry.name}`"
        )
    return folder


def load(entry: Dataset, *, progress: Progress | None = None) -> Split:
    """Read a data set, fetching it first if it is not in the cache."""
    try:
        path(entry)
    except FileNotFoundError:
        _fetch_arrays(entry, progress or _silent)
    arrays = _cached(entry)
    labels = {part: np.array(arrays[part]) for part in arrays if part.endswith("labels")}
    return Split(
        _scaled(arrays["base"], entry.divisor),
        _scaled(arrays["queries"], entry.divisor),
        labels.get("base_labels"),
        labels.get("query_labels"),
    )


def texts(entry: Dataset, *, progress: Progress | None = None) -> Texts:
    """Read the texts of a set, fetching them first if they are not in the cache."""
    if entry.texts is None:
        raise ValueError(f"{entry.name} has no texts, only vectors")
    if not (folder_of(entry.name) / TEXTS).is_file():
        _fetch_texts(entry, progress or _silent)
    lines = _kept_texts(entry)
    return Texts(lines[: entry.n_base], lines[entry.n_base :])


def check(entry: Dataset) -> Path:
    """Verify every byte of a fetched data set; return its folder."""
    _cached(entry, whole=True)
    if entry.texts is not None and (folder_of(entry.name) / TEXTS).exists():
        _kept_texts(entry)
    return path(entry)


def folder_of(name: str) -> Path:
    """The folder of a name in the cache."""
    cache = os.environ.get("SIGAH_CACHE") or platformdirs.user_cache_dir("sigah", appauthor=False)
    return Path(cache) / name


def _fetch_texts(entry: Dataset, progress: Progress) -> None:
    assert entry.texts is not None
    try:
        base, queries = entry.texts.source.texts(progress)
        content = "".join(f"{text}\n" for text in (*base, *queries)).encode()
        _compare(TEXTS, hashlib.sha256(content).hexdigest(), entry.texts.sha256)
    except (OSError, ValueError) as error:
        raise OSError(
            f"the texts of {entry.name} could not be fetched: {error}\nWhen that is mended, run"
            f" `sigah data fetch {entry.name}` again; its vectors can be used without them."
        ) from error
    folder_of(entry.name).mkdir(parents=True, exist_ok=True)
    with atomic_write(folder_of(entry.name) / TEXTS) as file:
        file.write(content)


def _kept_texts(entry: Dataset) -> list[str]:
    """All texts of a set, verified."""
    assert entry.texts is not None
    content = (folder_of(entry.name) / TEXTS).read_bytes()
    try:
        _compare(TEXTS, hashlib.sha256(content).hexdigest(), entry.texts.sha256)
    except ValueError as error:
        raise ValueError(
            f"the cached texts of {entry.name} are damaged; run `sigah data fetch {entry.name}`"
            f" to replace them ({error})"
        ) from error
    return content.decode().split("\n")[:-1]


def _silent(label: str, done: int, total: int | None) -> None:
    pass


def _store(entry: Dataset, arrays: Mapping[str, Any], origin: str, progress: Progress) -> None:
    """Write the arrays of a set and its manifest, all or none, and verify them on the way."""
    entry.check(arrays)
    folder = folder_of(entry.name)
    with ExitStack() as files:  # the manifest is entered first, and so takes its place last
        manifest = files.enter_context(atomic_write(folder / MANIFEST))
        records = {}
        for part, dtype in entry.dtypes.items():
            file = files.enter_context(atomic_write(folder / f"{part}.npy"))
            records[part] = _write(file, part, arrays[part], dtype, progress)
        for part, expected in entry.sha256.items():
            _compare(part, records[part]["sha256"], expected)
        content = {"set": entry.name, "source": origin, "arrays": records}
        manifest.write(json.dumps(content, indent=2).encode() + b"\n")


def _write(
    file: BinaryIO, part: str, rows: Any, dtype: np.dtype[Any], progress: Progress
) -> Record:
    """Write any source of rows as ``.npy``, in blocks, and say what was written."""
    shape = tuple(map(int, rows.shape))
    npy.write_array_header_1_0(
        file, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    digest, row_bytes = hashlib.sha256(), int(np.prod(shape[1:])) * dtype.itemsize
    step = max(1, BLOCK_BYTES // row_bytes)
    for start in range(0, shape[0], step):
        block = _converted(rows[start : start + step], part, dtype)
        file.write(block.data)
        digest.update(block.data)
        progress(f"storing {part}", (start + len(block)) * row_bytes, shape[0] * row_bytes)
    return {"dtype": dtype.name, "shape": shape, "sha256": digest.hexdigest()}


def _converted(block: Any, part: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The same numbers in another dtype; only float32 may round."""
    block = np.ascontiguousarray(block)
    with np.errstate(invalid="ignore", over="ignore"):
        converted: NDArray[Any] = block.astype(dtype, copy=False)
    if dtype.kind != "f" and (converted != block).any():
        raise ValueError(f"{part} holds numbers that {dtype} cannot hold")
    return converted


def _cached(entry: Dataset, *, whole: bool = False) -> Arrays:
    """Memory-map the cached arrays and verify them: all of them, or the small ones."""
    folder = path(entry)
    try:
        arrays = {part: _mapped(folder / f"{part}.npy") for part in entry.shapes}
        entry.check(arrays)
        records = _records(entry, folder / MANIFEST)
        for part, array in arrays.items():
            shape, dtype = list(array.shape), entry.dtypes[part]
            known = records[part].get("shape", shape)
            if array.dtype != dtype or shape != known or not array.flags.c_contiguous:
                raise ValueError(
                    f"{part} is {array.dtype.str} of shape {shape}, expected {dtype.str} of shape"
                    f" {known}, row by row"
                )
            if whole or array.nbytes <= VERIFIED_ON_LOAD:
                _compare(part, hashlib.sha256(array.data).hexdigest(), records[part]["sha256"])
    except ValueError as error:
        raise ValueError(
            f"the cached {entry.name} in {folder} is damaged; run `sigah data fetch {entry.name}`"
            f" to replace it ({error})"
        ) from error
    return arrays


def _mapped(file: Path) -> NDArray[Any]:
    with naming(file):
        return open_npy(file)


def _records(entry: Dataset, manifest: Path) -> dict[str, Record]:
    """What is known of each array: from the catalogue, or else from the manifest."""
    records: dict[str, Record] = {part: {"sha256": text} for part, text in entry.sha256.items()}
    if unknown := set(entry.shapes) - set(entry.sha256):
        with naming(manifest):
            stored = json.loads(manifest.read_bytes())["arrays"]
            for part in unknown:
                records[part] = {key: stored[part][key] for key in ("shape", "sha256")}
    return records


def _compare(part: str, found: str, expected: str) -> None:
    if found != expected:
        raise ValueError(f"{part} has sha256 {found}, expected {expected}")


def _scaled(array: NDArray[Any], divisor: int) -> NDArray[np.float32]:
    """Stored vectors as float32: as they lie on disk if they are that, in memory otherwise."""
    if array.dtype == np.float32 and divisor == 1:
        return array
    return np.divide(array, np.float32(divisor), dtype=np.float32)
