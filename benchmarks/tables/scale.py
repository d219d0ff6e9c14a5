"""The table of docs/scale.md: a hundred million codes, step by step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sigah.lab.report.markdown import pipe_table as markdown

RESULTS = Path(__file__).resolve().parents[1] / "results" / "scale.json"

Steps = dict[str, Any]


def size(n_bytes: float) -> str:
    """Bytes in MB or GB."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Seconds in a unit that leaves few digits."""
    if seconds >= 1:
        return f"{seconds:,.0f} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.0f} us"


def work(step: str) -> Callable[[Steps], str]:
    """What a whole step took."""
    return lambda steps: (
        f"{duration(steps[step]['processor_seconds'])}, {size(steps[step]['peak_memory_bytes'])}"
    )


def search(step: str, *keys: str) -> Callable[[Steps], str]:
    """Recall, and times of one query alone and in a batch."""

    def cell(steps: Steps) -> str:
        found = steps[step]
        for key in keys:
            found = found[key] if key != "chosen" else next(iter(found.values()))
        return (
            f"{found['recall']:.3f}; {duration(found['single_seconds'])},"
            f" {duration(found['batch_seconds_a_query'])}"
        )

    return cell


ROWS: dict[str, Callable[[Steps], str]] = {
    "`ITQ.fit` on a sample of 100,000, which all vectors pass: time, peak memory": work("fit"),
    "`streams.encode`: time, peak memory": work("encode"),
    "the codes' file": lambda steps: size(steps["encode"]["file_bytes"]),
    "`HammingIndex.of_codes` and `save`: time, peak memory": work("index"),
    "first query of the mapped index, which verifies it": lambda steps: duration(
        steps["scan"]["first_query_seconds"]
    ),
    "scan: recall; one query alone, in a batch of 200": search("scan", "codes"),
    "asymmetric, 100 candidates: recall; alone, in a batch": search("scan", "asymmetric"),
    "`build_tables`: time, memory of the tables, peak": lambda steps: (
        f"{duration(steps['tables']['build_seconds'])}, {size(steps['tables']['table_bytes'])},"
        f" {size(steps['tables']['peak_memory_bytes'])}"
    ),
    "with tables: recall; alone, in a batch": search("tables", "codes"),
    "queries of the batch that tables answered": lambda steps: (
        f"{steps['tables']['answered_by']['tables']} of 200"
    ),
    "`VectorIndex.build`, 12 bytes: time, peak memory": work("refine"),
    "its file": lambda steps: size(steps["refine"]["file_bytes"]),
    "mapped, first query": lambda steps: duration(steps["two_stage"]["first_query_seconds"]),
    "its own shortlist: recall; alone, in a batch": search("two_stage", "shortlists", "chosen"),
    "100 of these ranked by the vectors: recall": lambda steps: (
        f"{steps['two_stage']['ranked_recall']:.3f}"
    ),
}


def scale_table() -> str:
    """A column for each number of vectors; a dash where a step was not measured."""
    runs = json.loads(RESULTS.read_text())["runs"]

    def cell(make: Callable[[Steps], str], steps: Steps) -> str:
        try:
            return make(steps)
        except KeyError:
            return "–"

    lines = [[label, *(cell(make, run["steps"]) for run in runs)] for label, make in ROWS.items()]
    return markdown(["step", *(f"{run['n_vectors']:,} vectors" for run in runs)], lines)


TABLES = {"scale": scale_table}
