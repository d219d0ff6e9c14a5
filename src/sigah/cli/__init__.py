"""The ``sigah`` command: parse, call, print."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console
from rich.markup import escape

from sigah import __version__
from sigah.cli import (
    cluster,
    codes,
    data,
    drift,
    engines,
    evaluation,
    experiments,
    onnx,
    plan,
    search,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="sigah",
    help="Learned binary hashing: float vectors in, short binary codes out, neighbours found with"
    " them.\n\nA VECTORS argument is a file (.npy .npz .fvecs .bvecs .fbin .csv .h5 .mat .parquet"
    " .arrow, IDX), with the name of a table where it has several, as in [bold]file.h5:train[/];"
    " a folder of such files; or a named set such as [bold]mnist[/] (its base) or"
    " [bold]mnist:queries[/].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    codes.fit,
    codes.encode,
    search.search,
    engines.export,
    engines.query,
    drift.drift,
    evaluation.evaluate,
    experiments.reproduce,
    experiments.report,
    codes.inspect,
    codes.methods,
    onnx.onnx,
    plan.plan,
    evaluation.demo,
):
    app.command()(command)
app.add_typer(search.app, name="index")
app.add_typer(data.app, name="data")
app.add_typer(cluster.app, name="cluster")


def show_version(requested: bool) -> None:
    """Print the version and leave."""
    if requested:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Run the command line; bad input ends in one line on standard error, never a traceback."""
    # Threads that spin while they wait for each other halve the speed of training on busy cores,
    # and threads that sleep at once lose a quarter on quiet ones: they spin for some microseconds.
    # Read when torch is loaded, which is later; the count counts where OpenMP is GNU's.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    console = Console(stderr=True)
    try:
        app()
    except KeyboardInterrupt:
        console.print("[red]Interrupted[/]; nothing half-written was left behind.")
        sys.exit(130)
    except (ValueError, OSError) as error:
        # what stands in brackets is not markup: sigah[onnx], a file's name
        console.print("[red]Error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
        sys.exit(1)
