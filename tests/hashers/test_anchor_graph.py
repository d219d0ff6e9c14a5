from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize

from sigah import AnchorGraphHashing
from sigah.codes import unpack
from sigah.hashers.anchor_graph import graph_eigenvectors, second_thresholds
from sigah.hashers.anchors import anchor_weights, find_anchors, squared_distances
from sigah.rows.blocks import Rows


@pytest.fixture(scope="module")
def graph() -> Any:
    """Z of 300 vectors and 40 anchors."""
    X = np.random.default_rng(0).normal(size=(300, 5))
    nearest, weights = anchor_weights(squared_distances(X, X[:40]), 3, 1.0)
    Z = np.zeros((300, 40))
    np.put_along_axis(Z, nearest, weights, axis=1)
    return sparse.csr_matrix(Z)


def adjacency(Z: Any) -> Any:
    dense = Z.toarray()
    return dense / dense.sum(axis=0) @ dense.T


@given(st.integers(1, 6), st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_weights_are_gaussian_over_the_nearest(n_nearest: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    X, anchors = rng.normal(size=(7, 3)) * scale, rng.normal(size=(6, 3)) * scale
    squared = ((X[:, None] - anchors) ** 2).sum(axis=2)
    nearest, weights = anchor_weights(squared_distances(X, anchors), n_nearest, scale**2)
    expected = np.zeros((7, 6))
    for i, row in enumerate(squared):
        keep = np.argsort(row)[:n_nearest]
        expected[i, keep] = np.exp(-row[keep] / scale**2)
    expected /= expected.sum(axis=1, keepdims=True)
    found = np.zeros((7, 6))
    np.put_along_axis(found, nearest, weights, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_vectors_far_from_all_anchors_have_weights_too() -> None:
    nearest, weights = anchor_weights(np.array([[1e9, 1e9 + 1, 4e9]]), 2, 1.0)
    np.testing.assert_allclose(weights, [[1 / (1 + np.exp(-1)), 1 - 1 / (1 + np.exp(-1))]])
    assert nearest.tolist() == [[0, 1]]


def test_the_adjacency_has_unit_row_sums(graph: Any) -> None:
    np.testing.assert_allclose(adjacency(graph).sum(axis=1), 1)


def test_eigenvectors_are_balanced_orthogonal_and_those_of_the_whole_graph(graph: Any) -> None:
    W, eigenvalues = graph_eigenvectors(graph, 12)
    Y = graph @ W
    np.testing.assert_allclose(Y.T @ Y, 300 * np.eye(12), atol=1e-8)
    np.testing.assert_allclose(Y.sum(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(adjacency(graph) @ Y, Y * eigenvalues, atol=1e-8)
    whole = np.linalg.eigvalsh(adjacency(graph))[::-1]
    assert whole[0] == pytest.approx(1)
    np.testing.assert_allclose(eigenvalues, whole[1:13])


def test_separate_components_are_told_apart() -> None:
    Z = sparse.csr_matrix(np.repeat(np.eye(3), 10, axis=0))
    W, eigenvalues = graph_eigenvectors(Z, 8)
    np.testing.assert_allclose(eigenvalues, 1)
    assert W.shape == (3, 2)
    assert len(np.unique((Z @ W).round(6), axis=0)) == 3


def test_second_thresholds_minimise_what_the_paper_minimises(graph: Any) -> None:
    Y = graph @ graph_eigenvectors(graph, 3)[0]
    b_plus, b_minus = second_thresholds(graph, Y)
    laplacian = np.eye(300) - adjacency(graph)

    def split(y: Any, plus: float, minus: float) -> Any:
        return np.where(y > 0, y - plus, minus - y)

    for k in range(3):
        y = Y[:, k]
        ours = split(y, b_plus[k], b_minus[k])
        assert ours.sum() == pytest.approx(0, abs=1e-8)
        best = minimize(
            lambda b, y=y: split(y, *b) @ laplacian @ split(y, *b),
            x0=[0.5, -0.5],
            constraints={"type": "eq", "fun": lambda b, y=y: split(y, *b).sum()},
            tol=1e-12,
        )
        assert ours @ laplacian @ ours == pytest.approx(best.fun, rel=1e-6)
        np.testing.assert_allclose([b_plus[k], b_minus[k]], best.x, atol=1e-3)


def test_a_second_layer_cuts_each_side_again(blobs: Any) -> None:
    one = AnchorGraphHashing(16, n_layers=1, random_state=0).fit(blobs)
    two = AnchorGraphHashing(32, n_layers=2, random_state=0).fit(blobs)
    np.testing.assert_array_equal(
        unpack(two.transform(blobs))[:, :16], unpack(one.transform(blobs))
    )
    scores = two.project(blobs)
    y = scores[:, :16]
    expected = np.where(y >= 0, y - two.b_plus_, two.b_minus_ - y)
    np.testing.assert_allclose(scores[:, 16:], expected, atol=1e-5)


def test_new_vectors_take_the_value_of_training_vectors_at_the_same_place(blobs: Any) -> None:
    hasher = AnchorGraphHashing(16, random_state=0).fit(blobs[:1000])
    np.testing.assert_array_equal(
        hasher.transform(blobs[:1000].copy()), hasher.transform(blobs)[:1000]
    )


def test_the_first_functions_are_constant_on_clusters_far_apart() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=2000)
    X = 30 * np.eye(4, 8)[labels] + rng.normal(size=(2000, 8))
    scores = AnchorGraphHashing(8, n_anchors=60, random_state=0).fit(X).project(X)[:, :3]
    values = np.array([scores[labels == label].mean(axis=0) for label in range(4)])
    np.testing.assert_allclose(scores, values[labels], atol=1e-4)
    apart = np.linalg.norm(values[:, None] - values[None], axis=2)
    assert apart[~np.eye(4, dtype=bool)].min() > 0.5


def test_anchors_are_distinct_and_few_enough() -> None:
    X = np.repeat(np.arange(5.0)[:, None], 40, axis=0).astype(np.float32)
    anchors = find_anchors(
        Rows(X), np.zeros(1), 30, n_samples=200, random_state=np.random.RandomState(0)
    )
    np.testing.assert_allclose(anchors.ravel(), np.arange(5), atol=1e-6)


def test_identical_vectors_have_one_code() -> None:
    X = np.full((40, 4), 2.5)
    assert len(np.unique(AnchorGraphHashing(8, random_state=0).fit(X).transform(X), axis=0)) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_layers": 3}, "n_layers must be 1 or 2"),
        ({"n_anchors": 16}, "n_bits=16, n_anchors=16; raise n_anchors"),
        ({"n_anchors": 1.5}, "n_anchors must be a whole number"),
        ({"n_nearest": 0}, "n_nearest must be a whole number"),
        ({"n_samples": 0}, "n_samples must be a whole number"),
    ],
)
def test_impossible_settings_are_named(blobs: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnchorGraphHashing(16, **settings).fit(blobs)
