"""Results as a table on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from sigah.evaluation import summarize
from sigah.lab.experiments.views import Entry
from sigah.lab.experiments.views import Table as PaperTable

__all__ = ["COLUMNS", "cell", "paper_table", "results_table"]

COLUMNS = (
    "pr_area",
    "map",
    "precision@100",
    "recall10@10",
    "recall100@1000",
    "relative_reconstruction_error",
    "fit_seconds",
)
HEADINGS = {  # narrow enough for a terminal
    "precision@100": "P@100",
    "recall10@10": "r10@10",
    "recall100@1000": "r100@1k",
    "relative_reconstruction_error": "error",
    "fit_seconds": "fit s",
}
LOWER_IS_BETTER = ("relative_reconstruction_error", "fit_seconds")


def cell(row: Mapping[str, Any], column: str) -> str:
    """Mean, with the standard deviation where several seeds ran; a dash where not measured."""
    if column not in row["mean"]:
        return "–"
    digits = 1 if column == "fit_seconds" else 3
    text = f"{row['mean'][column]:.{digits}f}"
    return text + (f" ±{row['std'][column]:.{digits}f}" if row["seeds"] > 1 else "")


def best_rows(rows: Sequence[Mapping[str, Any]], column: str) -> list[bool]:
    """Which rows hold the best mean of a column among rows of their code length."""
    sign = -1 if column in LOWER_IS_BETTER else 1
    values = [sign * row["mean"].get(column, -sign * float("inf")) for row in rows]
    return [
        value == max(v for v, r in zip(values, rows, strict=True) if r["n_bits"] == row["n_bits"])
        for value, row in zip(values, rows, strict=True)
    ]


def results_table(results: Mapping[str, Any]) -> Table:
    """One row for each method and code length; the best of each length in bold."""
    rows = summarize(results)
    data = results["data"]
    columns = [c for c in COLUMNS if any(c in row["mean"] for row in rows)]
    table = Table(
        title=f"{data['name']}: {data['n_base']:,} base, {data['n_queries']:,} queries, K ="
        f" {data['k']:,}, {rows[0]['seeds']} seed(s)"
    )
    table.add_column("bits", justify="right", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(HEADINGS.get(column, column), overflow="fold")
    bold = {column: best_rows(rows, column) for column in columns}
    for i, row in enumerate(rows):
        cells = [
            f"[bold]{cell(row, c)}[/]" if bold[c][i] and c != "fit_seconds" else cell(row, c)
            for c in columns
        ]
        table.add_row(str(row["n_bits"]), row["method"], *cells)
        if i + 1 < len(rows) and rows[i + 1]["n_bits"] != row["n_bits"]:
            table.add_section()
    return table


def paper_table(table: PaperTable, title: str) -> Table:
    """Ours above the paper's in each cell; the best of a column in bold."""
    shown = Table(title=title)
    shown.add_column("method", no_wrap=True)
    for heading in table.headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    for row, (label, cells) in enumerate(table.rows):
        texts = [
            f"[bold]{text}[/]" if table.best(column) == row else text
            for column, text in enumerate(map(paper_cell, cells))
        ]
        shown.add_row(label, *texts)
    return shown


def paper_cell(entry: Entry) -> str:
    """Ours, then the paper's and the difference in brackets where it has one."""
    if entry.mean is None:
        return "–" if entry.paper is None else f"– ({entry.paper:.3f})"
    if entry.difference is None:
        return f"{entry.mean:.3f}"
    return f"{entry.mean:.3f} ({entry.paper:.3f}, {entry.difference:+.3f})"
