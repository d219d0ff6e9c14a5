"""A folder of vector files, read as one: the rows of its files, one file after the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sigah.rows.lazy import Array, LazyRows
from sigah.rows.mapped import release_pages

__all__ = ["FolderRows", "open_files", "walk"]

OPEN_FILES = 16  # kept open at a time: a folder may have more files than a process may open


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
        opened: Callable[[int], Array | LazyRows],
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
                release_pages(some)
                at = last
            return out

        super().__init__(folder, (int(starts[-1]), d), dtype, read)
        self.files = files


def walk(folder: Path, is_known: Callable[[str], bool]) -> list[Path]:
    """List the files of a folder and its subfolders, in the order of their paths.

    Paths are compared name by name, and names character by character (``part-10`` comes before
    ``part-2``). Files and folders whose names begin with ``_`` or ``.`` are passed over, as readers
    of Parquet do. Links to folders are not followed.

    Parameters
    ----------
    folder : Path
    is_known : callable
        ``is_known(name)`` says whether a file is wanted.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = filter(_is_visible, folders)
        found += [Path(place, name) for name in filter(_is_visible, names) if is_known(name)]
    if not found:
        raise FileNotFoundError(f"{folder}: the folder holds no vector files")
    return sorted(found, key=lambda file: file.relative_to(folder).parts)


def open_files(
    folder: Path, files: list[Path], open_file: Callable[[Path], Array | LazyRows]
) -> FolderRows:
    """Open the files of a folder as one source; each must have rows of the same dimension."""

    @lru_cache(maxsize=OPEN_FILES)
    def opened(number: int) -> Array | LazyRows:
        return open_file(files[number])

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


def _is_visible(name: str) -> bool:
    return not name.startswith(("_", "."))
