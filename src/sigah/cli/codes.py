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
from sigah.cli.inputs import is_file, naming, read_model
from sigah.cli.options import Bits, Header, Metric, Model, Overwrite, Seed, Vectors
from sigah.cli.outputs import check_output
from sigah.cli.recipes import RecipeFile, check_model, take_recipe
from sigah.cli.vectors import read_vectors
from sigah.files.folders import is_code_folder
from sigah.hashers import DecoderMixin, ScoringHasher, TrainingInterrupted
from sigah.hashers.registry import make_hasher, method_class, method_names
from sigah.progress import phase
from sigah.rows.ids import IdColumn

__all__ = ["encode", "fit", "inspect", "methods"]

ABOUT_RECIPES = {
    "sigah.paper": "The same as the paper reads: Eq. (20), (21), tanh.",
    "sigah.semantic": "The same, for vectors of the same kind: deep features of images.",
}


def fit(
    context: typer.Context,
    vectors: Vectors,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the model.")],
    method: Annotated[str, typer.Option(help="A name from `sigah methods`.")] = "sigah",
    bits: Bits = 64,
    metric: Metric = None,
    seed: Seed = 0,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Learn from N vectors drawn uniformly; default: all, but at most 1 GiB.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any parameter of the method; repeatable."
        ),
    ] = None,
    recipe: RecipeFile = None,
    earlier: Annotated[
        Path | None,
        typer.Option(
            "--continue",
            metavar="MODEL",
            help="Continue training this SiGAH model, with its method and settings.",
        ),
    ] = None,
    header: Header = None,
    overwrite: Overwrite = False,
) -> None:
    """Learn a hasher from vectors and write it to a model file.

    Ctrl-C during training ends it early and still writes the model (exit status 130).

    Example: sigah fit mnist --bits 64 --out mnist.model
    """
    check_output(out, "model", [vectors, earlier, recipe], overwrite=overwrite)
    if recipe is not None:
        settled = take_recipe(context, recipe, "codes")
        made = settled.recipe
        method = settled.option("method", "--method", method, made.method)
        bits = settled.option("bits", "--bits", bits, made.bits)
        metric = settled.option("metric", "--metric", metric, made.metric)
        seed = settled.default("seed", seed, made.parameters.get("seed", seed))
    with (
        naming("--method", method, only="unknown method"),
        naming("--metric", metric, only=f"{method} "),
    ):
        hasher: Any = make_hasher(method, bits, seed, settings or [], metric=metric)
    if earlier is not None:
        hasher = read_model(earlier, "--continue")
        if not hasattr(hasher, "partial_fit"):
            raise ValueError(
                f"--continue {earlier}: {hasher.name} cannot continue training; fit a new model"
            )
        if metric not in (None, hasher.metric):
            raise ValueError(
                f"--metric {metric}: the model {earlier} has the metric {hasher.metric}; leave the"
                " option out, or fit a new model"
            )
    source = read_vectors(vectors, hasher=None if earlier is None else hasher, header=header)
    if source.shape[1] < hasher.n_bits and not hasher.exceeds_dimension:
        raise ValueError(
            f"--bits {hasher.n_bits}: {hasher.name} cannot make more bits than the vectors have"
            f" dimensions ({source.shape[1]}); choose fewer bits or another --method (sigah, lsh)"
        )
    with_bar = "verbose" in hasher.get_params()
    hasher.set_params(**({"verbose": True} if with_bar else {}))
    interrupted = False
    with naming("VECTORS", vectors, only="Input X "):
        with phase("choosing vectors to learn from", show=True):
            training = rows.training_rows(source, sample, seed)
        if len(training) < hasher.min_rows_per_bit * hasher.n_bits:
            raise ValueError(
                f"--bits {hasher.n_bits}: {hasher.name} needs at least"
                f" {hasher.min_rows_per_bit * hasher.n_bits:,} vectors to learn them, but there are"
                f" {len(training):,}; choose fewer bits or use more vectors"
            )
        if len(training) < len(source):
            typer.echo(
                f"learning from {len(training):,} of {len(source):,} vectors, drawn uniformly"
            )
        try:
            with phase(f"learning {hasher.name}", show=True):
                (hasher.fit if earlier is None else hasher.partial_fit)(training)
        except TrainingInterrupted:  # a method that learns in steps keeps the steps so far
            interrupted = True
    hasher.set_params(**({"verbose": False} if with_bar else {}))
    hasher.save(out, overwrite=overwrite)
    typer.echo(
        f"{out}: {hasher.name}, {hasher.n_bits} bits from {hasher.n_features_in_} dimensions"
        + (f", by {hasher.metric}" if hasher.metric != "l2" else "")
    )
    if interrupted:
        typer.echo(f"training was interrupted after {hasher.training_['steps']} steps", err=True)
        sys.exit(130)


def encode(
    context: typer.Context,
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
            help="For .parquet: the column of a Parquet or Arrow file to use as ids; default: row"
            " numbers.",
        ),
    ] = None,
    recipe: RecipeFile = None,
    header: Header = None,
    overwrite: Overwrite = False,
) -> None:
    """Encode vectors into packed codes, uint8 of shape (n, bits / 8), block by block.

    numpy.load opens the .npy file, which also holds the fingerprint of the model. After an
    interruption, the same command resumes.

    Example: sigah encode mnist.model mnist --out codes.npy
    """
    check_output(out, "codes", [model, vectors], overwrite=overwrite)
    if out.suffix.lower() not in (".npy", ".parquet"):
        raise ValueError(f"--out {out}: the name of a code file must end in .npy or .parquet")
    if ids is not None and out.suffix.lower() != ".parquet":
        raise ValueError(f"--ids {ids}: ids are kept in .parquet files only, not in --out {out}")
    hasher = read_model(model)
    if recipe is not None:
        check_model(hasher, take_recipe(context, recipe, "codes"), f"MODEL {model}")
    source = read_vectors(vectors, hasher=hasher, header=header)
    if ids is not None:
        with naming("--ids", ids):
            IdColumn.of(source, ids)
    try:
        with naming("VECTORS", vectors, only="Input X "):
            done = streams.encode(hasher, source, out, ids=ids, overwrite=overwrite, show=True)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: the same command resumes ({out})", err=True)
        sys.exit(130)
    if done.refused:
        typer.echo(f"{out}: started over, because {done.refused}", err=True)
    n_rows = done.n_rows
    how = f", {done.resumed:,} of them from an earlier run" if done.resumed else ""
    n_bytes = n_rows * hasher.n_bits // 8
    typer.echo(f"{out}: {n_rows:,} codes of {hasher.n_bits} bits, {n_bytes:,} bytes{how}")


def inspect(
    file: Annotated[
        Path, typer.Argument(help="A model, code or index file, or a folder of codes.")
    ],
) -> None:
    """Verify a file of sigah and describe it as JSON."""
    if not is_file(file) and not is_code_folder(file):
        what = " is a folder without codes" if file.is_dir() else ": no such file"
        raise OSError(f"FILE {file}{what}")
    with naming("FILE", file):
        typer.echo(json.dumps(files.describe(file), indent=2))


def methods() -> None:
    """List the methods for `fit` and `evaluate`, including installed plug-ins, one per line.

    The column fit is the time for 60,000 vectors of 784 dimensions and 64 bits on two cores:
    instant (under a second), seconds (under a minute) or minutes.
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
            ABOUT_RECIPES.get(label, summary),
        )
    # lines are cut at the edge of a terminal, but never in a pipe
    Console(width=None if sys.stdout.isatty() else 160).print(table)
