"""``sigah drift``: whether a model still works for new vectors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sigah.cli.inputs import naming, read_model
from sigah.cli.options import LAST_SEED, Header, Model, Overwrite
from sigah.cli.outputs import check_output
from sigah.cli.vectors import read_vectors
from sigah.files import atomic_write
from sigah.progress import phase
from sigah.streams.drift import FEWEST
from sigah.streams.drift import drift as compare

__all__ = ["drift"]

REBUILD = 3  # exit status


def drift(
    model: Model,
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="Vectors like those that the model learned from.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new vectors.")],
    sample: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=FEWEST,
            help="Vectors to draw from each; more vectors give a narrower interval.",
        ),
    ] = 2000,
    max_loss: Annotated[float, typer.Option(min=0, max=1, help="Tolerated loss of recall.")] = 0.03,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence of the interval.")
    ] = 0.95,
    seed: Annotated[
        int, typer.Option(min=0, max=LAST_SEED, help="The same seed draws the same samples.")
    ] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the report to this file.")
    ] = None,
    header: Header = None,
    overwrite: Overwrite = False,
) -> None:
    """Estimate how much recall a model loses on new vectors, and say whether to keep it.

    Recall10@10 is measured within a sample of each. If the whole interval of the loss is above
    --max-loss, the answer is "rebuild" (exit status 3); otherwise it is "keep" (exit status 0).

    Example: sigah drift mnist.model mnist today.npy --max-loss 0.05 --json drift.json
    """
    check_output(json_file, "drift", [model, old, new], overwrite=overwrite, option="--json")
    hasher = read_model(model)
    before = read_vectors(old, "OLD", hasher=hasher, header=header)
    after = read_vectors(new, "NEW", hasher=hasher, header=header)
    with (
        naming("OLD", old, only="old: "),
        naming("NEW", new, only="new: "),
        phase("comparing", show=True),
    ):
        report = compare(
            hasher,
            before,
            after,
            n=sample,
            max_loss=max_loss,
            confidence=confidence,
            random_state=seed,
        )
    if json_file is not None:
        with atomic_write(json_file) as file:
            file.write(json.dumps(report.to_dict(), indent=1).encode() + b"\n")
    table = Table("", "old", "new", box=None, title=f"{report.n:,} vectors each")
    for name, (one, other) in {"recall10@10": report.recall, **report.statistics}.items():
        table.add_row(name, f"{one:.4f}", f"{other:.4f}")
    # columns are folded at the edge of a terminal, but never in a pipe
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    bit = abs(report.balance[1] - report.balance[0]).argmax()
    typer.echo(
        f"bit {bit} changed most: it is 1 in {report.balance[0, bit]:.1%} of the old codes and in"
        f" {report.balance[1, bit]:.1%} of the new"
    )
    typer.echo(
        f"{report.verdict}: recall changes by {-report.loss:+.3f} ({report.confidence:.0%} interval"
        f" {-report.high:+.3f} to {-report.low:+.3f}); a loss of {report.max_loss:g} is tolerated"
    )
    if report.verdict == "keep" and report.high > report.max_loss:
        typer.echo("the loss may be larger than that: a larger --sample narrows the interval")
    if report.verdict == "rebuild":
        raise typer.Exit(REBUILD)
