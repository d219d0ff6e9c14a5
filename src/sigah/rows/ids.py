"""The ids of rows: a column beside the vectors of Parquet and Arrow files, or the row numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sigah.rows.formats.tables import columns_of, open_column
from sigah.rows.lazy import require
from sigah.rows.sources import files_of

__all__ = ["IdColumn", "columns_beside"]

PURPOSE = "Parquet files"


@dataclass(frozen=True)
class IdColumn:
    """Where the ids of rows come from.

    Attributes
    ----------
    files : list of Path
        Parquet or Arrow files, in the order of the rows.
    name : str or None
        Their column; None: the number of the row.
    """

    files: list[Path]
    name: str | None

    @classmethod
    def of(cls, rows: object, name: str | None) -> IdColumn:
        """The ids of a source; refused before the work if it has no such column."""
        require("pyarrow.parquet", PURPOSE)
        if name is None:
            return cls([], None)
        files = files_of(rows)
        if not files:
            raise ValueError(f"only Parquet and Arrow sources have a column of ids ({name!r})")
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


def columns_beside(rows: object) -> list[str]:
    """The names of the columns of the first file that rows are read from; none if it has none."""
    files = files_of(rows)
    return columns_of(files[0]) if files else []
