"""A folder of codes: Parquet files of ids and codes, and a manifest that says what they are.

Each file carries method, fingerprint and code length in its schema's metadata (under ``sigah``),
too, so that one file alone still says which model made it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.distributed.folders import Manifest, read_manifest
from sigah.files import atomic_write
from sigah.rows.lazy import naming, require

__all__ = ["FORMAT", "load_encoded", "read_codes", "write_codes"]

FORMAT = "sigah-encoded"
CODES = "code"  # the column of codes


def write_codes(
    path: Path, name: str, ids: Sequence[Any], codes: NDArray[np.uint8], origin: dict[str, Any]
) -> None:
    """Write one file, atomically: Arrow arrays of ids, and codes ``(n, n_bytes)`` beside them."""
    pa = require("pyarrow", "Parquet files")
    pq = require("pyarrow.parquet", "Parquet files")
    packed = pa.Array.from_buffers(
        pa.binary(codes.shape[1]), len(codes), [None, pa.py_buffer(np.ascontiguousarray(codes))]
    )
    table = pa.table({name: pa.chunked_array(ids), CODES: packed})
    with atomic_write(path) as file:
        pq.write_table(table.replace_schema_metadata({"sigah": json.dumps(origin)}), file)


def read_codes(
    folder: str | PathLike[str], manifest: Manifest
) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any]]]:
    """Yield codes ``(m, n_bytes)`` and ids ``(m,)``, file by file.

    Raises
    ------
    ValueError
        If a file is damaged, was made by another model, or has other rows than the manifest says.
    OSError
        If a file is missing.
    """
    pa = require("pyarrow", "Parquet files")
    pq = require("pyarrow.parquet", "Parquet files")
    n_bytes = manifest["n_bits"] // 8
    for entry in manifest["files"]:
        file, count = Path(folder) / entry["file"], entry["count"]
        with naming(file):
            table = pq.read_table(file, columns=[manifest["ids"], CODES], partitioning=None)
            origin = json.loads((table.schema.metadata or {}).get(b"sigah", b"{}"))
            if origin.get("fingerprint") != manifest["fingerprint"]:
                raise ValueError("another model made its codes than the manifest says")
            column = table[CODES].combine_chunks()
            if len(column) != count or column.type != pa.binary(n_bytes) or column.null_count:
                raise ValueError(f"it does not hold {count} codes of {n_bytes} bytes")
            content = np.frombuffer(column.buffers()[1], np.uint8)
            codes = content[column.offset * n_bytes :][: count * n_bytes].reshape(count, n_bytes)
            ids = table[manifest["ids"]].to_numpy()
        yield codes, ids


def load_encoded(folder: str | PathLike[str]) -> tuple[NDArray[np.uint8], NDArray[Any], Manifest]:
    """Read a folder that :func:`encode` wrote into memory; needs no Ray.

    Parameters
    ----------
    folder : path

    Returns
    -------
    codes : ndarray of uint8, shape (n, n_bits // 8)
        In the order of the vectors that were encoded.
    ids : ndarray, shape (n,)
        In the type that the vectors' ids had.
    manifest : dict
        ``method``, ``fingerprint``, ``n_bits``, ``count``, ``ids`` (the name of their column) and
        ``files``.

    Raises
    ------
    ValueError
        If a file is damaged or is not what the manifest says.
    OSError
        If a file is missing.

    Examples
    --------
    >>> from sigah.distributed import load_encoded
    >>> codes, ids, manifest = load_encoded("codes")  # doctest: +SKIP
    """
    manifest = read_manifest(folder, FORMAT)
    codes, ids = zip(*read_codes(folder, manifest), strict=True)
    return np.concatenate(codes), np.concatenate(ids), manifest
