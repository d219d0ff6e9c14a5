"""Random images, and the type of the fixture that saves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Make = Callable[..., Path]


def noise(seed: int, height: int = 16, width: int = 16) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)
