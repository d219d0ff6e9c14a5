"""Rows of numbers, wherever they are: arrays, memory maps, HDF5 or anything else that slices.

Training and encoding read a source in blocks, so nothing ever converts or copies the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowSource", "Rows", "finite", "is_row_source"]

BLOCK_BYTES = 8 << 20  # a block and its product stay in a last-level cache


class RowSource(Protocol):
    """What a hasher can read: a shape, a dtype and row slicing."""

    shape: tuple[int, int]
    dtype: Any

    def __getitem__(self, key: Any) -> Any: ...


def is_row_source(X: object) -> bool:
    """Whether ``X`` is a foreign two-dimensional source that is to be read by row slices."""
    shape = getattr(X, "shape", None)
    return (
        not isinstance(X, np.ndarray)
        and hasattr(X, "dtype")
        and hasattr(X, "__getitem__")
        and not hasattr(X, "tocsr")  # sparse matrices slice too; scikit-learn refuses them for us
        and isinstance(shape, tuple)
        and len(shape) == 2
    )


class Rows:
    """Read access to ``n`` rows of ``d`` numbers as finite ``float32`` blocks.

    Parameters
    ----------
    source : ndarray, memmap or RowSource, shape (n, d)
        Read only through slices (and, for NumPy arrays, fancy row indices).
    """

    def __init__(self, source: RowSource) -> None:
        self.source = source
        self.dim = int(source.shape[1])
        self.block_rows = max(1, BLOCK_BYTES // (4 * self.dim))

    def __len__(self) -> int:
        return int(self.source.shape[0])

    def blocks(self, first: int = 0) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield ``(slice, float32 block)`` over the rows in order, from the row ``first`` on."""
        for start in range(first, len(self), self.block_rows):
            where = slice(start, min(start + self.block_rows, len(self)))
            yield where, finite(self.source[where], start)

    def take(
        self, indices: NDArray[np.intp], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Gather rows by index, in the order given, into ``out`` or a new array."""
        if out is None:
            out = np.empty((len(indices), self.dim), np.float32)
        if isinstance(self.source, np.ndarray) and self.source.dtype == np.float32:
            # indices are in range; any mode but "raise" writes to `out` without a second copy
            return np.take(self.source, indices, axis=0, out=out, mode="clip")
        if isinstance(self.source, np.ndarray):
            out[:] = _as_float32(self.source[indices])
            return out
        for position in np.argsort(indices):  # HDF5 and its like read forward, slice by slice
            row = int(indices[position])
            out[position] = _as_float32(self.source[row : row + 1])[0]
        return out

    def in_memory(self) -> Rows:
        """The same rows with cheap random access: foreign sources are read once into memory."""
        if isinstance(self.source, np.ndarray):
            return self
        held = np.empty((len(self), self.dim), np.float32)
        for where, block in self.blocks():
            held[where] = block
        return Rows(cast(RowSource, held))

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


def _as_float32(block: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, and is reported so
        return np.asarray(block).astype(np.float32, copy=False)


def finite(block: Any, first_row: int) -> NDArray[np.float32]:
    """A block as ``float32``, or an error that names the row of the first value that is no number.

    ``first_row`` is the row of the source at which the block begins.
    """
    array = _as_float32(block)
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(np.vdot(array, array))  # one cheap pass in the common case
    if suspicious and not (sound := np.isfinite(array)).all():
        row, column = np.argwhere(~sound)[0]
        raise ValueError(
            f"Input X contains NaN, infinity or a value too large for float32 (first at row"
            f" {first_row + row}, column {column}); remove or impute such rows before hashing"
        )
    return array
