"""Codes in Parquet: an id and a code a row, for databases and data frames.

The column ``code`` is fixed bytes, packed as everywhere in sigah; the metadata of the file has the
same sealed header as other files of codes, so reading proves that nothing was changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.files.atomic import atomic_write
from sigah.files.codes import unseal_codes
from sigah.files.seals import METADATA_KEY, Header
from sigah.rows.formats.tables import open_column
from sigah.rows.lazy import naming, require
from sigah.rows.readers import FolderRows, LazyRows

__all__ = ["IdColumn", "read_parquet", "write_parquet"]

PURPOSE = "Parquet files"


@dataclass(frozen=True)
class IdColumn:
    """Where ids come from: a column of files, or the number of the row.

    Attributes
    ----------
    files : list of Path
    name : str or None
        None: the number of the row.
    """

    files: list[Path]
    name: str | None

    @classmethod
    def of(cls, rows: object, name: str | None) -> IdColumn:
        """The ids of a source; refused before the work if it has no such column."""
        require("pyarrow.parquet", PURPOSE)
        files = []
        if name is not None:
            if not isinstance(rows, LazyRows):
                raise ValueError(f"only Parquet and Arrow sources have a column of ids ({name!r})")
            files = rows.files if isinstance(rows, FolderRows) else [rows.file]
        column = cls(files, name)
        column.type()
        return column

    def type(self) -> Any:
        """The Arrow type of the ids, which must be the same in all files."""
        pyarrow = require("pyarrow", PURPOSE)
        if self.name is None:
            return pyarrow.int64()
        types = [open_column(file, self.name)[0] for file in self.files]
        for file, kind in zip(self.files, types, strict=True):
            if kind != types[0]:
                raise ValueError(f"{file}: its ids are {kind}, in {self.files[0].name} {types[0]}")
        return types[0]

    def reader(self) -> Callable[[int], Any]:
        """A function that returns the next so many ids as an Arrow array."""
        pyarrow, kind = require("pyarrow", PURPOSE), self.type()
        batches = (b for file in self.files for b in open_column(file, str(self.name))[1])
        at, held = 0, pyarrow.array([], kind)

        def take(count: int) -> Any:
            nonlocal at, held
            first, at = at, at + count
            if self.name is None:
                return pyarrow.array(np.arange(first, at))
            parts = [held]
            while (n := sum(map(len, parts))) < count:
                if (batch := next(batches, None)) is None:
                    raise ValueError(f"the column {self.name!r} has {first + n} ids, too few")
                parts.append(batch)
            joined = pyarrow.concat_arrays(parts)
            held = joined[count:]
            return joined[:count]

        return take


def write_parquet(
    target: Path, width: int, chunks: Iterable[bytes], ids: IdColumn, seal: str
) -> None:
    """Write ids and codes, atomically; ``chunks`` are whole codes in order, a row group each."""
    pyarrow, pq = require("pyarrow", PURPOSE), require("pyarrow.parquet", PURPOSE)
    schema = pyarrow.schema([("id", ids.type()), ("code", pyarrow.binary(width))])
    take = ids.reader()
    with atomic_write(target) as file, pq.ParquetWriter(file, schema) as writer:
        for chunk in chunks:
            n = len(chunk) // width
            codes = pyarrow.FixedSizeBinaryArray.from_buffers(
                pyarrow.binary(width), n, [None, pyarrow.py_buffer(chunk)]
            )
            writer.write_table(pyarrow.table([take(n), codes], schema=schema))
        writer.add_key_value_metadata({METADATA_KEY: seal})


def read_parquet(
    path: str | os.PathLike[str],
) -> tuple[NDArray[np.uint8], Any, Header]:
    """Read codes, their ids and their header from a Parquet file, and verify the codes.

    Returns
    -------
    codes : ndarray of uint8, shape (n, n_bits // 8)
    ids : pyarrow.ChunkedArray
    header : dict
        As of :func:`sigah.files.load_codes`.

    Raises
    ------
    ValueError
        If the file is damaged, or not one that :func:`sigah.streams.encode` wrote.
    OSError
        If it cannot be read.
    """
    pyarrow, pq = require("pyarrow", PURPOSE), require("pyarrow.parquet", PURPOSE)
    file = Path(path)
    with naming(file):
        table = pq.read_table(file, columns=["id", "code"])
        seal = (pq.read_metadata(file).metadata or {}).get(METADATA_KEY.encode())
        if seal is None:
            raise ValueError("the file does not say which model made its codes")
        width = table.schema.field("code").type.byte_width
        column = pyarrow.concat_arrays(table.column("code").chunks)
        if column.null_count:
            raise ValueError("some codes are null")
        stored = np.frombuffer(column.buffers()[1], np.uint8)
        first = column.offset * width
        codes = stored[first : first + len(column) * width].reshape(-1, width)
        return codes, table.column("id"), unseal_codes(seal, codes)
