"""Docstring examples run as printed, and the pages' tables say what the JSON says.

The blocks of the pages are run by ``tests/docs``.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sigah

ROOT = Path(__file__).parents[1]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(sigah.__path__, "sigah.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_public_names_have_examples() -> None:
    for name in sigah.__all__:
        assert ">>>" in (getattr(sigah, name).__doc__ or "") or name == "BinaryHasher", name


@pytest.mark.slow
def test_the_results_page_says_what_the_measurements_say() -> None:
    publish = ROOT / "benchmarks" / "publish.py"
    done = subprocess.run(
        [sys.executable, str(publish), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_benchmark_of_ranking_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls kernels, whose arguments no type checker sees."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    ranking: Any = importlib.import_module("ranking")
    monkeypatch.setattr(ranking, "N", 2000)

    def once(*calls: Callable[[], Any]) -> list[list[float]]:
        for call in calls:
            call()
        return [[1.0] for _ in calls]

    monkeypatch.setattr(ranking, "seconds_in_turn", once)
    for name, section in ranking.SECTIONS.items():
        assert list(section(np.random.default_rng(0))), name
