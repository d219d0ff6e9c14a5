"""A folder of vector files, read as one: its files one after the other, sorted by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sigah.rows.lazy import Array, LazyRows
from sigah.rows.mapped import forget

__all__ = ["FolderRows", "open_folder"]

OPEN_FILES = 16  # kept open at a time: a folder may have more files than a process may open


Rowwise = Array | LazyRows


class FolderRows(LazyRows):
    """The rows of several files, one file after the other.

    Attributes
    ----------
    files : list of Path
    """

    def __init__(
        self,
        folder: Path,
        files: list[Path],
        counts: list[int],
        d: int,
        dtype: Any,
        opened: Callable[[int], Rowwise],
    ) -> None:
        starts = np.cumsum([0, *counts])

        def read(start: int, stop: int) -> Array:
            out = np.empty((stop - start, d), dtype)
            at = start
            while at < stop:
                number = int(np.searchsorted(starts, at, side="right")) - 1
                last = min(stop, int(starts[number + 1]))
                some = opened(number)[at - starts[number] : last - starts[number]]
                out[at - start : last - start] = some
                forget(some)
                at = last
            return out

        super().__init__(folder, (int(starts[-1]), d), dtype, read)
        self.files = files


def open_folder(
    folder: Path,
    name: str | None,
    is_known: Callable[[Path], bool],
    load: Callable[[str], Rowwise],
) -> FolderRows:
    """Open all files of known endings in a folder; each must have rows of the same dimension."""
    files = sorted(
        (file for file in folder.iterdir() if is_known(file) and not file.name.startswith(".")),
        key=lambda file: file.name,
    )
    if not files:
        raise FileNotFoundError(f"{folder}: the folder holds no vector files")

    @lru_cache(maxsize=OPEN_FILES)
    def opened(number: int) -> Rowwise:
        return load(f"{files[number]}:{name}" if name else str(files[number]))

    counts, dtypes, d = [], [], opened(0).shape[1]
    for number, file in enumerate(files):
        rows = opened(number)
        if rows.shape[1] != d:
            raise ValueError(
                f"{file} has dimension {rows.shape[1]}, but {files[0].name} of the same folder has"
                f" {d}"
            )
        counts.append(rows.shape[0])
        dtypes.append(rows.dtype)
    return FolderRows(folder, files, counts, d, np.result_type(*dtypes), opened)
