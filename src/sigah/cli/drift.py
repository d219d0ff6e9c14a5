"""``sigah drift``: whether a model still serves new vectors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sigah.cli.codes import Model, check_folder
from sigah.cli.vectors import read_vectors
from sigah.files import atomic_write
from sigah.hashers import load

__all__ = ["drift"]


def drift(
    model: Model,
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="Vectors like those that the model learned from.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Vectors that are encoded now.")],
    sample: Annotated[
        int, typer.Option(metavar="N", help="Vectors to draw of each; more see smaller changes.")
    ] = 2000,
    seed: Annotated[int, typer.Option(help="Of the drawing.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the report to this file.")
    ] = None,
) -> None:
    """Compare new vectors with old ones, and say whether to keep the model or to rebuild it.

    z is how much worse the new vectors are than the old, beside what old ones differ by.

    Example: sigah drift mnist.model mnist today.npy --json drift.json
    """
    from sigah.streams import drift as compare

    if json_file is not None:
        check_folder(json_file)
    report = compare(load(model), read_vectors(old), read_vectors(new), n=sample, random_state=seed)
    if json_file is not None:
        with atomic_write(json_file) as file:
            file.write(json.dumps(report.to_dict(), indent=1).encode() + b"\n")
    table = Table("", "old", "new", "z", box=None, title=f"{report.n:,} vectors each")
    for name, one in report.comparisons.items():
        decides = " *" if name in report.decisive else ""
        table.add_row(name + decides, f"{one.old:.4f}", f"{one.new:.4f}", f"{one.z:.1f}")
    # a pipe is as wide as the table: columns are folded at the edge of a terminal only
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    bit = abs(report.balance[1] - report.balance[0]).argmax()
    typer.echo(
        f"bit {bit} changed most: one in {report.balance[0, bit]:.1%} of the old codes and in"
        f" {report.balance[1, bit]:.1%} of the new"
        + (", beyond chance" if report.changed else ", which chance explains")
    )
    worst = max(report.comparisons[name].z for name in report.decisive)
    beyond = "beyond" if report.verdict == "rebuild" else "within"
    typer.echo(
        f"{report.verdict}: z of * is {worst:.1f}, {beyond} the {report.limit:.1f} of chance"
    )
