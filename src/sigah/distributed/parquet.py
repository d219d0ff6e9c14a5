"""Vectors in Parquet files, split into parts that workers read independently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sigah.rows.formats.tables import column_of_lists, rows_of_lists
from sigah.rows.lazy import listed, naming, require
from sigah.rows.readers import vector_files

__all__ = ["Part", "parquet_files", "read_part", "split"]

BATCH_BYTES = 8 << 20  # of vectors decoded at a time


@dataclass(frozen=True)
class Part:
    """Row groups of one file that are read together."""

    number: int
    file: str
    groups: tuple[int, ...]
    start: int  # first row, counted in the file
    n_rows: int


def parquet_files(source: str | PathLike[str]) -> list[Path]:
    """A file, or the files of a folder and its subfolders, found as by all commands.

    Raises
    ------
    ValueError
        If the folder also holds vectors in other formats, which other commands would read.
    OSError
        If there is no such file or folder, or the folder holds no vectors.
    """
    path = Path(source).resolve()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    files = vector_files(path)
    for file in files:
        if file.suffix.lower() != ".parquet":
            raise ValueError(
                f"{file}: a cluster reads Parquet files only; move this file out of {source}, or"
                " use `sigah encode`"
            )
    return files


def split(
    source: str | PathLike[str], *, vectors: str | None, ids: str | None, n_rows: int
) -> tuple[str, list[Part]]:
    """Split files into parts of at least ``n_rows`` rows, if the row groups allow it.

    A row group is never split, and a part never spans two files.

    Parameters
    ----------
    source : path
    vectors : str or None
        The column of vectors; None takes the only column of lists.
    ids : str or None
        A column that must exist.
    n_rows : int

    Returns
    -------
    vectors : str
        The name of the column.
    parts : list of Part

    Raises
    ------
    ValueError
        If a file is damaged, lacks a column, or there are no rows at all.
    """
    pq = require("pyarrow.parquet", "Parquet files")
    parts: list[Part] = []
    for file in parquet_files(source):
        with naming(file), pq.ParquetFile(file) as stored:
            vectors, _ = column_of_lists(file, stored.schema_arrow, vectors)
            known = stored.schema_arrow.names
            if ids is not None and ids not in known:
                raise ValueError(f"there is no column {ids!r} of ids; there is {listed(known)}")
            counts = [stored.metadata.row_group(i).num_rows for i in range(stored.num_row_groups)]
        groups: list[int] = []
        start = held = 0
        for group, count in enumerate(counts):
            groups.append(group)
            held += count
            if held >= n_rows or (held and group == len(counts) - 1):
                parts.append(Part(len(parts), str(file), tuple(groups), start, held))
                groups, start, held = [], start + held, 0
    if not parts or vectors is None:
        raise ValueError(f"{source}: there are no vectors; the files have no rows")
    return vectors, parts


def read_part(
    part: Part, *, vectors: str, ids: str | None = None
) -> Iterator[tuple[int, NDArray[Any], Any]]:
    """Yield a part in batches: the first row's number in the file, vectors ``(m, d)``, and ids.

    Ids come as an Arrow array, or as None if no column is named.

    Raises
    ------
    ValueError
        If the file is damaged, or a row is null or of another length than the part's first.
    """
    pq = require("pyarrow.parquet", "Parquet files")
    file = Path(part.file)
    columns = [vectors] if ids is None else [vectors, ids]
    at, groups = part.start, list(part.groups)
    with naming(file), pq.ParquetFile(file) as stored:
        first = next(stored.iter_batches(1, row_groups=groups, columns=[vectors]))
        d = len(first.column(0).flatten())
        n_rows = max(1, BATCH_BYTES // (4 * max(1, d)))
        for batch in stored.iter_batches(
            n_rows, row_groups=groups, columns=columns, use_threads=False
        ):
            rows = rows_of_lists(batch.column(vectors), at, d)
            yield at, rows, None if ids is None else batch.column(ids)
            at += len(batch)
        if at != part.start + part.n_rows:
            raise ValueError(f"rows {at} to {part.start + part.n_rows} are missing")
