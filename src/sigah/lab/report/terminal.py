"""Tables of experiments on the screen."""

from __future__ import annotations

from rich.table import Table as RichTable

from sigah.lab.experiments.panels import Entry, Table

__all__ = ["terminal_table"]


def terminal_table(table: Table, title: str) -> RichTable:
    """Ours, and the paper's in brackets where it has a figure; the best of a column in bold."""
    shown = RichTable(title=title)
    shown.add_column(table.corner, no_wrap=True)
    for heading in table.headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    for row, (label, cells) in enumerate(table.rows):
        texts = [
            f"[bold]{text}[/]" if table.leads(row, column) else text
            for column, text in enumerate(map(cell, cells))
        ]
        shown.add_row(label, *texts)
    return shown


def cell(entry: Entry) -> str:
    """Ours, then the paper's and the difference in brackets where it has one."""
    if entry.mean is None:
        return "–" if entry.paper is None else f"– ({entry.paper:.3f})"
    if entry.difference is None:
        return f"{entry.mean:.3f}"
    return f"{entry.mean:.3f} ({entry.paper:.3f}, {entry.difference:+.3f})"
