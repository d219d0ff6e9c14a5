"""The data of an experiment: what its results are filed under."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sigah.evaluation.truth import content_hash
from sigah.lab import datasets
from sigah.lab.datasets.dataset import Build, Split
from sigah.lab.experiments.sets import prepare


@pytest.mark.parametrize(("change", "is_the_build"), [(0, True), (1e-7, True), (1e-3, False)])
def test_results_of_a_set_that_is_computed_are_filed_under_its_known_build(
    change: float, is_the_build: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = np.random.default_rng(0).random((1200, 4), np.float32)
    vectors = known * np.float32(1 + change)
    build = Build(content_hash(known), "of the queries", float(known.mean()), float(known.mean()))
    entry = replace(datasets.CATALOG["photo-gist-384"], build=build)
    monkeypatch.setitem(datasets.CATALOG, "photo-gist-384", entry)
    monkeypatch.setattr(datasets, "load", lambda name: Split(vectors, vectors, None, None))

    description = prepare("photo-gist-384").description
    filed_under = (description["base_sha256"], description["queries_sha256"])
    assert (filed_under == (build.base_sha256, "of the queries")) == is_the_build
    assert is_the_build or filed_under[0] == content_hash(vectors)
    assert prepare("photo-gist-384", quick=True).description["base_sha256"] == content_hash(vectors)
