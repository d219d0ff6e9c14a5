from __future__ import annotations

import numpy as np
import pytest

from sigah.lab.datasets.descriptors.gist import COLOUR, TINY, gabor_bank, gist, prefilter

RNG = np.random.default_rng(0)
NOISE = RNG.integers(256, size=(3, 32, 32, 3)).astype(np.uint8)


def grating(x: int, y: int, phase: float = 0.0) -> np.ndarray:
    """A wave of whole cycles an image, as an image."""
    down, across = np.mgrid[:32, :32] / 32
    return 100 + 50 * np.cos(2 * np.pi * (x * across + y * down) + phase)


def by_filter(images: np.ndarray, orientations: tuple[int, ...] = TINY) -> np.ndarray:
    found = gist(images, orientations)
    return found.reshape(len(found), -1, sum(orientations), 16).mean(axis=(1, 3))


def test_dimensions() -> None:
    assert gist(NOISE[..., 0], TINY).shape == (3, 384)
    assert gist(NOISE, COLOUR).shape == (3, 960)
    assert gist(NOISE[..., 0]).dtype == np.float32


@pytest.mark.parametrize("level", [0, 1, 200, 255])
def test_a_constant_image_has_no_energy(level: int) -> None:
    assert np.abs(gist(np.full((1, 32, 32), level))).max() < 1e-5


def test_a_grating_excites_the_filter_of_its_frequency_and_direction() -> None:
    """The scales' centres are 9.6, 5.19 and 2.8 cycles an image."""
    for scale, cycles in enumerate((10, 5, 3)):
        for number, (x, y) in {0: (cycles, 0), 4: (0, cycles)}.items():
            assert by_filter(grating(x, y)[None])[0].argmax() == 8 * scale + number
    assert by_filter(grating(7, -7)[None])[0, :8].argmax() == 2
    assert by_filter(grating(7, 7)[None])[0, :8].argmax() == 6


def test_a_shifted_grating_has_the_same_energies() -> None:
    here, there = by_filter(np.stack([grating(5, 0), grating(5, 0, 1.0)]))
    np.testing.assert_allclose(here, there, rtol=0.1, atol=0.02)


def test_gains_are_gaussians_about_their_centres() -> None:
    bank = gabor_bank(32, (8, 4))
    assert bank.shape == (12, 32, 32)
    assert bank.max() <= 1
    assert bank[:, 0, 0].max() <= np.float32(np.exp(-3.5)), "at zero the radial part is exp(-3.5)"
    centre = 32 * 0.3
    expected = np.exp(-3.5 * (10 / centre - 1) ** 2)
    assert bank[0, 0, 10] == pytest.approx(expected, rel=1e-6)
    assert bank[0, 0, -10] < 1e-8, "the opposite direction is not answered"


def test_the_grid_is_told_column_by_column() -> None:
    image = np.full((32, 32), 100.0)
    image[8:16, 24:] = grating(10, 0)[8:16, 24:]  # the second cell from the top, last column
    assert gist(image[None])[0, :16].argmax() == 3 * 4 + 1


def test_one_filter_against_the_definition() -> None:
    image = NOISE[0, ..., 0]
    response = np.fft.ifft2(
        np.fft.fft2(prefilter(image[None, None])[0, 0]) * gabor_bank(32, TINY)[9]
    )
    expected = [
        np.abs(response[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]).mean()
        for column in range(4)
        for row in range(4)
    ]
    np.testing.assert_allclose(gist(image[None])[0, 9 * 16 : 10 * 16], expected, rtol=1e-4)


def test_light_scales_out() -> None:
    """A product is a sum of logarithms, and the prefilter takes the local mean out."""
    light = RNG.uniform(30, 60, size=(1, 1, 32, 32))
    brighter = (1 + light) * 4 - 1
    np.testing.assert_allclose(prefilter(light), prefilter(brighter), atol=1e-4)


def test_equal_channels_have_equal_descriptors_and_channels_come_first() -> None:
    grey = NOISE[..., 0]
    thrice = gist(np.repeat(grey[..., None], 3, axis=3), COLOUR).reshape(3, 3, 320)
    for channel in range(3):
        np.testing.assert_allclose(thrice[:, channel], gist(grey, COLOUR), rtol=1e-3, atol=1e-5)


def test_batches_do_not_change_an_image() -> None:
    many = RNG.integers(256, size=(130, 32, 32))
    np.testing.assert_allclose(gist(many)[[0, 127, 129]], gist(many[[0, 127, 129]]), rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 32)), "must have shape"),
        (np.zeros((2, 32, 32, 4)), "must have shape"),
        (np.zeros((2, 32, 28)), "squares"),
        (np.zeros((2, 30, 30)), "multiple of 4"),
        (np.zeros((2, 32, 32), complex), "complex128"),
        (np.full((2, 32, 32), np.nan), "NaN"),
        (np.full((2, 32, 32), -1), r"\[0, 255\]"),
    ],
)
def test_bad_images(images: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gist(images)


@pytest.mark.parametrize("orientations", [(), (8, 0)])
def test_bad_orientations(orientations: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="positive counts"):
        gist(NOISE, orientations)
