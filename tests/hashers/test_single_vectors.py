"""One vector has the code that it has in a batch, by the short way that is made for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigah import ITQ, LSH
from sigah.hashers import rounding
from sigah.hashers.rounding import all_certain, bounds_of, mend_signs


def exact_signs(block: Any, weights: Any, thresholds: Any) -> Any:
    dots = np.einsum("ij,kj->ik", block.astype(np.float64), weights.T.astype(np.float64))
    return dots - thresholds >= 0


@given(
    n_rows=st.integers(1, 6),
    dim=st.integers(1, 40),
    magnitude=st.sampled_from([1e-30, 1e-12, 1.0, 1e12]),
    near=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_signs_of_few_rows_are_those_of_the_exact_sums(
    n_rows: int, dim: int, magnitude: float, near: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    block = (magnitude * rng.normal(size=(n_rows, dim))).astype(np.float32)
    weights = rng.normal(size=(dim, 9)).astype(np.float32)
    thresholds = np.zeros(9)
    if near:  # the exact score of each row and one bit is next to zero
        thresholds = block[0].astype(np.float64) @ weights.astype(np.float64)
        thresholds *= 1 + rng.choice([-1e-9, 1e-9], 9)
    scores = block @ weights - thresholds.astype(np.float32)
    if all_certain(scores, block, *bounds_of(weights, thresholds)[2:]):
        assert ((scores >= 0) == exact_signs(block, weights, thresholds)).all()
    mend_signs(scores, block, weights, thresholds)
    np.testing.assert_array_equal(scores >= 0, exact_signs(block, weights, thresholds))


def test_what_the_rows_may_hide_is_looked_at() -> None:
    weights, thresholds = np.eye(4, dtype=np.float32), np.zeros(4)
    bounds = bounds_of(weights, thresholds)[2:]
    plain = np.ones((1, 4), np.float32)
    assert all_certain(plain @ weights, plain, *bounds)
    assert not all_certain(np.full((1, 4), 1e-7, np.float32), plain, *bounds)
    assert not all_certain(np.full((1, 4), np.nan, np.float32), plain, *bounds)
    for extreme in (0.0, 1e-20, 3e38):
        assert not all_certain(plain, np.full((1, 4), extreme, np.float32), *bounds)


def test_bounds_are_those_of_the_weights_given() -> None:
    rng = np.random.default_rng(0)
    for scale in (1.0, 100.0):
        weights, thresholds = np.float32(scale) * np.eye(3, dtype=np.float32), rng.normal(size=3)
        for _ in range(2):
            steepness, offsets, steepest, farthest = bounds_of(weights, thresholds)
            np.testing.assert_allclose(steepness, 5 * scale)
            np.testing.assert_array_equal(offsets, 2 * np.abs(thresholds))
            assert (steepest, farthest) == (steepness.max(), offsets.max())
        assert bounds_of(weights, thresholds) is bounds_of(weights, thresholds)
        assert bounds_of(weights, thresholds + 1)[3] != farthest


@pytest.mark.parametrize("method", [LSH, ITQ])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_a_vector_alone_has_its_code_of_the_batch(
    method: Any, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = np.random.default_rng(0).normal(size=(300, 24)).astype(np.float32)
    hasher = method(16, random_state=0, metric=metric).fit(X)
    weights, thresholds = hasher.weights_, hasher.thresholds_
    # vectors on a border of the code, as nearly as float32 can say
    on_border = (
        X[:100]
        - ((X[:100] @ weights[:, 0] - thresholds[0])[:, None] / (weights[:, 0] @ weights[:, 0]))
        * weights[:, 0]
    )
    rows = np.concatenate([X, on_border.astype(np.float32)])
    codes = hasher.transform(rows)
    singly = np.concatenate([hasher.transform(row[None]) for row in rows])
    np.testing.assert_array_equal(singly, codes)
    monkeypatch.setattr(rounding, "QUICK", 0)
    np.testing.assert_array_equal(hasher.transform(rows[:50]), codes[:50])
