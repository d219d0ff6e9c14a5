"""FAISS's quantisers as contenders, where FAISS is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.advice.orders import Ids, Order, Vectors
from sigah.advice.recipe import FACTORIES
from sigah.extras import require
from sigah.metric import as_compared
from sigah.threads import available_threads

__all__ = ["faiss_orders"]

OPQ_ROUNDS = 10  # FAISS's 50 take minutes


def faiss_orders(
    family: str, n_bytes: int, base: Vectors, learned_from: Vectors, metric: str, seed: int
) -> list[Order]:
    """Learn from vectors, and hold a base."""
    faiss = require("faiss", "measuring FAISS's methods", "faiss")
    faiss.omp_set_num_threads(available_threads())
    rows = as_compared(base, metric)
    kind = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
    index = faiss.index_factory(base.shape[1], FACTORIES[family].format(m=n_bytes), kind)
    if family in ("pq", "opq"):
        _shorten(faiss, index)
    index.train(as_compared(learned_from, metric))
    held: dict[int, Any] = {}

    def of_size(size: int) -> Any:
        if size not in held:
            held.clear()  # one is asked for at a time
            held[size] = faiss.clone_index(index)
            held[size].add(rows[:size])
        return held[size]

    def nearest(queries: Vectors, depth: int, size: int) -> Ids:
        found: NDArray[np.int64] = of_size(size).search(as_compared(queries, metric), depth)[1]
        return found

    def shorter(size: int) -> Callable[[Vectors, int], Any]:
        one = of_size(size)
        return lambda queries, k: one.search(as_compared(queries, metric), k)

    return [Order("codes", nearest, shorter)]


def _shorten(faiss: Any, index: Any) -> None:
    """Leave out of learning what takes long and finds hardly more."""
    quantiser = index
    if isinstance(index, faiss.IndexPreTransform):
        rotation = faiss.downcast_VectorTransform(index.chain.at(0))
        rotation.niter = OPQ_ROUNDS
        quantiser = faiss.downcast_index(index.index)
    quantiser.do_polysemous_training = (
        False  # an order of codewords that this search has no use for
    )
