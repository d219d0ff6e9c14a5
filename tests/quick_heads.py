"""Settings with which a few steps train heads on features, and networks on strips of pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from sigah.hashers import METHODS
from sigah.hashers.deep.heads import TrainedHead
from sigah.hashers.deep.pixels import PixelHasher

HEADS: dict[str, dict[str, Any]] = {
    name: {"n_steps": 2, "batch_size": 32}
    for name, method in METHODS.items()
    if issubclass(method, TrainedHead)
}
# any vector is a strip of grey pixels, one pixel high
STRIPS: dict[str, dict[str, Any]] = {
    name: {"height": 1, "channels": 1, "n_filters": 4}
    for name, method in METHODS.items()
    if issubclass(method, PixelHasher)
}
for name, settings in STRIPS.items():
    HEADS[name] |= settings

# they share all but their losses: one is enough where little time is
ALIKE = ("bin_gan", "pixel_deep_bit")


def quickly(names: Iterable[str]) -> list[Any]:
    """Names as parameters of a test; of methods that share their code, all but one are slow."""
    return [pytest.param(n, marks=pytest.mark.slow) if n in ALIKE else n for n in names]
