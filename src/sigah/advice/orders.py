"""A way to order a base for a query, whatever made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ids", "Order", "Vectors"]

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Order:
    """A way to order the base for a query.

    Attributes
    ----------
    ranking : str
        "hamming", "asymmetric" or "tables" (of sigah), or "codes" (of FAISS).
    nearest : callable
        ``nearest(queries, depth, size)`` gives ids ``(q, depth)`` among the first ``size`` rows.
    shorter : callable
        ``shorter(size)`` gives a function ``search(queries, k)`` over an index of just these rows,
        to be timed.
    known : callable or None
        As ``nearest``, in the rows that were learned from; None: these are like any others.
    for_vectors : bool or None
        Whether original vectors rank the best of it: always, never, or if wished (None).
    """

    ranking: str
    nearest: Callable[[Vectors, int, int], Ids]
    shorter: Callable[[int], Callable[[Vectors, int], Any]]
    known: Callable[[Vectors, int, int], Ids] | None = None
    for_vectors: bool | None = None
