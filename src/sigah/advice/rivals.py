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

TRAINING_ROWS = 20_000  # product quantisers hardly gain from more, and optimised ones take minutes
OPQ_ROUNDS = 10


def faiss_orders(
    family: str, n_bytes: int, base: Vectors, learned_from: Vectors, metric: str, seed: int
) -> list[Order]:
    """Learn from vectors, and hold a base."""
    faiss = require("faiss", "measuring FAISS's methods", "faiss")
    faiss.omp_set_num_threads(available_threads())
    rows = as_compared(base, metric)
    kind = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
    index = faiss.index_factory(base.shape[1], FACTORIES[family].format(m=n_bytes), kind)
    if family == "opq":
        chain = faiss.downcast_VectorTransform(index.chain.at(0))
        chain.niter = OPQ_ROUNDS
    drawn = np.random.default_rng(seed).permutation(len(learned_from))[:TRAINING_ROWS]
    index.train(as_compared(np.ascontiguousarray(learned_from[drawn]), metric))
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
