"""Levels of the length of a decoded vector, of which the last byte of a row keeps one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BELOW",
    "BYTES_FOR_BELOW",
    "FINE",
    "LEVELS",
    "WITH_BELOW",
    "levels_of",
    "nearest_level",
    "nearest_with_level",
]

LEVELS = 16  # in the last byte, beside 16 codewords
# Unknown vectors are shorter: levels below those that are learned, where one codeword in four can
# be spared for them. For l2, what is kept of a length hardly depends on that.
BELOW, BYTES_FOR_BELOW = 5, 16
WITH_BELOW = LEVELS - 1 + BELOW
FINE = 32  # for l2: a sum over bytes says little of the squared lengths of some vectors
ROUNDS = 20


def levels_of(
    values: NDArray[np.float32], n_levels: int = LEVELS, n_below: int = 0
) -> NDArray[np.float32]:
    """Levels, ascending, that round values with a small squared error; ``n_below`` are below all.

    The others start as the means of equally many values and move as in Lloyd, "Least squares
    quantization in PCM", 1982. Those below reach as far down as the values reach up from them.
    """
    n = n_levels - n_below
    parts = np.array_split(np.sort(values), n)
    levels = np.array([part.mean() if len(part) else values.max() for part in parts])
    for _ in range(ROUNDS):
        found = nearest_level(values, levels)
        counts = np.bincount(found, minlength=n)
        sums = np.bincount(found, values, minlength=n)
        levels = np.where(counts, sums / np.maximum(counts, 1), levels)
    reach = levels[-1] - levels[0]
    if levels[0] > 0:  # lengths, and a length near zero would make a vector look near
        reach = min(reach, levels[0] / 2)
    below = levels[0] - reach * np.arange(n_below, 0, -1) / max(1, n_below)
    return np.concatenate([below, levels]).astype(np.float32)


def nearest_level(values: NDArray[np.float32], levels: NDArray[np.floating]) -> NDArray[np.intp]:
    """The nearest of ascending levels, for each value."""
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values)


def nearest_with_level(
    errors: NDArray[np.float32],
    values: NDArray[np.float32],
    levels: NDArray[np.float32],
    weight: float,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Codewords, and levels, that together have the smallest error.

    Of codewords that are about equally near to a vector, one has a value that is close to a level.

    Parameters
    ----------
    errors : ndarray of float32, shape (n, k)
        Squared, of each vector and codeword.
    values : ndarray of float32, shape (n, k)
        What levels are of, if the vector has that codeword.
    levels : ndarray of float32
        Ascending.
    weight : float
        Of the error of a level, before it is squared.

    Returns
    -------
    codewords, found : ndarray of int, shape (n,)
    """
    found = nearest_level(values, levels)
    # a value beyond all levels must not decide what the vector looks like
    most = np.diff(levels).max(initial=0)
    off = weight * np.minimum(np.abs(levels[found] - values), most)  # its square is no overflow
    codewords = np.argmin(errors + np.square(off), axis=1)
    return codewords, found[np.arange(len(codewords)), codewords]
