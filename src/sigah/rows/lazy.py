"""What every reader needs: rows that are read on demand, one kind of error, optional libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah import extras
from sigah.extras import MissingLibraryError

__all__ = [
    "Array",
    "LazyRows",
    "MissingLibraryError",
    "as_vectors",
    "is_numeric",
    "listed",
    "naming",
    "require",
]

Array = NDArray[Any]
MOST_NAMES = 10  # in a message


class LazyRows:
    """Rows that stay in their file until they are read: a source for ``fit`` and ``transform``.

    They are read by slices, as in ``rows[100:200]``, or by an array of row numbers, each for itself
    and in ascending order.

    Parameters
    ----------
    file : Path
        Named in errors; ``files`` lists it. A folder lists its files there.
    shape : tuple of int
    dtype : dtype
        Of what slices return, in the machine's byte order.
    read : callable
        ``read(start, stop)`` returns the rows between.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sigah.rows.readers import LazyRows
    >>> squares = LazyRows(
    ...     Path(__file__), (9, 1), np.dtype(int), lambda start, stop: np.c_[start:stop] ** 2
    ... )
    >>> squares[2:4].tolist(), np.asarray(squares).sum().item()
    ([[4], [9]], 204)
    """

    def __init__(
        self,
        file: Path,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        read: Callable[[int, int], Array],
    ) -> None:
        self.file = file
        self.files = [file]
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")
        self._read = read

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer]) -> Array:
        if isinstance(rows, np.ndarray) and rows.dtype.kind in "iu":
            return self._each(rows)
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError(f"{self.file}: rows are read by slices such as [10:20], not {rows!r}")
        start, stop, _ = rows.indices(len(self))
        stop = max(start, stop)
        with naming(self.file):
            found = np.ascontiguousarray(self._read(start, stop), self.dtype)
            expected = (stop - start, *self.shape[1:])
            if found.shape != expected:
                raise ValueError(f"rows {start} to {stop} have shape {found.shape}, not {expected}")
            return found

    def _each(self, rows: NDArray[np.integer]) -> Array:
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"{self.file} has the rows 0 to {len(self) - 1}")
        numbers = rows.ravel()
        out = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for position in np.argsort(numbers, kind="stable"):  # files are read forward
            row = int(numbers[position])
            out[position] = self[row : row + 1][0]
        return out.reshape(*rows.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"{self.file}: rows of a file cannot become an array without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Turn whatever damaged bytes make a parser raise into one ValueError that names the file."""
    if file.is_dir():  # of its files, each names itself
        yield
        return
    with file.open("rb") as stream:  # no file, no permission: an OSError that says so already
        if not stream.read(1):
            raise ValueError(f"{file}: the file is empty")
    try:
        yield
    except MissingLibraryError:
        raise
    except Exception as error:  # NumPy, zipfile, HDF5 and their helpers raise a dozen types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file}: {reason}") from error


def listed(names: Iterable[str]) -> str:
    """The first ten of some names, for messages.

    Examples
    --------
    >>> from sigah.rows.lazy import listed
    >>> listed("abc"), listed(map(str, range(14)))
    ('a, b, c', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4 more')
    """
    first = list(names)
    more = len(first) - MOST_NAMES
    return ", ".join(first[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def require(library: str, purpose: str) -> Any:
    """Import a library that reads files, or say in one line how to get it."""
    return extras.require(library, f"reading {purpose}", "data")


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Whether vectors and labels can be of this type: real numbers, or booleans."""
    return dtype.kind in "biuf"


def as_vectors(array: Array | LazyRows) -> Array | LazyRows:
    """Rows of numbers in native byte order, or an error that says what the array is instead."""
    dtype = array.dtype
    if not is_numeric(dtype):
        what = f"the array holds {dtype}"
        if dtype == "V2":  # NumPy's files do not say so
            what += ", which may be bfloat16: save such numbers as float32"
        raise ValueError(f"vectors must be real numbers, {what}")
    if len(array.shape) != 2:
        raise ValueError(f"vectors must have shape (n, d), the array has shape {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"there are no vectors, the array has shape {array.shape}")
    if isinstance(array, LazyRows) or dtype.isnative:
        return array
    return array.astype(dtype.newbyteorder("="))
