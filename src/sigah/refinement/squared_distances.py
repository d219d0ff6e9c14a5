"""Squared distances of vectors from their mean, of which l2 needs to know more than rows decode to.

Vectors are given in the principal axes, about the mean, as ``targets``; what lies outside of the
axes is a squared length, ``beyond``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sigah.refinement.codebooks import HALF, VALUES, improve, improve_halves, of_halves

__all__ = ["beyond_axes", "counted", "parts_of", "squared_lengths", "with_length"]

UNSEEN = 0.25  # of an error is as if it were in no query's direction
ROUNDS = 4

Floats = NDArray[np.float32]


def squared_lengths(vectors: Floats) -> Floats:
    """Of vectors ``(n, d)``: ``(n,)``."""
    lengths: Floats = np.square(vectors).sum(axis=1)
    return lengths


def beyond_axes(vectors: Floats, targets: Floats) -> Floats:
    """The squared length of vectors about the mean that is outside of the principal axes."""
    return np.maximum(squared_lengths(vectors) - squared_lengths(targets), 0)


def with_length(targets: Floats, squares: Floats, length: Floats) -> Floats:
    """The squared distance from the mean as one more axis, and vectors in the principal axes.

    It comes first: consecutive dimensions then stay together where those of axes do.
    """
    mean, unit = length
    return np.column_stack([(squares - mean) / unit, targets])


def counted(errors: Floats, squares: Floats, beyond: Floats) -> Floats:
    """Squared distances from the mean, as they are kept of vectors.

    Of ``errors``, a query near to a vector shares some, and none of what is ``beyond`` the
    principal axes: that makes the vector as much farther from each query.

    Parameters
    ----------
    errors, squares : ndarray of float32
        Of the error and of the decoded vector, in the principal axes.
    beyond : ndarray of float32
    """
    return squares + beyond + UNSEEN * errors


def parts_of(rows: NDArray[np.uint8], squares: Floats, n_code: int, sizes: list[int]) -> Floats:
    """Squared distances ``(n,)`` from the mean as a sum over bytes, as well as a sum can give them.

    The code gives what it can by itself, most of it by halves: scans see nothing else.

    Returns
    -------
    parts : ndarray of float32, shape (n_bytes, 256)
    """
    code, more = rows[:, :n_code], rows[:, n_code:]
    left = squares[:, np.newaxis]
    mean = left.mean(dtype=np.float64)
    left = (left - mean).astype(np.float32)
    halves = np.zeros((n_code, 2, HALF, 1), np.float32)
    of_code = np.zeros((n_code, VALUES, 1), np.float32)
    of_more = np.zeros((more.shape[1], VALUES, 1), np.float32)
    for _ in range(ROUNDS):
        improve_halves(left, code, halves, given=True)
    for _ in range(ROUNDS):
        improve(left, code, of_code, n_code, sizes)
    for _ in range(ROUNDS):
        improve(left, more, of_more, more.shape[1], sizes[n_code:])
    of_code += of_halves(halves)
    of_code[0] += np.float32(mean)
    of_more[-1] = np.resize(of_more[-1, : sizes[-1]], of_more[-1].shape)
    return np.concatenate([of_code, of_more])[:, :, 0]
