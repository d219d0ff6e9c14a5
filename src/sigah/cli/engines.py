"""``sigah export | query``: codes in the engines people already run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sigah import engines
from sigah.cli.codes import Model, check_folder
from sigah.cli.search import Codes, Neighbours, Out, in_blocks, read_codes, show_neighbours
from sigah.cli.vectors import read_vectors
from sigah.engines.registry import parse_settings
from sigah.hashers import load

__all__ = ["export", "query"]

Name = Annotated[
    str, typer.Argument(metavar="ENGINE", help=f"One of: {', '.join(engines.ENGINES)}.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting of the engine; repeatable."),
]


def export(
    engine: Name,
    codes: Codes,
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help="A path or an address.")],
    ids: Annotated[
        str | None,
        typer.Option(metavar="IDS", help="A .npy file, or a text file with an id a line."),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="LABELS", help="A label a code: a .npy file, or a text file with one a line."
        ),
    ] = None,
    settings: Settings = None,
) -> None:
    """Load codes into an engine, with ids and labels; interrupted, run it again, and it goes on.

    Example: sigah export faiss codes.npy --to codes.faiss

    Example: sigah export faiss codes.npy --to codes.faiss --metadata labels.txt --set kind=hnsw
    """
    stored = read_codes(codes, ids)
    if stored.fingerprint is None:
        raise ValueError(f"{codes} does not say which model made it; make it with `sigah encode`")
    try:
        done = engines.export(
            engine,
            to,
            stored.codes,
            fingerprint=stored.fingerprint,
            ids=stored.ids,
            labels=None if metadata is None else read_labels(metadata),
            show=True,
            **parse_settings(engine, settings or []),
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command again goes on where it stopped", err=True)
        raise typer.Exit(130) from None
    typer.echo(
        f"{engine}: {done.codes:,} codes of {stored.n_bits} bits,"
        f" {done.written:,} of them new or changed"
    )


def query(
    engine: Name,
    model: Model,
    queries: Annotated[str, typer.Argument(metavar="QUERIES", help="Vectors to look up.")],
    source: Annotated[
        str, typer.Option("--from", metavar="TARGET", help="Where `sigah export` put the codes.")
    ],
    k: Neighbours = 10,
    chosen: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="LABEL", help="Find only this label; repeatable."),
    ] = None,
    settings: Settings = None,
    out: Out = None,
) -> None:
    """Find the k nearest codes of each query in an engine, where the engine may approximate.

    Example: sigah query faiss mnist.model mnist:queries --from codes.faiss -k 10
    """
    if out is not None:
        check_folder(out)
    hasher = load(model)
    with engines.connect(engine, source, **parse_settings(engine, settings or [])) as target:
        search = engines.VectorSearch(target, hasher)
        wanted = parse_labels(chosen, target.about) if chosen else None
        found = in_blocks(read_vectors(queries), lambda some: search.search(some, k, filter=wanted))
        show_neighbours(*found, out, len(target), "hamming")


def read_labels(path: Path) -> NDArray[Any]:
    """Labels of a file; lines that are all whole numbers are numbers."""
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        numbers = np.array([int(line) for line in lines], np.int64)
    except (ValueError, OverflowError):
        return np.array(lines, object)
    # 007 is no number: it would come back as 7
    return numbers if list(map(str, numbers)) == lines else np.array(lines, object)


def parse_labels(words: list[str], about: engines.About | None) -> list[Any]:
    """The words of ``--filter``, as the target has its labels."""
    if about is None or about.labels != "int":
        return list(words)
    try:
        return [int(word) for word in words]
    except ValueError:
        raise ValueError(
            f"--filter: its labels are whole numbers, got {', '.join(words)}"
        ) from None
