"""VECTORS arguments: a file, a folder of files, or a part of a named data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sigah import files, rows
from sigah.cli.inputs import is_file, naming
from sigah.cli.options import suggestion
from sigah.files.targets import KINDS
from sigah.hashers import BinaryHasher
from sigah.rows.ids import IdColumn, columns_beside
from sigah.rows.lazy import listed

__all__ = ["at_hand", "column_note", "column_of_ids", "file_named", "has_column", "read_vectors"]

MOST_IN_MEMORY = 1 << 30


def read_vectors(
    argument: str,
    name: str = "VECTORS",
    *,
    hasher: BinaryHasher | None = None,
    header: bool | None = None,
) -> Any:
    """Vectors ``(n, d)`` of a file, a folder, or ``NAME`` or ``NAME:queries`` of a named set.

    For a file with several tables, add a table's name after a colon, as in ``file.h5:train``.
    Returns an array, a memory map, or rows that are read on demand. With a hasher, the vectors must
    have the dimension that it was fitted on. ``header`` says whether CSV files begin with a header;
    files of other formats have none.
    """
    vectors = _read(argument, name, header)
    if hasher is not None and vectors.shape[1] != hasher.n_features_in_:
        raise ValueError(
            f"{name} {argument} has vectors of {vectors.shape[1]} dimensions, but MODEL was fitted"
            f" on {hasher.n_features_in_}"
        )
    return vectors


def at_hand(vectors: Any, name: str, argument: str) -> Any:
    """Vectors that rank candidates: up to 1 GiB of a file is read if its rows are not an array.

    Such a file, of Parquet say, is read from the beginning of a part of it for every row.
    """
    n, dim = vectors.shape
    if isinstance(vectors, rows.LazyRows) and n * dim * vectors.dtype.itemsize <= MOST_IN_MEMORY:
        with naming(name, argument):
            return vectors[:]
    return vectors


def column_of_ids(vectors: Any, column: str | None, option: str) -> Sequence[Any]:
    """The names of vectors from a column beside them; without one, their row numbers."""
    if column is None:
        return range(vectors.shape[0])
    with naming(option, column):
        found: list[Any] = IdColumn.of(vectors, column).reader()(vectors.shape[0]).to_pylist()
        return found


def has_column(vectors: Any, word: str) -> bool:
    """Whether a word of ``--ids`` names a column beside vectors, rather than a file or ids."""
    return not is_file(Path(word)) and word in columns_beside(vectors)


def column_note(vectors: Any) -> str:
    """``; VECTORS has the columns ...`` if it has any: the end of an error about ``--ids``."""
    names = columns_beside(vectors)
    return f"; VECTORS has the columns {listed(names)}" if names else ""


def file_named(argument: str) -> Path:
    """The file or folder that an argument names, before the colon if there is one."""
    path = Path(argument)
    if is_file(path) or path.is_dir():
        return path
    return Path(argument.rpartition(":")[0] or argument)


def _read(argument: str, name: str, header: bool | None) -> Any:
    file = file_named(argument)
    # a folder of the same name, such as one of results, does not hide a set: ./mnist means the
    # folder
    if not is_file(file):
        from sigah.lab import datasets

        word, _, part = argument.partition(":")
        if word in datasets.CATALOG:
            return _read_set(word, part, argument, name)
        if not file.is_dir():
            known = [*datasets.CATALOG, *(f"{one}:queries" for one in datasets.CATALOG)]
            raise FileNotFoundError(
                f"{name} {argument}: no such file or folder, and no named set of `sigah data list`"
                f"{suggestion(argument, known)}"
            )
    elif not file.stat().st_size:
        raise ValueError(f"{name} {argument}: the file is empty")
    elif (kind := files.kind_of(file)) in ("model", "codes", "index", "vectors"):
        raise ValueError(f"{name} {argument} holds {KINDS[str(kind)]}, not vectors")
    with naming(name, argument):
        if file.is_dir() or file.suffix.lower() == ".csv":
            return rows.open_vectors(argument, header=header)
        return rows.open_vectors(argument)


def _read_set(word: str, part: str, argument: str, name: str) -> Any:
    from sigah.cli.data import fetch_with_bar
    from sigah.lab import datasets

    if part not in ("", "base", "queries"):
        raise ValueError(f"{name} {argument}: a set has the parts {word}:base and {word}:queries")
    try:
        datasets.path(word)
    except FileNotFoundError:
        fetch_with_bar(word)
    split = datasets.load(word)
    return split.queries if part == "queries" else split.base
