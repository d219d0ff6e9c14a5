"""Checks of ids that a caller gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["check_ids"]


def check_ids(ids: ArrayLike, n: int | None = None, *, name: str = "ids") -> NDArray[np.int64]:
    """Return ids as int64, or raise an error that says what is wrong with them."""
    array = np.asarray(ids)
    if not array.size and array.ndim == 1:
        array = array.astype(np.int64)
    if array.ndim != 1 or (n is not None and len(array) != n):
        wanted = "(n,)" if n is None else f"({n},), one for each code"
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    if len(array) and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 2**63 - 1):
        raise ValueError(f"{name} must be whole numbers from 0 to 2**63 - 1 (int64)")
    return array.astype(np.int64)
