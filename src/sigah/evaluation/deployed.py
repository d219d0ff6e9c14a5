"""A search as it is deployed: what it finds, and how long a query waits."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_positive, check_whole
from sigah.evaluation.relevance import Grades, QueryScores, mrr, ndcg, recall
from sigah.progress import bar
from sigah.threads import available_threads

__all__ = ["Latency", "Search", "SearchMeasurement", "measure_search"]

#: A search: queries and ``k`` to distances and ids, each of shape (q, k).
Search = Callable[[Any, int], tuple[NDArray[Any], NDArray[Any]]]

QUERIES_PER_CALL = 1000  # of a batch
WARM_UP_CALLS = 5
FEWEST_CALLS = 20  # of single queries
FEWEST_BATCHES = 3


@dataclass(frozen=True)
class Latency:
    """How long calls of a search took.

    Attributes
    ----------
    calls : int
        Calls that were timed; a few before them were not. Of fewer than 100 calls, ``p99`` is the
        slowest or nearly so.
    queries_per_call : int
    clients : int
        Threads that called at the same time.
    p50, p95, p99 : float
        Percentiles of the seconds of a call.
    queries_per_second : float
        Of all clients together.
    """

    calls: int
    queries_per_call: int
    clients: int
    p50: float
    p95: float
    p99: float
    queries_per_second: float


@dataclass(frozen=True)
class SearchMeasurement:
    """The result of :func:`measure_search`.

    Attributes
    ----------
    metrics : dict of str to float
        With truth, ``recallK@k`` and ``recall1@k``: the share of the K true neighbours, and of the
        nearest one, among the k results. With judgements, ``ndcg@k``, ``mrr@k`` and
        ``relevant_recall@k``.
    intervals : dict of str to (float, float)
        The 95 % intervals of the same over queries.
    n_judged : int or None
        Queries with a relevant result, over which the metrics of judgements are means.
    latency : dict of str to Latency
        ``single`` (one query a call), ``batch``, and ``concurrent`` (one query a call, as many
        clients as threads) if there are several threads.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    n_judged: int | None
    latency: dict[str, Latency]


def measure_search(
    search: Search,
    queries: Any,
    k: int = 10,
    *,
    truth: ArrayLike | None = None,
    grades: Sequence[Grades] | None = None,
    seconds: float = 1.0,
    show: bool = False,
) -> SearchMeasurement:
    """Measure any search: recall of true neighbours, relevance, and latency.

    Parameters
    ----------
    search : callable
        ``search(queries, k)`` returns distances and ids (q, k), as :meth:`TwoStageSearch.search
        <sigah.search.TwoStageSearch.search>` does; missing results at the end are -1, None or "".
    queries : array-like, shape (q, d)
        What the search takes; held out from what the hasher learned from.
    k : int, default=10
    truth : array-like of int or str, shape (q, K), optional
        Ids of the true neighbours, nearest first; the first ``k`` columns are used.
    grades : sequence of mappings, length q, optional
        Judgements, as :func:`~sigah.evaluation.judgements_of` returns them.
    seconds : float, default=1.0
        For how long each kind of latency is measured.
    show : bool, default=False
        Whether to show progress.

    Returns
    -------
    SearchMeasurement

    Raises
    ------
    ValueError
        If there are no queries, or truth or judgements do not fit the queries.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import ITQ, HammingIndex, TwoStageSearch
    >>> from sigah.evaluation import exact_neighbors, measure_search
    >>> vectors = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
    >>> base, queries = vectors[:500], vectors[500:]
    >>> hasher = ITQ(n_bits=16, random_state=0).fit(base)
    >>> index = HammingIndex.of(hasher)
    >>> index.add(hasher.transform(base))
    >>> search = TwoStageSearch(index, hasher, by="raw", vectors=base, oversampling=50)
    >>> truth = exact_neighbors(base, queries, k=10).ids
    >>> found = measure_search(search.search, queries, truth=truth, seconds=0.01)
    >>> found.metrics, found.latency["single"].queries_per_call
    ({'recall10@10': 1.0, 'recall1@10': 1.0}, 1)
    """
    k = check_whole(k, "k", least=1)
    seconds = check_positive(seconds, "seconds")
    if not len(queries):
        raise ValueError("queries: there are none")
    true = None if truth is None else _check_truth(truth, len(queries))
    found = _find_all(search, queries, k, show=show)
    scores: dict[str, QueryScores] = {}
    if true is not None:
        true = true[:, :k]
        for count in dict.fromkeys((true.shape[1], 1)):
            rows = [dict.fromkeys(row, 1) for row in true[:, :count].tolist()]
            scores[f"recall{count}@{k}"] = recall(found, rows, k)
    n_judged = None
    if grades is not None:
        judged = {
            f"ndcg@{k}": ndcg(found, grades, k),
            f"mrr@{k}": mrr(found, grades, k),
            f"relevant_recall@{k}": recall(found, grades, k),
        }
        n_judged = len(judged[f"ndcg@{k}"].judged)
        scores |= judged
    return SearchMeasurement(
        {name: score.mean for name, score in scores.items()},
        {name: score.interval for name, score in scores.items()},
        n_judged,
        measure_latency(search, queries, k, seconds),
    )


def measure_latency(search: Search, queries: Any, k: int, seconds: float) -> dict[str, Latency]:
    """Latency of single queries, of batches, and of single queries of several clients."""
    n = len(queries)
    singles = [queries[row : row + 1] for row in range(min(n, QUERIES_PER_CALL))]
    batch = queries[: min(n, QUERIES_PER_CALL)]
    for some in singles[:WARM_UP_CALLS]:
        search(some, k)
    alone, whole = _timed(search, singles, k, seconds, FEWEST_CALLS)
    latency = {"single": _latency(alone, 1, 1, whole)}
    search(batch, k)
    batches, whole = _timed(search, [batch], k, seconds, FEWEST_BATCHES)
    latency["batch"] = _latency(batches, len(batch), 1, whole)
    clients = available_threads()
    if clients > 1:
        with ThreadPoolExecutor(clients) as pool:
            began = time.perf_counter()
            shares = [singles[client::clients] or singles for client in range(clients)]
            done = pool.map(lambda some: _timed(search, some, k, seconds, FEWEST_CALLS)[0], shares)
            calls = [call for client in done for call in client]
            whole = time.perf_counter() - began
        latency["concurrent"] = _latency(calls, 1, clients, whole)
    return latency


def _timed(
    search: Search, inputs: Sequence[Any], k: int, seconds: float, fewest: int
) -> tuple[list[float], float]:
    """Seconds of each call, until the time is over; and of all calls together."""
    calls: list[float] = []
    began = time.perf_counter()
    for some in itertools.cycle(inputs):
        start = time.perf_counter()
        search(some, k)
        now = time.perf_counter()
        calls.append(now - start)
        if now - began >= seconds and len(calls) >= fewest:
            break
    return calls, time.perf_counter() - began


def _latency(calls: list[float], queries_per_call: int, clients: int, whole: float) -> Latency:
    p50, p95, p99 = (float(part) for part in np.percentile(calls, (50, 95, 99)))
    rate = len(calls) * queries_per_call / whole
    return Latency(len(calls), queries_per_call, clients, p50, p95, p99, rate)


def _find_all(search: Search, queries: Any, k: int, *, show: bool) -> NDArray[Any]:
    """The ids that a search finds, in batches."""
    found = []
    with bar(show=show) as progress:
        task = progress.add_task("search", total=len(queries), detail="")
        for first in range(0, len(queries), QUERIES_PER_CALL):
            some = queries[first : first + QUERIES_PER_CALL]
            found.append(search(some, k)[1])
            progress.advance(task, len(some))
    return np.concatenate(found)


def _check_truth(truth: ArrayLike, n_queries: int) -> NDArray[Any]:
    array = np.asarray(truth)
    if (
        array.ndim != 2
        or len(array) != n_queries
        or not array.size
        or array.dtype.kind not in "iuUTO"
    ):
        raise ValueError(
            f"truth must be ids of shape ({n_queries}, K), one row for each query, got"
            f" {array.dtype} of shape {array.shape}"
        )
    for row, ids in enumerate(array.tolist()):
        if len(set(ids)) < len(ids):
            raise ValueError(f"truth: query {row} has an id twice")
    return array
