from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from sigah import SphericalHashing
from sigah.codes import unpack
from sigah.hashers.spherical import forces, halving_radii


def test_bits_say_inside_or_outside(blobs: Any) -> None:
    hasher = SphericalHashing(32, random_state=0).fit(blobs)
    distances = cdist(blobs - hasher.mean_, hasher.centres_)
    bits = unpack(hasher.transform(blobs))
    np.testing.assert_array_equal(bits, distances <= np.sqrt(hasher.squared_radii_))


def test_every_bit_halves_the_training_vectors(blobs: Any) -> None:
    bits = unpack(SphericalHashing(32, random_state=0).fit(blobs).transform(blobs))
    np.testing.assert_array_equal(bits.sum(axis=0), len(blobs) // 2)


def test_pairs_of_spheres_share_a_quarter(blobs: Any) -> None:
    hasher = SphericalHashing(32, random_state=0).fit(blobs)
    assert hasher.training_["converged"]
    bits = unpack(hasher.transform(blobs)).astype(float)
    overlaps = (bits.T @ bits)[~np.eye(32, dtype=bool)] / (len(blobs) / 4)
    assert np.abs(overlaps - 1).mean() <= 0.10
    assert overlaps.std() <= 0.15


def test_moving_the_centres_is_what_makes_bits_independent(blobs: Any) -> None:
    first = SphericalHashing(32, max_iter=1, random_state=0).fit(blobs)
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


def test_radii_lie_between_the_halves() -> None:
    squared = np.array([[4.0, 1.0], [1.0, 8.0], [9.0, 2.0], [16.0, 4.0]])
    np.testing.assert_allclose(halving_radii(squared), [6.5, 3.0])


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
