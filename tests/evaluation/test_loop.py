from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import ITQ, LSH
from sigah.evaluation import (
    evaluate,
    exact_neighbors,
    keys,
    measure,
    read_results,
    summarize,
    write_results,
)
from sigah.evaluation.loop import Unit
from sigah.evaluation.store import RunStore
from sigah.evaluation.table import results_table


@pytest.fixture(scope="module")
def results(blobs: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGAH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return evaluate(
            {
                "lsh": lambda r, s: LSH(r, random_state=s),
                "itq": lambda r, s: ITQ(r, random_state=s),
            },
            blobs[100:],
            blobs[:100],
            name="blobs",
            n_bits=[8, 16],
            seeds=[3, 4, 5],
            k=20,
        )


def test_every_combination_runs_once_with_its_seed(results: Any) -> None:
    runs = [(r["method"], r["n_bits"], r["seed"]) for r in results["runs"]]
    assert len(runs) == len(set(runs)) == 2 * 2 * 3
    assert all(r["parameters"]["random_state"] == r["seed"] for r in results["runs"])


def test_results_say_what_they_were_measured_on(results: Any) -> None:
    assert results["data"]["n_base"] == 1900
    assert results["data"]["k"] == 20
    assert len(results["data"]["base_sha256"]) == 64
    assert results["data"]["base_sha256"] != results["data"]["queries_sha256"]
    assert {"python", "sigah", "numpy", "torch"} <= set(results["environment"]["versions"])
    assert results["environment"]["peak_memory_bytes"] > 1e6


def test_a_summary_is_the_mean_and_deviation_over_seeds(results: Any) -> None:
    row = next(r for r in summarize(results) if (r.method, r.n_bits) == ("lsh", 16))
    values = [
        r["metrics"]["map"] for r in results["runs"] if (r["method"], r["n_bits"]) == ("lsh", 16)
    ]
    assert row.seeds == 3
    assert row.mean["map"] == pytest.approx(np.mean(values))
    assert row.deviation["map"] == pytest.approx(np.std(values, ddof=1))
    assert row.deviation["map"] > 0
    low, high = row.intervals["map"]
    assert low < row.mean["map"] < high


def test_results_are_json(results: Any, tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", results)
    assert json.loads((tmp_path / "r.json").read_text())["runs"] == json.loads(
        json.dumps(results["runs"])
    )


def test_longer_codes_find_more(results: Any) -> None:
    mean = {(r.method, r.n_bits): r.mean for r in summarize(results)}
    for metric in ("map", "pr_area", "precision@100", "recall10@100"):
        assert mean["itq", 16][metric] > mean["itq", 8][metric]


def test_recall_curves_rise_to_one(results: Any) -> None:
    for run in results["runs"]:
        for k in (1, 10, 20):
            curve = run["curves"][f"recall{k}"]
            assert (np.diff(curve) >= -1e-12).all()
            assert len(curve) == len(run["curves"]["depths"])
        assert run["curves"]["pr_recall"][-1] == pytest.approx(1)


def test_metrics_are_the_points_of_curves_that_their_names_say(results: Any) -> None:
    for run in results["runs"]:
        named = {name for name in run["metrics"] if name.startswith("recall")}
        assert named == {"recall1@10", "recall10@10", "recall10@100"}
        for name in named:
            size, depth = name.removeprefix("recall").split("@")
            place = run["curves"]["depths"].index(float(depth))
            assert run["metrics"][name] == run["curves"][f"recall{size}"][place]
        assert set(run["intervals"]) == {"pr_area", "map", "precision@100", "recall10@10"}
        low, high = run["intervals"]["recall10@10"]
        assert low <= run["metrics"]["recall10@10"] <= high


def test_processor_time_is_that_of_the_fit(results: Any) -> None:
    for run in results["runs"]:
        cores = os.cpu_count() or 1
        # other threads of this process may work meanwhile, but not since it began
        assert 0 <= run["metrics"]["fit_cpu_seconds"] <= cores * run["metrics"]["fit_seconds"] + 0.1


def test_the_newest_of_two_like_runs_is_found(results: Any) -> None:
    old = results["runs"][0]
    new = {**old, "metrics": {**old["metrics"], "map": 0.123}}
    store = RunStore(results["data"], [old, new])
    unit = Unit(old["method"], old["n_bits"], old["seed"], lambda: LSH(8, random_state=old["seed"]))
    found = store.find(results["data"], unit)
    assert found is not None and found["metrics"]["map"] == 0.123


def test_results_do_not_depend_on_the_order_of_the_base(blobs: Any) -> None:
    base, queries = blobs[100:], blobs[:100]
    hasher = ITQ(16, random_state=0).fit(base)
    shuffled = base[np.random.default_rng(0).permutation(len(base))]
    first, second = (
        measure(hasher, some, queries, exact_neighbors(some, queries, 20).ids)["metrics"]
        for some in (base, shuffled)
    )
    for metric in set(first) - {"encode_vectors_per_second"}:
        assert first[metric] == pytest.approx(second[metric]), metric


def test_too_many_neighbours_are_refused(blobs: Any) -> None:
    with pytest.raises(ValueError, match="k = 50"):
        evaluate({}, blobs[:20], blobs[:5], name="few", k=50)


def test_a_sample_can_be_learned_from(
    blobs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path))
    seen = []

    class Spy(ITQ):
        def fit(self, X: Any, y: object = None) -> Any:
            seen.append(X)
            return super().fit(X)

    call: Any = {"name": "blobs", "n_bits": [8], "seeds": [0, 1], "k": 20}
    make = {"itq": lambda r, s: Spy(r, random_state=s)}
    results = evaluate(make, blobs[100:], blobs[:100], n_train=300, **call)
    assert results["data"]["n_train"] == 300
    assert [len(X) for X in seen] == [300, 300]
    assert (seen[0] != seen[1]).any(), "each seed draws its own"
    rows = {row.tobytes() for row in blobs[100:]}
    assert all(row.tobytes() in rows for row in seen[0])
    with pytest.raises(ValueError, match="n_train = 5000 vectors cannot be drawn"):
        evaluate(make, blobs[100:], blobs[:100], n_train=5000, **call)


def call(blobs: Any, methods: Any, **more: Any) -> dict[str, Any]:
    """An evaluation of little work."""
    return evaluate(methods, blobs[100:], blobs[:100], name="blobs", n_bits=[8], k=20, **more)


def test_named_methods_learn_for_the_metric_of_the_evaluation(blobs: Any, apart: None) -> None:
    lengths = np.random.default_rng(0).uniform(0.01, 100, size=(2000, 1))
    vectors = (blobs * lengths).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    results = call(vectors, ["lsh", "itq"], metric="cosine")
    assert results["data"]["metric"] == "cosine"
    assert all(run["parameters"]["metric"] == "cosine" for run in results["runs"])
    # unit vectors have the same neighbours and the same codes by l2
    expected = call(units, ["lsh", "itq"])
    for run, other in zip(results["runs"], expected["runs"], strict=True):
        for name in ("map", "recall10@10"):
            assert run["metrics"][name] == pytest.approx(other["metrics"][name], abs=1e-3)
        assert run["key"] != other["key"]
    error = results["runs"][1]["metrics"]["relative_reconstruction_error"]
    other = expected["runs"][1]["metrics"]["relative_reconstruction_error"]
    assert error == pytest.approx(other, rel=1e-3)
    assert "cosine" in str(results_table(results).title)
    assert "l2" not in str(results_table(expected).title)
    again = call(vectors, ["lsh", "itq"], metric="cosine", on_run=refuse, resume=results)
    assert again["runs"] == results["runs"]
    with pytest.raises(ValueError, match="measured with metric cosine, not ip"):
        call(vectors, ["lsh"], metric="ip", resume=results)


def test_a_hasher_of_another_metric_is_refused_before_any_work(blobs: Any, apart: None) -> None:
    made: dict[str, Any] = {
        "first": lambda r, s: LSH(r, metric="ip", random_state=s),
        "other": lambda r, s: LSH(r, random_state=s),
    }
    with pytest.raises(ValueError, match="has the metric l2, but the evaluation has ip"):
        call(blobs, made, metric="ip", on_run=refuse)
    with pytest.raises(ValueError, match="two metrics: ip by its settings, and l2"):
        call(blobs, ["itq", "lsh:metric=ip"], on_run=refuse)
    with pytest.raises(ValueError, match="metric must be one of l2, cosine, ip"):
        call(blobs, ["lsh"], metric="dot")


def test_results_of_before_there_were_metrics_are_of_l2(blobs: Any, apart: None) -> None:
    results = call(blobs, ["lsh"])
    del results["data"]["metric"], results["runs"][0]["parameters"]["metric"]
    again = call(blobs, ["lsh"], on_run=refuse, resume=results)
    assert again["runs"] == results["runs"]
    with pytest.raises(ValueError, match="measured with metric l2, not cosine"):
        call(blobs, ["lsh"], metric="cosine", resume=results)


def refuse(results: Any) -> None:
    raise AssertionError("this must not be measured")


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of true neighbours of our own."""
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))


def test_an_interruption_leaves_whole_runs(blobs: Any, apart: None) -> None:
    """Between two runs, and within one: the run in work is dropped, the loop is left."""
    before = call(blobs, ["lsh", "itq"], seeds=[0])
    saved: list[dict[str, Any]] = []

    def interrupt(results: dict[str, Any]) -> None:
        saved.append(results)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(blobs, ["lsh", "itq"], seeds=[1, 0], resume=before, on_run=interrupt)
    assert [(run["method"], run["seed"]) for run in saved[0]["runs"]] == [
        ("lsh", 0), ("itq", 0), ("lsh", 1),
    ]  # fmt: skip

    class Stopped(LSH):
        def _fit(self, rows: Any, random_state: Any) -> None:
            raise KeyboardInterrupt

    class Partial(LSH):
        """Keeps what it learned until Ctrl-C, and does not raise."""

        def _fit(self, rows: Any, random_state: Any) -> None:
            super()._fit(rows, random_state)
            self.training_ = {"interrupted": True}

    for kind in (Stopped, Partial):
        saved.clear()
        make = {"lsh": lambda r, s: LSH(r, random_state=s), "cut": lambda r, s, k=kind: k(r)}
        with pytest.raises(KeyboardInterrupt):
            call(blobs, make, on_run=saved.append)
        assert [[run["method"] for run in results["runs"]] for results in saved] == [["lsh"]]


def test_a_run_is_found_by_what_was_measured(blobs: Any, apart: None) -> None:
    before = call(blobs, ["lsh", "itq:n_iter=3"], seeds=[0, 1])
    new: list[tuple[str, int]] = []

    def note(results: dict[str, Any]) -> None:
        new.append((results["runs"][-1]["method"], results["runs"][-1]["seed"]))

    again = call(blobs, ["itq:n_iter=3", "lsh"], seeds=[1, 2], resume=before, on_run=note)
    assert new == [("itq:n_iter=3", 2), ("lsh", 2)]
    assert len(again["runs"]) == 6, "those of other seeds are kept"
    new.clear()
    # the same settings in other words are the same measurement, other settings are not
    call(blobs, ["itq:n_iter=3.0"], seeds=[0], resume=before, on_run=note)
    assert new == []
    changed = call(
        blobs, {"lsh": lambda r, s: ITQ(r, random_state=s)}, seeds=[0], resume=before, on_run=note
    )
    assert new == [("lsh", 0)], "replaced where what it stands for changed"
    places = [(run["method"], run["seed"]) for run in changed["runs"]]
    assert len(places) == len(set(places)) == 4


def test_another_revision_or_version_is_measured_again(
    blobs: Any, apart: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = call(blobs, ["lsh", "itq"])
    new: list[str] = []

    def note(results: dict[str, Any]) -> None:
        new.append(results["runs"][-1]["method"])

    monkeypatch.setattr(ITQ, "revision", ITQ.revision + 1)
    call(blobs, ["lsh", "itq"], resume=before, on_run=note)
    assert new == ["itq"]
    new.clear()
    versions = {**keys.package_versions(), "numpy": "1.0"}
    monkeypatch.setattr(keys, "package_versions", lambda: versions)
    call(blobs, ["lsh"], resume=before, on_run=note)
    assert new == ["lsh"]


def test_files_of_before_revisions_are_taken_if_they_are_whole(blobs: Any, apart: None) -> None:
    """`sigah evaluate` of 08d4737 told no source, and recorded SiGAH's training cut short."""
    before = call(blobs, ["lsh", "sigah:n_steps=2"])
    old = ("method", "n_bits", "seed", "parameters", "metrics", "curves")
    before["runs"] = [{name: run[name] for name in old} for run in before["runs"]]
    new: list[str] = []

    def note(results: dict[str, Any]) -> None:
        new.append(results["runs"][-1]["method"])

    call(blobs, ["lsh", "sigah:n_steps=2"], resume=before, on_run=note)
    assert new == ["sigah:n_steps=2"]
    new.clear()
    before["runs"][1]["code"] = keys.FIRST_SOURCES["sigah"]  # `sigah reproduce` told it
    call(blobs, ["lsh", "sigah:n_steps=2"], resume=before, on_run=note)
    assert new == []
    before["runs"][1]["code"] = "0" * 16
    call(blobs, ["lsh", "sigah:n_steps=2"], resume=before, on_run=note)
    assert new == ["sigah:n_steps=2"]


def test_results_of_other_data_are_not_resumed(results: Any, blobs: Any) -> None:
    make = {"lsh": lambda r, s: LSH(r, random_state=s)}
    with pytest.raises(ValueError, match="cannot resume: .* base_sha256"):
        evaluate(make, blobs[:900], blobs[:100], name="blobs", k=20, resume=results)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"runs": []}', '{"runs": [{}]}', "\x00"])
def test_files_that_are_no_results_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ValueError, match="r.json does not hold results"):
        read_results(tmp_path / "r.json")
