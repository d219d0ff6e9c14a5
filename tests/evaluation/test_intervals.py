"""Intervals over queries hold what they say they hold."""

from __future__ import annotations

import numpy as np
import pytest

from sigah.evaluation import RankCounts, mean_interval, pr_area, pr_area_interval


def test_a_mean_lies_in_its_interval_as_often_as_it_should() -> None:
    rng = np.random.default_rng(0)
    held = [
        low <= 0.25 <= high
        for low, high in (mean_interval(rng.beta(1, 3, size=100)) for _ in range(2000))
    ]
    assert 0.93 <= np.mean(held) <= 0.965


def counts(rng: np.random.Generator, n_queries: int) -> RankCounts:
    """Queries of very unequal difficulty: 5 relevant codes of 40 at 9 distances."""
    near = rng.beta(0.5, 0.5, size=n_queries)
    relevant = np.stack([rng.multinomial(5, [p, *[(1 - p) / 8] * 8]) for p in near])
    rest = rng.multinomial(35, np.full(9, 1 / 9), size=n_queries)
    return RankCounts(total=relevant + rest, relevant=relevant)


def test_a_pooled_area_lies_in_its_interval_as_often_as_it_should() -> None:
    rng = np.random.default_rng(1)
    truth = pr_area(counts(rng, 100_000))
    held = []
    for _ in range(200):
        low, high = pr_area_interval(counts(rng, 80), resamples=200)
        assert low < high
        held.append(low <= truth <= high)
    assert 0.88 <= np.mean(held) <= 0.99


def test_the_draws_are_always_the_same() -> None:
    some = counts(np.random.default_rng(2), 30)
    assert pr_area_interval(some) == pr_area_interval(some)
    low, high = pr_area_interval(some)
    assert low < pr_area(some) < high


def test_one_query_has_no_width() -> None:
    assert mean_interval([0.5]) == (0.5, 0.5)
    one = counts(np.random.default_rng(3), 1)
    assert pr_area_interval(one) == pytest.approx((pr_area(one),) * 2)
