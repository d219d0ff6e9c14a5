from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigah import LSH, QoLSH
from sigah.codes import signs, unpack
from sigah.hashers.quantization_optimized_lsh import optimise_signs, random_frame


def cosines(X: Any, W: Any, B: Any) -> Any:
    V = B @ W.T
    lengths = np.linalg.norm(V, axis=1) * np.linalg.norm(X, axis=1)
    return np.einsum("ij,ij->i", X, V) / lengths


def searched(X: Any, W: Any) -> Any:
    bits, flips = optimise_signs(X @ W, W.T @ W)
    return np.where(bits, 1.0, -1.0), flips


@given(st.integers(0, 10**6), st.integers(2, 10), st.integers(2, 8))
def test_codes_are_at_least_as_good_as_signs_and_at_most_optimal(seed: int, r: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    X, W = rng.normal(size=(10, d)), rng.normal(size=(d, r))
    B, _ = searched(X, W)
    found = cosines(X, W, B)
    every = np.array(list(product([-1.0, 1.0], repeat=r)))
    best = np.max([cosines(X, W, np.tile(b, (10, 1))) for b in every], axis=0)
    assert (found >= cosines(X, W, np.where(X @ W >= 0, 1.0, -1.0)) - 1e-9).all()
    assert (found <= best + 1e-9).all()
    for k in range(r):  # no single flip is left that helps
        flipped = B.copy()
        flipped[:, k] *= -1
        assert (cosines(X, W, flipped) <= found + 1e-6).all()


def test_the_search_is_often_optimal() -> None:
    rng = np.random.default_rng(0)
    X, W = rng.normal(size=(200, 6)), rng.normal(size=(6, 12))
    B, _ = searched(X, W)
    every = np.array(list(product([-1.0, 1.0], repeat=12)))
    units = every @ W.T
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    best = (X @ units.T).max(axis=1) / np.linalg.norm(X, axis=1)
    assert np.mean(cosines(X, W, B) > best - 1e-9) > 0.3
    assert cosines(X, W, B).mean() > 0.97 * best.mean()


def test_signs_are_optimal_for_orthonormal_frames() -> None:
    rng = np.random.default_rng(0)
    W = random_frame("tight", 32, 32, np.random.RandomState(0))
    B, flips = searched(X := rng.normal(size=(300, 32)), W)
    assert (flips == 0).all()
    # the mean cosine of a vector and its signs tends to sqrt(2 / pi)
    assert cosines(X, W, B).mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.02)


@pytest.mark.parametrize(("kind", "r"), [("gaussian", 32), ("gaussian", 64), ("tight", 64)])
def test_flips_turn_the_code_towards_the_vector(kind: str, r: int) -> None:
    W = random_frame(kind, 32, r, np.random.RandomState(0))
    X = np.random.default_rng(0).normal(size=(200, 32))
    B, flips = searched(X, W)
    gain = cosines(X, W, B).mean() - cosines(X, W, np.where(X @ W >= 0, 1.0, -1.0)).mean()
    assert flips.mean() > 1
    assert gain > 0.03


@pytest.mark.parametrize(("d", "r"), [(16, 8), (16, 16), (8, 24)])
def test_tight_frames_are_orthonormal(d: int, r: int) -> None:
    W = random_frame("tight", d, r, np.random.RandomState(0))
    gram = W.T @ W if r <= d else W @ W.T
    np.testing.assert_allclose(gram, np.eye(min(d, r)), atol=1e-10)


def test_zero_has_a_code() -> None:
    W = np.random.default_rng(0).normal(size=(4, 8))
    bits, flips = optimise_signs(np.zeros((2, 8)), W.T @ W)
    assert flips.tolist() == [0, 0]
    assert bits.all()


def test_the_decoders_scale_is_the_best_one(blobs: Any) -> None:
    hasher = QoLSH(64, random_state=0).fit(blobs)
    score = hasher.score(blobs)
    for factor in (0.95, 1.05):
        other = QoLSH(64, random_state=0).fit(blobs)
        other.scale_ = other.scale_ * factor
        assert other.score(blobs) < score


def test_more_bits_than_dimensions_rebuild_better(blobs: Any) -> None:
    scores = [QoLSH(n_bits, random_state=0).fit(blobs).score(blobs) for n_bits in (24, 96)]
    assert scores[1] > scores[0]


def test_it_keeps_directions_better_than_lsh(blobs: Any) -> None:
    centred = blobs - blobs.mean(axis=0)
    lsh, qolsh = LSH(96, random_state=0).fit(blobs), QoLSH(96, random_state=0).fit(blobs)
    plain = cosines(centred, lsh.weights_, signs(lsh.transform(blobs)))
    ours = cosines(centred, qolsh.weights_, signs(qolsh.transform(blobs)))
    assert ours.mean() > plain.mean() + 0.05


def test_length_changes_no_bit(blobs: Any) -> None:
    hasher = QoLSH(32, frame="gaussian", random_state=0).fit(blobs)
    stretched = (hasher.mean_ + 3 * (blobs - hasher.mean_)).astype(np.float32)
    assert np.mean(unpack(hasher.transform(blobs)) != unpack(hasher.transform(stretched))) < 1e-3


def test_an_unknown_frame_is_named(blobs: Any) -> None:
    with pytest.raises(ValueError, match="frame must be one of gaussian, tight, got 'wide'"):
        QoLSH(16, frame="wide").fit(blobs)
