"""``sigah plan``: memory, machines and time for a number of vectors."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from sigah.cli.options import Bits

__all__ = ["plan"]


def plan(
    vectors: Annotated[float, typer.Option(help="Number of vectors, as in 1e9.")],
    bits: Bits = 64,
    dim: Annotated[int, typer.Option(help="Dimensions of the vectors.")] = 768,
    queries: Annotated[
        float,
        typer.Option("--queries-per-second", help="Queries that must be answered each second."),
    ] = 100,
    recall: Annotated[
        float | None,
        typer.Option(
            help="Wanted share of the true ten neighbours; the plan says how to measure its cost."
        ),
    ] = None,
    ram: Annotated[float, typer.Option(help="Memory of a machine, in GB (10^9 bytes).")] = 64,
    cores: Annotated[
        int, typer.Option(help="Cores of a machine; the rates were measured on two.")
    ] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate memory, machines and time for a number of vectors; suggest index and engine.

    The figures are computed from rates measured on one machine. Assumptions are listed at the end.

    Example: sigah plan --vectors 1e9 --bits 128 --dim 768 --queries-per-second 100
    """
    from sigah.plan import plan as make_plan
    from sigah.plan.words import summary

    try:
        made = make_plan(
            vectors,
            bits,
            dim=dim,
            queries_per_second=queries,
            recall=recall,
            ram_gb=ram,
            cores=cores,
        )
    except ValueError as error:  # which begins with the name of the parameter
        name, must, reason = str(error).partition(" must be ")
        option = name.removesuffix("_gb").replace("_", "-").replace(" ", "-")
        raise ValueError(f"--{option}{must}{reason}") from error
    if as_json:
        typer.echo(json.dumps(asdict(made), indent=2))
        return
    table = Table(
        box=box.SIMPLE_HEAD,
        show_header=False,
        title=f"{made.vectors:,} vectors of {made.dim:,} dimensions, codes of {made.bits:,} bits",
        title_justify="left",
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for heading, lines in summary(made).items():
        table.add_section()
        table.add_row(f"[bold]{heading}[/]")
        for name, text in lines.items():
            table.add_row(f"  {name}", text)
    table.add_section()
    table.add_row("[bold]or[/]")
    for engine, when in made.alternatives.items():
        table.add_row(f"  {engine}", when)
    # lines are cut at the edge of a terminal, but never in a pipe
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(table)
    for assumption in made.assumptions:
        console.print(f"[dim]- {assumption}[/]")
