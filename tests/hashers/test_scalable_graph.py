from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.linalg import eigh

from sigah import LSH, ScalableGraphHashing
from sigah.codes import unpack
from sigah.hashers.scalable_graph import learn_bits, similarity_factors


@given(hnp.arrays(np.float64, (6, 3), elements=st.floats(-0.5, 0.5)))
def test_the_factors_multiply_to_the_closed_form(X: Any) -> None:
    P, Q = similarity_factors(X)
    e, norms = np.e, (X**2).sum(axis=1)
    chord = 2 * (e**2 - 1) / (e * 2) * X @ X.T + (e**2 + 1) / e
    expected = chord * np.exp(-(norms[:, None] + norms) / 2) - 1
    np.testing.assert_allclose(P @ Q.T, expected, atol=1e-12)


def test_the_approximation_meets_the_similarity_at_its_ends() -> None:
    X = np.array([[1.0, 0], [1, 0], [-1, 0]])  # x.y = 1 and -1, where chord and curve meet
    P, Q = similarity_factors(X)
    exact = 2 * np.exp(-((X[:, None] - X) ** 2).sum(axis=2) / 2) - 1
    np.testing.assert_allclose(P @ Q.T, exact, atol=1e-12)


@pytest.fixture(scope="module")
def small() -> Any:
    """Kernel features K (200, 20) and the whole similarity S (200, 200)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    K = np.exp(-((X[:, None] - X[:20]) ** 2).sum(axis=2) / 4)
    K -= K.mean(axis=0)
    P, Q = similarity_factors(X)
    return K.astype(np.float32), P @ Q.T


def test_the_first_bit_is_the_top_generalised_eigenvector(small: Any) -> None:
    K, S = small
    similarity = K.T.astype(float) @ S @ K
    W, _ = learn_bits(K, similarity, 1, np.random.RandomState(0))
    gram = K.T.astype(float) @ K
    gram += 1e-6 * np.trace(gram) / 20 * np.eye(20)
    best = eigh(similarity, gram)[1][:, -1]
    cosine = np.abs(W[:, 0] @ best) / np.linalg.norm(W[:, 0]) / np.linalg.norm(best)
    assert cosine == pytest.approx(1, abs=1e-4)


def test_residuals_are_those_of_the_whole_similarity(small: Any) -> None:
    K, S = small
    W, residuals = learn_bits(K, K.T.astype(float) @ S @ K, 8, np.random.RandomState(0))
    B = np.where(K @ W >= 0, 1.0, -1.0)
    left = K.T.astype(float) @ (8 * S - B @ B.T) @ K
    gram = K.T.astype(float) @ K
    gram += 1e-6 * np.trace(gram) / 20 * np.eye(20)
    whiten = np.linalg.inv(np.linalg.cholesky(gram))
    assert residuals[-1] == pytest.approx(np.square(whiten @ left @ whiten.T).sum(), rel=1e-3)


def test_the_second_pass_explains_more(small: Any) -> None:
    K, S = small
    for seed in range(3):
        _, (first, second) = learn_bits(
            K, K.T.astype(float) @ S @ K, 8, np.random.RandomState(seed)
        )
        assert second <= first * (1 + 1e-9)


def test_more_bits_explain_the_similarity_better(small: Any) -> None:
    K, S = small
    errors = []
    for n_bits in (8, 32):
        W, _ = learn_bits(K, K.T.astype(float) @ S @ K, n_bits, np.random.RandomState(0))
        B = np.where(K @ W >= 0, 1.0, -1.0)
        errors.append(np.square(S - B @ B.T / n_bits).mean())
    assert errors[1] < errors[0]


def test_codes_ignore_place_and_length(blobs: Any) -> None:
    hasher = ScalableGraphHashing(16, random_state=0).fit(blobs)
    stretched = hasher.mean_ + 7 * (blobs - hasher.mean_)
    differ = unpack(hasher.transform(blobs)) != unpack(hasher.transform(stretched))
    assert differ.mean() < 1e-3
    moved = ScalableGraphHashing(16, random_state=0).fit(blobs + 64)
    differ = unpack(hasher.transform(blobs)) != unpack(moved.transform(blobs + 64))
    assert differ.mean() < 0.01


def test_a_vector_at_the_mean_has_a_code() -> None:
    X = np.vstack([np.eye(8), -np.eye(8), np.zeros((1, 8))]).astype(np.float32)
    hasher = ScalableGraphHashing(8, random_state=0).fit(X)
    assert np.isfinite(hasher.project(X)).all()


def test_neighbours_share_more_bits_than_under_random_hyperplanes(digits: Any) -> None:
    base, queries = digits
    base, queries = base[:3000], queries[:100]
    distances = np.linalg.norm(queries[:, None] - base[None, :500], axis=2)
    near = distances <= np.quantile(distances, 0.02, axis=1, keepdims=True)

    def ratio(hasher: Any) -> float:
        bits = unpack(hasher.fit(base).transform(base[:500]))
        hamming = (unpack(hasher.transform(queries))[:, None] != bits[None]).sum(axis=2)
        return float(hamming[near].mean() / hamming.mean())

    assert ratio(ScalableGraphHashing(32, random_state=0)) < ratio(LSH(32, random_state=0))


@pytest.mark.parametrize("settings", [{"n_bases": 0}, {"n_samples": "all"}, {"n_bases": True}])
def test_impossible_settings_are_named(blobs: Any, settings: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be a whole number"):
        ScalableGraphHashing(16, **settings).fit(blobs)
