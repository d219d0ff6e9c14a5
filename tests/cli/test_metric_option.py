"""``--metric`` from the fit to the evaluation of what is deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import sigah
from sigah.evaluation import exact_neighbors


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    from sigah.evaluation import deployed

    timed = deployed.measure_latency
    monkeypatch.setattr(
        deployed, "measure_latency", lambda search, queries, k, _: timed(search, queries, k, 0.001)
    )


@pytest.fixture
def folder(blobs: Any, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Vectors of many lengths, their models by cosine and by l2, and codes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    vectors = ((blobs[:1000] - 3) * rng.uniform(0.1, 10, (1000, 1))).astype(np.float32)
    np.save("base.npy", vectors[40:])
    np.save("queries.npy", vectors[:40])
    for metric in ("cosine", "l2"):
        fit = ("fit", "base.npy", "--method", "itq", "--bits", 16, "--metric", metric)
        assert run(*fit, "--out", f"{metric}.model")[0] == 0
        encode = ("encode", f"{metric}.model", "base.npy", "--out", f"{metric}.npy")
        assert run(*encode)[0] == 0
    return tmp_path


def test_a_model_by_cosine_is_that_of_the_library(folder: Path, run: Any) -> None:
    base = np.load("base.npy")
    hasher = sigah.ITQ(16, metric="cosine", random_state=0).fit(base)
    assert sigah.load("cosine.model").fingerprint == hasher.fingerprint
    np.testing.assert_array_equal(np.load("cosine.npy"), hasher.transform(base))
    told = json.loads(run("inspect", "cosine.model")[1])
    assert told["header"]["parameters"]["metric"] == "cosine"


@pytest.mark.slow
@pytest.mark.parametrize("by", ["raw", "decoded", "asymmetric", "hamming"])
def test_searches_and_evaluations_are_by_the_metric_of_the_model(
    folder: Path, run: Any, by: str
) -> None:
    ranked = () if by == "hamming" else ("--by", by, "--oversampling", 100)
    vectors = ("--vectors", "base.npy") if by == "raw" else ()
    words = ("cosine.model", "cosine.npy", "queries.npy", *ranked)
    assert run("search", *words, *vectors, "-k", 10, "--out", "found.npz")[0] == 0
    truth = exact_neighbors(np.load("base.npy"), np.load("queries.npy"), 10, "cosine")
    with np.load("found.npz") as found:
        ids, distances = found["ids"], found["distances"]
    if by == "raw":
        np.testing.assert_array_equal(ids, truth.ids)
        np.testing.assert_allclose(distances, truth.distances, rtol=1e-6, atol=1e-7)
    assert run("evaluate", *words, "--vectors", "base.npy", "--json", "r.json")[0] == 0
    results = json.loads(Path("r.json").read_text())
    assert (results["data"]["truth"], results["index"]["metric"]) == ("exact, cosine", "cosine")
    hits = np.mean([np.isin(row, true).mean() for row, true in zip(ids, truth.ids, strict=True)])
    (measured,) = results["measurements"]
    assert measured["metrics"]["recall10@10"] == pytest.approx(hits)


def test_models_and_codes_of_two_metrics_are_not_mixed(folder: Path, run: Any) -> None:
    status, _, told = run("search", "cosine.model", "l2.npy", "queries.npy")
    assert status != 0
    assert "CODES|INDEX l2.npy" in told


@pytest.mark.parametrize(("distance", "metric"), [("angular", "cosine"), ("euclidean", "l2")])
def test_a_truth_file_of_another_metric_is_refused(
    folder: Path, run: Any, distance: str, metric: str
) -> None:
    truth = exact_neighbors(np.load("base.npy"), np.load("queries.npy"), 10, metric).ids
    with h5py.File("truth.hdf5", "w") as file:
        file["neighbors"], file.attrs["distance"] = truth, distance
    for model in ("cosine", "l2"):
        words = (f"{model}.model", f"{model}.npy", "queries.npy", "--truth", "truth.hdf5:neighbors")
        status, _, told = run("evaluate", *words)
        assert (status == 0) == (model == metric), told
        if model != metric:
            assert "--truth truth.hdf5:neighbors" in told
            assert f"has the metric {model}, but the truth has {metric}" in told


def test_a_model_has_its_own_metric(folder: Path, run: Any) -> None:
    words = ("cosine.model", "cosine.npy", "queries.npy", "--vectors", "base.npy")
    status, _, told = run("evaluate", *words, "--metric", "l2")
    assert status != 0
    assert "--metric" in told
    fit = ("fit", "base.npy", "--bits", 16, "--metric", "cosine", "--set", "n_steps=2")
    assert run(*fit, "--out", "sigah.model")[0] == 0
    again = ("fit", "base.npy", "--continue", "sigah.model", "--out", "later.model")
    status, _, told = run(*again, "--metric", "ip")
    assert status != 0
    assert "--metric ip: the model sigah.model has the metric cosine" in told
    assert run(*again)[0] == 0
    assert sigah.load("later.model").metric == "cosine"


def test_drift_is_measured_by_the_metric_of_the_model(folder: Path, run: Any) -> None:
    scaled = np.load("base.npy") * np.random.default_rng(1).uniform(0.01, 100, (960, 1))
    np.save("scaled.npy", scaled.astype(np.float32))
    status, told, _ = run("drift", "cosine.model", "base.npy", "scaled.npy")
    assert status == 0
    assert "keep" in told


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_all_methods_are_those_for_any_vectors(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    seen: list[str] = []

    def evaluate(makers: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        seen.extend(makers)
        raise KeyboardInterrupt

    monkeypatch.setattr(sigah.evaluation, "evaluate", evaluate)
    words = ("base.npy", "queries.npy", "--methods", "all", "--metric", metric)
    status, _, told = run("evaluate", *words)
    assert status == 130, told
    assert {"sigah", "sigah.paper", "itq", "lsh"} <= set(seen)
    assert not {"greedy_hash", "hash_gan", "sigah.semantic"} & set(seen)
