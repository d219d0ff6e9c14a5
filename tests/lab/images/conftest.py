"""Tiny folders of images, made for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import Make, noise
from PIL import Image


@pytest.fixture
def folder_of_images(tmp_path: Path) -> Make:
    """Make ``PART/CLASS/N.png``; the number of an image is its seed."""

    def make(
        parts: tuple[str, ...] = ("train", "test"),
        classes: tuple[str, ...] = ("cat", "dog"),
        n: int = 3,
        name: str = "Pets & more",
    ) -> Path:
        root = tmp_path / name
        seed = 0
        for part in parts:
            for kind in classes:
                place = root / part / kind
                place.mkdir(parents=True)
                for number in range(n):
                    Image.fromarray(noise(seed)).save(place / f"{number}.png")
                    seed += 1
        return root

    return make
