"""Additive codebooks against what their definition says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sigah.refinement.codebooks import (
    choose,
    decoded,
    improve,
    nearest,
    product_codebooks,
    sums_by_value,
)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(1500, 12)) @ rng.normal(size=(12, 12))).astype(np.float32)


def start(vectors: np.ndarray, n_hash: int, sizes: list[int]) -> tuple[np.ndarray, ...]:
    rng = np.random.RandomState(0)
    rows, codebooks = product_codebooks(vectors, sizes[n_hash:], rng)
    code = np.packbits(vectors[:, : 8 * n_hash] > 0, axis=1)[:, :n_hash]
    rows = np.hstack([code, rows])
    codebooks = np.concatenate([np.zeros((n_hash, 256, 12), np.float32), codebooks])
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


def test_sums_by_value_are_those_of_a_loop(vectors: np.ndarray) -> None:
    values = np.random.default_rng(2).integers(0, 50, len(vectors)).astype(np.uint8)
    sums, counts = sums_by_value(vectors, values)
    for value in (0, 7, 49, 50, 255):
        assert counts[value] == (values == value).sum()
        np.testing.assert_allclose(sums[value], vectors[values == value].sum(axis=0), atol=1e-3)


def test_rounds_lower_the_error_and_keep_the_residual_true(vectors: np.ndarray) -> None:
    sizes = [256, 64, 64, 16]
    residual, rows, codebooks = start(vectors, 1, sizes)
    code = rows[:, :1].copy()
    errors = [float(np.square(residual).sum())]
    for _ in range(4):
        improve(residual, rows, codebooks, 1, sizes)
        errors.append(float(np.square(residual).sum()))
        np.testing.assert_allclose(residual, vectors - decoded(rows, codebooks), atol=1e-3)
    assert (rows[:, :1] == code).all(), "the hash code is given"
    assert (rows.max(axis=0) < sizes).all()
    assert errors[1] < 0.95 * errors[0]
    assert all(after <= before * 1.001 for before, after in itertools.pairwise(errors))
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


def test_product_codebooks_quantise_with_and_without_enough_axes() -> None:
    rng = np.random.RandomState(3)
    narrow = rng.normal(size=(2000, 2)).astype(np.float32)
    rows, codebooks = product_codebooks(narrow, [256, 256, 256, 16, 16], rng)
    left = narrow - decoded(rows, codebooks)
    assert np.square(left).mean() < 1e-5 * np.square(narrow).mean(), "five bytes for two numbers"
    few = np.repeat(rng.normal(size=(5, 6)), 30, axis=0).astype(np.float32)
    rows, codebooks = product_codebooks(few, [256, 256], rng)
    np.testing.assert_allclose(decoded(rows, codebooks), few, atol=1e-4)
