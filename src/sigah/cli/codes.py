"""``sigah fit | encode | search | inspect | methods``: models and codes in files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from sigah import persistence
from sigah.cli.vectors import read_vectors
from sigah.hashers import METHODS, BinaryHasher, DecoderMixin, ScoringHasher, load
from sigah.search import HammingIndex

__all__ = [
    "METHOD_NAMES",
    "check_folder",
    "encode",
    "fit",
    "inspect",
    "make_hasher",
    "methods",
    "search",
]

METHOD_NAMES = ("sigah", "sigah.paper", *[name for name in METHODS if name != "sigah"])

Vectors = Annotated[str, typer.Argument(metavar="VECTORS", help="A vector file or a named set.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file made by `sigah fit`.")]


def make_hasher(method: str, n_bits: int, seed: int | None, settings: list[str]) -> BinaryHasher:
    """An unfitted hasher from words of the command line.

    ``sigah.paper`` names the literal reading of the paper. ``settings`` are ``name=value`` pairs;
    they may also follow the method's name after colons, as in ``sigah:pair=0:n_steps=500``.
    """
    label, *attached = method.split(":")
    name, _, variant = label.partition(".")
    if name not in METHODS or variant not in ("", "paper") or (variant and name != "sigah"):
        raise ValueError(f"unknown method {label!r}; known: {', '.join(METHOD_NAMES)}")
    make: Any = METHODS[name].paper if variant else METHODS[name]
    hasher: BinaryHasher = make(n_bits)
    if "random_state" in hasher.get_params():  # a few methods draw nothing
        hasher.set_params(random_state=seed)
    for setting in [*attached, *settings]:
        key, equals, value = setting.partition("=")
        if not equals or key not in hasher.get_params():
            raise ValueError(
                f"{setting!r} is no setting; {label} has {', '.join(hasher.get_params())}"
            )
        try:
            hasher.set_params(**{key: json.loads(value.lower())})
        except json.JSONDecodeError:
            hasher.set_params(**{key: value})
    return hasher


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
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any parameter of the method; repeatable."
        ),
    ] = None,
) -> None:
    """Learn a hasher from vectors and write it to a model file.

    Ctrl-C during training ends it early and still writes the model (exit status 130).

    Example: sigah fit mnist --bits 64 --out mnist.model
    """
    check_folder(out)
    hasher = make_hasher(method, bits, seed, settings or [])
    if "verbose" in hasher.get_params():
        hasher.set_params(verbose=True)
    hasher.fit(read_vectors(vectors))
    if "verbose" in hasher.get_params():
        hasher.set_params(verbose=False)
    hasher.save(out)
    typer.echo(f"{out}: {method}, {bits} bits from {hasher.n_features_in_} dimensions")
    if getattr(hasher, "training_", {}).get("interrupted"):
        typer.echo(f"training was interrupted after {hasher.training_['steps']} steps", err=True)
        sys.exit(130)


def encode(
    model: Model,
    vectors: Vectors,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where to write the codes (.npy or .safetensors).")
    ],
) -> None:
    """Encode vectors into packed codes, uint8 of shape (n, bits / 8).

    The .npy file opens with numpy.load; it also carries the fingerprint of the model.

    Example: sigah encode mnist.model mnist --out codes.npy
    """
    check_folder(out)
    hasher = load(model)
    codes = hasher.transform(read_vectors(vectors))
    header = {"method": hasher.name, "fingerprint": hasher.fingerprint}
    persistence.save_codes(out, codes, header)
    typer.echo(f"{out}: {len(codes):,} codes of {hasher.n_bits} bits, {codes.nbytes:,} bytes")


def search(
    model: Model,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="Made by `sigah encode`.")],
    queries: Annotated[str, typer.Argument(metavar="QUERIES", help="Vectors to look up.")],
    k: Annotated[int, typer.Option("-k", help="Neighbours a query.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write `distances` and `ids` to this .npz file."),
    ] = None,
) -> None:
    """Find the k nearest codes of each query, exactly; ties go to the smaller id.

    Example: sigah search mnist.model codes.npy mnist:queries -k 10 --out neighbours.npz
    """
    if out is not None:
        check_folder(out)
    hasher = load(model)
    base, header = persistence.load_codes(codes)
    if header is None:
        typer.echo(f"warning: {codes} does not say which model made it", err=True)
    else:
        persistence.check_same_model(header, {"fingerprint": hasher.fingerprint})
    index = HammingIndex(hasher.n_bits)
    index.add(base)
    distances, ids = index.search(hasher.transform(read_vectors(queries)), k)
    if out is not None:
        with persistence.atomic_write(out) as file:
            np.savez(file, distances=distances, ids=ids)
        typer.echo(f"{out}: {k} neighbours of {len(ids):,} queries among {len(base):,} codes")
        return
    table = Table("query", "ids (Hamming distance)", title=f"first of {len(ids):,} queries")
    for row in range(min(10, len(ids))):
        pairs = zip(ids[row], distances[row], strict=True)
        table.add_row(str(row), "  ".join(f"{i} ({d})" for i, d in pairs))
    Console().print(table)


def inspect(file: Annotated[Path, typer.Argument(help="A model or code file.")]) -> None:
    """Say what a model or code file is, as JSON."""
    typer.echo(json.dumps(persistence.describe(file), indent=2))


def methods() -> None:
    """List the methods that `fit` and `evaluate` know, a line each.

    Fitting is for 60,000 vectors of 784 dimensions and 64 bits on two cores: instant (under a
    second) or seconds (under a minute).
    """
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in ("name", "fit", "scores", "decodes", "bits > dim"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it is", no_wrap=True, overflow="ellipsis")
    for label in METHOD_NAMES:
        name, _, variant = label.partition(".")
        method = METHODS[name]
        summary = (method.__doc__ or "").partition("\n")[0]
        flags = (
            issubclass(method, ScoringHasher),
            issubclass(method, DecoderMixin),
            method.exceeds_dimension,
        )
        table.add_row(
            label,
            method.fit_cost,
            *("yes" if flag else "-" for flag in flags),
            "The same, as the paper reads: Eq. (20), (21), tanh." if variant else summary,
        )
    # a pipe is as wide as it needs to be: lines are cut at the edge of a terminal only
    Console(width=None if sys.stdout.isatty() else 160).print(table)
