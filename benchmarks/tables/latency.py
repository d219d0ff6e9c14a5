"""The tables of docs/service.md: one query warm and cold, and the memory of processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sigah.lab.report.markdown import pipe_table as markdown

RESULTS = Path(__file__).resolve().parents[1] / "results" / "latency.json"
PARTS = ("encode", "search", "rank", "together")


def results() -> dict[str, Any]:
    """What was measured."""
    found: dict[str, Any] = json.loads(RESULTS.read_text())
    return found


def milliseconds(seconds: float) -> str:
    """Seconds in ms, three digits."""
    return f"{1e3 * seconds:,.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def warm_table() -> str:
    """Percentiles of single queries."""
    lines = []
    for row in results()["rows"]:
        cases = [(f"{run['n_threads']}", run) for run in row["warm"]]
        cases += [(f"quota of {cores} cores", run) for cores, run in row["quota"].items() if run]
        for label, run in cases:
            cells = [
                f"{milliseconds(run[part]['p50'])} / {milliseconds(run[part]['p99'])}"
                for part in PARTS
            ]
            lines.append([f"{row['n']:,}", label, *cells])
    head = ["codes", "threads", "encode", "search", "rank 100", "`TwoStageSearch`"]
    return markdown(head, lines)


def cold_table() -> str:
    """The first query of a new process."""
    lines = []
    for row in results()["rows"]:
        cases = {
            "files in the system's cache": row["cold"]["cached"],
            "files dropped from it": row["cold"]["dropped"],
            "read-only file system, compiled kernels": row["read_only"]["with_kernels"],
            "read-only file system, no kernels": row["read_only"]["without"],
        }
        for label, run in cases.items():
            if run is not None:
                parts = [milliseconds(run[part]) for part in ("open", "first", "second", "process")]
                lines.append([f"{row['n']:,}", label, *parts])
    return markdown(
        ["codes", "case", "open", "first query", "second query", "whole process"], lines, left=2
    )


def memory_table() -> str:
    """What processes hold together."""
    lines = []
    for row in results()["rows"]:
        for count, found in row["shared"].items():
            cells = [f"{found[part] / 1e6:,.0f}" for part in ("rss", "pss", "anonymous")]
            lines.append([f"{row['n']:,}", count, *cells])
    head = ["codes", "processes", "sum of RSS, MB", "sum of PSS, MB", "their own, MB"]
    return markdown(head, lines)


TABLES = {"latency": warm_table, "first-query": cold_table, "shared-memory": memory_table}
