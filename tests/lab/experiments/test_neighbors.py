"""The pictures of neighbours are those that a search by hand finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import LSH
from sigah.evaluation import EvaluationData
from sigah.lab.experiments import EXPERIMENTS, Store, run_experiment
from sigah.lab.experiments.experiment import QUICK
from sigah.lab.experiments.neighbors import few_queries, record_neighbors, unpack
from sigah.lab.experiments.panels import Gallery

NEIGHBORS = EXPERIMENTS["neighbors"]


@pytest.fixture
def material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationData:
    """300 pictures of 8 x 8 in grey values that a byte holds exactly."""
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    pictures = (rng.integers(256, size=(320, 64)) / 255).astype("float32")
    labels = rng.integers(3, size=320)
    return EvaluationData(
        "noise", pictures[20:], pictures[:20], k=120, base_labels=labels[20:],
        query_labels=labels[:20], picture=(8, 8), quick=True,
    )  # fmt: skip


def test_what_is_recorded_is_found_by_hand(material: EvaluationData) -> None:
    hasher = LSH(64, random_state=0).fit(material.base)
    record = record_neighbors(hasher, material)
    assert record["queries"] == [
        int(np.flatnonzero(material.query_labels == label)[0]) for label in range(3)
    ]
    pictures = unpack(record)
    base, queries = (
        np.unpackbits(hasher.transform(rows), axis=1) for rows in (material.base, material.queries)
    )
    for number, query in enumerate(record["queries"]):
        distances = (base != queries[query]).sum(axis=1)
        assert record["found"][number] == np.argsort(distances, kind="stable")[:8].tolist()
        exact = np.argsort(((material.base - material.queries[query]) ** 2).sum(axis=1))
        assert record["exact"][number] == exact[:8].tolist()
        hits = [i in set(exact[:100].tolist()) for i in record["found"][number]]
        assert record["hits"][number] == hits
        np.testing.assert_array_equal(pictures[-1 - number].ravel(), material.queries[query])
        for i in record["found"][number] + record["exact"][number]:
            np.testing.assert_array_equal(pictures[i].ravel(), material.base[i])


def test_one_seed_is_enough(material: EvaluationData, tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("sigah", "sigah.paper", "stochastic_generative"):
        monkeypatch.setitem(QUICK, name, ("n_steps=5",))
    store = Store(tmp_path / "results")
    assert run_experiment(NEIGHBORS, material, store, seeds=5) == len(NEIGHBORS.cases)
    assert run_experiment(NEIGHBORS, material, Store(store.folder), seeds=5) == 0
    panels = NEIGHBORS.view(NEIGHBORS, Store(store.folder).collect(NEIGHBORS))
    assert len(panels) == 3
    for panel in panels:
        assert isinstance(panel, Gallery)
        labels = [label for label, _ in panel.rows]
        assert labels == ["query", "exact", *(case.label for case in NEIGHBORS.cases)]
        assert set(panel.hits) == {case.label for case in NEIGHBORS.cases}


def test_without_labels_the_first_queries_are_shown() -> None:
    assert few_queries(None, 10).tolist() == [0, 1, 2, 3]
    assert few_queries(None, 2).tolist() == [0, 1]
