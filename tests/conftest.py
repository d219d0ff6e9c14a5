from __future__ import annotations

import sys
from typing import Any

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from sigah.cli import main

# the first example of a test may compile kernels or warm a cache; none is judged by its time
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

Vectors = NDArray[np.float32]


@pytest.fixture(scope="session")
def blobs() -> Vectors:
    """2,000 vectors of 24 dimensions in 20 overlapping clusters, off-centre."""
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=2, size=(20, 24))
    points = centres[rng.integers(20, size=2000)] + rng.normal(size=(2000, 24))
    return (3 + points).astype(np.float32)


@pytest.fixture(scope="session")
def digits() -> tuple[Vectors, Vectors]:
    """10,000 real MNIST images to learn from and 500 test images as queries."""
    from sigah.lab import datasets

    split = datasets.load("mnist")
    return split.base[:10000], split.queries[:500]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run ``sigah ARGS``; returns (exit status, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sigah", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return call
