from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from sigah import LSH, SpectralHashing
from sigah.codes import unpack
from sigah.hashers.spectral import smallest_modes


def test_on_a_line_the_bits_are_signs_of_cosines() -> None:
    x = np.linspace(0, 1, 1001)[:, None].astype(np.float32)
    scores = SpectralHashing(8).fit(x).project(x)
    expected = np.cos(np.arange(1, 9) * np.pi * x)
    flipped = np.cos(np.arange(1, 9) * np.pi * (1 - x))  # an eigenvector has no orientation
    distance = min(np.abs(scores - expected).max(), np.abs(scores - flipped).max())
    assert distance < 1e-4


@given(
    lengths=st.lists(st.floats(0.1, 10), min_size=1, max_size=5),
    n_modes=st.sampled_from([8, 16, 24]),
)
def test_modes_are_the_lowest_frequencies_of_all(lengths: list[float], n_modes: int) -> None:
    ranges = np.array(lengths)
    axes, multiples = smallest_modes(ranges, n_modes)
    assert len(set(zip(axes, multiples, strict=True))) == n_modes, "no mode twice"
    everything = sorted(k / R for R in lengths for k in range(1, 3 * n_modes))
    np.testing.assert_allclose(multiples / ranges[axes], everything[:n_modes])


def test_modes_agree_with_the_enumeration_of_the_original_code() -> None:
    ranges = np.array([5.0, 3.1, 0.7])
    most = np.ceil(17 * ranges / ranges.max()).astype(int)  # (r + 1) R_j / max R
    listed = sorted((k / R, j, k) for j, R in enumerate(ranges) for k in range(1, most[j]))
    axes, multiples = smallest_modes(ranges, 16)
    assert list(zip(axes, multiples, strict=True)) == [(j, k) for _, j, k in listed[:16]]


def test_bits_of_a_uniform_box_are_balanced_and_uncorrelated() -> None:
    X = np.random.default_rng(0).uniform(size=(20000, 3)) * [4, 2, 1]
    bits = unpack(SpectralHashing(8).fit(X).transform(X)).astype(float)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.02
    correlation = np.corrcoef(bits.T) - np.eye(8)
    # products of square waves are not exactly orthogonal: cos x and cos 3x share a third
    assert np.abs(correlation).max() < 0.4
    assert np.abs(correlation).mean() < 0.05


def test_constant_axes_carry_no_bits(blobs: Any) -> None:
    narrow = np.hstack([blobs[:, :2], np.full((len(blobs), 6), 5, np.float32)])
    hasher = SpectralHashing(16).fit(narrow)
    assert set(hasher.axes_) == {0, 1}


def test_identical_vectors_have_one_code() -> None:
    X = np.full((20, 4), 2.5)
    assert len(np.unique(SpectralHashing(8).fit(X).transform(X), axis=0)) == 1


def test_nothing_is_random(blobs: Any) -> None:
    first, second = (SpectralHashing(16).fit(blobs).transform(blobs) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert "random_state" not in SpectralHashing().get_params()


def test_translation_changes_few_bits(blobs: Any) -> None:
    here, there = SpectralHashing(16).fit(blobs), SpectralHashing(16).fit(blobs + 64)
    differ = unpack(here.transform(blobs)) != unpack(there.transform(blobs + 64))
    # an axis may come out reversed, which flips its odd modes for every vector
    per_bit = np.minimum(differ.mean(axis=0), 1 - differ.mean(axis=0))
    assert per_bit.max() < 0.02


def test_true_neighbours_are_nearer_than_under_random_hyperplanes(digits: Any) -> None:
    base, queries = digits
    neighbours = cdist(queries[:100], base).argsort(axis=1)[:, :20]

    def rank_of_neighbours(hasher: Any) -> float:
        hasher.fit(base)
        found = unpack(hasher.transform(queries[:100])).astype(int)
        hamming = (found[:, None] != unpack(hasher.transform(base))[None]).sum(axis=2)
        ranks = rankdata(hamming, axis=1)
        return float(np.take_along_axis(ranks, neighbours, axis=1).mean())

    assert rank_of_neighbours(SpectralHashing(32)) < rank_of_neighbours(LSH(32, random_state=0))
