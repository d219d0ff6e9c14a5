from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sigah.plan import plan


def test_a_plan_on_the_screen(run: Any) -> None:
    status, printed, error = run("plan", "--vectors", "1e9", "--bits", 128, "--recall", 0.7)
    assert (status, error) == (0, "")
    for text in (
        "1,000,000,000 vectors of 768 dimensions, codes of 128 bits",
        "16 GB, 192 times smaller",
        "18, for the queries",
        "HammingIndex shards",
        "for recall 0.7",
        "TwoStageSearch.calibrate",
        "pgvector",
        "Extrapolated: 55,555,556 codes per machine",
    ):
        assert text in printed


def test_json_is_the_plan(run: Any) -> None:
    status, printed, _ = run(
        "plan", "--vectors", "2e8", "--bits", 64, "--dim", 300, "--queries-per-second", 7,
        "--recall", 0.5, "--ram", 16, "--cores", 4, "--json",
    )  # fmt: skip
    assert status == 0
    expected = plan(2e8, 64, dim=300, queries_per_second=7, recall=0.5, ram_gb=16, cores=4)
    assert json.loads(printed) == asdict(expected)


def test_nonsense_is_one_line(run: Any) -> None:
    for arguments in (["nan"], ["1e9", "--recall", "2"], ["1e9", "--dim", "0"]):
        status, printed, error = run("plan", "--vectors", *arguments)
        assert (status, printed) == (1, "")
        assert error.startswith("Error: ")
        assert error.count("\n") == 1
