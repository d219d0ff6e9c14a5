from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import polar
from scipy.optimize import approx_fprime
from scipy.spatial.distance import cdist

from sigah import LSH, OrdinalConstrainedHashing
from sigah.codes import unpack
from sigah.hashers.ordinal_constrained import (
    descend,
    nearest_orthonormal,
    ordinal_loss,
    ordinal_neighbors,
)


def triplet_loss(W: Any, anchors: Any, A: Any, k: int) -> float:
    """The definition, triplet by triplet."""
    T, D = np.tanh(A @ W), cdist(anchors, anchors)
    terms = []
    for q in range(len(A)):
        ranked = [i for i in np.argsort(D[q], kind="stable") if i != q]
        for place, i in enumerate(ranked[:k]):
            for j in ranked[place + 1 :]:
                terms.append(1 / (1 + np.exp(T[q] @ T[i] - T[q] @ T[j])))
    return float(np.mean(terms))


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_loss_is_the_mean_over_triplets(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    A, W = rng.normal(size=(8, 4)), rng.normal(size=(4, 3))
    loss, _ = ordinal_loss(W, A, ordinal_neighbors(A), k)
    assert loss == pytest.approx(triplet_loss(W, A, A, k), rel=1e-9)


def test_the_gradient_is_that_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    A, W = rng.normal(size=(12, 5)), rng.normal(size=(5, 3))
    order = ordinal_neighbors(A)
    _, gradient = ordinal_loss(W, A, order, 4)
    numeric = approx_fprime(
        W.ravel(), lambda w: ordinal_loss(w.reshape(5, 3), A, order, 4)[0], 1e-7
    )
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-5)


def test_neighbours_are_sorted_by_distance() -> None:
    A = np.random.default_rng(0).normal(size=(10, 3))
    order, D = ordinal_neighbors(A), cdist(A, A)
    for q in range(10):
        assert q not in order[q]
        assert (np.diff(D[q, order[q]]) >= 0).all()


def test_projection_is_the_polar_factor() -> None:
    M = np.random.default_rng(0).normal(size=(6, 4))
    np.testing.assert_allclose(nearest_orthonormal(M), polar(M)[0], atol=1e-10)


def test_a_step_lowers_the_loss_and_stays_on_the_manifold() -> None:
    rng = np.random.default_rng(0)
    A, W, step = rng.normal(size=(30, 6)), nearest_orthonormal(rng.normal(size=(6, 4))), 1.0
    order = ordinal_neighbors(A)
    loss, gradient = ordinal_loss(W, A, order, 5)
    for _ in range(20):
        W, new_loss, gradient, step = descend(W, loss, gradient, step, A, order, 5)
        np.testing.assert_allclose(W.T @ W, np.eye(4), atol=1e-10)
        assert new_loss < loss or step == 0
        loss = new_loss


def test_a_vanishing_gradient_ends_the_descent() -> None:
    W = np.eye(3)
    found, loss, _, step = descend(W, 0.5, np.zeros((3, 3)), 1.0, np.zeros((4, 3)), None, 1)
    assert step == 0
    assert loss == 0.5
    np.testing.assert_array_equal(found, W)


def test_directions_stay_orthonormal_and_the_loss_falls(blobs: Any) -> None:
    hasher = OrdinalConstrainedHashing(16, max_iter=100, random_state=0).fit(blobs)
    W = hasher.weights_.astype(float)
    np.testing.assert_allclose(W.T @ W, np.eye(16), atol=1e-5)
    assert (np.diff(hasher.loss_) < 0).all()
    assert hasher.loss_[-1] < 0.7 * hasher.loss_[0]
    assert hasher.n_iter_ == len(hasher.loss_) - 1


def test_codes_keep_the_order_of_distances_better_than_random_planes(blobs: Any) -> None:
    D = cdist(blobs[:150], blobs[:150])

    def broken(hasher: Any) -> float:
        bits = unpack(hasher.fit(blobs).transform(blobs[:150])).astype(int)
        H = (bits[:, None] != bits[None]).sum(axis=2)
        ranked = np.argsort(D, axis=1)
        sorted_hamming = np.take_along_axis(H, ranked, axis=1)
        near, far = sorted_hamming[:, 1:6], sorted_hamming[:, 6:]
        return float((near[:, :, None] > far[:, None]).mean())

    ours = broken(OrdinalConstrainedHashing(16, max_iter=100, random_state=0))
    assert ours < broken(LSH(16, random_state=0))


def test_translation_changes_nothing(blobs: Any) -> None:
    here = OrdinalConstrainedHashing(16, max_iter=20, random_state=0).fit(blobs)
    there = OrdinalConstrainedHashing(16, max_iter=20, random_state=0).fit(blobs + 64)
    differ = unpack(here.transform(blobs)) != unpack(there.transform(blobs + 64))
    assert differ.mean() < 0.02


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_principal": 8}, "n_principal must be a whole number of at least 16"),
        ({"n_anchors": 2}, "n_anchors must be a whole number of at least 3"),
        ({"n_neighbors": 0}, "n_neighbors must be a whole number"),
        ({"max_iter": 0}, "max_iter must be a whole number"),
    ],
)
def test_impossible_settings_are_named(blobs: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OrdinalConstrainedHashing(16, **settings).fit(blobs)
