"""Memory maps: giving back the pages that were read.

The pages of a mapped file stay in the memory of the process until the system needs them elsewhere.
Whoever reads a large file once, in order, gives them back as it goes; they stay in the system's
cache and are read again, should anybody ask.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from sigah.datasets.readers.common import Array

__all__ = ["forget", "mapping"]


def mapping(array: Array) -> np.memmap[Any, Any] | None:
    """The memory map that an array is a view of, if it is one of a file that others may share."""
    owner: Any = array
    while isinstance(owner, (np.ndarray, memoryview)):
        if isinstance(owner, np.memmap) and isinstance(owner.base, mmap.mmap):
            # the pages of a private map ("c") may hold changes that are nowhere else
            return owner if owner.mode in ("r", "r+") else None
        owner = owner.obj if isinstance(owner, memoryview) else owner.base
    return None


def forget(array: Array) -> None:
    """Give back the pages behind a view of a memory map; of other arrays, do nothing.

    Values are read from the file again when they are next used.
    """
    mapped = mapping(array)
    if mapped is None or not array.size or not hasattr(mmap, "MADV_DONTNEED"):
        return
    pages: mmap.mmap = mapped.base  # type: ignore[assignment]
    origin = np.frombuffer(pages, np.uint8).ctypes.data
    first, last = np.lib.array_utils.byte_bounds(array)
    start = (first - origin) // mmap.PAGESIZE * mmap.PAGESIZE
    pages.madvise(mmap.MADV_DONTNEED, start, min(last - origin, len(pages)) - start)
