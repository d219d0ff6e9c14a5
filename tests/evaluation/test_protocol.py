from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import ITQ, LSH
from sigah.evaluation import (
    evaluate,
    exact_neighbors,
    measure,
    read_results,
    summarize,
    write_results,
)


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
    row = next(r for r in summarize(results) if (r["method"], r["n_bits"]) == ("lsh", 16))
    values = [
        r["metrics"]["map"] for r in results["runs"] if (r["method"], r["n_bits"]) == ("lsh", 16)
    ]
    assert row["seeds"] == 3
    assert row["mean"]["map"] == pytest.approx(np.mean(values))
    assert row["std"]["map"] == pytest.approx(np.std(values))
    assert row["std"]["map"] > 0


def test_results_are_json(results: Any, tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", results)
    assert json.loads((tmp_path / "r.json").read_text())["runs"] == json.loads(
        json.dumps(results["runs"])
    )


def test_longer_codes_find_more(results: Any) -> None:
    mean = {(r["method"], r["n_bits"]): r["mean"] for r in summarize(results)}
    for metric in ("map", "pr_area", "precision@100", "recall10@100"):
        assert mean["itq", 16][metric] > mean["itq", 8][metric]


def test_recall_curves_rise_to_one(results: Any) -> None:
    for run in results["runs"]:
        for k in (1, 10, 20):
            curve = run["curves"][f"recall{k}"]
            assert (np.diff(curve) >= -1e-12).all()
            assert len(curve) == len(run["curves"]["depths"])
        assert run["curves"]["pr_recall"][-1] == pytest.approx(1)


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


def test_an_interruption_leaves_earlier_runs_in_the_results(blobs: Any) -> None:
    call: Any = {"name": "blobs", "n_bits": [8], "k": 20}
    make = {name: lambda r, s: LSH(r, random_state=s) for name in ("one", "two")}
    data = blobs[100:], blobs[:100]
    before = evaluate(make, *data, seeds=[0], **call)

    def interrupt(results: dict[str, Any]) -> None:
        saved.append(results)
        raise KeyboardInterrupt

    saved: list[dict[str, Any]] = []
    with pytest.raises(KeyboardInterrupt):
        evaluate(make, *data, seeds=[1, 0], resume=before, on_run=interrupt, **call)
    assert [(run["method"], run["seed"]) for run in saved[0]["runs"]] == [
        ("one", 0), ("two", 0), ("one", 1),
    ]  # fmt: skip
    make["two"] = lambda r, s: ITQ(r, random_state=s)
    changed = evaluate(make, *data, seeds=[0], resume=before, **call)["runs"]
    assert [run["method"] for run in changed] == ["one", "two"], "replaced where settings changed"
    assert changed[0] == before["runs"][0]
    assert changed[1] != before["runs"][1]


def test_results_of_other_data_are_not_resumed(results: Any, blobs: Any) -> None:
    make = {"lsh": lambda r, s: LSH(r, random_state=s)}
    with pytest.raises(ValueError, match="cannot resume: .* base_sha256"):
        evaluate(make, blobs[:900], blobs[:100], name="blobs", k=20, resume=results)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"runs": []}', '{"runs": [{}]}', "\x00"])
def test_files_that_are_no_results_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ValueError, match="r.json does not hold results"):
        read_results(tmp_path / "r.json")
