"""The interval of a mean of shares holds what it says it holds, at its ends too."""

from __future__ import annotations

import numpy as np
import pytest

from sigah.shares import share_interval


@pytest.mark.parametrize("found", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("k", [1, 10])
def test_a_mean_lies_in_its_interval_as_often_as_it_should(found: float, k: int) -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(500):
        low, high = share_interval(rng.binomial(k, found, size=200) / k)
        held.append(low <= found <= high)
    assert 0.92 <= np.mean(held) <= 0.995


@pytest.mark.parametrize("n", [1, 30, 1000])
def test_an_interval_has_a_width_where_all_queries_are_alike(n: int) -> None:
    low, high = share_interval(np.ones(n))
    assert high == 1
    # so many queries would find all with a probability of a twelfth if the share were `low`
    assert 0.05 < low**n < 0.3
    low, high = share_interval(np.zeros(n))
    assert low == 0 < high
    low, high = share_interval(np.full(n, 0.5))
    assert low < 0.5 < high


def test_the_same_shares_have_the_same_interval() -> None:
    some = np.random.default_rng(0).random(40)
    assert share_interval(some) == share_interval(some)
