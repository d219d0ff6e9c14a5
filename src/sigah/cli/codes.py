"""``sigah fit | encode | inspect | methods``: models and codes in files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sigah import files, rows, streams
from sigah.cli.vectors import read_vectors
from sigah.hashers import DecoderMixin, ScoringHasher, TrainingInterrupted, load
from sigah.hashers.registry import make_hasher, method_class, method_names

__all__ = [
    "Model",
    "check_folder",
    "encode",
    "fit",
    "inspect",
    "methods",
]

AS_THE_PAPER = "The same, as the paper reads: Eq. (20), (21), tanh."

Vectors = Annotated[str, typer.Argument(metavar="VECTORS", help="A vector file or a named set.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file made by `sigah fit`.")]


def check_folder(path: Path) -> None:
    """Refuse an output path in a missing folder before the work, not after it."""
    if not path.resolve().parent.is_dir():
        raise FileNotFoundError(f"{path}: its folder does not exist; create it first")


def fit(
    vectors: Vectors,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the model.")],
    method: Annotated[str, typer.Option(help="A name from `sigah methods`.")] = "sigah",
    bits: Annotated[int, typer.Option(help="Code length, a multiple of 8.")] = 64,
    seed: Annotated[int | None, typer.Option(help="For the same model again.")] = 0,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Learn from N vectors drawn uniformly; default: all, or 1 GiB of them if more.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any parameter of the method; repeatable."
        ),
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option(
            "--continue",
            metavar="MODEL",
            help="Go on learning where this SiGAH model stopped, with its method and settings.",
        ),
    ] = None,
) -> None:
    """Learn a hasher from vectors and write it to a model file.

    Ctrl-C during training ends it early and still writes the model (exit status 130).

    Example: sigah fit mnist --bits 64 --out mnist.model
    """
    check_folder(out)
    hasher: Any = (
        make_hasher(method, bits, seed, settings or []) if earlier is None else load(earlier)
    )
    if earlier is not None and not hasattr(hasher, "partial_fit"):
        raise ValueError(
            f"{earlier}: {hasher.name} cannot go on learning, it has to be fitted anew"
        )
    if "verbose" in hasher.get_params():
        hasher.set_params(verbose=True)
    source = read_vectors(vectors)
    training = rows.training_rows(source, sample, seed)
    if len(training) < len(source):
        typer.echo(f"learning from {len(training):,} of {len(source):,} vectors, drawn uniformly")
    interrupted = False
    try:
        (hasher.fit if earlier is None else hasher.partial_fit)(training)
    except TrainingInterrupted:
        interrupted = True
    if "verbose" in hasher.get_params():
        hasher.set_params(verbose=False)
    hasher.save(out)
    typer.echo(
        f"{out}: {hasher.name}, {hasher.n_bits} bits from {hasher.n_features_in_} dimensions"
    )
    if interrupted:
        typer.echo(f"training was interrupted after {hasher.training_['steps']} steps", err=True)
        sys.exit(130)


def encode(
    model: Model,
    vectors: Vectors,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Where to write the codes (.npy or .parquet)."),
    ],
    ids: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="For .parquet: keep this column of a Parquet or Arrow file as ids; default: rows.",
        ),
    ] = None,
) -> None:
    """Encode vectors into packed codes, uint8 of shape (n, bits / 8), block by block.

    The .npy file opens with numpy.load; it also carries the fingerprint of the model. Interrupted,
    the same command goes on where it stopped.

    Example: sigah encode mnist.model mnist --out codes.npy
    """
    check_folder(out)
    hasher = load(model)
    source = read_vectors(vectors)
    try:
        done = streams.encode(hasher, source, out, ids=ids, show=True)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: the same command goes on where it stopped ({out})", err=True)
        sys.exit(130)
    if done.refused:
        typer.echo(f"{out}: started over, because {done.refused}", err=True)
    n_rows = done.n_rows
    how = f", {done.resumed:,} of them done before" if done.resumed else ""
    n_bytes = n_rows * hasher.n_bits // 8
    typer.echo(f"{out}: {n_rows:,} codes of {hasher.n_bits} bits, {n_bytes:,} bytes{how}")


def inspect(
    file: Annotated[
        Path, typer.Argument(help="A model, code or index file, or a folder of codes.")
    ],
) -> None:
    """Say what a file of sigah is, as JSON, after verifying it."""
    typer.echo(json.dumps(files.describe(file), indent=2))


def methods() -> None:
    """List the methods that `fit` and `evaluate` know, installed plug-ins too, a line each.

    Fitting is for 60,000 vectors of 784 dimensions and 64 bits on two cores: instant (under a
    second) or seconds (under a minute).
    """
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in ("name", "fit", "scores", "decodes", "bits > dim"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it is", no_wrap=True, overflow="ellipsis")
    for label in method_names():
        method = method_class(label)
        summary = (method.__doc__ or "").partition("\n")[0]
        flags = (
            issubclass(method, ScoringHasher),
            issubclass(method, DecoderMixin),
            method.exceeds_dimension,
        )
        table.add_row(
            label,
            getattr(method, "fit_cost", "?"),
            *("yes" if flag else "-" for flag in flags),
            AS_THE_PAPER if label == "sigah.paper" else summary,
        )
    # a pipe is as wide as it needs to be: lines are cut at the edge of a terminal only
    Console(width=None if sys.stdout.isatty() else 160).print(table)
