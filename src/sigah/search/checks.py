"""Checks of ids, and of how many neighbours are wanted."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_whole

__all__ = ["check_ids", "check_k"]

# Answers have k places for each query, even if there are fewer codes. Beyond this, k is a mistake.
MOST_NEIGHBORS = 1 << 16


def check_k(k: object, index: Sized, what: str = "codes") -> int:
    """Return ``k``, at most the size of the index or 65,536, or say what is wrong with it."""
    number = check_whole(k, "k", least=1)
    if number > MOST_NEIGHBORS and number > len(index):
        raise ValueError(
            f"k can be at most {max(MOST_NEIGHBORS, len(index)):,}, got {number:,}; the index holds"
            f" {len(index):,} {what}"
        )
    return number


def check_ids(ids: ArrayLike, n: int | None = None, *, name: str = "ids") -> NDArray[np.int64]:
    """Return ids as int64, or raise an error that says what is wrong with them."""
    array = np.asarray(ids)
    if not array.size and array.ndim == 1:
        array = array.astype(np.int64)
    if array.ndim != 1 or (n is not None and len(array) != n):
        wanted = "(n,)" if n is None else f"({n},), one for each row"
        got = array.shape if array.ndim else f"{ids!r:.60}; give an array or a list"
        raise ValueError(f"{name} must have shape {wanted}, got {got}")
    if len(array) and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 2**63 - 1):
        raise ValueError(f"{name} must be whole numbers from 0 to 2**63 - 1 (int64)")
    return array.astype(np.int64)
