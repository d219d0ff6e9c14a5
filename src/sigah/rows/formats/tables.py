"""Parquet and Arrow files: a column of lists of numbers, one vector a row.

A file is a sequence of pieces (row groups, record batches) that are decoded from their beginning
in batches. One batch is kept, so reading forward decodes everything once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from sigah.rows.lazy import Array, LazyRows, listed, naming, require

__all__ = [
    "column_of_lists",
    "columns_of",
    "open_arrow",
    "open_column",
    "open_parquet",
    "rows_of_lists",
]

BATCH_BYTES = 8 << 20
TABLES = (".parquet", ".arrow", ".feather")
PAGE_BYTES = 1 << 20  # read at a time; otherwise a whole column of a row group is

Pieces = Callable[[int], Iterator[Any]]  # the column of one piece in batches, as Arrow arrays


def open_parquet(file: Path, name: str | None) -> LazyRows:
    """Open the column ``name`` of a Parquet file, or its only column of lists."""
    pq = require("pyarrow.parquet", "Parquet files")
    stored = pq.ParquetFile(file, pre_buffer=False, buffer_size=PAGE_BYTES)
    column, number = column_of_lists(file, stored.schema_arrow, name)
    groups = [stored.metadata.row_group(i).num_rows for i in range(stored.num_row_groups)]

    def decode(piece: int, n_rows: int = 64) -> Iterator[Any]:
        batches = stored.iter_batches(
            n_rows, row_groups=[piece], columns=[column], use_threads=False
        )
        return (_lists(batch.column(0)) for batch in batches)

    d = _dimension(groups, decode)
    n_rows = max(1, BATCH_BYTES // max(1, d * number.itemsize))
    return _rows(file, groups, d, number, lambda piece: decode(piece, n_rows))


def open_arrow(file: Path, name: str | None) -> LazyRows:
    """Open the column ``name`` of an Arrow (Feather) file, or its only column of lists."""
    stored = _open_arrow(file)
    column, number = column_of_lists(file, stored.schema, name)

    def decode(piece: int) -> Iterator[Any]:
        yield _lists(stored.get_batch(piece).column(column))

    groups = [stored.get_batch(i).num_rows for i in range(stored.num_record_batches)]
    return _rows(file, groups, _dimension(groups, decode), number, decode)


def columns_of(file: Path) -> list[str]:
    """The names of the columns of a Parquet or Arrow file; none of a file of another format."""
    kind = file.suffix.lower()
    if kind not in TABLES:
        return []
    with naming(file):
        if kind == ".parquet":
            schema = require("pyarrow.parquet", "Parquet files").read_schema(file)
        else:
            schema = _open_arrow(file).schema
    names: list[str] = schema.names
    return names


def open_column(file: Path, name: str) -> tuple[Any, Iterator[Any]]:
    """Any column of a Parquet or Arrow file: its Arrow type, and its values in batches.

    Raises
    ------
    ValueError
        If the file is of another format or has no such column.
    """
    kind = file.suffix.lower()
    if kind not in TABLES:
        raise ValueError(f"only Parquet and Arrow files have named columns of ids, not {file}")
    with naming(file):
        if kind == ".parquet":
            stored = require("pyarrow.parquet", "Parquet files").ParquetFile(file)
            schema = stored.schema_arrow
            batches = stored.iter_batches(columns=[name])
        else:
            stored = _open_arrow(file)
            schema = stored.schema
            batches = (stored.get_batch(i) for i in range(stored.num_record_batches))
        if schema.names.count(name) != 1:
            raise ValueError(f"there is no column {name!r}; there is {listed(schema.names)}")

    def values() -> Iterator[Any]:
        with naming(file):
            for batch in batches:
                yield batch.column(name)

    return schema.field(name).type, values()


def column_of_lists(file: Path, schema: Any, name: str | None) -> tuple[str, np.dtype[Any]]:
    """The name of the column to read, and the type of its numbers."""
    numbers = {field.name: _number(field.type) for field in schema}
    known = {column: number for column, number in numbers.items() if number is not None}
    choices = listed(f"{file.name}:{column}" for column in known) or "no list of numbers"
    if len(numbers) != len(schema):
        raise ValueError("two columns have the same name")
    if name is None:
        if len(known) != 1:
            raise ValueError(f"holds {len(known)} columns of lists, name one: {choices}")
        (name,) = known
    if name not in numbers:
        raise ValueError(f"there is no column {name!r}; there is {choices}")
    if name not in known:
        kind = schema.field(name).type
        raise ValueError(
            f"the column {name!r} holds {kind}, not lists of numbers; there is {choices}"
        )
    return name, known[name]


def _open_arrow(file: Path) -> Any:
    pyarrow, ipc = require("pyarrow", "Arrow files"), require("pyarrow.ipc", "Arrow files")
    return ipc.open_file(pyarrow.memory_map(str(file)))


def _number(kind: Any) -> np.dtype[Any] | None:
    """The NumPy type of the numbers in lists of a type of Arrow; None for other types."""
    pyarrow = require("pyarrow", "Arrow files")
    types = pyarrow.types
    if isinstance(kind, pyarrow.FixedShapeTensorType) and len(kind.shape) == 1:
        kind = kind.storage_type
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return None
    value = kind.value_type
    numeric = types.is_integer(value) or types.is_floating(value) or types.is_boolean(value)
    return np.dtype(value.to_pandas_dtype()) if numeric else None


def _dimension(groups: Sequence[int], decode: Pieces) -> int:
    for piece, n_rows in enumerate(groups):
        if n_rows > 0:
            first = next(decode(piece)).slice(0, 1)
            _check_sound(first, 0)
            return len(first.flatten())
    raise ValueError("there are no vectors, the column has no rows")


def _rows(
    file: Path, groups: Sequence[int], d: int, number: np.dtype[Any], decode: Pieces
) -> LazyRows:
    if min(groups) < 0:
        raise ValueError(f"a part claims {min(groups)} rows")
    starts = np.cumsum([0, *groups])
    n = int(starts[-1])
    batches: Iterator[tuple[int, Array]] = iter(())
    held_at, held = n, np.empty((0, d), number)
    one_reader = Lock()

    def from_piece(first: int) -> Iterator[tuple[int, Array]]:
        for piece in range(first, len(groups)):
            at = int(starts[piece])
            for batch in decode(piece):
                yield at, rows_of_lists(batch, at, d)
                at += len(batch)
            if at != starts[piece + 1]:
                raise ValueError(f"rows {at} to {starts[piece + 1]} are missing")

    def read(start: int, stop: int) -> Array:
        with one_reader:
            return read_on(start, stop)

    def read_on(start: int, stop: int) -> Array:
        nonlocal batches, held_at, held
        out = np.empty((stop - start, d), number)
        at = start
        while at < stop:
            if at < held_at:  # behind what is held: from the beginning of its piece again
                batches = from_piece(int(np.searchsorted(starts, at, side="right")) - 1)
                held_at, held = next(batches)
            while at >= held_at + len(held):
                held_at, held = next(batches)
            taken = held[at - held_at : stop - held_at]
            out[at - start : at - start + len(taken)] = taken
            at += len(taken)
        return out

    return LazyRows(file, (n, d), number, read)


def _lists(column: Any) -> Any:
    """The lists in a column, which a tensor keeps as its storage."""
    return getattr(column, "storage", column)


def rows_of_lists(batch: Any, first_row: int, d: int) -> Array:
    """An Arrow array of lists as rows ``(n, d)``."""
    batch = _lists(batch)
    _check_sound(batch, first_row)
    compute = require("pyarrow.compute", "Arrow files")
    lengths = compute.list_value_length(batch).to_numpy()
    if (lengths != d).any():
        odd = int(np.argmax(lengths != d))
        raise ValueError(f"row {first_row + odd} has dimension {lengths[odd]}, row 0 has {d}")
    values: Array = batch.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(batch), d)


def _check_sound(batch: Any, first_row: int) -> None:
    batch.validate(full=True)  # offsets of a damaged file may point anywhere
    if batch.null_count or batch.flatten().null_count:
        rows = enumerate(batch.to_pylist(), first_row)
        empty = next(row for row, vector in rows if vector is None or None in vector)
        raise ValueError(f"row {empty} is null or has a null in it")
