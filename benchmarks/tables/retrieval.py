"""The table of docs/frontier.md on judged collections: what ours and FAISS's keep, by bytes."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from sigah.lab.report.markdown import pipe_table

RESULTS = Path(__file__).resolve().parents[1] / "results" / "retrieval.json"
Column = tuple[str, int]
MEASURES = {"nDCG@10": "ndcg10", "recall10@10": "recall10@10"}


def kept_table() -> str:
    """The share of the full vectors' nDCG@10 that is kept, and of their ten nearest.

    Means over collections, of means over seeds.
    """
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text())["rows"]
    full = {row["collection"]: row for row in rows if not row["budget"]}
    found: dict[str, dict[Column, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in rows:
        for measure, name in MEASURES.items() if row["budget"] else ():
            share = row[name] / full[row["collection"]][name]
            found[row["method"]][measure, row["budget"]][row["collection"]].append(share)
    means = {
        method: {
            column: fmean(map(fmean, by.values()))
            for column, by in of.items()
            if by.keys() == full.keys()
        }
        for method, of in found.items()
    }
    columns = sorted({column for by in means.values() for column in by})
    best = {column: max(by.get(column, 0) for by in means.values()) for column in columns}

    def cell(mean: float | None, column: Column) -> str:
        if mean is None:
            return ""
        return f"**{mean:.3f}**" if mean == best[column] else f"{mean:.3f}"

    lines = [
        [method, *(cell(by.get(column), column) for column in columns)]
        for method, by in sorted(means.items(), key=lambda pair: pair[0] != "sigah")
    ]
    headings = [f"{measure}, {budget} bytes" for measure, budget in columns]
    return pipe_table(["method", *headings], lines)


TABLES = {"retrieval": kept_table}
