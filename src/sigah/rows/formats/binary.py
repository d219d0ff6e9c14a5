"""Vectors in bare binary rows: the TEXMEX ``.fvecs`` family and the billion-scale ``.fbin``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sigah.rows.lazy import Array
from sigah.rows.mapped import release_pages

__all__ = ["read_bin", "read_vecs"]

BYTES_PER_LOOK = 1 << 24  # while the dimension of every row is compared


def read_vecs(file: Path, dtype: str) -> Array:
    """Memory-map rows of int32 ``d`` and ``d`` numbers, all of one dimension."""
    stored = np.memmap(file, dtype=np.uint8, mode="r")
    if stored.size < 4:
        raise ValueError(f"{stored.size} bytes are too few for one row")
    d = int(stored[:4].view("<i4")[0])
    row = 4 + d * np.dtype(dtype).itemsize
    if d <= 0:
        raise ValueError(f"the first row says its dimension is {d}")
    if stored.size % row:
        raise ValueError(
            f"the first row says its dimension is {d}, but {stored.size} bytes are not a whole"
            f" number of {row}-byte rows: truncated, or rows of different dimensions"
        )
    rows = stored.reshape(-1, row)
    for start in range(0, len(rows), step := max(1, BYTES_PER_LOOK // row)):
        dimensions = rows[start : start + step, :4].view("<i4")[:, 0]
        if (dimensions != d).any():
            odd = int(np.argmax(dimensions != d))
            raise ValueError(f"row {start + odd} has dimension {dimensions[odd]}, row 0 has {d}")
        release_pages(rows[start : start + step])
    return rows[:, 4:].view(dtype)


def read_bin(file: Path, dtype: str, *, first: int | None = None) -> Array:
    """Memory-map the ``n`` rows behind uint32 ``n`` and ``d``, or the ``first`` rows of many.

    With ``first``, the file may end anywhere behind those rows: a download of its beginning.
    """
    stored = np.memmap(file, dtype=np.uint8, mode="r")
    if stored.size < 8:
        raise ValueError(f"{stored.size} bytes do not hold the header")
    n, d = map(int, stored[:8].view("<u4"))
    if first is not None and first > n:
        raise ValueError(f"{first} rows are wanted, but the header says {n}")
    wanted = n if first is None else first
    end = 8 + wanted * d * np.dtype(dtype).itemsize
    if stored.size < end or (first is None and stored.size > end):
        raise ValueError(
            f"{wanted} rows of dimension {d} and type {np.dtype(dtype).name} make {end} bytes, but"
            f" there are {stored.size}"
        )
    return stored[8:end].view(dtype).reshape(wanted, d)
