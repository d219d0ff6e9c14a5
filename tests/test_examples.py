"""Docstring examples run as printed, and the pages' tables say what the JSON says.

The blocks of the pages are run by ``tests/docs``.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

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
