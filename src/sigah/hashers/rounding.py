"""Signs that do not depend on rounding: a vector has the same code in every block.

A float32 product depends on how BLAS splits the block, so a score within its rounding error may get
either sign. N. J. Higham, "Accuracy and stability of numerical algorithms", section 3.1, bounds
that error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mend_signs"]

MENDED_BYTES = 1 << 18  # most bytes of vectors and scores in float64 while scores are recomputed
SURVEYED = 16  # times as many rows are searched for uncertain scores at a time
FEW = 32  # up to one in so many scores is recomputed by itself; if more, all by one product


def mend_signs(
    scores: NDArray[np.float32],
    block: NDArray[np.float32],
    weights: NDArray[np.float32],
    thresholds: NDArray[np.float64],
) -> None:
    """Recompute, in place, scores whose sign is uncertain.

    Few such scores are each one dot product in float64, which does not depend on other vectors. If
    they are many, one product in float64 first settles nearly all of them. The error of a score is
    bounded by the lengths of its own vector and weights, and few rows are processed at a time, so
    no vector makes others expensive.

    Parameters
    ----------
    scores : ndarray of float32, shape (m, r)
        ``block @ weights - thresholds``.
    block : ndarray of float32, shape (m, d)
    weights : ndarray of float32, shape (d, r)
    thresholds : ndarray of float64, shape (r,)
    """
    d, r = weights.shape
    columns = np.ascontiguousarray(weights.T)  # the memory layout decides the order of the sum
    # |error| <= eps / 2 ((d + 2) |x| |w| + 2 |t|)
    steepness = (d + 2) * np.sqrt(np.einsum("ij,ij->i", columns, columns, dtype=np.float64))
    offsets = 2 * np.abs(thresholds)
    lengths = row_lengths(block)
    step = max(1, MENDED_BYTES // (8 * (d + r)))
    for start in range(0, len(block), SURVEYED * step):
        few = slice(start, start + SURVEYED * step)
        near = suspicious(scores[few], lengths[few], steepness, offsets)
        if np.count_nonzero(near) <= near.size // FEW:
            rows, bits = uncertain(scores[few], near, lengths[few], steepness, offsets)
            mend_each(scores[few], block[few], rows, bits, columns, thresholds)
            continue
        for first in range(start, min(few.stop, len(block)), step):
            fewer = slice(first, min(first + step, few.stop))
            some, vectors = scores[fewer], block[fewer].astype(np.float64)
            exact = vectors @ columns.T.astype(np.float64) - thresholds
            some[:] = exact
            near = suspicious(exact, lengths[fewer], steepness, offsets)
            rows, bits = uncertain(exact, near, lengths[fewer], steepness, offsets)
            if len(rows) <= near.size // FEW:
                mend_each(some, block[fewer], rows, bits, columns, thresholds)
            else:
                some[:] = np.einsum("ij,kj->ik", vectors, columns.astype(np.float64)) - thresholds


def row_lengths(block: NDArray[np.float32]) -> NDArray[np.float64]:
    """Lengths of vectors, ``(m,)``, or a little more; in float32 if no square overflows."""
    squares = np.einsum("ij,ij->i", block, block)
    if squares.min() > 1e-30 and squares.max() < 1e30:
        rounding = 1 + block.shape[1] * np.finfo(np.float32).eps
        return np.sqrt(squares.astype(np.float64)) * rounding
    return np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))


def mend_each(
    scores: NDArray[np.float32],
    block: NDArray[np.float32],
    rows: NDArray[np.intp],
    bits: NDArray[np.intp],
    columns: NDArray[np.float32],
    thresholds: NDArray[np.float64],
) -> None:
    """Recompute some scores, one dot product each."""
    at_once = max(1, MENDED_BYTES // (16 * block.shape[1]))
    for first in range(0, len(rows), at_once):
        i, j = rows[first : first + at_once], bits[first : first + at_once]
        dots = np.einsum("ij,ij->i", block[i].astype(np.float64), columns[j].astype(np.float64))
        scores[i, j] = dots - thresholds[j]


def suspicious(
    scores: NDArray[Any],
    lengths: NDArray[np.float64],
    steepness: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether scores lie within the largest rounding error of any score of their row.

    The error of a score is at most ``eps / 2 (lengths * steepness + offsets)`` of its row and
    column. Where ``lengths * steepness`` is beyond the dtype, the score may have overflowed.
    """
    most = lengths * steepness.max()
    bounds = np.finfo(scores.dtype).eps / 2 * (most + offsets.max())
    bounds[most > np.finfo(scores.dtype).max] = np.inf
    widest = np.nextafter(bounds.astype(scores.dtype), scores.dtype.type(np.inf))
    return ~(np.abs(scores) > widest[:, None])


def uncertain(
    scores: NDArray[Any],
    near: NDArray[np.bool_],
    lengths: NDArray[np.float64],
    steepness: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the suspicious scores that lie within their own rounding error.

    A score with an error of 0 is exact.
    """
    rows, bits = np.nonzero(near)
    most = lengths[rows] * steepness[bits]
    own = np.finfo(scores.dtype).eps / 2 * (most + offsets[bits])
    own[most > np.finfo(scores.dtype).max] = np.inf
    kept = ~(np.abs(scores[rows, bits]) > own) & (own > 0)
    return rows[kept], bits[kept]
