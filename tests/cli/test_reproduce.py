"""``sigah reproduce`` and ``sigah report`` as their users meet them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah.cli import main
from sigah.lab import datasets
from sigah.lab.experiments import sets
from sigah.lab.experiments.experiment import QUICK


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run ``sigah ARGS`` on a small MNIST; returns (exit status, standard output and error)."""
    rng = np.random.default_rng(0)
    pixels = rng.random((320, 64)).astype("float32")
    labels = rng.integers(10, size=320)
    split = datasets.Split(pixels[20:], pixels[:20], labels[20:], labels[:20])
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "load", lambda name: split)
    monkeypatch.setattr(datasets, "path", lambda name: here[name])
    here = {"mnist": tmp_path}
    monkeypatch.setattr(sets, "available", lambda name: name in here)
    monkeypatch.setattr("sigah.lab.experiments.available", lambda name: name in here)
    for name in ("sigah", "sigah.paper"):
        monkeypatch.setitem(QUICK, name, ("n_steps=5",))

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["sigah", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out + printed.err

    return call


@pytest.mark.slow
def test_reproduce_then_report(run: Any, tmp_path: Path) -> None:
    results = tmp_path / "results"
    status, told = run("reproduce", "table4", "--quick", "--out", results)
    assert status == 0, told
    assert "with discriminator" in told
    content = json.loads((results / "quick" / "mnist-table4.json").read_text())
    assert len(content["runs"]) == 4
    assert content["runs"][0]["command"] == f"sigah reproduce table4 --quick --out {results}"
    assert content["data"]["part"] == "its first 300 vectors and 20 queries"
    assert "measured before" in run("reproduce", "table4", "--quick", "--out", results)[1]
    more = run("reproduce", "table4", "--quick", "--out", results, "--seeds", 2)
    assert more[0] == 0
    again = json.loads((results / "quick" / "mnist-table4.json").read_text())
    assert again["runs"][:4] == content["runs"], "what was measured stays as it was"
    assert len(again["runs"]) == 8
    page = results / "quick" / "report.html"
    for _ in range(2):  # the page may lie among the results, and be made anew
        status, told = run("report", "--results", results / "quick", "--out", page)
        assert status == 0, told
    assert "Table 4" in page.read_text()
    table = results / "quick" / "mnist-table4.json"
    status, told = run("report", "--results", results / "quick", "--out", table, "--overwrite")
    assert (status, "one of the inputs" in told) == (1, True), told
    files = tmp_path / "plots", tmp_path / "tables"
    more = ("--plots", files[0], "--markdown", files[1])
    status, told = run("report", "--results", results / "quick", "--out", page, *more)
    assert status == 0, told
    (text,) = [path.read_text() for path in files[1].glob("mnist*.md")]
    assert "| with discriminator |" in text


def test_mistakes_end_in_one_line(run: Any, tmp_path: Path) -> None:
    status, told = run("reproduce", "table9")
    assert (status, "no experiment is named 'table9'" in told) == (1, True)
    assert "fig8, decay, neighbors, all" in told
    status, told = run("reproduce", "table1", "--out", tmp_path)
    assert status == 1
    assert "gist1m is not here" in told
    assert "--data photo-gist-960" in told, "its stand-in"
    status, told = run("reproduce", "table2", "--data", "nothing", "--out", tmp_path)
    assert (status, "nothing is not here and not in the catalogue" in told) == (1, True)
    status, told = run("report", "--results", tmp_path / "missing")
    assert (status, "no such folder" in told) == (1, True)
    status, told = run("report", "--results", tmp_path, "--out", tmp_path / "a" / "b.html")
    assert (status, "its folder does not exist" in told) == (1, True)


def test_an_absent_set_offers_its_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"photo-gist-960", "photo-gist-384"}
    monkeypatch.setattr(sets, "available", lambda name: name in here)
    assert "--data photo-gist-960" in sets.explain_absence("gist1m")
    assert "--data photo-gist-384" in sets.explain_absence("tiny-100k")
    here.add("cifar-10@gist-384")
    assert "--data cifar-10@gist-384" in sets.explain_absence("tiny-100k"), "the nearest first"


def test_a_set_that_cannot_be_fetched_offers_its_stand_in(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise OSError(f"{name} could not be fetched")

    monkeypatch.setattr("sigah.cli.data.fetch_with_bar", fail)
    status, told = run("reproduce", "table1", "--data", "gist1m", "--out", tmp_path)
    assert status == 1
    assert "gist1m could not be fetched" in told
    assert "--data photo-gist-960" in told
