"""The tables of docs/advise.md: what is predicted from parts of sets, and what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from sigah.lab.report.markdown import pipe_table as markdown

RESULTS = Path(__file__).resolve().parents[1] / "results" / "advise.json"
HEAD = ["candidates", "coverage", "mean absolute error", "mean width"]


def sets_table() -> str:
    """By set: those that were tuned on, and those that test."""
    found = json.loads(RESULTS.read_text())
    summary, tuned = found["summary"], found["tuned"]
    tested = [name for name in summary if name in found["sets"] and name not in tuned]
    lines = []
    for label, group in (
        ("**tested**", "tested"),
        *((name, name) for name in tested),
        ("**tuned on**", "tuned"),
        *((name, name) for name in tuned),
    ):
        one = summary[group]
        good = f"{100 * one['good_decisions']:.0f} % of {one['decisions']}"
        lines.append([label, *_figures(one), good])
    return markdown(["set", *HEAD, "good recommendations"], lines)


def methods_table() -> str:
    """By method, of the sets that test."""
    summary = json.loads(RESULTS.read_text())["summary"]
    lines = [
        [f"`{name.partition('/')[2]}`", *_figures(one)]
        for name, one in summary.items()
        if name.startswith("tested/")
    ]
    return markdown(["method", *HEAD], lines)


def _figures(one: dict[str, float]) -> list[str]:
    return [
        f"{one['candidates']:,}",
        f"{one['coverage']:.2f}",
        f"{one['mean_absolute_error']:.3f}",
        f"{one['mean_width']:.3f}",
    ]


TABLES = {"advice": sets_table, "advice-methods": methods_table}
