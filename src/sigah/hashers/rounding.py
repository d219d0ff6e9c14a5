"""Signs that do not depend on rounding: a vector has the same code in every block.

A float32 product depends on how BLAS splits the block, so a score within its rounding error may get
either sign. N. J. Higham, "Accuracy and stability of numerical algorithms", section 3.1, bounds
that error.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mend_signs"]

MENDED_BYTES = 1 << 18  # most bytes of vectors and scores in float64 while scores are recomputed
SURVEYED = 16  # times as many rows are searched for uncertain scores at a time
EPS = float(np.finfo(np.float32).eps)
QUICK = 4  # up to so many rows are first bounded all together
FEW = 32  # up to one in so many scores is recomputed by itself; if more, all by one product

_latest: tuple[Any, Any, tuple[NDArray[np.float64], NDArray[np.float64], float, float]] | None = (
    None
)


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
    # |error| <= eps / 2 ((d + 2) |x| |w| + 2 |t|)
    steepness, offsets, steepest, farthest = bounds_of(weights, thresholds)
    if len(block) <= QUICK and all_certain(scores, block, steepest, farthest):
        return
    columns: NDArray[np.float32] | None = None
    lengths = row_lengths(block)
    step = max(1, MENDED_BYTES // (8 * (d + r)))
    for start in range(0, len(block), SURVEYED * step):
        few = slice(start, start + SURVEYED * step)
        near = suspicious(scores[few], lengths[few], steepness, offsets)
        n_near = np.count_nonzero(near)
        if not n_near:
            continue
        if columns is None:  # most single vectors need none
            columns = by_column(weights)
        if n_near <= near.size // FEW:
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


def by_column(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The transposed weights, in the memory layout that decides the order of a dot product."""
    return np.ascontiguousarray(weights.T)


def bounds_of(
    weights: NDArray[np.float32], thresholds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """``(d + 2) |w|`` and ``2 |t|`` of all columns, and the largest of each.

    The weights used last need no second pass, which would take nine tenths of the time of one
    vector. Learned weights are replaced, never changed in place.
    """
    global _latest
    latest = _latest
    if latest is not None and latest[0]() is weights and latest[1]() is thresholds:
        return latest[2]
    columns = by_column(weights)
    lengths = np.sqrt(np.einsum("ij,ij->i", columns, columns, dtype=np.float64))
    steepness, offsets = (len(weights) + 2) * lengths, 2 * np.abs(thresholds)
    bounds = steepness, offsets, float(steepness.max()), float(offsets.max())
    _latest = weakref.ref(weights), weakref.ref(thresholds), bounds
    return bounds


def all_certain(
    scores: NDArray[np.float32], block: NDArray[np.float32], steepest: float, farthest: float
) -> bool:
    """Whether no score is within the largest error of any; False if that is not known."""
    square = float(np.vdot(block, block))
    if not 1e-30 < square < 1e30:
        return False
    longest = math.sqrt(square) * (1 + block.size * EPS)
    return bool(np.abs(scores).min() > (1 + 2 * EPS) * EPS / 2 * (longest * steepest + farthest))


def row_lengths(block: NDArray[np.float32]) -> NDArray[np.float64]:
    """Lengths of vectors, ``(m,)``, or a little more; in float32 if no square overflows."""
    squares = np.einsum("ij,ij->i", block, block)
    if squares.min() > 1e-30 and squares.max() < 1e30:
        rounding = 1 + block.shape[1] * EPS
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
