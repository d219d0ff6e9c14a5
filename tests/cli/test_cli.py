"""The command line as its users meet it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sigah
from sigah.cli import main
from sigah.hashers import METHODS
from sigah.hashers.registry import METHOD_NAMES, RECIPES

STEPS = ["--set", "n_steps=20"]


@pytest.fixture(scope="module")
def made(blobs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with base and query vectors, a model and codes."""
    folder = tmp_path_factory.mktemp("made")
    base, model, codes = folder / "base.npy", folder / "model", folder / "codes.npy"
    np.save(base, blobs[50:])
    np.save(folder / "queries.npy", blobs[:50])
    fit = ("fit", base, "--bits", 16, "--out", model, *STEPS)
    encode = ("encode", model, base, "--out", codes)
    with pytest.MonkeyPatch.context() as patch:
        for call in (fit, encode):
            patch.setattr(sys, "argv", ["sigah", *map(str, call)])
            with pytest.raises(SystemExit) as left:
                main()
            assert not left.value.code
    return folder


@pytest.fixture
def files(made: Path, tmp_path: Path) -> Path:
    """The same folder for one test alone."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.slow
def test_fit_encode_search_agree_with_the_library(files: Path, blobs: Any, run: Any) -> None:
    status, out, _ = run(
        "search", files / "model", files / "codes.npy", files / "queries.npy",
        "-k", 5, "--out", files / "found.npz",
    )  # fmt: skip
    assert status == 0
    assert "5 neighbours of 50 queries" in out
    hasher = sigah.load(files / "model")
    base, queries = hasher.transform(blobs[50:]), hasher.transform(blobs[:50])
    np.testing.assert_array_equal(np.load(files / "codes.npy"), base)
    index = sigah.HammingIndex(16)
    index.add(base)
    distances, ids = index.search(queries, 5)
    with np.load(files / "found.npz") as found:
        np.testing.assert_array_equal(found["distances"], distances)
        np.testing.assert_array_equal(found["ids"], ids)


def test_search_prints_neighbours_without_out(files: Path, run: Any) -> None:
    status, out, _ = run("search", files / "model", files / "codes.npy", files / "queries.npy")
    assert status == 0
    assert "first of 50 queries" in out


@pytest.mark.slow
def test_an_index_is_built_changed_and_searched(files: Path, run: Any, blobs: Any) -> None:
    index, codes = files / "index", files / "codes.npy"
    status, out, _ = run("index", "build", codes, "--out", index)
    assert (status, "1,950 codes of 16 bits" in out) == (0, True)
    run("encode", files / "model", files / "queries.npy", "--out", files / "more.npy")
    assert "2,000 codes, 50 of them new" in run("index", "add", index, files / "more.npy")[1]
    assert "1,997 codes" in run("index", "remove", index, "0,7,1950")[1]
    (files / "ids.txt").write_text("3\n4\n1960\n")
    assert "1,994 codes" in run("index", "remove", index, files / "ids.txt")[1]
    told = json.loads(run("index", "stats", index)[1])
    assert (told["n_codes"], told["n_bits"]) == (1994, 16)
    assert told["fingerprint"] == sigah.load(files / "model").fingerprint
    assert json.loads(run("inspect", index)[1])["kind"] == "index"

    expected = sigah.HammingIndex(16)
    hasher = sigah.load(files / "model")
    expected.add(hasher.transform(np.concatenate([blobs[50:], blobs[:50]])))
    expected.remove([0, 7, 1950, 3, 4, 1960])
    neighbours = expected.search(hasher.transform(blobs[:50]), 5)
    np.save(files / "even.npy", np.arange(0, 2000, 2))
    even = expected.search(hasher.transform(blobs[:50]), 5, filter=np.arange(0, 2000, 2))
    by_codes = ("index", "search", index, files / "more.npy", "-k", 5)
    by_vectors = ("search", files / "model", index, files / "queries.npy", "-k", 5)
    for call in (by_codes, (*by_codes, "--tables"), by_vectors):
        for more, (distances, ids) in (
            ((), neighbours), (("--filter", files / "even.npy"), even)
        ):  # fmt: skip
            assert run(*call, *more, "--out", files / "found.npz")[0] == 0
            with np.load(files / "found.npz") as found:
                np.testing.assert_array_equal(found["distances"], distances)
                np.testing.assert_array_equal(found["ids"], ids)
    assert "first of 50 queries" in run(*by_codes)[1]


def test_an_index_refuses_codes_of_another_model(files: Path, run: Any) -> None:
    index, codes = files / "index", files / "codes.npy"
    run("index", "build", codes, "--out", index)
    run("fit", files / "base.npy", "--bits", 16, "--method", "lsh", "--out", files / "other")
    run("encode", files / "other", files / "queries.npy", "--out", files / "foreign.npy")
    for call in (
        ("index", "add", index, files / "foreign.npy"),
        ("index", "search", index, files / "foreign.npy"),
        ("search", files / "other", index, files / "queries.npy"),
    ):
        status, _, err = run(*call)
        assert (status, "made by another model" in err) == (1, True)
    assert json.loads(run("index", "stats", index)[1])["n_codes"] == 1950


@pytest.mark.slow
@pytest.mark.parametrize("by", ["asymmetric", "spherical", "decoded", "raw"])
def test_search_ranks_candidates(files: Path, run: Any, blobs: Any, by: str) -> None:
    call = ("search", files / "model", files / "codes.npy", files / "queries.npy", "--by", by)
    raw = ("--vectors", files / "base.npy") if by == "raw" else ()
    more = ("--oversampling", 4, *raw, "-k", 5)
    assert run(*call, *more, "--out", files / "found.npz")[0] == 0
    hasher, index = sigah.load(files / "model"), sigah.HammingIndex(16)
    index.add(hasher.transform(blobs[50:]))
    vectors = blobs[50:] if by == "raw" else None
    ranked = sigah.TwoStageSearch(index, hasher, by, oversampling=4, vectors=vectors)
    with np.load(files / "found.npz") as found:
        np.testing.assert_array_equal(found["ids"], ranked.search(blobs[:50], 5)[1])
    assert f"({by} distance)" in run(*call, *more)[1]
    (files / "few.txt").write_text("\n".join(map(str, range(0, 40, 3))))
    filtered = (*more, "--filter", files / "few.txt", "--out", files / "few.npz")
    assert run(*call, *filtered)[0] == 0
    with np.load(files / "few.npz") as found:
        expected = ranked.search(blobs[:50], 5, filter=np.arange(0, 40, 3))[1]
        np.testing.assert_array_equal(found["ids"], expected)


def test_the_same_seed_makes_the_same_file(files: Path, run: Any) -> None:
    run("fit", files / "base.npy", "--bits", 16, "--out", files / "again", *STEPS)
    assert sigah.load(files / "again").fingerprint == sigah.load(files / "model").fingerprint


def test_codes_of_another_model_are_refused(files: Path, run: Any) -> None:
    other = files / "other"
    run("fit", files / "base.npy", "--bits", 16, "--method", "lsh", "--out", other)
    status, _, err = run("search", other, files / "codes.npy", files / "queries.npy")
    assert status == 1
    assert "made by another model" in err
    assert "Traceback" not in err


def test_inspect_tells_models_from_codes(files: Path, run: Any) -> None:
    model = json.loads(run("inspect", files / "model")[1])
    codes = json.loads(run("inspect", files / "codes.npy")[1])
    assert (model["kind"], codes["kind"]) == ("model", "codes")
    assert model["header"]["fingerprint"] == codes["header"]["fingerprint"]
    assert model["header"]["parameters"]["n_bits"] == 16


def test_evaluate_compares_methods_and_writes_json(files: Path, run: Any) -> None:
    status, out, _ = run(
        "evaluate", files / "base.npy", files / "queries.npy", "--methods", "itq,lsh",
        "--bits", "8,16", "--seeds", 2, "-k", 20, "--json", files / "results.json",
    )  # fmt: skip
    assert status == 0
    assert "pr_area" in out
    results = json.loads((files / "results.json").read_text())
    runs = {(r["method"], r["n_bits"], r["seed"]) for r in results["runs"]}
    assert len(runs) == len(results["runs"]) == 8
    assert results["data"]["k"] == 20
    for r in results["runs"]:
        assert 0 < r["metrics"]["pr_area"] <= 1
        assert r["metrics"]["map_worst"] <= r["metrics"]["map"] <= r["metrics"]["map_best"]


def test_an_interrupted_evaluation_resumes(files: Path, run: Any) -> None:
    call = (
        "evaluate", files / "base.npy", files / "queries.npy", "--methods", "itq,lsh",
        "-k", 20, "--json", files / "resumed.json",
    )  # fmt: skip
    run(*call, "--bits", "8")
    first = json.loads((files / "resumed.json").read_text())["runs"]
    status, _, err = run(*call, "--bits", "8,16", "--seeds", 2, "--resume")
    assert status == 0
    assert err.count("pr_area") == 6, "two of eight runs were there already"
    runs = json.loads((files / "resumed.json").read_text())["runs"]
    assert len(runs) == 8
    assert all(run in runs for run in first), "kept as they were, with their seconds"
    others = [*call[:4], "sign", *call[5:]]
    status, _, err = run(*others, "--bits", "8", "--resume")
    assert (status, err.count("pr_area")) == (0, 1)
    assert "sign 8 bits, seed 0" in err, "the latest is told of"
    more = json.loads((files / "resumed.json").read_text())["runs"]
    assert len(more) == 9
    assert all(run in more for run in runs), "runs of other methods stay in the file"
    status, _, err = run(*call, "--bits", "8", "-k", 10, "--resume")
    assert status != 0
    assert "measured with k 20, not 10" in err


def test_methods_that_cannot_make_so_many_bits_are_left_out(files: Path, run: Any) -> None:
    call = ("evaluate", files / "base.npy", files / "queries.npy", "--bits", "32", "-k", 20)
    status, out, _ = run(*call, "--methods", "itq,lsh")
    assert status == 0
    assert "lsh" in out
    assert "itq" not in out
    status, _, err = run(*call, "--methods", "itq")
    assert status != 0
    assert "itq can make that many bits from 24 dimensions" in err


def test_lists_are_complete(run: Any) -> None:
    status, out, _ = run("methods")
    assert status == 0
    lines = out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(METHOD_NAMES)
    assert set(METHOD_NAMES) == {*METHODS, *RECIPES}
    for line in lines:
        name, cost, scores, decodes, exceeds = line.split()[:5]
        method = METHODS[name.partition(".")[0]]
        assert cost in ("instant", "seconds", "minutes")
        assert (scores == "yes") == hasattr(method, "project")
        assert (decodes == "yes") == hasattr(method, "reconstruct")
        assert (exceeds == "yes") == method.exceeds_dimension
        assert line.strip().endswith("."), "one whole line each"
    assert all(name in run("data", "list")[1] for name in ("mnist", "fashion-mnist"))


@pytest.mark.parametrize(
    "command", ["", "fit", "encode", "search", "evaluate", "inspect", "methods", "demo", "data"]
)
def test_help_everywhere(run: Any, command: str) -> None:
    status, out, _ = run(*command.split(), "--help")
    assert status == 0
    assert "Usage" in out


@pytest.mark.slow
def test_ctrl_c_during_fit_still_writes_a_usable_model(files: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sigah", "fit", str(files / "base.npy"), "--bits", "16",
         "--set", "n_steps=1000000", "--out", str(files / "stopped")],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "200"},
    )  # fmt: skip
    try:
        seen = b""
        while b"nei " not in seen:  # the bar shows loss terms: training has begun
            seen += (part := process.stderr.read1())
            assert part, f"it ended too early: {seen.decode()}"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert b"interrupted after" in err
    assert sigah.load(files / "stopped").training_["interrupted"]


def test_importing_sigah_is_light() -> None:
    script = "import sys, sigah; assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
