"""``sigah data``: the named data sets, and test collections of texts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich import box
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

from sigah.cli.inputs import naming
from sigah.extras import require
from sigah.lab import datasets
from sigah.progress import running

__all__ = ["app", "download_bars", "fetch_with_bar"]

app = typer.Typer(
    help="List, fetch, check and find the named data sets; embed collections of texts.",
    no_args_is_help=True,
)


def fetch_with_bar(name: str) -> Path:
    """Fetch a named set into the cache, with a bar for each download."""
    with download_bars() as show:
        return datasets.fetch(name, progress=show)


@contextmanager
def download_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar for each label of what is done inside."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    progress = Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True))
    with running(progress):
        tasks: dict[str, TaskID] = {}

        def show(label: str, done: int, total: int | None) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total)
            progress.update(tasks[label], completed=done, total=total)

        yield show


@app.command()
def embed(
    collection: Annotated[
        Path,
        typer.Argument(
            metavar="COLLECTION",
            help="A folder in the form of BEIR, or with the raw files of a Glasgow collection.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the vectors.")],
    encoder: Annotated[str, typer.Option(help="Which sentence encoder: use.")] = "use",
    split: Annotated[str, typer.Option(help="Which judgements of a BEIR folder.")] = "test",
) -> None:
    """Embed a test collection: base.parquet, queries.parquet and qrels.tsv for `evaluate`.

    The encoder is downloaded; vectors are cached.

    Example: sigah data embed cran --out cran-vectors
    """
    from sigah.lab.collections import embed as embed_collection
    from sigah.lab.collections import read_collection, write_embedded

    if out.exists():
        raise FileExistsError(f"--out {out} exists already; remove it or choose another name")
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(f"--out {out}: its folder does not exist; create it first")
    require("pyarrow.parquet", "writing Parquet", "data")  # before the work, not after it
    with naming("COLLECTION", collection):
        texts = read_collection(collection, split=split)
    typer.echo(str(texts))
    with naming("--encoder", encoder, only="encoder must be"), download_bars() as show:
        embedded = embed_collection(texts, encoder, progress=show)
    write_embedded(embedded, out)
    n, dim = embedded.base.shape
    typer.echo(f"{out}: {n:,} texts and {len(embedded.queries):,} queries in {dim} dimensions")


@app.command("list")
def list_() -> None:
    """List the named sets: size, licence, and whether they are in the cache."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("base + queries", justify="right", no_wrap=True)
    table.add_column("dim", justify="right")
    table.add_column("classes", justify="right")
    table.add_column("cached")
    table.add_column("what it is, and its licence", min_width=30)
    for heading, entries in datasets.GROUPS.items():
        table.add_section()
        table.add_row(f"[bold]{heading}[/]")
        for entry in entries:
            table.add_row(*described(entry))
    # columns are folded at the edge of a terminal, but never in a pipe
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def described(entry: datasets.Dataset) -> tuple[str, ...]:
    """One row of the list."""
    try:
        datasets.path(entry.name)
        cached = "yes"
    except OSError:
        cached = "no"
    warning = f"\n[yellow]Not {entry.stand_in_for}.[/]" if entry.stand_in_for else ""
    return (
        entry.name,
        " + ".join("?" if n is None else f"{n:,}" for n in (entry.n_base, entry.n_queries)),
        "?" if entry.dim is None else str(entry.dim),
        str(entry.n_classes or "-"),
        cached,
        f"{entry.summary}{warning}\n[dim]{entry.licence}[/]",
    )


@app.command()
def fetch(name: str = typer.Argument(help="A name from `sigah data list`.")) -> None:
    """Fetch a named set from the first source that works, verify and cache it.

    For a set that cannot be downloaded, the message says which files to put where.
    """
    typer.echo(fetch_with_bar(name))


@app.command()
def check(name: str = typer.Argument(help="A name from `sigah data list`.")) -> None:
    """Verify every byte of a fetched set."""
    typer.echo(f"{datasets.check(name)}: whole")


@app.command()
def path(name: str = typer.Argument(help="A name from `sigah data list`.")) -> None:
    """Print the folder in which a fetched set is cached."""
    typer.echo(datasets.path(name))
