"""``sigah vectors build | add | upsert | update | remove | search | calibrate | stats``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sigah.cli.inputs import (
    naming,
    naming_originals,
    read_chosen,
    read_ids_for,
    read_vector_index,
)
from sigah.cli.options import (
    FORMS,
    IDS,
    NUMBERS,
    Filter,
    Header,
    Neighbours,
    Out,
    Overwrite,
    Seed,
    Vectors,
    check_metric,
)
from sigah.cli.outputs import check_output, show_neighbours
from sigah.cli.recipes import RecipeFile, check_index, take_recipe
from sigah.cli.search import at_most, in_blocks
from sigah.cli.vectors import at_hand, column_note, column_of_ids, has_column, read_vectors
from sigah.progress import phase
from sigah.refinement import KeyedVectorIndex, VectorIndex
from sigah.refinement.vector_index import LEAST_BYTES, RANKED
from sigah.rows import finite, open_array
from sigah.search.checks import check_ids
from sigah.search.keyed import Keyed, check_unique
from sigah.search.keys import check_keys
from sigah.search.layout import MAX_BITS

__all__ = ["app"]

app = typer.Typer(
    help="Keep vectors in a few bytes each: build, add, update, remove, search, calibrate,"
    " statistics.",
    no_args_is_help=True,
)

Index = Annotated[Path, typer.Argument(metavar="INDEX", help="Made by `sigah vectors build`.")]
Queries = Annotated[str, typer.Argument(metavar="QUERIES", help="Vectors to look up.")]
Raw = Annotated[
    str | None,
    typer.Option(
        "--vectors", help="The original vectors, which rank the best once more; ids are their rows."
    ),
]
_ids = typer.Option(
    "--ids",
    metavar="COLUMN|IDS",
    help=f"The column of a Parquet or Arrow file with the ids or keys; or ids or keys {FORMS}",
)
Ids = Annotated[str | None, _ids]
IdsToReplace = Annotated[str, _ids]
Ranked = Annotated[
    int | None,
    typer.Option(
        "--ranked", min=1, help=f"How many candidates --vectors ranks; default: {RANKED}."
    ),
]


@app.command()
def build(
    context: typer.Context,
    vectors: Vectors,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the index.")],
    n_bytes: Annotated[
        int,
        typer.Option("--bytes", min=LEAST_BYTES, max=MAX_BITS // 8, help="Bytes of each vector."),
    ] = 16,
    metric: Annotated[
        str,
        typer.Option(
            callback=check_metric,
            help="What makes vectors near: cosine, l2, or ip (the inner product).",
        ),
    ] = "cosine",
    ids: Annotated[
        str | None,
        typer.Option(
            "--ids",
            metavar="COLUMN|IDS",
            help="The column of a Parquet or Arrow file with the ids, or with keys (strings); or:"
            f" {NUMBERS}",
        ),
    ] = None,
    seed: Seed = 0,
    recipe: RecipeFile = None,
    header: Header = None,
    overwrite: Overwrite = False,
) -> None:
    """Learn from vectors and keep each in a few bytes; default ids: 0, 1, 2, ...

    Example: sigah vectors build glove-50 --bytes 16 --out glove.vectors

    Example: sigah vectors build documents.parquet --ids name --out documents.vectors
    """
    check_output(out, "vectors", [vectors, ids, recipe], overwrite=overwrite)
    if recipe is not None:
        settled = take_recipe(context, recipe, "vectors")
        made = settled.recipe
        n_bytes = settled.option("n_bytes", "--bytes", n_bytes, made.bytes)
        metric = settled.option("metric", "--metric", metric, made.metric)
        seed = settled.default("seed", seed, made.parameters.get("seed", seed))
    rows = read_vectors(vectors, header=header)
    named = _new_ids(ids, rows)
    how: Any = {"n_bytes": n_bytes, "metric": metric, "random_state": seed, "verbose": True}
    index: VectorIndex | KeyedVectorIndex
    with _naming_rows(vectors, ids):
        if isinstance(named, list):
            index = KeyedVectorIndex.build(rows, named, **how)
        else:
            index = VectorIndex.build(rows, ids=named, **how)
    index.save(out, overwrite=overwrite)
    keyed = " with keys" if isinstance(index, Keyed) else ""
    typer.echo(
        f"{out}: {len(index):,} vectors in {index.n_bytes} bytes each, {index.metric}{keyed}"
    )


@app.command()
def add(index: Index, vectors: Vectors, ids: Ids = None, header: Header = None) -> None:
    """Add vectors to an index file; without --ids they follow the largest id.

    Example: sigah vectors add glove.vectors today.npy
    """
    size, new, _ = _change("add", index, vectors, ids, header)
    typer.echo(f"{index}: {size:,} vectors, {new:,} of them new")


@app.command()
def upsert(index: Index, vectors: Vectors, ids: IdsToReplace, header: Header = None) -> None:
    """Replace the vectors of ids or keys that an index file has, and add the others.

    Example: sigah vectors upsert documents.vectors today.parquet --ids name
    """
    size, new, replaced = _change("upsert", index, vectors, ids, header)
    typer.echo(f"{index}: {size:,} vectors, {new:,} of them new and {replaced:,} replaced")


@app.command()
def update(index: Index, vectors: Vectors, ids: IdsToReplace, header: Header = None) -> None:
    """Replace the vectors of ids or keys that an index file has; others are refused.

    Example: sigah vectors update documents.vectors today.parquet --ids name
    """
    size, _, replaced = _change("update", index, vectors, ids, header)
    typer.echo(f"{index}: {size:,} vectors, {replaced:,} of them replaced")


@app.command()
def remove(index: Index, ids: Annotated[str, typer.Argument(metavar="IDS", help=IDS)]) -> None:
    """Remove vectors from an index file by id or by key.

    Example: sigah vectors remove glove.vectors 7,11,13
    """
    held = read_vector_index(index)
    unwanted = read_chosen(ids, held, "IDS")
    with naming("INDEX", index):
        held.remove(unwanted)
    held.save(index)
    typer.echo(f"{index}: {len(held):,} vectors")


@app.command()
def search(
    context: typer.Context,
    index: Index,
    queries: Queries,
    k: Neighbours = 10,
    chosen: Filter = None,
    vectors: Raw = None,
    ranked: Ranked = None,
    recipe: RecipeFile = None,
    header: Header = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the k nearest vectors of each query, by their approximations or the original vectors.

    Example: sigah vectors search glove.vectors glove-50:queries -k 10 --out neighbours.npz

    Example: sigah vectors search glove.vectors glove-50:queries --vectors originals.npy
    """
    inputs = (index, queries, vectors, chosen, recipe)
    check_output(out, "neighbours", inputs, overwrite=overwrite)
    _check_ranked(ranked, vectors)
    held = read_vector_index(index)
    if recipe is not None:
        settled = take_recipe(context, recipe, "vectors")
        made = settled.recipe
        check_index(held, settled, f"INDEX {index}")
        k = settled.default("k", k, made.k)
        if made.reads and vectors is None:
            raise ValueError(f"--recipe {recipe}: it ranks by --vectors, the original vectors")
        if not made.reads and vectors is not None:
            raise ValueError(f"--vectors {vectors}: the recipe {recipe} reads no original vectors")
        ranked = settled.option("ranked", "--ranked", ranked, made.reads or ranked)
    looked_up = _read_rows(queries, "QUERIES", held, header)
    allowed = None if chosen is None else held.select(read_chosen(chosen, held, "--filter"))
    rows = None if vectors is None else _read_originals(vectors, held, header)
    k = at_most(k, len(held), "vectors")
    if recipe is None and ranked is not None and ranked < k:
        raise ValueError(f"--ranked {ranked}: at least -k {k} vectors must be ranked")

    def find(some: Any, first: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        checked = finite(some, first, largest=held.refined.largest)
        with naming_originals("--vectors", vectors):
            return held.search(checked, k, filter=allowed, vectors=rows, n_ranked=ranked or RANKED)

    with naming("QUERIES", queries, only="Input X "):
        found = in_blocks(looked_up, find)
    show_neighbours(*found, out, len(held), held.metric, "vectors")


@app.command()
def calibrate(
    index: Index,
    queries: Queries,
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTH",
            help="Ids or keys of the true neighbours, (q, k): a .npy file, or a .npz file with"
            " `ids`.",
        ),
    ],
    recall: Annotated[float, typer.Option(help="Share of the true neighbours to find.")] = 0.95,
    vectors: Raw = None,
    ranked: Ranked = None,
    header: Header = None,
) -> None:
    """Choose how many candidates searches rank to reach a recall, and write it to the index.

    Example: sigah vectors calibrate glove.vectors glove-50:queries truth.npz --recall 0.9
    """
    _check_ranked(ranked, vectors)
    held = read_vector_index(index)
    looked_up = _read_rows(queries, "QUERIES", held, header)
    wanted = _read_truth(truth, held)
    rows = None if vectors is None else _read_originals(vectors, held, header)
    with (
        phase("calibrating", show=True),
        naming("--recall", recall, only="target_recall"),
        naming("TRUTH", truth, only="truth"),
        naming_originals("--vectors", vectors),
        naming("QUERIES", queries, only="Input queries "),
    ):
        searched = held.index if isinstance(held, KeyedVectorIndex) else held
        found = searched.calibrate(
            looked_up, wanted, target_recall=recall, vectors=rows, n_ranked=ranked or RANKED
        )
    held.save(index)
    typer.echo(f"{index}: {found}")


@app.command()
def stats(index: Index) -> None:
    """Print the number of vectors in an index, their bytes and its settings, as JSON."""
    held = read_vector_index(index)
    of_ids = held.index if isinstance(held, KeyedVectorIndex) else held
    told = {
        "vectors": len(held),
        "dimensions": held.refined.n_features,
        "metric": held.metric,
        "n_bytes": held.n_bytes,
        "code_bytes": held.refined.n_code,
        "bytes_per_vector": held.bytes_per_vector,
        "keys": isinstance(held, Keyed),
        "method": held.refined.method,
        "shortlist": of_ids.shortlist,
        "wide_shortlist": of_ids.wide_shortlist,
        "file_bytes": index.stat().st_size,
    }
    typer.echo(json.dumps(told, indent=2))


def _change(
    how: str, index: Path, vectors: str, ids: str | None, header: bool | None
) -> tuple[int, int, int]:
    """Add or replace vectors in an index file: how many it has, are new, and are replaced."""
    held = read_vector_index(index)
    before = len(held)
    rows = _read_rows(vectors, "VECTORS", held, header)
    named = _ids_for(held, ids, rows)
    with phase("writing vectors", show=True):
        with _naming_rows(vectors, ids):
            getattr(held, how)(rows, named)
        held.save(index)
    new = len(held) - before
    return len(held), new, len(rows) - new


def _read_rows(
    argument: str, name: str, index: VectorIndex | KeyedVectorIndex, header: bool | None
) -> Any:
    """Vectors of the dimension of those in the index."""
    vectors = read_vectors(argument, name, header=header)
    if vectors.shape[1] != index.refined.n_features:
        raise ValueError(
            f"{name} {argument} has vectors of {vectors.shape[1]} dimensions, but those of INDEX"
            f" have {index.refined.n_features}"
        )
    return vectors


def _read_originals(
    argument: str, index: VectorIndex | KeyedVectorIndex, header: bool | None
) -> Any:
    """The vectors of ``--vectors``, which rank candidates."""
    return at_hand(_read_rows(argument, "--vectors", index, header), "--vectors", argument)


def _check_ranked(ranked: int | None, vectors: str | None) -> None:
    if ranked is not None and vectors is None:
        raise ValueError(f"--ranked {ranked} needs --vectors, the original vectors that rank")


def _new_ids(ids: str | None, rows: Any) -> NDArray[np.int64] | list[str] | None:
    """The ids of vectors, or a list of their keys: from a column beside them, or numbers as given.

    They are checked before any vector is read.
    """
    if ids is None:
        return None
    if not has_column(rows, ids):
        return _each_once(ids, read_ids_for(ids, None, rows.shape[0], note=column_note(rows)))
    with naming("--ids", ids):
        held = column_of_ids(rows, ids, "--ids")
        if any(isinstance(one, str) for one in held):
            return check_unique(check_keys(held, name="its keys"))
        return _each_once(ids, check_ids(held, name="its ids"))


def _ids_for(
    index: VectorIndex | KeyedVectorIndex, ids: str | None, rows: Any
) -> NDArray[Any] | list[str] | None:
    """The ids or keys of vectors for an index, of its kind."""
    keyed = isinstance(index, Keyed)
    if ids is None and keyed:
        raise ValueError("INDEX has keys: give --ids, the keys of VECTORS or their column")
    if ids is None or has_column(rows, ids):
        named = _new_ids(ids, rows)
        if ids is not None and isinstance(named, list) != keyed:
            column, index_has = ("numbers", "strings") if keyed else ("strings", "whole numbers")
            raise ValueError(f"--ids {ids}: its ids are {column}, but those of INDEX {index_has}")
        return named
    named = read_ids_for(ids, index, rows.shape[0], note=column_note(rows))
    return named if keyed else _each_once(ids, named)


def _each_once(ids: str, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) < len(numbers):
        raise ValueError(f"--ids {ids[:60]}: id {values[counts.argmax()]} is given twice")
    return numbers


def _read_truth(path: Path, index: VectorIndex | KeyedVectorIndex) -> NDArray[Any]:
    """Ids of true neighbours: an array of ids or of keys, or the ``ids`` that a search wrote."""
    if not path.is_file():
        raise FileNotFoundError(f"TRUTH {path}: no such file")
    with naming("TRUTH", path):
        name = f"{path}:ids" if path.suffix.lower() == ".npz" else path
        wanted = np.asarray(open_array(name))
        if isinstance(index, KeyedVectorIndex) and wanted.dtype.kind == "U":
            return index.ids_of(wanted)
        if wanted.dtype.kind not in "iu":
            raise ValueError(f"ids must be whole numbers, got {wanted.dtype}")
    return wanted


@contextmanager
def _naming_rows(vectors: str, ids: str | None) -> Iterator[None]:
    """Errors name the argument that gave the vectors, or the one that gave their ids."""
    if ids is None:
        with naming("VECTORS", vectors):
            yield
    else:
        with (
            naming("--ids", ids[:60], only="id"),
            naming("--ids", ids[:60], only="key"),
            naming("VECTORS", vectors, only="vectors"),
            naming("VECTORS", vectors, only="Input vectors "),
        ):
            yield
