"""Memory maps: asking for pages ahead of their use, and giving back those that were read.

The system reads a touched page alone or with a few neighbours. A disk is faster when all pages that
come next are requested at once. Pages of a mapped file count as memory of the process until the
system reclaims them. A reader that passes over a large file once gives its pages back as it goes.
These pages stay in the system's cache, so reading them again is fast.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from sigah.rows.lazy import Array

__all__ = ["memory_map_of", "prefetch_pages", "release_pages"]


def memory_map_of(array: Array) -> np.memmap[Any, Any] | None:
    """The memory map that an array is a view of, if it is one of a file that others may share."""
    owner: Any = array
    while isinstance(owner, (np.ndarray, memoryview)):
        if isinstance(owner, np.memmap) and isinstance(owner.base, mmap.mmap):
            # the pages of a private map ("c") may hold changes that are nowhere else
            return owner if owner.mode in ("r", "r+") else None
        owner = owner.obj if isinstance(owner, memoryview) else owner.base
    return None


def prefetch_pages(array: Array) -> None:
    """Let the system read the pages behind a view of a memory map; of other arrays, do nothing."""
    _advise(array, "MADV_WILLNEED")


def release_pages(array: Array) -> None:
    """Give back the pages behind a view of a memory map; of other arrays, do nothing.

    Values are read from the file again when they are next used.
    """
    _advise(array, "MADV_DONTNEED")


def _advise(array: Array, advice: str) -> None:
    mapped = memory_map_of(array)
    if mapped is None or not array.size or not hasattr(mmap, advice):
        return
    pages: mmap.mmap = mapped.base  # type: ignore[assignment]
    origin = np.frombuffer(pages, np.uint8).ctypes.data
    first, last = np.lib.array_utils.byte_bounds(array)
    start = (first - origin) // mmap.PAGESIZE * mmap.PAGESIZE
    pages.madvise(getattr(mmap, advice), start, min(last - origin, len(pages)) - start)
