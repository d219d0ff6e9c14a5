"""Every example that the documentation shows runs as it is printed."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("number", [0])
def test_readme_python_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 1, "list the new block's number above"
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks[number], "README.md", "exec"), {})


def test_the_search_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(1300, 64)).astype(np.float32)
    hasher = sigah.ITQ(64, random_state=0).fit(vectors)
    base, held_out, queries = vectors[:1000], vectors[1000:1200], vectors[1200:]
    names = {"hasher": hasher, "base": base, "held_out": held_out, "queries": queries}
    names["codes"] = hasher.transform(base)
    names["more_codes"], names["their_ids"] = hasher.transform(held_out), np.arange(5000, 5200)
    names["new_codes"], names["allowed_ids"] = ~names["more_codes"], [5, 5001]
    names["query_codes"] = hasher.transform(queries)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "search.md").read_text(), re.DOTALL
    )
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "search.md", "exec"), names)
    assert len(names["index"]) == 1000
    assert names["found"].recall >= 0.9


@pytest.mark.parametrize(("page", "n_blocks"), [("onnx", 1), ("scale", 1)])
def test_the_python_of_a_page_runs(
    page: str, n_blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 32)).astype(np.float32)
    names = {"vectors": vectors, "hasher": sigah.ITQ(16, random_state=0).fit(vectors)}
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.S)
    assert len(blocks) == n_blocks
    for block in blocks:
        exec(compile(block, f"{page}.md", "exec"), names)


def test_the_streams_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    (tmp_path / "shards").mkdir()
    for number, part in enumerate(np.split(vectors, [300, 1500])):
        np.save(tmp_path / "shards" / f"{number}.npy", part)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "streams.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "streams.md", "exec"), names)
    assert len(np.load("codes.npy")) == 2000
    assert names["report"].verdict == "keep"  # type: ignore[attr-defined]


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
