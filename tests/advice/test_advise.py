"""Advice from vectors, in Python and on the command line, and what takes its recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import advise
from sigah.advice import AdviceInterrupted, Recipe, read_recipe, run, write_recipe
from sigah.evaluation import exact_neighbors
from sigah.rows import open_vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=2, size=(40, 32))
    rows = centres[rng.integers(40, size=3000)] + rng.normal(size=(3000, 32))
    folder = tmp_path_factory.mktemp("advice")
    np.save(folder / "all.npy", rows[:2800].astype(np.float32))
    np.save(folder / "queries.npy", rows[2800:].astype(np.float32))
    return folder


def test_a_sample_of_everything_measures_and_of_a_part_predicts(folder: Path) -> None:
    rows = open_vectors(folder / "all.npy")
    queries = np.load(folder / "queries.npy")
    truth = exact_neighbors(rows, queries, 10).ids
    options: Any = {"metric": "l2", "recall": 0.8, "methods": ["sign", "itq"]}
    whole = advise(rows, queries, truth=truth, **options)
    part = advise(rows, queries, sample=1000, **options)
    assert whole.finished
    assert (whole.n_vectors, whole.n_sampled, whole.n_queries, part.n_sampled) == (
        2800, 2800, 200, 1000,
    )  # fmt: skip
    best = whole.recommended
    assert best is not None
    assert best.recall.low >= 0.8
    assert best.extrapolated == ()
    assert best.memory_bytes == 2800 * best.bytes
    measured = {(c.method, c.ranking, c.bytes, c.reads): c for c in whole.candidates}
    both = [
        (c, measured[key])
        for c in part.candidates
        if (key := (c.method, c.ranking, c.bytes, c.reads)) in measured and c.method != "floats"
    ]
    assert both
    assert all(one.extrapolated == ("recall", "microseconds") for one, _ in both)
    hits = [one.recall.low <= true.measured_recall <= one.recall.high for one, true in both]
    assert np.mean(hits) >= 0.75  # the intervals hold over sets of vectors, not within one
    again = advise(rows, queries, sample=1000, **options)
    assert [c.recall for c in again.candidates] == [c.recall for c in part.candidates]


def test_batches_are_sampled_as_rows_are(folder: Path) -> None:
    rows = np.load(folder / "all.npy")
    batches = (rows[start : start + 700] for start in range(0, len(rows), 700))
    options: Any = {"metric": "l2", "methods": ["sign"], "sample": 1200, "raw": "none"}
    one, other = advise(batches, **options), advise(rows, **options)
    assert one.n_vectors == other.n_vectors == 2800
    assert one.held_out
    assert [c.recall for c in one.candidates] == [c.recall for c in other.candidates]
    assert {c.reads for c in one.candidates} == {0}


def test_an_interruption_keeps_what_is_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_sigah: Any
) -> None:
    measured = run.measure

    def stop_at_itq(contender: Any, *others: Any, **more: Any) -> Any:
        if contender.family == "itq":
            raise KeyboardInterrupt
        return measured(contender, *others, **more)

    monkeypatch.setattr(run, "measure", stop_at_itq)
    with pytest.raises(AdviceInterrupted) as stopped:
        advise(np.load(folder / "all.npy"), metric="l2", methods=["sign", "itq"])
    advice = stopped.value.advice
    assert not advice.finished
    assert {one.method for one in advice.candidates} == {"sign"}
    status, told, error = run_sigah(
        "advise", folder / "all.npy", "--metric", "l2", "--methods", "sign,itq",
        "--json", tmp_path / "a.json", "--recipe", tmp_path / "r.json",
    )  # fmt: skip
    assert status == 130
    assert "Interrupted" in told
    assert "interrupted" in error
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["finished"] is False
    assert content["recommended"]["method"] == "sign"
    assert not (tmp_path / "r.json").exists()


@pytest.fixture
def run_sigah(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    return run


def test_from_vectors_to_a_search_by_its_recipe(
    folder: Path, tmp_path: Path, run_sigah: Any
) -> None:
    files = {name: tmp_path / name for name in ("a.json", "a.html", "r.json", "m", "c.npy", "e")}
    base, queries = folder / "all.npy", folder / "queries.npy"
    status, told, error = run_sigah(
        "advise", base, "--queries", queries, "--metric", "l2", "--methods", "sign,itq",
        "--recall", 0.9, "--latency", "1s", "--json", files["a.json"], "--html", files["a.html"],
        "--recipe", files["r.json"],
    )  # fmt: skip
    assert status == 0, error
    content = json.loads(files["a.json"].read_text())
    best = content["recommended"]
    assert set(best) >= {"method", "bytes", "recall", "reads", "microseconds"}
    assert best["recall"]["low"] <= best["recall"]["expected"] <= best["recall"]["high"]
    assert content["finished"] is True
    assert content["data"]["n_vectors"] == 2800
    assert content["words"][0].startswith("Take: ")
    assert " ".join(content["words"][0].split()) in " ".join(told.split())
    html = files["a.html"].read_text()
    assert "<svg" in html
    assert "http" not in html  # it loads nothing
    recipe = read_recipe(files["r.json"])
    assert (recipe.method, recipe.bytes, recipe.metric) == (best["method"], best["bytes"], "l2")

    by = ("--recipe", files["r.json"])
    assert run_sigah("fit", base, *by, "--out", files["m"])[0] == 0
    assert run_sigah("encode", files["m"], base, *by, "--out", files["c.npy"])[0] == 0
    status, _, error = run_sigah(
        "search", files["m"], files["c.npy"], queries, *by, "--vectors", base,
        "--out", tmp_path / "n.npz",
    )  # fmt: skip
    assert status == 0, error
    truth = exact_neighbors(np.load(base), np.load(queries), 10).ids
    found = np.load(tmp_path / "n.npz")["ids"]
    recall = np.mean([np.isin(t, f).mean() for t, f in zip(truth, found, strict=True)])
    assert best["recall"]["low"] <= recall <= best["recall"]["high"]
    status, _, error = run_sigah(
        "evaluate", files["m"], files["c.npy"], queries, *by, "--vectors", base,
        "--json", files["e"],
    )  # fmt: skip
    assert status == 0, error
    row = json.loads(files["e"].read_text())["measurements"][0]
    assert row["by"] == recipe.by
    assert row["metrics"]["recall10@10"] == pytest.approx(recall)
    status, _, error = run_sigah("fit", base, *by, "--bits", 8, "--out", files["m"])
    assert (status, "--bits 8: the recipe" in error) == (1, True)


def test_a_recipe_for_an_index_of_vectors(folder: Path, tmp_path: Path, run_sigah: Any) -> None:
    recipe = Recipe("l2", "vectors", bytes=8, bits=32, ranking="tables", reads=50, k=5)
    write_recipe(tmp_path / "r.json", recipe)
    base, by = folder / "all.npy", ("--recipe", tmp_path / "r.json")
    index = tmp_path / "i.vectors"
    status, told, error = run_sigah("vectors", "build", base, *by, "--out", index)
    assert status == 0, error
    assert "in 8 bytes each, l2" in told
    queries = folder / "queries.npy"
    status, told, error = run_sigah("vectors", "search", index, queries, *by, "--vectors", base)
    assert status == 0, error
    for words, reason in (
        (("vectors", "search", index, queries, *by), "it ranks by --vectors"),
        (("vectors", "build", base, *by, "--metric", "ip", "--out", index), "--metric ip: the rec"),
        (("fit", base, *by, "--out", tmp_path / "m"), "use `sigah vectors build`"),
    ):
        status, _, error = run_sigah(*words)
        assert status == 1
        assert reason in " ".join(error.split())


def test_recipes_that_are_none(folder: Path, tmp_path: Path, run_sigah: Any) -> None:
    path, base = tmp_path / "r.json", folder / "all.npy"
    good = {"format": "sigah recipe 1", "metric": "l2", "method": "itq", "bytes": 2, "bits": 16,
            "ranking": "hamming", "reads": 0, "k": 10}  # fmt: skip
    for content, reason in (
        ("", "not a recipe"),
        ("[1]", "not a recipe"),
        (json.dumps(good | {"format": "sigah recipe 9"}), "this sigah reads"),
        (json.dumps(good | {"bits": 12}), "multiple of 8"),
        (json.dumps(good | {"bits": True}), "bits must be a whole number"),
        (json.dumps(good | {"metric": "L1"}), "metric must be one of"),
        (json.dumps(good | {"more": 1}), "unknown entries: more"),
        (json.dumps({k: v for k, v in good.items() if k != "k"}), "lacks entries: k"),
        (json.dumps(good | {"method": "opq", "bits": 0, "ranking": "codes"}), "index_factory"),
        (json.dumps(good | {"method": "floats"}), "no codes are needed"),
    ):
        path.write_text(content)
        status, _, error = run_sigah("fit", base, "--recipe", path, "--out", tmp_path / "m")
        assert (status, error.count("\n")) == (1, 1)
        assert error.startswith(f"Error: --recipe {path}")
        assert reason in error


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--recall 1.5", "--recall 1.5: recall must be above 0 and at most 1"),
        ("--bytes -1", "--bytes -1.0: n_bytes must be a positive number"),
        ("--bytes 1", "no method fits"),
        ("-k 5000", "-k 5000: k can be at most"),
        ("--latency 5", "--latency 5: give a time with its unit"),
        ("--raw tape", "--raw tape: raw must be one of disk, memory, none"),
        ("--methods magic", "methods: 'magic' is not one of"),
        ("--truth all.npy", "needs --queries"),
        ("--queries other.npy", "32"),
        ("--json all.npy", "--json all.npy is one of the inputs"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, run_sigah: Any, words: str, reason: str
) -> None:
    monkeypatch.chdir(folder)
    np.save("other.npy", np.zeros((5, 7), np.float32))
    status, _, error = run_sigah("advise", "all.npy", "--metric", "l2", *words.split())
    assert (status, error.count("\n")) == (1, 1), error
    assert reason in error


def test_too_few_vectors_and_broken_ones(folder: Path) -> None:
    rows = np.load(folder / "all.npy")
    with pytest.raises(ValueError, match="at least 1,000 are needed"):
        advise(rows[:900], metric="l2")
    broken = rows.copy()
    broken[1234, 5] = np.nan
    with pytest.raises(ValueError, match="row 1234, column 5"):
        advise(broken, metric="l2")
    with pytest.raises(ValueError, match="truth must be row numbers"):
        advise(rows, rows[:2], truth=np.full((2, 10), 2800), metric="l2")
    with pytest.raises(ValueError, match="sample all of them"):
        advise(rows, rows[:2], truth=np.zeros((2, 10), int), metric="l2", sample=1000)
