from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from sigah.cli import main

# The same examples in every run; `pytest --hypothesis-profile=search` looks for new ones. None is
# judged by its time: the first example of a test may compile kernels or warm a cache.
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("fixed")

Vectors = NDArray[np.float32]

TESTS = Path(__file__).parent
FAST = (
    *("test_codes.py", "test_progress.py"),
    *(f"rows/test_{name}.py" for name in ("folder", "readers", "sources")),
    *(f"files/test_{name}.py" for name in ("golden", "targets")),
    *(f"hashers/test_{name}.py" for name in ("itq", "lsh", "oracles", "pca_rotation", "ridge")),
    *(f"hashers/test_{name}.py" for name in ("signs", "spherical")),
    *(f"search/test_{name}.py" for name in ("index", "kernels", "models")),
    "search/test_multi_index.py",
    *(f"evaluation/test_{name}.py" for name in ("labels", "truth")),
)


def is_fast(path: Path) -> bool:
    """Whether a file, or a folder, has tests of ``make test-fast``."""
    name = path.relative_to(TESTS).as_posix()
    return any(f"{name}/".startswith(f"{one}/") or one.startswith(f"{name}/") for one in FAST)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """``-m fast`` imports only what it runs."""
    if not str(config.option.markexpr).startswith("fast") or collection_path == TESTS:
        return None
    return None if is_fast(collection_path) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_fast(item.path):
            item.add_marker(pytest.mark.fast)


@pytest.fixture
def switching_often() -> Iterator[None]:
    """Threads take turns 500 times as often as usual, so that they meet more often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


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
