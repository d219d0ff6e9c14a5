"""``sigah evaluate`` and ``sigah demo``: measure and show the quality of codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sigah.cli.data import fetch_with_bar
from sigah.cli.inputs import naming
from sigah.cli.options import Header, Overwrite
from sigah.cli.outputs import check_output
from sigah.cli.vectors import read_vectors
from sigah.hashers.registry import method_names
from sigah.lab import datasets
from sigah.progress import phase

__all__ = ["demo", "evaluate"]


def evaluate(
    base: Annotated[
        str,
        typer.Argument(metavar="BASE", help="Vectors to index and to train on, or a named set."),
    ],
    queries: Annotated[
        str | None,
        typer.Argument(metavar="[QUERIES]", help="Vectors to look up; a named set has its own."),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Names from `sigah methods`, separated by commas, or `all`; settings may follow a"
            " name, as in sigah:pair=0:n_steps=500. For your own class: my_module:MyHash or"
            " ./my_file.py:MyHash."
        ),
    ] = "sigah,itq,lsh",
    bits: Annotated[str, typer.Option(help="Code lengths, separated by commas.")] = "32,64",
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of seeds (0, 1, ...) to average over.")
    ] = 1,
    k: Annotated[int, typer.Option("-k", min=1, help="True neighbours of each query.")] = 1000,
    train: Annotated[
        int | None,
        typer.Option(
            min=1, help="Learn from this many base vectors, drawn by the seed; default: all."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write everything to this file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the runs that the --json file already has.")
    ] = False,
    header: Header = None,
    overwrite: Overwrite = False,
) -> None:
    """Fit methods, search with their codes, and measure the results.

    Example: sigah evaluate mnist --methods all --bits 32,64 --seeds 5 --json mnist.json --resume
    """
    from sigah.evaluation import evaluate as run_evaluation
    from sigah.evaluation import read_results, write_results
    from sigah.evaluation.loop import makers_of
    from sigah.evaluation.table import results_table

    if resume and json_file is None:
        raise ValueError("--resume needs --json FILE, the file with the earlier runs")
    check_output(json_file, "results", [base, queries], overwrite=overwrite, option="--json")
    lengths = [whole_number(text, "--bits") for text in bits.split(",")]
    makers = makers_of(method_names() if methods == "all" else methods.split(","))
    for make in makers.values():  # a wrong name or setting is reported before any work
        make(lengths[0], 0)
    if queries is None:
        if base not in datasets.CATALOG:
            read_vectors(base, "BASE")
            raise ValueError("QUERIES is missing: give a second file, or name a data set")
        queries = f"{base}:queries"
    console = Console(stderr=True)

    def report(results: dict[str, Any]) -> None:
        run = results["runs"][-1]
        console.print(
            f"{run['method']} {run['n_bits']} bits, seed {run['seed']}:"
            f" pr_area {run['metrics']['pr_area']:.3f}, map {run['metrics']['map']:.3f},"
            f" {run['metrics']['fit_seconds']:.1f} s",
            highlight=False,
        )
        if json_file is not None:  # after every run, so that an interruption loses none
            write_results(json_file, results)

    with (
        naming("BASE", base, only="Input X "),  # methods learn from these vectors only
        phase("evaluating", show=True),
    ):
        results = run_evaluation(
            makers,
            read_vectors(base, "BASE", header=header),
            read_vectors(queries, "QUERIES", header=header),
            name=Path(base).name,
            n_bits=lengths,
            seeds=range(seeds),
            k=k,
            n_train=train,
            on_run=report,
            resume=read_results(json_file) if resume and json_file and json_file.exists() else None,
        )
    # columns are folded at the edge of a terminal, but never in a pipe
    Console(width=None if sys.stdout.isatty() else 160).print(results_table(results))


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page.")] = Path("demo"),
    overwrite: Overwrite = False,
) -> None:
    """Learn, search and compare on MNIST and Fashion-MNIST; writes one HTML page."""
    from sigah.lab.demo import SETS
    from sigah.lab.demo import demo as run_demo

    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out} is a file; name a folder")
    if out.is_dir():
        for name, kind in (("index.html", "page"), ("results.json", "results")):
            check_output(out / name, kind, overwrite=overwrite)
    for name in SETS:
        fetch_with_bar(name)
    page = run_demo(out, announce=Console(highlight=False).print)
    typer.echo(f"open {page} in a browser")


def whole_number(text: str, option: str) -> int:
    """An integer of the command line."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{option}: {text!r} is not a whole number") from None
