"""GIST: the spatial envelope of small images, as energies of Gabor filters on a coarse grid.

Oliva and Torralba, "Modeling the shape of the scene: a holistic representation of the spatial
envelope", IJCV 2001; the colour form is that of Douze, Jégou, Sandhawalia, Amsaleg and Schmid,
"Evaluation of GIST descriptors for web-scale image search", CIVR 2009.

1. Prefilter: log intensities, less their local mean, divided by their local contrast.
2. Filters: one-sided Gabors in the frequency domain, scale by scale from fine to coarse.
3. The magnitude of each response, averaged over a 4 x 4 grid.

=============================== ============= ========== =================================
set of the literature           images        dimensions here
=============================== ============= ========== =================================
Tiny Images                     32 x 32 grey  384        ``gist(images, TINY)``
GIST1M                          32 x 32 RGB   960        ``gist(images, COLOUR)``
=============================== ============= ========== =================================
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.extras import require

__all__ = ["COLOUR", "TINY", "gabor_bank", "gist", "prefilter"]

#: Orientations at each scale, fine to coarse.
TINY = (8, 8, 8)
COLOUR = (8, 8, 4)

GRID = 4
FINEST, SCALE_STEP = 0.3, 1.85  # frequency of the first scale, in cycles a pixel; ratio to the next
RADIAL, ANGULAR = 3.5, np.pi / 32  # inverse widths; the second times orientations squared
CUTOFF, MARGIN, CONTRAST_FLOOR = 4, 5, 0.2  # prefilter: cycles an image, pixels, log intensity
BLOCK = 128  # images at a time, so that a filter's responses stay in a core's cache

Floats = NDArray[np.float32]


def gist(images: ArrayLike, orientations: tuple[int, ...] = TINY) -> Floats:
    """Describe square images by the energies of oriented filters on a 4 x 4 grid.

    Parameters
    ----------
    images : array-like of numbers in [0, 255], shape (n, size, size) or (n, size, size, 3)
        Grey or RGB images; ``size`` is a multiple of 4.
    orientations : tuple of int
        How many orientations each scale has, from fine to coarse.

    Returns
    -------
    ndarray of float32, shape (n, channels * sum(orientations) * 16)
        Channel by channel, filter by filter, then the grid's columns from left to right, each
        from top to bottom. A constant image is all (nearly) zeros.

    Raises
    ------
    ValueError
        If the images are not such an array, hold numbers outside of [0, 255], NaN or infinity,
        or an orientation count is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.lab.datasets.descriptors.gist import COLOUR, gist
    >>> rng = np.random.default_rng(0)
    >>> gist(rng.integers(256, size=(2, 32, 32))).shape
    (2, 384)
    >>> gist(rng.integers(256, size=(2, 32, 32, 3)), COLOUR).shape
    (2, 960)
    """
    pixels = _checked(images)
    if not orientations or min(orientations) < 1:
        raise ValueError(f"orientations must be positive counts, one a scale, not {orientations}")
    fft = require("scipy.fft", "computing GIST", "lab")
    bank = gabor_bank(pixels.shape[-1], orientations)
    n, channels, size, _ = pixels.shape
    cell = size // GRID
    means = np.empty((n, channels, len(bank), GRID, GRID), np.float32)
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        # Images are stored [y, x] and the grid is told column by column: means are [x, y].
        spectrum = fft.fft2(prefilter(pixels[block]).transpose(0, 1, 3, 2))
        for number, gabor in enumerate(bank):
            response = fft.ifft2(spectrum * gabor.T, overwrite_x=True)
            energy = np.sqrt(response.real**2 + response.imag**2)  # abs() takes thrice as long
            cells = energy.reshape(-1, channels, GRID, cell, GRID, cell)
            means[block, :, number] = cells.mean(axis=(3, 5))
    return means.reshape(n, -1)


@lru_cache(maxsize=8)
def gabor_bank(size: int, orientations: tuple[int, ...]) -> Floats:
    """The filters' gains at the frequencies of ``scipy.fft.fft2``, of shape (filters, size, size).

    Filter ``j`` of a scale answers to the direction ``-pi j / count`` of (x, y) frequencies and to
    no other, so that its response is complex and its magnitude is a local energy. At the centre
    of a filter its gain is 1.

    Examples
    --------
    >>> from sigah.lab.datasets.descriptors.gist import gabor_bank
    >>> gabor_bank(32, (8, 8, 4)).shape
    (20, 32, 32)
    """
    radius, angle = _polar_frequencies(size)
    gains = []
    for scale, count in enumerate(orientations):
        centre = size * FINEST / SCALE_STEP**scale
        radial = RADIAL * (radius / centre - 1) ** 2
        for number in range(count):
            turned = angle + np.pi * number / count
            turned = (turned + np.pi) % (2 * np.pi) - np.pi
            gains.append(np.exp(-radial - ANGULAR * count**2 * turned**2))
    bank = np.asarray(gains, np.float32)
    bank.setflags(write=False)  # the cache hands the same array to every caller
    return bank


def prefilter(images: NDArray[Any]) -> Floats:
    """Even out light and contrast: log intensities with their local mean and deviation taken out.

    Parameters
    ----------
    images : ndarray of numbers in [0, 255], shape (n, channels, size, size)

    Returns
    -------
    ndarray of float32, same shape
        Channels share one deviation, that of their mean, as they share their lighting.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.lab.datasets.descriptors.gist import prefilter
    >>> bool(abs(prefilter(np.full((1, 1, 32, 32), 99))).max() < 1e-5)
    True
    """
    margin = [(0, 0), (0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)]
    light = np.pad(np.log1p(images, dtype=np.float32), margin, "symmetric")
    radius, _ = _polar_frequencies(light.shape[-1])
    # Half of the amplitude is left at the cut-off frequency.
    low_pass = np.exp2(-((radius / CUTOFF) ** 2)).astype(np.float32)
    detail = light - _filtered(light, low_pass)
    mean = detail.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.abs(_filtered(mean**2, low_pass)))
    inside = slice(MARGIN, -MARGIN)
    even = np.divide(detail, CONTRAST_FLOOR + deviation, dtype=np.float32)
    return even[:, :, inside, inside]


def _filtered(images: Floats, gain: Floats) -> Floats:
    """Apply a filter that is symmetric about zero; the result is real."""
    fft = require("scipy.fft", "computing GIST", "lab")
    half = fft.rfft2(images) * gain[:, : gain.shape[1] // 2 + 1]
    filtered: Floats = fft.irfft2(half, s=images.shape[-2:], overwrite_x=True)
    return filtered


def _polar_frequencies(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radius (in cycles an image) and angle of each frequency, indexed [y, x]."""
    frequency = np.fft.fftfreq(size, 1 / size)
    x, y = np.meshgrid(frequency, frequency)
    return np.hypot(x, y), np.arctan2(y, x)


def _checked(images: ArrayLike) -> NDArray[Any]:
    """Channels first; or an error that says what the images are instead."""
    array = np.asarray(images)
    if array.dtype.kind not in "uif":
        raise ValueError(f"images must be numbers in [0, 255], the array holds {array.dtype}")
    if array.ndim == 3:
        array = array[..., np.newaxis]
    elif array.ndim != 4 or array.shape[-1] != 3:
        raise ValueError(
            "images must have shape (n, size, size) or (n, size, size, 3), the array has shape"
            f" {array.shape}"
        )
    height, width = array.shape[1:3]
    if height != width or height < 2 * GRID or height % GRID:
        raise ValueError(
            f"images must be squares whose size is a multiple of {GRID}, at least {2 * GRID}, not"
            f" {height} x {width}: crop or resize them"
        )
    if array.size and not (array.min() >= 0 and array.max() <= 255):  # NaN is neither
        raise ValueError("images must be numbers in [0, 255], without NaN")
    return array.transpose(0, 3, 1, 2)
