"""Rows of numbers, wherever they are: arrays, memory maps, HDF5 or anything else that slices.

Training and encoding read a source in blocks, so nothing ever converts or copies the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sigah.metric import normalized
from sigah.rows.dtypes import RowSource, as_float32, is_row_source

__all__ = ["LARGEST", "RowSource", "Rows", "finite", "is_row_source"]

BLOCK_BYTES = 8 << 20  # a block and its product stay in a last-level cache
LARGEST = 1e15  # sums of products of larger values overflow float32


class Rows:
    """Read access to ``n`` rows of ``d`` numbers as finite ``float32`` blocks.

    Parameters
    ----------
    source : ndarray, memmap or RowSource, shape (n, d)
        Read only through slices (and, for NumPy arrays, fancy row indices).
    largest : float
        Blocks that hold values beyond it are refused.
    unit : bool
        Whether rows are scaled to unit length as they are read.
    name : str
        What the caller calls the source.
    """

    def __init__(
        self,
        source: RowSource,
        *,
        largest: float = np.inf,
        unit: bool = False,
        name: str = "X",
    ) -> None:
        self.source = source
        self.name = name
        self.largest = largest
        self.unit = unit
        self.dim = int(source.shape[1])
        self.block_rows = max(1, BLOCK_BYTES // (4 * self.dim))

    def __len__(self) -> int:
        return int(self.source.shape[0])

    def blocks(self, first: int = 0) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield ``(slice, float32 block)`` over the rows in order, from the row ``first`` on."""
        for start in range(first, len(self), self.block_rows):
            where = slice(start, min(start + self.block_rows, len(self)))
            block = finite(self.source[where], start, largest=self.largest, name=self.name)
            yield where, normalized(block) if self.unit else block

    def take(
        self, indices: NDArray[np.intp], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Gather rows by index, in the order given, into ``out`` or a new array."""
        if out is None:
            out = np.empty((len(indices), self.dim), np.float32)
        if isinstance(self.source, np.ndarray) and self.source.dtype == np.float32:
            # indices are in range; any mode but "raise" writes to `out` without a second copy
            np.take(self.source, indices, axis=0, out=out, mode="clip")
        elif isinstance(self.source, np.ndarray):
            out[:] = as_float32(self.source[indices])
        else:
            for position in np.argsort(indices):  # HDF5 and its like read forward, slice by slice
                row = int(indices[position])
                out[position] = as_float32(self.source[row : row + 1])[0]
        if self.unit:
            out[:] = normalized(out)
        return out

    def in_memory(self) -> Rows:
        """The same rows with cheap random access: foreign sources are read once into memory."""
        if isinstance(self.source, np.ndarray):
            return self
        held = np.empty((len(self), self.dim), np.float32)
        for where, block in self.blocks():
            held[where] = block
        return Rows(cast(RowSource, held), largest=self.largest)

    def mean(self) -> NDArray[np.float64]:
        """Column means, ``float64 (d,)``; the pass that also proves every value finite."""
        total = np.zeros(self.dim)
        for _, block in self.blocks():
            total += block.sum(axis=0, dtype=np.float64)
        return total / len(self)

    def mean_and_covariance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Column means ``(d,)`` and the covariance ``(d, d)``, both ``float64``, in blocks."""
        mean = self.mean()
        second_moment = np.zeros((self.dim, self.dim))
        for _, block in self.blocks():
            centred = block - mean.astype(np.float32)
            second_moment += centred.T @ centred
        return mean, second_moment / len(self)


def finite(
    block: Any, first_row: int, *, largest: float = np.inf, name: str = "X"
) -> NDArray[np.float32]:
    """A block as ``float32``, or an error that names the first value that cannot be used.

    Parameters
    ----------
    block : array-like, shape (m, d)
    first_row : int
        The row of the source at which the block begins.
    largest : float
        Values beyond it, of either sign, are refused too.
    name : str
        What the caller calls the source.

    Returns
    -------
    ndarray of float32, shape (m, d)

    Raises
    ------
    ValueError
        If a value is NaN, infinite or too large; the message names its row and column.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.rows import finite
    >>> finite(np.eye(2), 0).dtype
    dtype('float32')
    """
    array = as_float32(block, first_row, name)
    square = float(np.vdot(array, array))  # one cheap pass in the common case; BLAS never warns
    if square < np.inf and square <= largest**2:
        return array
    contains = "contain" if name.endswith("s") else "contains"
    if not (sound := np.isfinite(array)).all():
        row, column = np.argwhere(~sound)[0]
        raise ValueError(
            f"Input {name} {contains} NaN, infinity or a value too large for float32 (first at row"
            f" {first_row + row}, column {column}); remove or impute such rows before hashing"
        )
    if (beyond := np.abs(array) > largest).any():
        row, column = np.argwhere(beyond)[0]
        raise ValueError(
            f"Input {name} {contains} a value too large to compute with: {array[row, column]:.3g}"
            f" at row {first_row + row}, column {column} (at most {largest:g}); remove such rows,"
            " or scale the vectors down"
        )
    return array
