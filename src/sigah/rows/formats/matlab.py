"""MATLAB files: version 7.3 is HDF5 and read by rows, versions 4 to 7 are read into memory.

"MAT-File Format", The MathWorks. Only full matrices of numbers are read; everything else in a file
is passed over. (SciPy's reader ends the process on some damaged files.)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from sigah.rows.formats.hdf5 import open_hdf5
from sigah.rows.lazy import Array, LazyRows, listed

__all__ = ["open_mat"]

HDF5_MARK = b"\x89HDF\r\n\x1a\n"
HDF5_OFFSETS = (0, 512)  # MATLAB puts its own header of 512 bytes before
DEFLATE_RATIO = 1032  # no deflated byte stands for more
HEAD = 1 << 16  # bytes of a deflated matrix that hold its shape and name

# What version 5 calls the types of stored numbers, and the classes of matrices; precisions of 4.
STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
CLASSES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")  # from class 6 on
PRECISIONS = ("f8", "f4", "i4", "i2", "u2", "u1")
MATRIX, DEFLATED, LAST_TYPE = 14, 15, 18
COMPLEX, LOGICAL = 0x0800, 0x0200

Bytes = bytes | memoryview


@dataclass(frozen=True)
class Matrix:
    """A full matrix of numbers, not read yet: where its values are, and as what."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # that it is to have
    stored: np.dtype[Any] | None  # that its values have; None: said beside them
    content: Bytes  # of the element or file that holds it
    at: int  # where its values begin
    deflated: bool
    order: str  # of bytes: "<" or ">"


def open_mat(file: Path, name: str | None) -> Array | LazyRows:
    """Read the variable ``name``, or the only one that could be vectors."""
    content = np.memmap(file, np.uint8, mode="r").data
    head = content[: HDF5_OFFSETS[-1] + len(HDF5_MARK)].tobytes()
    if any(head[offset : offset + len(HDF5_MARK)] == HDF5_MARK for offset in HDF5_OFFSETS):
        return open_hdf5(file, name, by_columns=True)
    # the text that version 5 begins with has no zeros, the first number of version 4 has
    found = dict(_matrices_4(content) if 0 in head[:4] else _matrices_5(content))
    choices = listed(f"{file.name}:{variable}" for variable in found) or "no full matrix"
    if name is None:
        if len(found) != 1:
            raise ValueError(f"holds {len(found)} matrices, name the one to read: {choices}")
        (name,) = found
    if name not in found:
        raise ValueError(f"there is no matrix of numbers {name!r}; the file holds {choices}")
    return _read(name, found[name])


def _matrices_4(content: Bytes) -> Iterator[tuple[str, Matrix]]:
    """The matrices of a file of version 4: a header of five numbers, a name and the values."""
    at = 0
    while at < len(content):
        head = _take(content, at, 20)
        order = "<" if int.from_bytes(head[:4], "little") < 10_000 else ">"
        kind, *shape, imaginary, length = np.frombuffer(head, f"{order}i4").tolist()
        precision, form = kind // 10 % 10, kind % 10
        if kind % 1000 // 100 or precision >= len(PRECISIONS) or min(*shape, length) < 0:
            raise ValueError("it is no MATLAB file")
        name = _take(content, at + 20, length).rstrip(b"\0").decode("latin1")
        dtype = np.dtype(order + PRECISIONS[precision])
        values = at + 20 + length
        if form == 0 and not imaginary:
            native = dtype.newbyteorder("=")
            yield name, Matrix(tuple(shape), native, dtype, content, values, False, order)
        at = values + (1 + bool(imaginary)) * prod(shape) * dtype.itemsize


def _matrices_5(content: Bytes) -> Iterator[tuple[str, Matrix]]:
    """The matrices of a file of version 5 to 7: elements behind a header of 128 bytes."""
    order = {b"IM": "<", b"MI": ">"}.get(_take(content, 126, 2))
    if order is None:
        raise ValueError("it is no MATLAB file")
    at = 128
    while at < len(content):
        kind, start, size = _tag(content, at, order)
        element = content[start : start + size]
        if len(element) != size:
            raise ValueError("it is cut off")
        if not 1 <= kind <= LAST_TYPE:
            raise ValueError(f"it has an element of the unknown type {kind}")
        at = start + size
        deflated = kind == DEFLATED
        if deflated:
            head: Bytes = zlib.decompressobj().decompress(element, HEAD)
            if len(head) < 8 or _tag(head, 0, order)[0] != MATRIX:
                continue
            head = head[8:]
        elif kind == MATRIX:
            head = element
        else:
            continue
        matrix = _head(head, element, deflated, order)
        if matrix is not None:
            yield matrix


def _head(head: Bytes, element: Bytes, deflated: bool, order: str) -> tuple[str, Matrix] | None:
    """Name and shape of a matrix; None for cells, text, sparse matrices and the like."""
    _, start, size = _tag(head, 0, order)
    flags = int(np.frombuffer(_take(head, start, 4), f"{order}u4")[0])
    if not 0 <= (flags & 0xFF) - 6 < len(CLASSES) or flags & COMPLEX:
        return None
    dtype = np.dtype(bool if flags & LOGICAL else CLASSES[(flags & 0xFF) - 6])
    _, start, size = _tag(head, _end(start, size), order)
    shape = tuple(np.frombuffer(_take(head, start, size // 4 * 4), f"{order}i4").tolist())
    _, begin, length = _tag(head, _end(start, size), order)
    name = _take(head, begin, length).decode("latin1")
    at = _end(begin, length)
    return name, Matrix(shape, dtype, None, element, at, deflated, order)


def _read(name: str, matrix: Matrix) -> Array:
    """The values of a matrix, once it is proven that there are so many."""
    count = prod(matrix.shape)
    most = len(matrix.content) * (DEFLATE_RATIO if matrix.deflated else 1)
    if min(matrix.shape, default=0) < 0 or count > most:
        raise ValueError(f"{name} claims the shape {matrix.shape}, more than the file can hold")
    content, at, stored = matrix.content, matrix.at, matrix.stored
    if matrix.deflated:  # behind the tag of the matrix in it
        content = zlib.decompressobj().decompress(content, most)[8:]
    if stored is None:
        kind, at, size = _tag(content, at, matrix.order)
        if kind not in STORED:
            raise ValueError(f"{name} holds values of the unknown type {kind}")
        stored = np.dtype(matrix.order + STORED[kind])
        if size != count * stored.itemsize:
            raise ValueError(f"{name} has shape {matrix.shape}, but {size} bytes of values")
    values = np.frombuffer(_take(content, at, count * stored.itemsize), stored)
    return values.astype(matrix.dtype).reshape(matrix.shape, order="F")


def _tag(content: Bytes, at: int, order: str) -> tuple[int, int, int]:
    """Type of the element at a place, where its bytes begin, and how many there are."""
    first, size = np.frombuffer(_take(content, at, 8), f"{order}u4").tolist()
    if first >> 16:  # up to four bytes lie in the tag itself
        return first & 0xFFFF, at + 4, min(first >> 16, 4)
    return first, at + 8, size


def _end(start: int, size: int) -> int:
    """Where the element behind one begins: elements take multiples of eight bytes."""
    return -(-(start + size) // 8) * 8


def _take(content: Bytes, at: int, size: int) -> bytes:
    taken = bytes(content[at : at + size])
    if len(taken) != size:
        raise ValueError("it is cut off")
    return taken
