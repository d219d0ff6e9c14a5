"""Files of indexes: written without copying the arrays, and opened without reading them.

An index may be too large to read when it is opened. So the text of its header also has the SHA-256
of the rest of that text, and the arrays are verified before their first use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from safetensors import safe_open

from sigah.files.atomic import StrPath, atomic_write
from sigah.files.errors import DAMAGE, reading
from sigah.files.safetensors_files import map_safetensors
from sigah.files.seals import (
    DTYPES,
    FORMAT_VERSION,
    INDEX_FORMAT,
    INDEX_WITH_KEYS,
    METADATA_KEY,
    VECTORS_ALONE,
    VECTORS_BY_ROWS,
    VECTORS_FORMAT,
    VECTORS_WITH_KEYS,
    Arrays,
    Header,
    canonical_json,
    fingerprint,
    format_fields,
    plain_arrays,
    verify_arrays,
)
from sigah.files.targets import check_target
from sigah.files.unchanged import Unchanged

__all__ = ["IndexFile", "is_index", "open_index", "save_index"]

FORMATS = {"index": INDEX_FORMAT, "vectors": VECTORS_FORMAT}
WITH_KEYS = {"index": INDEX_WITH_KEYS, "vectors": VECTORS_WITH_KEYS}
ALIGNMENT = 64  # bytes, of the arrays of an index, for vector instructions


def save_index(
    path: StrPath,
    header: Mapping[str, Any],
    arrays: Mapping[str, ArrayLike],
    *,
    kind: str = "index",
    overwrite: bool = False,
) -> None:
    """Write the arrays of an index as one safetensors file, atomically and without copying them.

    Parameters
    ----------
    path : str or path-like
    header : mapping
        JSON content; ``format`` and ``format_version`` are filled in.
    arrays : mapping of str to array-like
        Those that kernels read where they are mapped come first; the size of each must be a
        multiple of 64 bytes, so that all are aligned.
        With keys (``key_texts``) the file has a version of its own, which earlier versions of sigah
        refuse.
    kind : {"index", "vectors"}
        An index of codes, or an index of vectors, which also has the model in it.
    overwrite : bool, default=False
        Whether a file that is not an index may be replaced.

    Raises
    ------
    ValueError
        If the header or an array cannot be stored, or a file of another kind is there.
    OSError
        If the file cannot be written.
    """
    check_target(path, kind=kind, overwrite=overwrite)
    plain = plain_arrays(arrays)
    if "key_texts" in plain:
        version = WITH_KEYS[kind]
    elif kind == "vectors":
        version = VECTORS_ALONE if header["refined"]["hasher"] is None else VECTORS_BY_ROWS
    else:
        version = FORMAT_VERSION
    header = {**header, **format_fields(FORMATS[kind], version)}
    checksum = fingerprint(header, plain)
    seal = {
        "header": header,
        "sha256": checksum,
        "seal": fingerprint(header | {"of": checksum}, {}),
    }
    layout: dict[str, Any] = {"__metadata__": {METADATA_KEY: canonical_json(seal)}}
    names = {dtype: name for name, dtype in DTYPES.items()}
    end = 0
    for name, array in plain.items():
        start, end = end, end + array.nbytes
        layout[name] = {
            "dtype": names[array.dtype.str], "shape": array.shape, "data_offsets": [start, end]
        }  # fmt: skip
    text = json.dumps(layout).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in plain.values():
            file.write(array.reshape(-1).view(np.uint8).data)


@dataclass(frozen=True, eq=False)
class IndexFile:
    """A mapped index file.

    Attributes
    ----------
    header : dict
    arrays : dict of str to ndarray
        Views of the mapped file, not verified yet.
    checksum : str
    file : Unchanged
        Call its ``check`` before each use of the arrays: it raises FileFormatError if the file has
        been modified since it was opened.
    """

    header: Header
    arrays: Arrays
    checksum: str
    file: Unchanged

    @property
    def has_keys(self) -> bool:
        """Whether the ids stand for strings: ``KeyedIndex``, ``KeyedVectorIndex``."""
        kind = "index" if self.header["format"] == INDEX_FORMAT else "vectors"
        return bool(self.header["format_version"] == WITH_KEYS[kind])

    @property
    def whole_planes(self) -> bool:
        """Whether the planes of an index of vectors hold all bytes: in files before version 2."""
        return bool(self.header["format_version"] < VECTORS_BY_ROWS)

    def verify(self) -> None:
        """Read all arrays, and raise FileFormatError if the file is damaged."""
        self.file.check()
        with reading(self.file.path):
            verify_arrays(self.header, self.arrays, self.checksum)


def open_index(path: StrPath, *, kind: str = "index") -> IndexFile:
    """Map the arrays of an index file; the time does not grow with their size.

    Raises
    ------
    FileFormatError
        If the file is not an index, is of a newer format, or its header is damaged.
    OSError
        If the file cannot be read.
    """
    with reading(path):
        file = Unchanged(path)
        header, arrays, seal = map_safetensors(path, FORMATS[kind])
        if seal["seal"] != fingerprint(header | {"of": seal["sha256"]}, {}):
            raise ValueError("the checksum of its header does not match; the file is damaged")
    if not file.has_its_name():  # the map may be of the file that has the name now
        return open_index(path, kind=kind)
    return IndexFile(header, arrays, seal["sha256"], file)


def is_index(path: StrPath) -> bool:
    """Whether a file says that it is an index; the rest is not read."""
    if not Path(path).is_file():
        return False
    try:
        with safe_open(path, framework="np") as file:
            seal = json.loads((file.metadata() or {})[METADATA_KEY])
        return bool(seal["header"]["format"] == INDEX_FORMAT)
    except DAMAGE:
        return False
