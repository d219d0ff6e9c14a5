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


def rescoring_table() -> str:
    """Our codes and each engine's own way, ranked by the vectors."""
    report = json.loads((ROOT / "benchmarks" / "results" / "rescoring.json").read_text())
    head = [
        "engine",
        "candidates by",
        "probes",
        "ranked",
        "recall10@10",
        "a query",
        "disk",
        "build",
    ]
    lines = [
        [
            row["engine"],
            f"**sigah**, {row['way']}" if row["ours"] else row["way"],
            str(row.get("probes", "–")),
            str(row["ranked"] or "–"),
            f"{row['recall']:.3f}",
            f"{1e3 * row['seconds']:.1f} ms",
            f"{row['disk_bytes'] / 1e6:.0f} MB",
            f"{row['build_seconds']:.0f} s",
        ]
        for row in report["rows"]
    ]
    return markdown(head, lines, left=2)


TABLES = {"engines": engines_table, "rescoring": rescoring_table}
