"""Where the true neighbours stand in an order, at several sizes of the base."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.advice.contenders import Contender
from sigah.advice.judgements import Found
from sigah.advice.orders import Order, Vectors
from sigah.advice.trials import Trial
from sigah.metric import as_compared
from sigah.search.scoring import compared, vector_distances

__all__ = ["Measured", "measure", "places", "scaled", "time_floats", "time_query"]

TIMED_SECONDS, TIMED_CALLS, WARM_UP_CALLS = 0.1, 10, 3


@dataclass(frozen=True, eq=False)
class Measured:
    """An order of a contender, measured.

    Attributes
    ----------
    contender : Contender
    ranking : str
    places : dict of int to ndarray of int, shape (q, k)
        By size: how many rows stand before each true neighbour; ``depth`` if that many or more.
    depth : int
    seconds : dict of int to float
        One query, by size.
    seconds_per_read : float
        Of ranking one more candidate by its original vector, in memory.
    learned : int
        Rows that the contender learned from.
    known : dict of int to ndarray of int, shape (q, k)
        As ``places``, in as many of the rows that were learned from, if the contender knows them
        better than others.
    found : Found or None
        What stands first for judged queries, in the whole base.
    for_vectors : bool or None
        As of the :class:`Order`.
    """

    contender: Contender
    ranking: str
    places: Mapping[int, NDArray[np.int32]]
    depth: int
    seconds: Mapping[int, float]
    seconds_per_read: float
    learned: int
    known: Mapping[int, NDArray[np.int32]] = field(default_factory=dict)
    found: Found | None = None
    for_vectors: bool | None = None


def places(found: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.int32]:
    """How many ids stand before each true one; the number of ids where it is not found.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.advice.measurement import places
    >>> places(np.array([[7, 3, 5]]), np.array([[5, 7, 1]]))
    array([[2, 0, 3]], dtype=int32)
    """
    result = np.full(truth.shape, found.shape[1], np.int32)
    for column in range(truth.shape[1]):
        same = found == truth[:, column : column + 1]
        has = same.any(axis=1)
        result[has, column] = same.argmax(axis=1)[has]
    return result


def measure(
    contender: Contender,
    trial: Trial,
    depth: int,
    seed: int,
    *,
    whole: bool = False,
    timed: bool = True,
) -> list[Measured]:
    """Fit a contender, and measure each of its orders at all sizes of a base.

    If the base is the ``whole`` of the vectors, all of it is learned from and measured, as in use
    (for OPQ, a part is enough).
    Otherwise hash codes are learned from the base, of which a part is enough. Codebooks know the
    vectors that they were learned from, the better the fewer there are. So they are learned from
    spare rows of the sample; without enough of these, from one half of the base, and measured on
    the other. Judgements are about all vectors, so judged queries are always measured on these.
    """
    learned_from = trial.base
    if contender.has_codebooks and not whole and trial.judged is None:
        if len(trial.spare) < len(trial.base) and len(trial.truth) > 1:
            trial = trial.half()
        learned_from = trial.spare if len(trial.spare) else trial.base
    if not whole or contender.learns_for_long:
        learned_from = learned_from[: contender.enough_rows]
    orders = contender.orders(trial.base, learned_from, trial.n_full, trial.metric, seed)
    return [_measured(contender, order, trial, depth, len(learned_from), timed) for order in orders]


def _measured(
    contender: Contender, order: Order, trial: Trial, depth: int, learned: int, timed: bool
) -> Measured:
    at = {}
    for size, truth in trial.truth.items():  # ascending
        ids = order.nearest(trial.queries, min(depth, size), size)
        at[size] = places(ids, truth)
    known = {}
    if order.known is not None and learned <= len(trial.spare):
        size = max(size for size in trial.truth if size <= learned)
        known[size] = places(
            order.known(trial.queries, min(depth, size), size), trial.of_spare(size)
        )
    found = None
    if trial.judged is not None:
        found = Found.of(trial.judged, ids, trial.base, trial.queries, trial.metric)
    sizes: Sequence[int] = list(trial.truth) if timed else []
    # the least and the largest tell what a row costs, and what every query costs
    seconds = {
        size: time_query(order.shorter(size), trial.queries, depth)
        for size in dict.fromkeys((*sizes[:1], *sizes[-1:]))
    }
    per_read = time_read(trial, depth) if timed else 0.0
    return Measured(
        contender, order.ranking, at, depth, seconds, per_read, learned, known, found,
        order.for_vectors,
    )  # fmt: skip


def time_read(trial: Trial, n_reads: int) -> float:
    """Seconds of ranking one candidate by its original vector, in memory."""
    rows = np.random.default_rng(0).integers(0, len(trial.base), (1, n_reads))

    def rank(query: Vectors, k: int) -> Any:
        views = compared(query, trial.metric)
        return np.argsort(vector_distances(views, rows, trial.base, trial.metric))[:, :k]

    return time_query(rank, trial.queries, n_reads) / n_reads


def time_query(search: Callable[[Vectors, int], Any], queries: Vectors, k: int) -> float:
    """The median seconds of calls with one query."""
    singles = [queries[row : row + 1] for row in range(min(len(queries), 1000))]
    for query in singles[:WARM_UP_CALLS]:
        search(query, k)
    calls: list[float] = []
    began = time.perf_counter()
    while len(calls) < TIMED_CALLS or time.perf_counter() - began < TIMED_SECONDS:
        start = time.perf_counter()
        search(singles[len(calls) % len(singles)], k)
        calls.append(time.perf_counter() - start)
    return statistics.median(calls)


def scaled(seconds: Mapping[int, float], n_vectors: int) -> float:
    """Seconds at a size: what every query costs, and what each row adds."""
    few, many = min(seconds), max(seconds)
    if few == many:  # nothing tells the two apart
        return seconds[many] * max(1.0, n_vectors / many)
    a_row = max(0.0, seconds[many] - seconds[few]) / (many - few)
    return seconds[many] + a_row * max(0, n_vectors - many)


def time_floats(base: Vectors, queries: Vectors, k: int, metric: str) -> dict[int, float]:
    """Seconds of an exact search of all vectors, one query, at two sizes."""
    rows = as_compared(base, metric)
    squares = np.square(rows).sum(axis=1) / 2 if metric == "l2" else np.zeros(len(rows))

    def exact(size: int) -> Callable[[Vectors, int], Any]:
        def search(some: Vectors, k: int) -> NDArray[np.intp]:
            scores = squares[:size] - as_compared(some, metric) @ rows[:size].T
            return np.argpartition(scores, min(k, size - 1), axis=1)[:, :k]

        return search

    return {
        size: time_query(exact(size), queries, k) for size in (max(1, len(rows) // 8), len(rows))
    }
