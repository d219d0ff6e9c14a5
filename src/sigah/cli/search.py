"""``sigah search`` and ``sigah index build | add | remove | search | stats``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sigah import files
from sigah.cli.codes import Model, check_folder
from sigah.cli.vectors import read_vectors
from sigah.hashers import load
from sigah.progress import track
from sigah.search import HammingIndex, TwoStageSearch

__all__ = ["app", "in_blocks", "read_ids", "search", "show_neighbours"]

app = typer.Typer(
    help="Keep codes in an index: add, remove, search, and see what it holds.",
    no_args_is_help=True,
)

BLOCK = 2000  # queries between two steps of the progress bar

Index = Annotated[Path, typer.Argument(metavar="INDEX", help="Made by `sigah index build`.")]
Codes = Annotated[Path, typer.Argument(metavar="CODES", help="Made by `sigah encode`.")]
Ids = Annotated[
    str | None,
    typer.Option(
        metavar="IDS", help="A .npy file, a text file with an id a line, or ids with commas."
    ),
]
Neighbours = Annotated[int, typer.Option("-k", help="Neighbours a query.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Write `distances` and `ids` to this .npz file."),
]
Filter = Annotated[
    str | None, typer.Option("--filter", metavar="IDS", help="Find only these ids; see `--ids`.")
]


def search(
    model: Model,
    base: Annotated[
        Path, typer.Argument(metavar="CODES|INDEX", help="From `sigah encode` or `index build`.")
    ],
    queries: Annotated[str, typer.Argument(metavar="QUERIES", help="Vectors to look up.")],
    k: Neighbours = 10,
    by: Annotated[
        str,
        typer.Option(help="hamming, or rank candidates by: asymmetric, spherical, decoded, raw."),
    ] = "hamming",
    oversampling: Annotated[float, typer.Option(help="Candidates a neighbour, if ranked.")] = 10,
    vectors: Annotated[
        str | None, typer.Option(help="What was encoded, for --by raw; ids are its rows.")
    ] = None,
    chosen: Filter = None,
    out: Out = None,
) -> None:
    """Find the k nearest codes of each query, exactly; ties go to the smaller id.

    Example: sigah search mnist.model codes.npy mnist:queries -k 10 --out neighbours.npz

    Example: sigah search mnist.model codes.npy mnist:queries --by asymmetric
    """
    if out is not None:
        check_folder(out)
    hasher = load(model)
    index = _open_any(base)
    if index.fingerprint is None:
        typer.echo(f"warning: {base} does not say which model made it", err=True)
    else:
        files.check_same_model(
            {"fingerprint": index.fingerprint}, {"fingerprint": hasher.fingerprint}
        )
    looked_up = read_vectors(queries)
    allowed = read_ids(chosen)
    if by == "hamming":
        found = in_blocks(
            looked_up, lambda some: index.search(hasher.transform(some), k, filter=allowed)
        )
    elif chosen is not None:
        raise ValueError("--filter finds codes by hamming distance only; leave out --by")
    else:
        rows = None if vectors is None else read_vectors(vectors)
        ranked = TwoStageSearch(index, hasher, by, oversampling=oversampling, vectors=rows)
        found = in_blocks(looked_up, lambda some: ranked.search(some, k))
    show_neighbours(*found, out, len(index), by)


@app.command()
def build(
    codes: Codes,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the index.")],
    ids: Ids = None,
) -> None:
    """Make an index of codes; without --ids they are numbered from 0, or as a .parquet file says.

    Example: sigah index build codes.npy --out mnist.index
    """
    check_folder(out)
    stored = read_codes(codes, ids)
    index = HammingIndex(stored.n_bits, fingerprint=stored.fingerprint)
    index.add(stored.codes, stored.ids)
    index.save(out)
    typer.echo(f"{out}: {len(index):,} codes of {index.n_bits} bits")


@app.command()
def add(index: Index, codes: Codes, ids: Ids = None) -> None:
    """Add codes of the same model; without --ids they count on from the largest id.

    Example: sigah index add mnist.index more.npy
    """
    stored = read_codes(codes, ids)
    held = HammingIndex.open(index)
    if held.fingerprint is not None:
        files.check_same_model(stored.header, {"fingerprint": held.fingerprint})
    held.add(stored.codes, stored.ids)
    held.save(index)
    typer.echo(f"{index}: {len(held):,} codes, {len(stored):,} of them new")


@app.command()
def remove(index: Index, ids: Annotated[str, typer.Argument(metavar="IDS")]) -> None:
    """Remove codes by id: a .npy file, a text file with an id a line, or ids with commas.

    Example: sigah index remove mnist.index 7,11,13
    """
    held = HammingIndex.open(index)
    unwanted = read_ids(ids)
    held.remove([] if unwanted is None else unwanted)
    held.save(index)
    typer.echo(f"{index}: {len(held):,} codes")


@app.command("search")
def search_codes(
    index: Index,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="Codes to look up.")],
    k: Neighbours = 10,
    chosen: Filter = None,
    tables: Annotated[
        bool, typer.Option("--tables", help="Build multi-index tables first: for many queries.")
    ] = False,
    out: Out = None,
) -> None:
    """Find the k nearest codes of each code, exactly; ties go to the smaller id.

    Example: sigah index search mnist.index query-codes.npy -k 10
    """
    if out is not None:
        check_folder(out)
    held = HammingIndex.open(index)
    queries = files.open_codes(codes)
    if held.fingerprint is not None and queries.header is not None:
        files.check_same_model(queries.header, {"fingerprint": held.fingerprint})
    if tables:
        held.build_tables()
    allowed = read_ids(chosen)
    found = in_blocks(queries.codes, lambda some: held.search(some, k, filter=allowed))
    show_neighbours(*found, out, len(held), "hamming")


@app.command()
def stats(index: Index) -> None:
    """Say how many codes an index holds and what they take, as JSON."""
    held = HammingIndex.open(index)
    typer.echo(json.dumps({**held.stats(), "file_bytes": index.stat().st_size}, indent=2))


def _open_any(path: Path) -> HammingIndex:
    """An index file, or an index of a file of codes."""
    if files.is_index(path):
        return HammingIndex.open(path)
    return HammingIndex.of_codes(path)


def read_codes(path: Path, ids: str | None) -> files.Codes:
    """Codes with the ids that were asked for or, otherwise, those that they have."""
    stored = files.open_codes(path)
    if ids is not None:
        return replace(stored, ids=read_ids(ids))
    if stored.ids is not None and stored.ids.dtype.kind not in "iu":
        raise ValueError(f"{path}: ids of an index are whole numbers, these are strings")
    return stored


def read_ids(argument: str | None) -> NDArray[Any] | None:
    """Ids of a file, or of the words themselves."""
    if argument is None:
        return None
    if Path(argument).suffix == ".npy":
        return np.load(argument, allow_pickle=False)
    text = Path(argument).read_text() if Path(argument).is_file() else argument
    words = text.replace(",", " ").split()
    try:
        return np.array([int(word) for word in words], np.int64)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{argument}: ids are whole numbers in a .npy file, a line each in a text file, or with"
            " commas between them"
        ) from None


def in_blocks(
    queries: NDArray[Any], search_some: Callable[[Any], tuple[NDArray[Any], NDArray[np.int64]]]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Search block by block, with a progress bar."""
    blocks = [queries[start : start + BLOCK] for start in range(0, len(queries), BLOCK)]
    found = [search_some(block) for block in track(blocks or [queries], "search", show=True)]
    distances, ids = zip(*found, strict=True)
    return np.concatenate(distances), np.concatenate(ids)


def show_neighbours(
    distances: NDArray[Any], ids: NDArray[np.int64], out: Path | None, size: int, by: str
) -> None:
    """Write neighbours to a file, or print those of the first queries."""
    if out is not None:
        with files.atomic_write(out) as file:
            np.savez(file, distances=distances, ids=ids)
        k = ids.shape[1]
        typer.echo(f"{out}: {k} neighbours of {len(ids):,} queries among {size:,} codes")
        return
    shown: Callable[[Any], str] = str if distances.dtype.kind == "i" else "{:.4g}".format
    table = Table("query", f"ids ({by} distance)", title=f"first of {len(ids):,} queries")
    for row in range(min(10, len(ids))):
        pairs = zip(ids[row], distances[row], strict=True)
        table.add_row(str(row), "  ".join(f"{i} ({shown(d)})" for i, d in pairs if i >= 0))
    Console().print(table)
