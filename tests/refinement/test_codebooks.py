"""Additive codebooks against what their definition says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sigah.refinement.codebooks import (
    ZEROS,
    ZEROS_OF_CODE,
    choose,
    choose_halves,
    decoded,
    improve,
    improve_halves,
    means_by_value,
    nearest,
    of_halves,
    product_starts,
    starts_of_halves,
)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(1500, 12)) @ rng.normal(size=(12, 12))).astype(np.float32)


def start(vectors: np.ndarray, n_code: int, sizes: list[int]) -> tuple[np.ndarray, ...]:
    rng = np.random.RandomState(0)
    rows, codebooks = next(
        product_starts(vectors, sizes[n_code:], np.eye(12, dtype=np.float32), rng)
    )
    code = np.packbits(vectors[:, : 8 * n_code] > 0, axis=1)[:, :n_code]
    rows = np.hstack([code, rows])
    codebooks = np.concatenate([np.zeros((n_code, 256, 12), np.float32), codebooks])
    return vectors - decoded(rows, codebooks), rows, codebooks


def test_decoding_adds_one_codeword_for_each_byte() -> None:
    rng = np.random.default_rng(1)
    codebooks = rng.normal(size=(3, 256, 5)).astype(np.float32)
    rows = rng.integers(0, 256, (10, 3)).astype(np.uint8)
    expected = [sum(codebooks[j, row[j]] for j in range(3)) for row in rows]
    np.testing.assert_allclose(decoded(rows, codebooks), expected, rtol=1e-5)


def test_nearest_codewords_are_those_of_brute_force(vectors: np.ndarray) -> None:
    codewords = vectors[::100]
    apart = ((vectors[:, None] - codewords[None]) ** 2).sum(axis=2)
    assert (nearest(vectors, codewords) == apart.argmin(axis=1)).all()


def test_means_by_value_are_those_of_a_loop(vectors: np.ndarray) -> None:
    values = np.random.default_rng(2).integers(0, 50, len(vectors)).astype(np.uint8)
    means = means_by_value(vectors, values, 3)
    for value in (0, 7, 49, 50, 255):
        some = np.vstack([vectors[values == value], np.zeros((3, vectors.shape[1]))])
        np.testing.assert_allclose(means[value], some.mean(axis=0), atol=1e-5)


def test_rounds_lower_the_error_and_keep_the_residual_true(vectors: np.ndarray) -> None:
    sizes = [256, 64, 64, 16]
    residual, rows, codebooks = start(vectors, 1, sizes)
    code = rows[:, :1].copy()

    def cost() -> float:
        lengths = np.square(codebooks).sum(axis=(1, 2))
        return float(np.square(residual).sum() + [ZEROS_OF_CODE, ZEROS, ZEROS, ZEROS] @ lengths)

    costs = [cost()]
    for _ in range(4):
        improve(residual, rows, codebooks, 1, sizes)
        costs.append(cost())
        np.testing.assert_allclose(residual, vectors - decoded(rows, codebooks), atol=1e-3)
    assert (rows[:, :1] == code).all(), "the hash code is given"
    assert (rows.max(axis=0) < sizes).all()
    assert costs[1] < 0.95 * costs[0]
    assert all(after <= before * 1.001 for before, after in itertools.pairwise(costs))
    before = float(np.square(residual).sum())
    kept = codebooks.copy()
    choose(residual, rows, codebooks, 1, sizes)
    assert (codebooks == kept).all()
    assert float(np.square(residual).sum()) <= before * 1.0001
    of_hash = vectors - decoded(rows[:, :1], codebooks[:1])
    greedy = rows.copy()
    choose(of_hash, greedy, codebooks, 1, sizes, anew=True)
    np.testing.assert_allclose(of_hash, vectors - decoded(greedy, codebooks), atol=1e-3)
    first = nearest(vectors - decoded(rows[:, :1], codebooks[:1]), codebooks[1, : sizes[1]])
    assert (greedy[:, 1] == first).all()


def test_product_starts_quantise_with_and_without_enough_axes() -> None:
    rng = np.random.RandomState(3)
    narrow = rng.normal(size=(2000, 2)).astype(np.float32)
    axes = np.eye(2, dtype=np.float32)
    for rows, codebooks in product_starts(narrow, [256, 256, 256, 16, 16], axes, rng):
        left = narrow - decoded(rows, codebooks)
        assert np.square(left).mean() < 1e-5 * np.square(narrow).mean(), "five bytes for two"
    few = np.repeat(rng.normal(size=(5, 6)), 30, axis=0).astype(np.float32)
    rows, codebooks = next(product_starts(few, [256, 256], np.eye(6, dtype=np.float32), rng))
    np.testing.assert_allclose(decoded(rows, codebooks), few, atol=1e-4)


def test_subspaces_are_consecutive_dimensions_where_these_belong_together() -> None:
    """Three groups of four dimensions with 16 points each; principal axes mix the groups."""
    rng = np.random.RandomState(4)
    points = rng.normal(size=(3, 16, 4))
    values = rng.randint(0, 16, (3000, 3))
    vectors = np.hstack([points[group, values[:, group]] for group in range(3)]).astype(np.float32)
    axes = np.linalg.qr(rng.normal(size=(12, 12)))[0].astype(np.float32)
    rotated = vectors @ axes
    errors = [
        np.square(rotated - decoded(*start)).mean() / rotated.var()
        for start in product_starts(rotated, [16, 16, 16], axes, rng)
    ]
    assert errors[1] < 0.1
    assert errors[1] < 0.5 * errors[0]
    few = list(product_starts(rotated[:, :6], [16, 16, 16], axes[:, :6], rng))
    assert len(few) == 1, "dimensions are not at right angles any more"


def test_codewords_of_halves_are_sums(vectors: np.ndarray) -> None:
    halves = np.random.default_rng(5).normal(size=(2, 2, 16, 12)).astype(np.float32)
    codewords = of_halves(halves)
    assert codewords.shape == (2, 256, 12)
    for value in (0, 1, 16, 200, 255):
        expected = halves[1, 0, value // 16] + halves[1, 1, value % 16]
        np.testing.assert_array_equal(codewords[1, value], expected)
    residual, rows = vectors.copy(), np.zeros((len(vectors), 2), np.uint8)
    choose_halves(residual, rows, halves, anew=True)
    found = nearest(vectors, codewords[0])
    assert (rows[:, 0] == found).mean() > 0.999, "rounding may decide between two"
    np.testing.assert_allclose(residual, vectors - decoded(rows, codewords), atol=1e-4)


def test_rounds_over_halves_lower_the_error_and_keep_the_residual_true(
    vectors: np.ndarray,
) -> None:
    axes = np.eye(12, dtype=np.float32)
    rows, halves = next(starts_of_halves(vectors, 3, axes, np.random.RandomState(0)))
    assert halves.shape == (3, 2, 16, 12)
    residual = vectors - decoded(rows, of_halves(halves))
    errors = [float(np.square(residual).sum())]
    for _ in range(4):
        improve_halves(residual, rows, halves)
        errors.append(float(np.square(residual).sum()))
        expected = vectors - decoded(rows, of_halves(halves))
        np.testing.assert_allclose(residual, expected, atol=1e-3)
    assert errors[-1] < 0.9 * errors[0]
    assert all(after <= before * 1.001 for before, after in itertools.pairwise(errors))
    before = errors[-1]
    choose_halves(residual, rows, halves)
    assert float(np.square(residual).sum()) <= before * 1.0001
