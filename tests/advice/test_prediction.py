"""Predicted recall, on orders whose recall at any size is known."""

from __future__ import annotations

import numpy as np
import pytest

from sigah.advice import predict
from sigah.advice.contenders import Contender
from sigah.advice.measurement import measure, places
from sigah.advice.prediction import share_found, towards_known
from sigah.advice.trials import Trial, Trials, nested_truth
from sigah.evaluation import exact_neighbors


def noisy_places(n: int, k: int, n_queries: int, noise: float, seed: int) -> dict[int, np.ndarray]:
    """Places of true neighbours where an order sees distances, as in ten dimensions, with noise."""
    rng = np.random.default_rng(seed)
    found: dict[int, list[np.ndarray]] = {}
    for _ in range(n_queries):
        distances = rng.random(n) ** 0.1  # the order of rows is random: the first half is a sample
        seen = distances + noise * rng.normal(size=n) / 60
        for size in (n // 8, n // 4, n // 2, n):
            true = np.argsort(distances[:size])[:k]
            ranks = np.argsort(np.argsort(seen[:size]))
            found.setdefault(size, []).append(ranks[true])
    return {size: np.array(rows) for size, rows in found.items()}


@pytest.mark.parametrize("shortlist", [10, 40])
def test_a_sample_predicts_the_recall_of_eight_times_as_many(shortlist: int) -> None:
    many = noisy_places(16000, 10, 150, noise=2.0, seed=0)[16000]
    told = predict(noisy_places(2000, 10, 400, noise=2.0, seed=1), shortlist, 16000)
    assert told.low < (many < shortlist).mean() < told.high
    assert told.high - told.low < 0.35
    at_hand = predict({2000: noisy_places(2000, 10, 400, noise=2.0, seed=1)[2000]}, shortlist, 2000)
    assert at_hand.expected > told.expected  # more rows are harder


def test_intervals_grow_with_the_distance_and_shrink_with_queries() -> None:
    some = noisy_places(1600, 10, 200, noise=1.0, seed=2)
    few = {size: rows[:30] for size, rows in some.items()}
    widths = []
    for found, n in ((some, 1600), (some, 3200), (some, 25600)):
        told = predict(found, 10, n)
        widths.append(np.log(told.high / (1 - told.high)) - np.log(told.low / (1 - told.low)))
    assert widths == sorted(widths)
    near, far = predict(some, 10, 3200), predict(few, 10, 3200)
    assert far.high - far.low > near.high - near.low


def test_a_recall_of_one_in_a_sample_is_not_certain() -> None:
    found = {size: np.zeros((100, 10), int) for size in (1000, 2000, 4000)}
    told = predict(found, 10, 16000)
    assert 0.97 < told.low < told.expected < told.high < 1


@pytest.mark.parametrize("n", [30, 300])
def test_where_all_queries_find_all_the_interval_is_as_wide_as_that_of_a_proportion(n: int) -> None:
    told = predict({1000: np.zeros((n, 10), int)}, 10, 1000)
    # if the recall were `low`, so many queries would find all with a probability of a twelfth
    assert 0.05 < told.low**n < 0.15
    assert told.low < told.expected < told.high


def test_shares_count_parts_of_neighbours_and_places() -> None:
    at = np.array([[0, 3, 1, 9], [5, 0, 2, 1]])
    assert share_found(at, 2, 1).tolist() == [0.5, 0.5]
    assert share_found(at, 1.5, 3.5).tolist() == pytest.approx([(1 + 0.5 * 0.5) / 1.5, 0.5 / 1.5])
    whole = np.mean([share_found(at, k, s).mean() for k in (1, 2) for s in (2, 3)])
    assert 0 < whole < 1


def test_truth_among_first_rows_is_exact() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(9000, 6)).astype(np.float32)
    queries = np.repeat(base[:1], 20, axis=0)
    queries += rng.normal(scale=0.1, size=queries.shape).astype(np.float32)
    # the nearest rows all stand at the end: among the first rows, other ones are the truth
    base = base[np.argsort(-((base - queries[0]) ** 2).sum(axis=1))]
    truth = nested_truth(base, queries, 10, "l2")
    assert list(truth) == [562, 1125, 2250, 4500, 9000]
    for size, ids in truth.items():
        assert (ids == exact_neighbors(base[:size], queries, 10).ids).all()


def test_places_are_those_of_the_ids() -> None:
    found = np.array([[4, 2, 9], [1, 0, 3]])
    assert places(found, np.array([[9, 5], [0, 1]])).tolist() == [[2, 3], [1, 0]]


def test_codebooks_in_use_stand_between_those_of_a_sample_on_known_and_on_other_vectors() -> None:
    assert towards_known(1000, 1000, 1000) == 1  # all that is searched was learned from
    assert towards_known(1000, 1000, 10**9) == pytest.approx(0, abs=1e-5)  # nothing of it
    many = [towards_known(1000, n, n) for n in (1000, 2000, 8000, 10**7)]
    assert many == sorted(many, reverse=True)
    assert many[-1] == pytest.approx(0.5, abs=1e-3)
    rng = np.random.default_rng(0)
    others = {n: rng.integers(0, 20, (300, 10)) for n in (1000, 2000)}
    known = {2000: others[2000] // 2}
    told = [
        predict(others, 10, 4000, known=known, towards=towards).expected
        for towards in (0, 0.5, 0.8, 1)
    ]
    assert told == sorted(told)
    assert told[0] == predict(others, 10, 4000).expected
    assert told[-1] - told[0] > 0.2


def test_a_sample_predicts_an_index_that_learns_from_more_vectors() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 16))
    rows = centres[rng.integers(30, size=12200)] + 0.7 * rng.normal(size=(12200, 16))
    rows = rows.astype(np.float32)
    queries, base = rows[:200], rows[200:]
    index = Contender("vectors", 6, 16)
    truth = exact_neighbors(base, queries, 10).ids
    full = Trial(base, queries, {len(base): truth}, "l2", base[:0], len(base))
    whole_orders = measure(index, full, 50, 0, whole=True, timed=False)
    trials = Trials(base[:4000], len(base), queries, None, "l2", 10, 0)
    part_orders = measure(index, trials.of(4000), 50, 0, timed=False)
    assert [one.for_vectors for one in part_orders] == [False, True]
    for whole, part, shortlist in zip(whole_orders, part_orders, (10, 50), strict=True):
        true = float(share_found(whole.places[len(base)], 10, shortlist).mean())
        towards = towards_known(part.learned, len(base), len(base))
        told = predict(part.places, shortlist, len(base), known=part.known, towards=towards)
        assert told.expected == pytest.approx(true, abs=0.08)
        alone = predict(part.places, shortlist, len(base)).expected
        assert abs(told.expected - true) < 0.6 * abs(alone - true)
