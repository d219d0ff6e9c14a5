"""Decisions on given figures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigah.advice import Candidate, Interval, Wishes, choose
from sigah.advice.choice import undominated


def candidate(
    method: str,
    n_bytes: int,
    recall: float,
    *,
    reads: int = 0,
    spread: float = 0.01,
    **changes: Any,
) -> Candidate:
    made = Candidate(
        method=method, ranking="hamming", bytes=n_bytes, bits=8 * n_bytes, reads=reads,
        recall=Interval(max(0.0, recall - spread), recall, min(1.0, recall + spread)),
        measured_recall=recall, measured_rows=1000, microseconds=100.0, cost=n_bytes,
        memory_bytes=n_bytes, disk_bytes=0,
    )  # fmt: skip
    return replace(made, **changes)


def test_the_fewest_bytes_whose_low_end_reaches_the_recall() -> None:
    sign = candidate("sign", 64, 0.99, reads=100)
    sure = candidate("itq", 16, 0.97, reads=200)
    hopeful = candidate("itq", 8, 0.955, reads=200)
    found = choose([sign, sure, hopeful], Wishes(recall=0.95))
    assert (found.recommended, found.unmet) == (sure, ())
    assert found.runners_up == (sign,)  # the best of each other method


def test_of_equal_bytes_the_fewest_reads_then_the_simplest() -> None:
    many = candidate("itq", 16, 0.99, reads=200)
    few = candidate("vectors", 17, 0.97, reads=50)  # within a tenth of the bytes
    assert choose([many, few], Wishes(recall=0.9)).recommended == few
    plain = candidate("sign", 16, 0.97, reads=200)
    assert choose([many, plain], Wishes(recall=0.9)).recommended == plain


def test_vectors_in_memory_count_as_memory_and_the_fastest_is_taken() -> None:
    slow = candidate("itq", 8, 0.99, reads=100, microseconds=900.0, cost=2048 + 8)
    fast = candidate("sign", 64, 0.99, reads=100, microseconds=90.0, cost=2048 + 64)
    wishes = Wishes(recall=0.9, raw="memory")
    assert choose([slow, fast], wishes).recommended == fast
    without = candidate("vectors", 128, 0.95, microseconds=5000.0)
    assert choose([slow, fast, without], wishes).recommended == without


def test_product_quantisation_wins_where_it_is_measured_to() -> None:
    theirs = candidate("opq", 32, 0.96)
    ours = candidate("vectors", 64, 0.96)
    assert choose([ours, theirs], Wishes(recall=0.9, raw="none")).recommended == theirs


def test_without_a_recall_as_much_as_the_bytes_allow() -> None:
    long = candidate("vectors", 64, 0.9)
    best = candidate("vectors", 16, 0.7)
    cheaper = candidate("itq", 8, 0.695)
    wishes = Wishes(recall=None, bytes=16)
    assert choose([long, best], wishes).recommended == best
    assert choose([long, best, cheaper], wishes).recommended == cheaper  # a hundredth less


@pytest.mark.parametrize(
    ("wishes", "unmet"),
    [
        (Wishes(recall=0.99), ("recall",)),
        (Wishes(recall=0.99, bytes=16), ("recall",)),
        (Wishes(recall=0.5, bytes=8), ("bytes",)),
        (Wishes(recall=0.5, microseconds=10), ("latency",)),
        (Wishes(recall=0.5, reads=0), ("reads",)),
        (Wishes(recall=0.5, raw="none"), ("reads",)),
    ],
)
def test_what_is_not_met_is_named(wishes: Wishes, unmet: tuple[str, ...]) -> None:
    only = candidate("itq", 16, 0.9, reads=100)
    found = choose([only], wishes)
    assert (found.recommended, found.unmet) == (only, unmet)


def test_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="no candidates"):
        choose([], Wishes())


candidates = st.builds(
    candidate,
    st.sampled_from(("sign", "itq", "vectors", "opq", "sigah")),
    st.sampled_from((8, 16, 32, 64)),
    st.floats(0.02, 0.98),
    reads=st.sampled_from((0, 50, 200)),
)
wishes = st.builds(
    Wishes,
    recall=st.none() | st.floats(0.1, 0.99),
    bytes=st.sampled_from((8, 32, math.inf)),
    reads=st.sampled_from((0, 100, 200)),
)


@settings(max_examples=60)
@given(st.lists(candidates, min_size=1, max_size=12), wishes)
def test_no_candidate_that_meets_all_wishes_is_much_better(
    every: list[Candidate], wishes: Wishes
) -> None:
    found = choose(every, wishes)
    taken = found.recommended
    assert found.unmet == wishes.unmet(taken)
    allowed = [one for one in every if not wishes.unmet(one)]
    if allowed:
        assert not found.unmet
    for one in allowed:
        if wishes.recall is None:
            assert taken.recall.expected >= one.recall.expected - 0.01
        else:
            assert taken.cost <= 1.1 * one.cost
    for one in every:
        if one not in undominated(every):
            assert any(
                other.recall.expected > one.recall.expected and other.cost <= one.cost
                for other in every
            )
