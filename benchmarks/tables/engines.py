"""The tables of docs/engines.md."""

from __future__ import annotations

import json
from pathlib import Path

from sigah.lab.report.markdown import pipe_table as markdown

ROOT = Path(__file__).resolve().parents[2]


def engines_table() -> str:
    """Engines on real codes."""
    report = json.loads((ROOT / "benchmarks" / "results" / "engines.json").read_text())
    head = ["engine", "kind", "searched with", "recall of 10", "filtered", "a query", "export"]
    lines = []
    for row in report["rows"]:
        filtered = row["filtered_recall"]
        settings = ", ".join(f"`{name}={value}`" for name, value in row["settings"].items())
        lines.append(
            [
                row["engine"],
                row["kind"],
                settings.replace("True", "true") or "–",
                f"{row['recall']:.4f}",
                "refused" if filtered is None else f"{filtered:.4f}",
                f"{1e6 * row['query_seconds']:,.0f} us",
                f"{row['export_seconds']:.1f} s",
            ]
        )
    return markdown(head, lines, left=3)


def pgvector_table() -> str:
    """Candidates and their ranking in one statement of PostgreSQL."""
    report = json.loads((ROOT / "benchmarks" / "results" / "pgvector_two_stage.json").read_text())
    names = {"hnsw": "graph", "scan": "scan", "exact": "none: all vectors are ranked"}
    head = ["search of codes", "candidates ranked by vectors", "recall10@10", "a query"]
    lines = [
        [
            names[row["found_by"]],
            str(row["oversampling"] * report["k"]) if row["oversampling"] else "–",
            f"{row['recall']:.3f}",
            f"{row['query_milliseconds']:.1f} ms",
        ]
        for row in report["rows"]
    ]
    return markdown(head, lines)


TABLES = {"engines": engines_table, "pgvector": pgvector_table}
