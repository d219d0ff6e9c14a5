from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sigah import LSH, SignHashing
from sigah.codes import unpack


@pytest.mark.parametrize("n_bits", [8, 24])
def test_bits_compare_each_dimension_with_its_mean(blobs: Any, n_bits: int) -> None:
    bits = unpack(SignHashing(n_bits).fit(blobs).transform(blobs))
    mean = blobs.astype(np.float64).mean(axis=0)
    np.testing.assert_array_equal(bits, (blobs >= mean)[:, :n_bits])


def test_without_centring_bits_are_the_raw_signs(blobs: Any) -> None:
    raw = blobs - 3
    bits = unpack(SignHashing(24, center=False).fit(raw).transform(raw))
    np.testing.assert_array_equal(bits, raw >= 0)
    always = SignHashing(24, center=False).fit(raw).transform(np.abs(raw))
    assert (always == 255).all(), "vectors that are never negative have one code"


def test_zero_is_a_one_as_for_every_method() -> None:
    X = np.zeros((3, 8), np.float32)
    assert (SignHashing(8, center=False).fit(X).transform(X) == 255).all()


def test_the_same_with_any_number_of_rows(blobs: Any) -> None:
    one = SignHashing(8, center=False).fit(blobs[:1])
    np.testing.assert_array_equal(
        one.transform(blobs), SignHashing(8, center=False).fit(blobs).transform(blobs)
    )


def test_a_setting_that_is_no_choice_is_refused(blobs: Any) -> None:
    with pytest.raises(ValueError, match="center must be True or False"):
        SignHashing(8, center="mean").fit(blobs)


def test_isotropic_data_makes_it_as_good_as_random_directions() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 64)).astype(np.float32)
    angles = np.arccos(np.clip(np.corrcoef(X[:200] - X.mean(axis=0)), -1, 1))
    expected = 64 * angles / np.pi
    for hasher in (SignHashing(64), LSH(64, random_state=0)):
        bits = unpack(hasher.fit(X).transform(X[:200])).astype(int)
        distances = (bits[:, None] != bits[None]).sum(axis=2)
        assert np.corrcoef(distances.ravel(), expected.ravel())[0, 1] > 0.5
        assert abs(distances.mean() - expected.mean()) < 1
