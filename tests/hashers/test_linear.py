"""A vector has one code, however near a threshold it lies and whatever stands beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sigah import ITQ, LSH, SiGAH
from sigah.codes import unpack
from sigah.hashers import LinearHasher, rounding
from sigah.hashers import sigah_training as training
from sigah.threads import limit_threads


def linear(weights: Any, thresholds: Any) -> LinearHasher:
    """A hasher with given hyperplanes."""
    hasher = LSH(weights.shape[1])
    hasher.weights_, hasher.thresholds_ = weights.astype(np.float32), np.asarray(thresholds, float)
    hasher.n_features_in_ = len(weights)
    return hasher


def test_bits_are_exact_where_a_float32_product_is_not() -> None:
    """Sums of 1, -1 and 2^-30: float64 holds all of them exactly, and float32 few."""
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(500, 24)).astype(np.float32)
    W = rng.choice([-1.0, 1.0, 2.0**-30, -(2.0**-30)], size=(24, 64)).astype(np.float32)
    thresholds = rng.choice([0.0, 1.0, 2.0**-30], size=64)
    exact = X.astype(np.float64) @ W.astype(np.float64) - thresholds
    rounded = X @ W - thresholds.astype(np.float32)
    assert ((rounded >= 0) != (exact >= 0)).sum() > 100, "the case is hard"
    bits = unpack(linear(W, thresholds).transform(X))
    np.testing.assert_array_equal(bits, exact >= 0)


@pytest.mark.parametrize("few", [1, 32, 10**9])
def test_codes_do_not_depend_on_how_uncertain_scores_are_computed(
    monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Scores of 0 up to float64's rounding: one by one, or many in one product."""
    rng = np.random.default_rng(1)
    W = rng.normal(size=(24, 64))
    X = np.repeat(rng.normal(size=(20, 24)), 10, axis=0).astype(np.float32)
    hasher = linear(W, X[0].astype(np.float64) @ W.astype(np.float32))
    alone = np.concatenate([hasher.transform(x[None]) for x in X])
    monkeypatch.setattr(rounding, "FEW", few)
    monkeypatch.setattr(rounding, "MENDED_BYTES", 1 << 13)
    np.testing.assert_array_equal(hasher.transform(X), alone)
    at_threshold = np.repeat(X[:1], 3000, axis=0)
    codes = hasher.transform(at_threshold)
    np.testing.assert_array_equal(codes, np.repeat(alone[:1], 3000, axis=0))


@pytest.mark.parametrize("size", [1e25, 1e38, 3e38])
def test_the_largest_vectors_have_the_code_of_their_direction(size: float) -> None:
    rng = np.random.default_rng(2)
    directions = rng.choice([-1.0, -0.5, 0.5, 1.0], size=(200, 40)).astype(np.float32)
    hasher = linear(rng.normal(size=(40, 64)), np.zeros(64))
    expected = hasher.transform(directions)
    huge = directions * np.float32(size)
    np.testing.assert_array_equal(hasher.transform(huge), expected)
    mixed = np.where(np.arange(200)[:, None] % 2, huge, directions)
    np.testing.assert_array_equal(hasher.transform(mixed), expected)


def test_only_scores_within_their_own_rounding_error_are_uncertain() -> None:
    """A score of a zero vector, or of no weights, is exact; the bounds of others are their own."""
    scores = np.zeros((4, 3), np.float32)
    scores[3] = 1e-3
    lengths, steepness = np.array([0, 1, 1e6, 1.0]), np.array([0, 1, 1e9])
    near = rounding.suspicious(scores, lengths, steepness, np.zeros(3))
    rows, bits = rounding.uncertain(scores, near, lengths, steepness, np.zeros(3))
    assert list(zip(rows, bits, strict=True)) == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2)]
    hasher = linear(np.random.default_rng(3).normal(size=(8, 16)), np.zeros(16))
    assert unpack(hasher.transform(np.zeros((5, 8)))).all(), "0 counts as positive"


def test_the_folded_encoder_gives_the_bits_of_the_hash_layer(
    blobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[training.Trained] = []
    train = training.train

    def keeping(*arguments: Any) -> training.Trained:
        kept.append(train(*arguments))
        return kept[-1]

    monkeypatch.setattr(training, "train", keeping)
    hasher = SiGAH(32, n_steps=200, random_state=0).fit(blobs)
    (layer,) = kept
    logits = (blobs - layer.mean) / layer.scale @ layer.W.astype(np.float64)
    settled = np.abs(logits + layer.c) > 1e-5  # weights are rounded once more as they are folded
    bits = unpack(hasher.transform(blobs))
    np.testing.assert_array_equal(bits[settled], (logits + layer.c >= 0)[settled])
    assert settled.mean() > 0.999
    assert (bits != (logits >= 0)).mean() > 0.001, "the bias matters"


def test_long_vectors_do_not_change_the_codes_of_their_neighbours(blobs: Any) -> None:
    hasher = ITQ(16, random_state=0).fit(blobs)
    codes = hasher.transform(blobs)
    stretched = blobs.copy()
    stretched[::7] *= 1e6
    kept = np.arange(len(blobs)) % 7 != 0
    np.testing.assert_array_equal(hasher.transform(stretched)[kept], codes[kept])


def test_codes_do_not_depend_on_the_number_of_threads() -> None:
    """Vectors at the thresholds, of a width at which BLAS shares a product among its threads."""
    X = np.random.default_rng(4).integers(-3, 4, (3000, 784)).astype(np.float32)
    W = np.random.default_rng(5).normal(size=(784, 256))
    hasher = linear(W, X[0].astype(np.float64) @ W.astype(np.float32))
    X[::2] = X[0]
    with limit_threads(1):
        expected = hasher.transform(X)
    for n_threads in (2, 4):
        with limit_threads(n_threads):
            np.testing.assert_array_equal(hasher.transform(X), expected)
    assert len(np.unique(expected[::2], axis=0)) == 1
