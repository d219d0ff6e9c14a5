from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from sigah import SphericalHashing
from sigah.codes import unpack
from sigah.hashers.spherical import forces, halving_radii


def test_bits_say_inside_or_outside(blobs: Any) -> None:
    hasher = SphericalHashing(32, random_state=0).fit(blobs)
    distances = cdist(blobs - hasher.mean_, hasher.centres_)
    bits = unpack(hasher.transform(blobs))
    np.testing.assert_array_equal(bits, distances <= hasher.radii_)


@pytest.mark.parametrize("offset", [0, 10_000])
def test_every_bit_halves_the_training_vectors(blobs: Any, offset: int) -> None:
    X = blobs + np.float32(offset)
    bits = unpack(SphericalHashing(32, random_state=0).fit(X).transform(X))
    np.testing.assert_array_equal(bits.sum(axis=0), len(blobs) // 2)


@pytest.mark.parametrize("n_bits", [8, 32, 48])
def test_pairs_of_spheres_share_a_quarter(blobs: Any, n_bits: int) -> None:
    hasher = SphericalHashing(n_bits, random_state=0).fit(blobs)
    assert hasher.training_["converged"]
    bits = unpack(hasher.transform(blobs)).astype(float)
    overlaps = (bits.T @ bits)[~np.eye(n_bits, dtype=bool)] / (len(blobs) / 4)
    assert np.abs(overlaps - 1).mean() <= 0.10
    assert overlaps.std() <= 0.15
    # the rounds ended by what the final codes really share
    assert hasher.training_["overlap_error"] == pytest.approx(np.abs(overlaps - 1).mean(), abs=1e-3)


def test_moving_the_centres_is_what_makes_bits_independent(blobs: Any) -> None:
    first = SphericalHashing(32, max_iter=1, random_state=0).fit(blobs)
    assert first.training_["iterations"] == 1
    assert not first.training_["converged"]
    moved = SphericalHashing(32, random_state=0).fit(blobs)
    assert moved.training_["overlap_error"] < 0.5 * first.training_["overlap_error"]


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 1000))
def test_forces_are_those_of_the_definition(r: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres, overlaps = rng.normal(size=(r, d)), rng.integers(0, 100, size=(r, r)).astype(float)
    overlaps = overlaps + overlaps.T
    expected = np.zeros((r, d))
    for i in range(r):
        for j in range(r):
            expected[i] += 0.5 * (overlaps[i, j] - 25) / 25 * (centres[i] - centres[j]) / r
    found = forces(centres, overlaps, 100)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-9)


def test_spheres_that_share_too_much_move_apart() -> None:
    centres = np.array([[0.0], [1.0]])
    apart = forces(centres, np.full((2, 2), 40.0), 100)
    together = forces(centres, np.full((2, 2), 10.0), 100)
    assert apart[0] < 0 < apart[1]
    assert together[0] > 0 > together[1]


@given(
    hnp.arrays(
        float,
        st.tuples(st.integers(1, 6).map(lambda half: 2 * half), st.integers(1, 4)),
        elements=st.integers(1, 5).map(float),
    )
)
def test_radii_are_the_best_that_no_rounding_can_reach(distances: Any) -> None:
    n = len(distances)
    radii = halving_radii(distances)
    assert (np.abs(distances - radii) > 1e-10).all()
    for column, radius in zip(distances.T, radii, strict=True):
        imbalances = [abs((column <= value).sum() - n / 2) for value in column]
        assert abs((column <= radius).sum() - n / 2) == min(imbalances)


@pytest.mark.parametrize("repeats", [1500, 4000])
def test_one_vector_may_fill_most_of_the_sample(blobs: Any, repeats: int) -> None:
    X = np.concatenate([blobs, np.repeat(blobs[:1], repeats, axis=0)])
    hasher = SphericalHashing(32, random_state=0).fit(X)
    codes = hasher.transform(blobs)
    assert len(np.unique(codes, axis=0)) > len(blobs) / 2
    alone = [hasher.transform(row[None])[0] for row in blobs[:50]]
    np.testing.assert_array_equal(alone, codes[:50])


def test_a_constant_sample_is_no_error() -> None:
    X = np.full((50, 16), 0.1, np.float32)
    codes = SphericalHashing(8, random_state=0).fit(X).transform(X)
    assert len(np.unique(codes, axis=0)) == 1


def test_an_odd_row_more_changes_nothing(blobs: Any) -> None:
    hasher = SphericalHashing(16, random_state=0).fit(blobs[:501])
    assert hasher.training_["n_rows"] == 500


def test_more_rows_than_wanted_are_sampled(blobs: Any) -> None:
    hasher = SphericalHashing(16, n_samples=300, random_state=0).fit(blobs)
    assert hasher.training_["n_rows"] == 300
    balance = unpack(hasher.transform(blobs)).mean(axis=0)
    assert np.abs(balance - 0.5).max() < 0.15


def test_translation_moves_the_spheres_along(blobs: Any) -> None:
    here = SphericalHashing(16, random_state=0).fit(blobs)
    there = SphericalHashing(16, random_state=0).fit(blobs + 64)
    differ = unpack(here.transform(blobs)) != unpack(there.transform(blobs + 64))
    assert differ.mean() < 0.01


@pytest.mark.parametrize("settings", [{"max_iter": 0}, {"n_samples": 1}, {"max_iter": "many"}])
def test_impossible_settings_are_named(blobs: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be a whole number"):
        SphericalHashing(16, **settings).fit(blobs)
