"""The tables of docs/performance.md about ranking by better distances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sigah.lab.report.markdown import pipe_table as markdown

RESULTS = Path(__file__).resolve().parents[1] / "results" / "ranking.json"


def rows(section: str) -> list[dict[str, Any]]:
    """The measurements of one section."""
    found: list[dict[str, Any]] = json.loads(RESULTS.read_text())[section]["rows"]
    return found


def exhaustive_table() -> str:
    """Asymmetric scans beside FAISS's fast scan."""
    lines = [
        [
            str(row["n_bits"]),
            str(row["queries"]),
            str(row["k"]),
            f"{row['median_us']:.0f}",
            f"{row['faiss_median_us']:.0f} ({row['faiss']})",
            f"{row['ratio']:.2f}",
        ]
        for row in rows("exhaustive")
    ]
    header = ["bits", "queries", "k", "sigah, us a query", "FAISS, us a query", "ratio of times"]
    return markdown(header, lines)


def ranking_table() -> str:
    """The rest, in microseconds a query."""
    lines = [
        [
            f"one query, 8 bytes scanned, {row['shortlist']} ranked by tables of 16 bytes",
            f"{row['median_us']:.0f}",
            f"{row['least_us']:.0f}",
        ]
        for row in rows("shortlist")
    ]
    kinds = {"asymmetric": "codes of {} bits", "raw": "vectors of {} floats"}
    for row in rows("second_stage"):
        what = kinds[row["by"]].format(row["n_bits"])
        label = f'`by="{row["by"]}"`: {row["candidates"]} candidates, {what}'
        lines.append([label, f"{row['median_us']:.0f}", f"{row['least_us']:.0f}"])
    for row in rows("encoding"):
        label = f"encode one vector of 512 floats, {row['n_bits']} bits"
        lines.append([label, f"{row['median_us']:.0f}", f"{row['least_us']:.0f}"])
    return markdown(["work", "median us", "least us"], lines)


TABLES = {"exhaustive": exhaustive_table, "ranking": ranking_table}
