from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sigah import AnchorGraphHashing, DiscreteGraphHashing
from sigah.hashers.discrete_graph import balanced_orthogonal, objective, signed_gradient


def problem(seed: int, n: int = 60, m: int = 12, r: int = 4) -> Any:
    rng = np.random.default_rng(seed)
    Z = rng.random((n, m)) * (rng.random((n, m)) < 0.3) + 1e-3
    Z /= Z.sum(axis=1, keepdims=True)
    B = rng.choice([-1, 1], size=(n, r)).astype(np.float32)
    Y = rng.normal(size=(n, r)).astype(np.float32)
    return sparse.csr_matrix(Z.astype(np.float32)), Z.sum(axis=0), B, Y


@given(st.integers(0, 10**6), st.floats(0, 10))
def test_the_objective_is_that_of_the_whole_graph(seed: int, rho: float) -> None:
    Z, degrees, B, Y = problem(seed)
    dense = Z.toarray().astype(float)
    A = dense / degrees @ dense.T
    expected = np.trace(B.T @ A @ B) + rho * np.trace(B.T @ Y)
    assert objective(Z, degrees, B, Y, rho) == pytest.approx(expected, rel=1e-4, abs=1e-3)


@given(st.integers(0, 10**6), st.floats(0, 3))
def test_every_step_of_the_signed_gradient_raises_the_objective(seed: int, rho: float) -> None:
    Z, degrees, B, Y = problem(seed)
    before = objective(Z, degrees, B, Y, rho)
    for _ in range(10):
        B = signed_gradient(Z, degrees, B, Y, rho=rho, max_iter=1)
        assert set(np.unique(B)) <= {-1.0, 1.0}
        after = objective(Z, degrees, B, Y, rho)
        assert after >= before - 1e-3
        before = after


@pytest.mark.parametrize("rank", [8, 5, 0])
def test_y_is_balanced_orthogonal_and_the_best_such(rank: int) -> None:
    rng = np.random.default_rng(rank)
    B = np.ones((100, 8), np.float32)
    B[:, :rank] = rng.choice([-1, 1], size=(100, rank))
    Y = balanced_orthogonal(B, np.random.RandomState(0)).astype(float)
    np.testing.assert_allclose(Y.T @ Y, 100 * np.eye(8), atol=1e-2)
    np.testing.assert_allclose(Y.sum(axis=0), 0, atol=1e-2)
    # von Neumann: tr(B^T Y) is at most sqrt(n) times the sum of the singular values of J B
    centred = B - B.mean(axis=0)
    best = 10 * np.linalg.svd(centred.astype(float), compute_uv=False).sum()
    assert np.einsum("ij,ij->", B, Y) == pytest.approx(best, rel=1e-3, abs=1e-2)


def test_the_objective_never_falls(blobs: Any) -> None:
    for rho in (0.01, 1.0, 10.0):
        hasher = DiscreteGraphHashing(16, rho=rho, n_anchors=60, random_state=0).fit(blobs)
        assert hasher.n_iter_ == len(hasher.objective_)
        assert (np.diff(hasher.objective_) >= -1e-4 * hasher.objective_[0]).all()


def test_weight_on_balance_balances(blobs: Any) -> None:
    def imbalance(rho: float) -> float:
        hasher = DiscreteGraphHashing(16, rho=rho, n_anchors=60, random_state=0).fit(blobs)
        bits = np.unpackbits(hasher.transform(blobs), axis=1)
        return float(np.abs(bits.mean(axis=0) - 0.5).mean())

    assert imbalance(10.0) < imbalance(0.0)


def test_it_starts_from_the_eigenvectors_of_the_anchor_graph(blobs: Any) -> None:
    discrete = DiscreteGraphHashing(16, n_nearest=2, random_state=0).fit(blobs)
    graph = AnchorGraphHashing(16, n_nearest=2, random_state=0).fit(blobs)
    np.testing.assert_array_equal(discrete.anchors_, graph.anchors_)
    agree = np.unpackbits(discrete.transform(blobs) ^ graph.transform(blobs)).mean()
    assert agree < 0.4, "an improvement of those codes, not others"


def test_hash_functions_are_mean_codes_around_the_anchors(blobs: Any) -> None:
    W = DiscreteGraphHashing(16, random_state=0).fit(blobs).W_
    assert (np.abs(W) <= 1 + 1e-6).all()
    assert np.abs(W).mean() > 0.5, "neighbours agree on most bits"


@pytest.mark.parametrize("settings", [{"rho": -1}, {"rho": "much"}, {"rho": np.nan}, {"rho": None}])
def test_impossible_weights_are_named(blobs: Any, settings: Any) -> None:
    with pytest.raises(ValueError, match="rho must be a number of at least 0"):
        DiscreteGraphHashing(16, **settings).fit(blobs)
