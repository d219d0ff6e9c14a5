from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh
from scipy.spatial.distance import cdist

from sigah import LSH
from sigah.codes import signs, unpack
from sigah.evaluation import exact_neighbors, measure
from sigah.hashers.scalable_graph import (
    RIDGE,
    ScalableGraphHashing,
    learn_bits,
    similarity_factor,
    unit_rows,
    whitening,
)


def on_the_sphere(n: int, d: int, seed: int = 0) -> Any:
    X = np.random.default_rng(seed).normal(size=(n, d))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def transformed(X: Any) -> Any:
    """P and Q of the paper, as wide as the paper has them."""
    F, ones = similarity_factor(X), np.ones((len(X), 1))
    return np.hstack([F, ones]), np.hstack([F, -ones])


@given(st.integers(1, 9), st.integers(1, 6), st.integers(0, 10**6))
def test_the_feature_transformation_is_the_closed_form(n: int, d: int, seed: int) -> None:
    X = on_the_sphere(n, d, seed)
    X[0] = 0
    P, Q = transformed(X)
    e, rho, norms = np.e, 2, np.square(X).sum(axis=1)
    chord = 2 * (e**2 - 1) / (e * rho) * X @ X.T + (e**2 + 1) / e
    closed_form = chord * np.exp(-(norms[:, None] + norms) / rho) - 1
    np.testing.assert_allclose(P @ Q.T, closed_form, atol=1e-12)


def test_the_transformed_similarity_is_exact_for_equal_and_opposite_vectors() -> None:
    X = on_the_sphere(300, 4)
    X = np.vstack([X, -X])
    P, Q = transformed(X)
    error = P @ Q.T - (2 * np.exp(-cdist(X, X, "sqeuclidean") / 2) - 1)
    np.testing.assert_allclose(error[np.arange(600), np.arange(600)], 0, atol=1e-12)
    np.testing.assert_allclose(error[np.arange(600), np.arange(600) - 300], 0, atol=1e-12)
    # a chord lies above a convex function
    assert error.min() > -1e-12
    assert 0.40 < error.max() < 0.411


@given(st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_rows_have_length_one_seen_from_the_mean(scale: float, shift: float) -> None:
    offsets = on_the_sphere(6, 5)
    mean = np.full(5, shift)
    X = unit_rows(np.vstack([mean, mean + scale * offsets]), mean)
    np.testing.assert_array_equal(X[0], 0)
    np.testing.assert_allclose(np.linalg.norm(X[1:], axis=1), 1)
    np.testing.assert_allclose(X[1:], offsets, atol=1e-15 * (10 + abs(shift) / scale))


def test_rounding_of_the_mean_is_no_direction() -> None:
    row = np.full((1, 5), 1 / 3, np.float32)
    for mean in (row[0].astype(np.float64), np.nextafter(row[0].astype(np.float64), 1)):
        np.testing.assert_array_equal(unit_rows(row, mean), 0)


@pytest.mark.parametrize("rank", [12, 5, 1])
def test_whitened_features_are_orthonormal_but_for_the_ridge(rank: int) -> None:
    rng = np.random.default_rng(0)
    K = rng.normal(size=(200, rank)) @ rng.normal(size=(rank, 12))
    Z = K.T @ K
    T = whitening(Z, 200)
    assert T.shape == (12, rank)
    np.testing.assert_allclose(T.T @ (Z + RIDGE * 200 * np.eye(12)) @ T, np.eye(rank), atol=1e-9)


def small_problem() -> Any:
    """Centred features of 90 vectors as learned from, and what the n x n computation needs."""
    X = on_the_sphere(90, 6)
    K = np.exp(-cdist(X, X[:20], "sqeuclidean") / 4)
    K = (K - K.mean(axis=0)).astype(np.float32)
    P, Q = transformed(X)
    exact = K.astype(np.float64)
    T = whitening(exact.T @ exact, 90)
    return K, T, P @ Q.T, T.T @ exact.T @ P @ Q.T @ exact @ T


def test_learning_is_the_algorithm_on_the_whole_similarity_matrix() -> None:
    K, T, S, similarity = small_problem()
    passes = learn_bits(K, T, similarity, 8, n_iter=2, random_state=np.random.RandomState(0))
    # Algorithm 1 as the paper states it: an n x n residual and generalised eigenproblems
    exact = K.astype(np.float64)
    Z = exact.T @ exact + RIDGE * 90 * np.eye(20)
    residual, B = 8 * S, np.zeros((90, 8))
    draws = np.random.RandomState(0)
    for iteration, W in enumerate(passes):
        for bit in draws.permutation(8) if iteration else range(8):
            residual = residual + np.outer(B[:, bit], B[:, bit])
            w = eigh(exact.T @ residual @ exact, Z)[1][:, -1]
            B[:, bit] = np.where(exact @ w >= 0, 1, -1)
            residual = residual - np.outer(B[:, bit], B[:, bit])
        found = np.where(exact @ W >= 0, 1, -1)
        np.testing.assert_array_equal(np.abs((found * B).sum(axis=0)), 90)  # up to a bit's sign
    assert iteration == 2


def test_the_first_bit_is_the_top_generalised_eigenvector(blobs: Any) -> None:
    X = blobs[:400]
    hasher = ScalableGraphHashing(8, n_bases=40, n_iter=0, random_state=0).fit(X)
    unit = unit_rows(X, X.mean(axis=0, dtype=np.float64))
    K = np.exp(-cdist(unit, hasher.bases_, "sqeuclidean") / (2 * hasher.bandwidth_))
    K -= K.mean(axis=0)
    P, Q = transformed(unit)
    A, Z = (K.T @ P) @ (K.T @ Q).T, K.T @ K + RIDGE * 400 * np.eye(40)
    w = eigh(A, Z)[1][:, -1]
    first = hasher.W_[:, 0]
    cosine = first @ w / np.linalg.norm(first) / np.linalg.norm(w)
    assert abs(cosine) == pytest.approx(1, abs=1e-5)
    # generalised eigenvectors are of length 1 in Z, which the hasher scales to scores' variance
    assert first @ Z @ first / 400 == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("n_bases", [50, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_passes_bring_codes_closer_to_the_similarity(blobs: Any, n_bases: int, seed: int) -> None:
    losses = ScalableGraphHashing(16, n_bases=n_bases, random_state=seed).fit(blobs).loss_
    assert len(losses) == 11
    # no theorem: each eigenproblem is solved without signs
    assert (np.diff(losses) <= 0.01 * losses[0]).all()
    assert losses[1] < 0.96 * losses[0]
    assert losses[-1] < 0.9 * losses[0]


def test_the_loss_is_the_objective_of_the_paper(blobs: Any) -> None:
    X = blobs[:600]
    hasher = ScalableGraphHashing(16, n_bases=100, n_iter=1, random_state=0).fit(X)
    P, Q = transformed(unit_rows(X, X.mean(axis=0, dtype=np.float64)))
    B = signs(hasher.transform(X))
    objective = np.linalg.norm(16 * P @ Q.T - B @ B.T) ** 2
    assert hasher.loss_[-1] == pytest.approx(objective / 16**2 / 600**2, rel=1e-5)


def test_scores_and_statistics_are_those_of_the_definitions(blobs: Any) -> None:
    hasher = ScalableGraphHashing(16, n_bases=50, random_state=0).fit(blobs)
    unit = unit_rows(blobs, blobs.mean(axis=0, dtype=np.float64))
    squared = cdist(unit, hasher.bases_, "sqeuclidean")
    assert (squared.min(axis=0) < 1e-12).all()  # bases are training vectors
    np.testing.assert_allclose(hasher.bandwidth_, squared.mean())
    K = np.exp(-squared / (2 * squared.mean()))
    np.testing.assert_allclose(hasher.bias_, K.mean(axis=0))
    np.testing.assert_allclose(
        hasher.project(blobs), (K - K.mean(axis=0)) @ hasher.W_, rtol=1e-5, atol=1e-5
    )


def test_codes_follow_angles_seen_from_the_mean(blobs: Any) -> None:
    hasher = ScalableGraphHashing(32, n_bases=50, random_state=0).fit(blobs)
    mean = blobs.mean(axis=0, dtype=np.float64)
    factors = np.random.default_rng(0).uniform(0.1, 10, size=(len(blobs), 1))
    differ = unpack(hasher.transform(blobs)) != unpack(
        hasher.transform(mean + factors * (blobs - mean))
    )
    assert differ.mean() < 1e-4


def test_translation_changes_nothing(blobs: Any) -> None:
    # multiples of 1/64, which float32 moves by 64 without rounding
    grid = np.round(blobs * 64) / 64
    fits = [
        ScalableGraphHashing(16, n_bases=50, n_iter=2, random_state=0).fit(X).transform(X)
        for X in (grid, grid + 64)
    ]
    assert np.mean(unpack(fits[0]) != unpack(fits[1])) < 0.01


def test_a_sample_bounds_what_is_learned_from(blobs: Any) -> None:
    def fit(seed: int) -> ScalableGraphHashing:
        method = ScalableGraphHashing(16, n_bases=40, n_iter=1, n_samples=500, random_state=seed)
        return method.fit(blobs)

    first, again, other = fit(0), fit(0), fit(1)
    assert first.training_["n_rows"] == 500
    np.testing.assert_allclose(first.mean_, blobs.mean(axis=0, dtype=np.float64))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    bits = unpack(first.transform(blobs))
    assert (np.abs(bits.mean(axis=0) - 0.5) < 0.4).all()


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("distinct", [1, 2, 20])
def test_few_and_repeated_vectors_are_learned_from(d: int, distinct: int) -> None:
    values = np.random.default_rng(0).normal(size=(distinct, d)) + 1000
    X = np.repeat(values, 40 // distinct, axis=0)
    codes = ScalableGraphHashing(8, random_state=0).fit(X).transform(X)
    assert len(np.unique(codes, axis=0)) <= distinct
    if distinct == 20 and d > 1:
        assert len(np.unique(codes, axis=0)) > 3
    if distinct == 2:
        assert (codes[0] != codes[-1]).any()


@pytest.mark.parametrize(
    "wrong", [{"n_bases": 0}, {"n_bases": 3.0}, {"n_iter": -1}, {"n_samples": True}]
)
def test_bad_parameters_are_named(blobs: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be a whole number"):
        ScalableGraphHashing(8, **wrong).fit(blobs)


def test_digits_are_found_better_than_by_chance_planes(digits: Any) -> None:
    base, queries = digits
    truth = exact_neighbors(*digits, 100).ids
    ours, lsh = (
        measure(hasher.fit(base), base, queries, truth)["metrics"]
        for hasher in (
            ScalableGraphHashing(32, n_bases=200, n_iter=3, random_state=0),
            LSH(32, random_state=0),
        )
    )
    for metric in ("pr_area", "map", "precision@100"):
        assert ours[metric] > lsh[metric] + 0.1
