"""Results as a table on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from sigah.evaluation.names import LOWER_IS_BETTER
from sigah.evaluation.results import Summary, summarize

__all__ = ["COLUMNS", "best_rows", "cell", "results_table"]

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


def cell(row: Summary, column: str) -> str:
    """Mean, with the standard deviation if several seeds ran; a dash if not measured."""
    if column not in row.mean:
        return "–"
    digits = 1 if column == "fit_seconds" else 3
    text = f"{row.mean[column]:.{digits}f}"
    return text + (f" ±{row.deviation[column]:.{digits}f}" if row.seeds > 1 else "")


def best_rows(rows: Sequence[Summary], column: str) -> list[bool]:
    """Which rows have the best mean of a column among rows of their code length."""
    sign = -1 if column in LOWER_IS_BETTER else 1
    values = [sign * row.mean.get(column, -sign * float("inf")) for row in rows]
    return [
        value == max(v for v, r in zip(values, rows, strict=True) if r.n_bits == row.n_bits)
        for value, row in zip(values, rows, strict=True)
    ]


def results_table(results: Mapping[str, Any]) -> Table:
    """One row for each method and code length; the best of each code length in bold."""
    rows = summarize(results)
    data = results["data"]
    columns = [c for c in COLUMNS if any(c in row.mean for row in rows)]
    table = Table(
        title=f"{data['name']}: {data['n_base']:,} base, {data['n_queries']:,} queries, K ="
        f" {data['k']:,}, {metric_of(data)}{seeds_of(rows)}",
        caption=notes(rows) or None,
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
        table.add_row(str(row.n_bits), row.method, *cells)
        if i + 1 < len(rows) and rows[i + 1].n_bits != row.n_bits:
            table.add_section()
    return table


def metric_of(data: Mapping[str, Any]) -> str:
    """The metric of the data and a comma; nothing for l2, and for results without a metric."""
    metric = data.get("metric", "l2")
    return "" if metric == "l2" else f"{metric}, "


def seeds_of(rows: Sequence[Summary]) -> str:
    """How many seeds the rows have: "5 seeds", "1 to 5 seeds"."""
    counts = sorted({row.seeds for row in rows})
    text = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{text} seed{'' if text == '1' else 's'}"


def notes(rows: Sequence[Summary]) -> str:
    """Notes below the table: the deviation over seeds, and the intervals over queries."""
    texts = []
    if any(row.seeds > 1 for row in rows):
        texts.append("±: standard deviation over seeds (ddof=1).")
    widths = [
        f"{HEADINGS.get(metric, metric)} ±{max(halves):.3f}"
        for metric in ("pr_area", "map", "precision@100", "recall10@10")
        if (halves := [half(row.intervals[metric]) for row in rows if metric in row.intervals])
    ]
    if widths:
        texts.append(f"95 % intervals over queries, the widest: {', '.join(widths)}.")
    return " ".join(texts)


def half(interval: tuple[float, float]) -> float:
    """Half the width of an interval."""
    return (interval[1] - interval[0]) / 2
