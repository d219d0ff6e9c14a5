"""A scan in NumPy alone, for a process that answers a few queries and ends.

Loading Numba and its kernels takes half a second, enough for NumPy to answer hundreds of queries
among 100,000 codes. So a process begins with NumPy and switches to the kernels after it has
compared :data:`ENOUGH_BYTES`. It never takes much more than twice as long as the better choice (the
ski-rental argument of Karlin, Manasse, Rudolph and Sleator, Algorithmica 1988).
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from sigah.search.layout import MISSING_DISTANCE, MISSING_ID, POSITION_BITS, POSITION_MASK

__all__ = ["nearest_in_numpy", "worth_no_kernels"]

ENOUGH_BYTES = 1 << 28  # of codes; NumPy compares them in about a third of a second

_compared = 0  # bytes, by this process


def worth_no_kernels(n_bytes: int) -> bool:
    """Whether to compare this many bytes of codes without the kernels; if so, counts them."""
    global _compared
    if "sigah.search.kernels" in sys.modules or _compared + n_bytes > ENOUGH_BYTES:
        return False
    _compared += n_bytes
    return True


def nearest_in_numpy(
    planes: NDArray[np.uint8], selected: NDArray[np.uint64], queries: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The ``k`` nearest of the selected codes, as by :func:`sigah.search.scan.nearest_by_scan`."""
    distances = np.full((len(queries), k), MISSING_DISTANCE, np.int32)
    positions = np.full((len(queries), k), MISSING_ID, np.int64)
    places = np.flatnonzero(np.unpackbits(selected.view(np.uint8), bitorder="little"))
    for row, query in enumerate(queries):
        differing = np.bitwise_count(planes[:, : len(query)] ^ query[:, np.newaxis])
        apart = differing.sum(axis=1, dtype=np.uint16).ravel()
        keys = apart[places].astype(np.int64) << POSITION_BITS | places
        if len(keys) > k:
            keys = np.partition(keys, k - 1)[:k]
        keys.sort()
        distances[row, : len(keys)] = keys >> POSITION_BITS
        positions[row, : len(keys)] = keys & POSITION_MASK
    return distances, positions
