"""The commands of ``sigah``, and the options before a command."""

from __future__ import annotations

from typing import Annotated

import typer

from sigah import __version__
from sigah.cli.lazy import lazy_group
from sigah.threads import limit_threads

__all__ = ["COMMANDS", "app"]

HELP = (
    "Learned binary hashing: turns float vectors into short binary codes and finds neighbours with"
    " them.\n\nA VECTORS argument is a file (.npy .npz .fvecs .bvecs .fbin .csv .h5 .mat .parquet"
    " .arrow, IDX), a folder of such files, or a named set such as [bold]mnist[/] (its base) or"
    " [bold]mnist:queries[/]. If a file has several tables, name one: [bold]file.h5:train[/]."
)

# The place of each command, and its line in the list (the first line of its docstring).
COMMANDS = {
    "advise": (
        "advise:advise",
        "Measure on a sample which method, how many bytes and how much re-ranking suit VECTORS.",
    ),
    "fit": ("codes:fit", "Learn a hasher from vectors and write it to a model file."),
    "encode": (
        "codes:encode",
        "Encode vectors into packed codes, uint8 of shape (n, bits / 8), block by block.",
    ),
    "search": (
        "search:search",
        "Find the k nearest codes of each query, exactly; ties go to the smaller id.",
    ),
    "export": (
        "engines:export",
        "Load codes into an engine, with ids and labels; the same command resumes an interrupted"
        " run.",
    ),
    "query": (
        "engines:query",
        "Find the k nearest codes of each query in an engine; some engines approximate.",
    ),
    "withdraw": (
        "engines:withdraw",
        "Remove codes from an engine by id or key, with their labels and vectors.",
    ),
    "drift": (
        "drift:drift",
        "Estimate how much recall a model loses on new vectors, and say whether to keep it.",
    ),
    "evaluate": (
        "evaluation:evaluate",
        "Fit methods, search with their codes, and measure the results.",
    ),
    "reproduce": (
        "experiments:reproduce",
        "Run a table or figure of the paper and compare it with the paper's own figures.",
    ),
    "report": (
        "experiments:report",
        "Write one self-contained HTML page of all results.",
    ),
    "inspect": ("codes:inspect", "Verify a file of sigah and describe it as JSON."),
    "methods": (
        "codes:methods",
        "List the methods for `fit` and `evaluate`, including installed plug-ins, one per line.",
    ),
    "onnx": (
        "onnx:onnx",
        "Write a model as an ONNX graph that encodes (or decodes) in any language.",
    ),
    "demo": (
        "evaluation:demo",
        "Learn, search and compare on images and on text; writes two HTML pages.",
    ),
    "warmup": (
        "warmup:warmup",
        "Compile the search kernels now, so that later processes need not.",
    ),
    "index": (
        "search:app",
        "Keep codes in an index: build, add, update, remove, search, and show statistics.",
    ),
    "vectors": (
        "vector_index:app",
        "Keep vectors in a few bytes each: build, add, update, remove, search, calibrate,"
        " statistics.",
    ),
    "deploy": (
        "deploy:app",
        "Serve an index from a folder: create, search, change, give it a new model, go back.",
    ),
    "features": (
        "features:features",
        "Compute a vector for each image; the same command resumes an interrupted run.",
    ),
    "data": (
        "data:app",
        "List, fetch, check and find the named data sets; embed collections of texts.",
    ),
    "cluster": (
        "cluster:app",
        "Encode and train on a Ray cluster, or on all cores of this machine.",
    ),
}

app = typer.Typer(
    name="sigah",
    cls=lazy_group(COMMANDS, package="sigah.cli"),
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(requested: bool) -> None:
    """Print the version and exit."""
    if requested:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            metavar="N",
            help="Number of threads; default: the cores that this process may use.",
        ),
    ] = None,
) -> None:
    """Options of the command itself."""
    context.with_resource(limit_threads(threads))
