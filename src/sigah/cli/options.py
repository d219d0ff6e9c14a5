"""Arguments and options that several commands share, and their checks."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from sigah.metric import METRICS

__all__ = [
    "LAST_SEED",
    "Bits",
    "Codes",
    "Filter",
    "Header",
    "Ids",
    "Index",
    "Metric",
    "Model",
    "Neighbours",
    "Numbers",
    "Out",
    "Overwrite",
    "Seed",
    "Vectors",
    "suggestion",
]

FORMS = "separated by commas, a .npy file, or a text file with one per line."
NUMBERS = f"Whole numbers {FORMS}"
IDS = f"Ids (or keys) {FORMS}"


def check_bits(bits: int) -> int:
    """Refuse an invalid code length."""
    if bits < 8 or bits % 8:
        raise typer.BadParameter(f"{bits} is not a positive multiple of 8.")
    return bits


def check_metric(metric: str | None) -> str | None:
    """Refuse an unknown metric."""
    if metric is not None and metric not in METRICS:
        raise typer.BadParameter(f"{metric!r} is not one of {', '.join(METRICS)}.")
    return metric


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` if a known word is similar, otherwise an empty string."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


Vectors = Annotated[str, typer.Argument(metavar="VECTORS", help="A vector file or a named set.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file made by `sigah fit`.")]
Index = Annotated[Path, typer.Argument(metavar="INDEX", help="Made by `sigah index build`.")]
Codes = Annotated[Path, typer.Argument(metavar="CODES", help="Made by `sigah encode`.")]
Bits = Annotated[int, typer.Option(callback=check_bits, help="Code length, a multiple of 8.")]
Metric = Annotated[
    str | None,
    typer.Option(
        callback=check_metric,
        help="What makes vectors near: l2 (the default), cosine, or ip (the inner product).",
    ),
]
LAST_SEED = 2**32 - 1
Seed = Annotated[
    int | None, typer.Option(min=0, max=LAST_SEED, help="The same seed gives the same model.")
]
Ids = Annotated[str | None, typer.Option(metavar="IDS", help=IDS)]
Numbers = Annotated[str | None, typer.Option("--ids", metavar="IDS", help=NUMBERS)]
Filter = Annotated[
    str | None, typer.Option("--filter", metavar="IDS", help=f"Find only these ids. {IDS}")
]
Neighbours = Annotated[int, typer.Option("-k", min=1, help="Neighbours for each query.")]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether .csv files begin with a header; default: yes if the first line is text.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Write `distances` and `ids` to this .npz file."),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace the output even if it is a different kind of file. A file of the same kind is"
        " always replaced; an input is never replaced.",
    ),
]
