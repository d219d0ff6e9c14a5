from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sigah import LSH
from sigah.codes import unpack


@pytest.mark.parametrize("angle", [0.2, 1.0, 2.5])
def test_bits_differ_with_probability_angle_over_pi(angle: float) -> None:
    r, d = 4096, 16
    rng = np.random.default_rng(0)
    u, v = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    pair = np.stack([u, np.cos(angle) * u + np.sin(angle) * v])
    training = np.vstack([pair, -pair])  # mean zero
    bits = unpack(LSH(r, random_state=0).fit(training).transform(pair))
    p = angle / np.pi
    assert np.mean(bits[0] != bits[1]) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / r))


def test_hyperplanes_pass_through_the_mean(blobs: Any) -> None:
    lsh = LSH(256, random_state=0).fit(blobs)
    np.testing.assert_allclose(lsh.project(blobs.mean(axis=0, keepdims=True)), 0, atol=1e-3)


def test_codes_ignore_translation_and_scale(blobs: Any) -> None:
    codes = LSH(64, random_state=0).fit(blobs).transform(blobs)
    moved = blobs.astype(np.float64) * 2 + 16  # exact in float32 up to rounding of the sum
    other = LSH(64, random_state=0).fit(moved).transform(moved)
    assert np.mean(unpack(codes) != unpack(other)) < 1e-4
