"""A deployed search is measured by its answers alone, and its calls are timed."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sigah.evaluation import measure_search, ndcg
from sigah.threads import limit_threads

N, K = 40, 5
RNG = np.random.default_rng(0)
TRUTH = np.array([RNG.permutation(200)[:10] for _ in range(N)])
ANSWERS = np.where(RNG.random((N, 10)) < 0.6, TRUTH, 1000 + np.arange(10))


class Search:
    """Answers known in advance; queries are their own row numbers. Counts its calls."""

    def __init__(self, answers: NDArray[Any], seconds: float = 0.0) -> None:
        self.answers, self.seconds = answers, seconds
        self.calls: list[tuple[int, str]] = []

    def __call__(self, queries: NDArray[Any], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        self.calls.append((len(queries), threading.current_thread().name))
        time.sleep(self.seconds)
        found = self.answers[queries[:, 0], :k]
        return np.zeros(found.shape), found


QUERIES = np.arange(N)[:, None]


def test_recall_is_the_share_of_true_neighbours_among_the_results() -> None:
    measured = measure_search(Search(ANSWERS), QUERIES, K, truth=TRUTH, seconds=0.001)
    shares = [
        len({*found[:K]} & {*true[:K]}) / K for found, true in zip(ANSWERS, TRUTH, strict=True)
    ]
    nearest = [true[0] in found[:K] for found, true in zip(ANSWERS, TRUTH, strict=True)]
    assert measured.metrics == pytest.approx(
        {"recall5@5": np.mean(shares), "recall1@5": np.mean(nearest)}
    )
    low, high = measured.intervals["recall5@5"]
    assert low < np.mean(shares) < high
    assert measured.n_judged is None


def test_truth_narrower_than_k_asks_for_what_it_has() -> None:
    measured = measure_search(Search(TRUTH), QUERIES, K, truth=TRUTH[:, 2:5], seconds=0.001)
    assert measured.metrics == {"recall3@5": 1.0, "recall1@5": 1.0}
    assert measured.intervals["recall3@5"][0] < 1  # other queries may lose some


def test_keys_and_missing_results_are_compared_as_texts() -> None:
    answers = np.array([["a", "b", ""], ["c", "", ""]])
    truth = np.array([["b", "x"], ["c", "a"]])
    measured = measure_search(Search(answers), QUERIES[:2], 3, truth=truth, seconds=0.001)
    assert measured.metrics == {"recall2@3": 0.5, "recall1@3": 1.0}


def test_judgements_give_the_metrics_of_relevance_and_the_number_of_judged_queries() -> None:
    grades: list[dict[Any, int]] = [{int(row[1]): 2, int(row[9]): 1} for row in TRUTH]
    grades[3] = {}
    measured = measure_search(Search(TRUTH), QUERIES, K, grades=grades, seconds=0.001)
    expected = ndcg(TRUTH, grades, K)
    assert measured.metrics["ndcg@5"] == expected.mean
    assert measured.intervals["ndcg@5"] == expected.interval
    assert measured.metrics["mrr@5"] == 0.5
    assert measured.metrics["relevant_recall@5"] == 0.5
    assert measured.n_judged == N - 1


def test_latency_is_that_of_single_queries_of_batches_and_of_several_clients() -> None:
    search = Search(TRUTH, seconds=0.002)
    with limit_threads(3):
        measured = measure_search(search, QUERIES, K, truth=TRUTH, seconds=0.01)
    single, batch, concurrent = (
        measured.latency[name] for name in ("single", "batch", "concurrent")
    )
    assert (single.queries_per_call, batch.queries_per_call) == (1, N)
    assert (single.clients, batch.clients, concurrent.clients) == (1, 1, 3)
    for one in (single, batch, concurrent):
        assert 0.002 <= one.p50 <= one.p95 <= one.p99
    assert single.queries_per_second <= 1 / 0.002
    assert batch.queries_per_second <= N / 0.002
    assert concurrent.queries_per_second <= 3 / 0.002
    workers = {name for _, name in search.calls if "ThreadPool" in name}
    assert len(workers) == 3
    with limit_threads(1):
        alone = measure_search(search, QUERIES, K, truth=TRUTH, seconds=0.001)
    assert set(alone.latency) == {"single", "batch"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"truth": TRUTH[:5]}, r"truth must be ids of shape \(40, K\)"),
        ({"truth": TRUTH[:, 0]}, "truth must be ids"),
        ({"truth": TRUTH / 2}, "truth must be ids"),
        ({"truth": np.zeros((N, 2), int)}, "truth: query 0 has an id twice"),
        ({"grades": [{1: 1}]}, "40 rankings and 1 mappings"),
        ({"grades": [{}] * N}, "no query has a relevant result"),
        ({"k": 0}, "k"),
        ({"seconds": 0}, "seconds"),
        ({"queries": QUERIES[:0]}, "queries: there are none"),
    ],
)
def test_wrong_arguments_are_named(changed: dict[str, Any], message: str) -> None:
    arguments = {"queries": QUERIES, "k": K, "seconds": 0.001} | changed
    with pytest.raises(ValueError, match=message):
        measure_search(Search(TRUTH), **arguments)
