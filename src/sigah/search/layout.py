"""The memory layout of codes for the kernels, and the values that stand for no neighbour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GROUP",
    "LANES",
    "MAX_BITS",
    "MISSING_DISTANCE",
    "MISSING_ID",
    "MOST_OF_TABLES",
    "OUTPUTS",
    "POSITION_BITS",
    "POSITION_MASK",
    "TERMS",
    "empty_planes",
    "to_groups",
    "to_planes",
]

GROUP = 256  # codes that are stored together, byte by byte
LANES = 64  # codes in one vector of distances, and in one word of bits

MAX_BITS = 65528  # the widest codes whose distances fit in uint16

OUTPUTS = 32  # sums of products that are made together
TERMS = 16  # the products of a sum come in multiples of so many

MOST_OF_TABLES = 255  # the distances of small tables stay below

MISSING_DISTANCE = 2**31 - 1  # fills rows with fewer than k neighbours, as in FAISS
MISSING_ID = -1

POSITION_BITS = 40  # low bits of a candidate in a kernel; the bits above are its distance
POSITION_MASK = (1 << POSITION_BITS) - 1


def empty_planes(n_groups: int, n_bytes: int) -> NDArray[np.uint8]:
    """Memory for groups of codes, ``(n_groups, n_bytes, 256)``, aligned to 64 bytes for kernels."""
    size = n_groups * n_bytes * GROUP
    raw = np.empty(size + LANES, np.uint8)
    start = -raw.ctypes.data % LANES
    return raw[start : start + size].reshape(n_groups, n_bytes, GROUP)


def to_planes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Arrange codes ``(n, n_bytes)`` in groups, byte by byte; zeros fill up the last group.

    Returns
    -------
    planes : ndarray of uint8, shape (n_groups, n_bytes, 256)
        Aligned to 64 bytes, as the kernels require.
    """
    n, n_bytes = codes.shape
    planes = empty_planes(-(-n // GROUP), n_bytes)
    full, rest = divmod(n, GROUP)
    planes[:full] = codes[: n - rest].reshape(full, GROUP, n_bytes).transpose(0, 2, 1)
    if rest:
        planes[full] = 0
        planes[full, :, :rest] = codes[n - rest :].T
    return planes


def to_groups(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Arrange rows ``(n, m)`` that are kept beside codes in groups ``(n_groups, 256, m)``."""
    n, m = rows.shape
    groups = np.zeros((-(-n // GROUP), GROUP, m), np.uint8)
    groups.reshape(len(groups) * GROUP, m)[:n] = rows
    return groups
