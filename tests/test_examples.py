"""Every example that the documentation shows runs as it is printed."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
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


@pytest.mark.parametrize("number", [0])
def test_readme_python_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 1, "list the new block's number above"
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks[number], "README.md", "exec"), {})


def test_readme_commands_exist() -> None:
    from typer.main import get_command

    from sigah.cli import app

    command = get_command(app)
    known = set(command.commands)  # type: ignore[attr-defined]
    used = set(re.findall(r"^(?:\.venv/bin/)?sigah (\w+)", (ROOT / "README.md").read_text(), re.M))
    assert used
    assert used <= known


def test_the_results_page_says_what_the_measurements_say() -> None:
    publish = ROOT / "benchmarks" / "publish.py"
    done = subprocess.run(
        [sys.executable, str(publish), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
