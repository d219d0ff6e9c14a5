"""Files that NumPy and the standard library read: ``.npy``, ``.npz`` and IDX."""

from __future__ import annotations

import gzip
import zipfile
from math import prod
from pathlib import Path

import numpy as np

from sigah.rows.lazy import Array, listed

__all__ = ["open_idx", "open_idx_rows", "open_npy", "open_npz"]

IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def open_npy(file: Path) -> Array:
    """Memory-map a ``.npy`` file."""
    with file.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise ValueError("not a .npy file: its first bytes are not the NumPy mark")
    # Mapping refuses object arrays and shapes that the file is too short for.
    array = np.lib.format.open_memmap(file, mode="r")
    expected = array.offset + array.nbytes
    if expected != file.stat().st_size:
        raise ValueError(f"the header says {expected} bytes, but there are {file.stat().st_size}")
    return array


def open_npz(file: Path, member: str | None) -> Array:
    """Read one array of an archive."""
    with zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        choices = listed(f"{file.name}:{name}" for name in names) or "nothing"
        if member is None and len(names) != 1:
            raise ValueError(f"holds {len(names)} arrays, name the one to read: {choices}")
        name = names[0] if member is None else member
        if name not in names:
            raise ValueError(f"there is no array {name!r}; the archive holds {choices}")
        with archive.open(f"{name}.npy") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)


def open_idx(file: Path) -> Array:
    """Read an IDX file of any number of axes, mapped unless it is gzipped."""
    with file.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    stored: bytes | Array
    stored = gzip.decompress(file.read_bytes()) if zipped else np.memmap(file, np.uint8, mode="r")
    mark = bytes(stored[:4])
    if len(mark) < 4 or mark[:2] != b"\0\0" or mark[2] not in IDX_DTYPES or not mark[3]:
        raise ValueError("not an IDX file: its first four bytes are not an IDX mark")
    dtype, start = np.dtype(IDX_DTYPES[mark[2]]), 4 + 4 * mark[3]
    if len(stored) < start:
        raise ValueError(f"truncated: {len(stored)} bytes do not hold the header")
    shape = tuple(np.frombuffer(stored, ">u4", mark[3], offset=4).tolist())
    expected = start + prod(shape) * dtype.itemsize
    if len(stored) != expected:
        raise ValueError(
            f"the header says {dtype.name} of shape {shape}, in all {expected} bytes, but there"
            f" are {len(stored)}"
        )
    return np.frombuffer(stored, dtype, offset=start).reshape(shape)


def open_idx_rows(file: Path) -> Array:
    """Read an IDX file of images as one row each."""
    array = open_idx(file)
    return array.reshape(len(array), -1) if array.ndim > 2 and array.size else array
