"""The table of docs/frontier.md on judged collections: nDCG@10 by bytes, ours beside FAISS's."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from sigah.lab.report.markdown import pipe_table

RESULTS = Path(__file__).resolve().parents[1] / "results" / "retrieval.json"


def kept_table() -> str:
    """The share of the full vectors' nDCG@10 that is kept, a mean over collections and seeds."""
    rows = json.loads(RESULTS.read_text())["rows"]
    full = {row["collection"]: row["ndcg10"] for row in rows if not row["budget"]}
    shares: dict[str, dict[int, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in rows:
        if row["budget"]:
            share = row["ndcg10"] / full[row["collection"]]
            shares[row["method"]][row["budget"]][row["collection"]].append(share)
    budgets = sorted({row["budget"] for row in rows if row["budget"]})
    means = {
        method: {
            budget: fmean(map(fmean, by.values()))
            for budget, by in found.items()
            if by.keys() == full.keys()
        }
        for method, found in shares.items()
    }
    best = {budget: max(by.get(budget, 0) for by in means.values()) for budget in budgets}

    def cell(mean: float | None, budget: int) -> str:
        if mean is None:
            return ""
        return f"**{mean:.3f}**" if mean == best[budget] else f"{mean:.3f}"

    lines = [
        [method, *(cell(by.get(budget), budget) for budget in budgets)]
        for method, by in sorted(means.items(), key=lambda pair: pair[0] != "sigah")
    ]
    return pipe_table(["method", *(f"{budget} bytes" for budget in budgets)], lines)


TABLES = {"retrieval": kept_table}
