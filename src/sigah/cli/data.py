"""``sigah data``: the named data sets."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from sigah import datasets

__all__ = ["app", "fetch_with_bar"]

app = typer.Typer(help="List, fetch and find the named data sets.", no_args_is_help=True)


def fetch_with_bar(name: str) -> Path:
    """Fetch a named set into the cache, with a bar for each download."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def show(label: str, done: int, total: int | None) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total)
            progress.update(tasks[label], completed=done, total=total)

        return datasets.fetch(name, progress=show)


@app.command("list")
def list_() -> None:
    """List the named sets: size, licence, and whether they are in the cache."""
    table = Table(show_lines=True)
    table.add_column("name", no_wrap=True)
    for column in ("base + queries", "dim", "cached", "what it is, and its licence"):
        table.add_column(column)
    for name, entry in datasets.CATALOG.items():
        try:
            datasets.path(name)
            cached = "yes"
        except (ValueError, OSError):
            cached = "no"
        table.add_row(
            name,
            f"{entry.n_base:,} + {entry.n_queries:,}",
            str(entry.dim),
            cached,
            f"{entry.summary}\n[dim]{entry.licence}[/]",
        )
    Console().print(table)


@app.command()
def fetch(name: str = typer.Argument(help="A name from `sigah data list`.")) -> None:
    """Fetch a named set from the first source that works, verify and cache it."""
    typer.echo(fetch_with_bar(name))


@app.command()
def path(name: str = typer.Argument(help="A name from `sigah data list`.")) -> None:
    """Print the folder in which a fetched set is cached."""
    typer.echo(datasets.path(name))
