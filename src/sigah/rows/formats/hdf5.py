"""HDF5: one table of a file, read by rows as they are asked for.

A hostile file can promise more than it holds, or point to other files; both are refused before
anything is read.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from sigah.rows.lazy import Array, LazyRows, is_numeric, listed, require

__all__ = ["metric_stated_in", "open_hdf5"]

LARGEST_CHUNK = 1 << 30  # bytes: reading one row decodes its whole chunk
# the attribute "distance" of benchmark files, as metrics of sigah
METRICS = {
    **{"euclidean": "l2", "l2": "l2", "angular": "cosine", "cosine": "cosine"},
    **{"dot": "ip", "ip": "ip"},
}


def open_hdf5(file: Path, name: str | None, *, by_columns: bool = False) -> LazyRows:
    """Open the dataset ``name`` of an HDF5 file, or the only one that could be vectors.

    ``by_columns`` reverses the axes: MATLAB writes its arrays into HDF5 column by column.
    """
    h5py = require("h5py", "HDF5 files")
    stored = h5py.File(file, "r")
    try:
        table = _dataset(h5py, stored, file, name)
        _check_stored(table)
    except BaseException:
        stored.close()
        raise
    shape = table.shape[::-1] if by_columns else table.shape

    def read(start: int, stop: int) -> Array:
        rows = table[..., start:stop] if by_columns else table[start:stop]
        return np.transpose(rows) if by_columns else rows

    return LazyRows(file, shape, table.dtype, read)


def metric_stated_in(file: Path) -> str | None:
    """The metric of the neighbours in an HDF5 file in the form of ann-benchmarks, if it says so."""
    with require("h5py", "HDF5 files").File(file, "r") as stored:
        return METRICS.get(str(stored.attrs.get("distance")))


def _dataset(h5py: Any, stored: Any, file: Path, name: str | None) -> Any:
    tables: dict[str, Any] = {}  # links to other places are not followed here, and refused below
    others: dict[str, Any] = {}

    def collect(path: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape:
            (tables if is_numeric(node.dtype) else others)[path] = node

    stored.visititems(collect)
    choices = listed(f"{file.name}:{path}" for path in tables) or "no table of numbers"
    if name is None:
        vectors = [table for table in tables.values() if len(table.shape) == 2]
        if len(vectors) != 1:
            raise ValueError(f"holds {len(vectors)} tables, name the one to read: {choices}")
        return vectors[0]
    name = name.strip("/")
    if name in others:
        raise ValueError(f"/{name} holds {others[name].dtype}, not numbers; the file has {choices}")
    if name not in tables:
        raise ValueError(f"there is no table of numbers {name!r}; the file holds {choices}")
    return tables[name]


def _check_stored(table: Any) -> None:
    """Refuse a table whose values are elsewhere or nowhere."""
    if table.is_virtual or table.external:
        raise ValueError(f"{table.name} keeps its values in other files, which are not read")
    if table.chunks is None:
        whole = table.id.get_storage_size() >= prod(table.shape) * table.dtype.itemsize
    else:
        size = prod(table.chunks) * table.dtype.itemsize
        if size > LARGEST_CHUNK:
            raise ValueError(
                f"{table.name} is stored in chunks of {size:,} bytes, and each must be read whole;"
                f" rewrite it in smaller ones"
            )
        grid = (-(-n // chunk) for n, chunk in zip(table.shape, table.chunks, strict=True))
        whole = table.id.get_num_chunks() >= prod(grid)
    if not whole:
        raise ValueError(f"{table.name} has shape {table.shape}, but not all of it was written")
