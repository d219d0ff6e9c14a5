"""``sigah search`` and ``sigah index build | add | upsert | update | remove | search | stats``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sigah import files
from sigah.cli.inputs import (
    has_keys,
    naming,
    naming_originals,
    read_chosen,
    read_codes,
    read_index,
    read_numbered_codes,
)
from sigah.cli.options import (
    IDS,
    Codes,
    Filter,
    Header,
    Ids,
    Index,
    Model,
    Neighbours,
    Out,
    Overwrite,
)
from sigah.cli.outputs import check_output, show_neighbours
from sigah.cli.recipes import RecipeFile, check_model, take_recipe
from sigah.cli.searching import (
    RANKINGS,
    check_has_candidates,
    check_ranking,
    check_raw,
    index_of,
    open_codes_of_model,
)
from sigah.cli.vectors import at_hand, read_vectors
from sigah.progress import bar, phase
from sigah.rows import finite
from sigah.search import HammingIndex, KeyedIndex

__all__ = ["app", "at_most", "in_blocks", "search"]

app = typer.Typer(
    help="Keep codes in an index: build, add, update, remove, search, and show statistics.",
    no_args_is_help=True,
)

BLOCK = 2000  # queries per step of the progress bar


def search(
    context: typer.Context,
    model: Model,
    base: Annotated[
        Path, typer.Argument(metavar="CODES|INDEX", help="From `sigah encode` or `index build`.")
    ],
    queries: Annotated[str, typer.Argument(metavar="QUERIES", help="Vectors to look up.")],
    k: Neighbours = 10,
    by: Annotated[
        str,
        typer.Option(
            callback=check_ranking,
            help=f"hamming, or rank candidates by: {', '.join(RANKINGS)}.",
        ),
    ] = "hamming",
    oversampling: Annotated[
        float | None,
        typer.Option(
            min=1, help="Candidates for each neighbour, with --by; default: 10; inf: all codes."
        ),
    ] = None,
    vectors: Annotated[
        str | None, typer.Option(help="The encoded vectors, for --by raw; ids are their rows.")
    ] = None,
    chosen: Filter = None,
    recipe: RecipeFile = None,
    header: Header = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the k nearest codes of each query, exactly; ties go to the smaller id.

    Example: sigah search mnist.model codes.npy mnist:queries -k 10 --out neighbours.npz

    Example: sigah search mnist.model codes.npy mnist:queries --by asymmetric
    """
    inputs = (model, base, queries, vectors, chosen, recipe)
    check_output(out, "neighbours", inputs, overwrite=overwrite)
    if recipe is not None:
        settled = take_recipe(context, recipe, "codes")
        k = settled.default("k", k, settled.recipe.k)
        by = settled.option("by", "--by", by, settled.recipe.by)
        if by != "hamming":
            wide = settled.recipe.oversampling(k)
            oversampling = settled.option("oversampling", "--oversampling", oversampling, wide)
    check_raw(by, vectors)
    if oversampling is not None:
        check_has_candidates(by, oversampling)
    if by != "raw" and vectors is not None:
        raise ValueError("--vectors is for --by raw only; leave it out or add --by raw")
    opened = open_codes_of_model(model, base)
    hasher, index = opened.hasher, opened.index
    if recipe is not None:
        check_model(hasher, settled, f"MODEL {model}")
    looked_up = read_vectors(queries, "QUERIES", hasher=hasher, header=header)
    allowed = None if chosen is None else index.select(read_chosen(chosen, index, "--filter"))
    rows = None
    if vectors is not None:
        rows = read_vectors(vectors, "--vectors", hasher=hasher, header=header)
        rows = at_hand(rows, "--vectors", vectors)
    k = at_most(k, len(index))
    find = opened.search(by, oversampling, rows, allowed)

    def find_some(some: Any, first: int) -> Any:
        checked = finite(some, first)
        with naming_originals("--vectors", vectors):
            return find(checked, k)

    with naming("QUERIES", queries, only="Input X "):
        found = in_blocks(looked_up, find_some)
    show_neighbours(*found, out, len(index), by)


@app.command()
def build(
    codes: Codes,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the index.")],
    ids: Ids = None,
    overwrite: Overwrite = False,
) -> None:
    """Make an index from codes; default ids: those of a .parquet file, otherwise 0, 1, 2, ...

    Example: sigah index build codes.npy --out mnist.index
    """
    check_output(out, "index", [codes, ids], overwrite=overwrite)
    stored = read_numbered_codes(codes, ids)
    with phase("building the index", show=True):
        with naming(*_ids_of(codes, ids)):
            index = index_of(stored)
        index.save(out, overwrite=overwrite)
    named = " with keys" if isinstance(index, KeyedIndex) else ""
    typer.echo(f"{out}: {len(index):,} codes of {index.n_bits} bits{named}")


@app.command()
def add(index: Index, codes: Codes, ids: Ids = None) -> None:
    """Add codes of the same model to an index file; without --ids they follow the largest id.

    In an index with keys, codes need keys too.

    Example: sigah index add mnist.index more.npy
    """
    held = read_index(index)
    stored = _codes_for(held, codes, ids)
    with phase("adding codes", show=True):
        with naming(*_ids_of(codes, ids)):
            held.add(stored.codes, ids_of(stored))
        held.save(index)
    typer.echo(f"{index}: {len(held):,} codes, {len(stored):,} of them new")


@app.command()
def upsert(index: Index, codes: Codes, ids: Ids = None) -> None:
    """Replace the codes of ids or keys that an index file has, and add the others.

    Example: sigah index upsert mnist.index more.npy --ids more-ids.npy
    """
    held = read_index(index)
    stored = _codes_with_ids(held, codes, ids)
    before = len(held)
    with phase("replacing and adding codes", show=True):
        with naming(*_ids_of(codes, ids)):
            held.upsert(stored.codes, ids_of(stored))
        held.save(index)
    new = len(held) - before
    typer.echo(
        f"{index}: {len(held):,} codes, {new:,} of them new and {len(stored) - new:,} replaced"
    )


@app.command()
def update(index: Index, codes: Codes, ids: Ids = None) -> None:
    """Replace the codes of ids or keys that an index file has; others are refused.

    Example: sigah index update mnist.index more.npy --ids more-ids.npy
    """
    held = read_index(index)
    stored = _codes_with_ids(held, codes, ids)
    with phase("replacing codes", show=True):
        with naming(*_ids_of(codes, ids)):
            held.update(stored.codes, ids_of(stored))
        held.save(index)
    typer.echo(f"{index}: {len(held):,} codes, {len(stored):,} of them replaced")


@app.command()
def remove(index: Index, ids: Annotated[str, typer.Argument(metavar="IDS", help=IDS)]) -> None:
    """Remove codes from an index file by id or by key.

    Example: sigah index remove mnist.index 7,11,13
    """
    held = read_index(index)
    unwanted = read_chosen(ids, held, "IDS")
    with naming("INDEX", index):
        held.remove(unwanted)
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
    overwrite: Overwrite = False,
) -> None:
    """Find the k nearest codes of each code, exactly; ties go to the smaller id.

    Example: sigah index search mnist.index query-codes.npy -k 10
    """
    check_output(out, "neighbours", [index, codes, chosen], overwrite=overwrite)
    held = read_index(index)
    queries = read_codes(codes)
    with naming("CODES", codes):
        if queries.n_bits != held.n_bits:
            raise ValueError(
                f"its codes have {queries.n_bits} bits, but those of INDEX have {held.n_bits}"
            )
        if held.fingerprint is not None and queries.header is not None:
            files.check_same_model(queries.header, {"fingerprint": held.fingerprint})
    allowed = None if chosen is None else held.select(read_chosen(chosen, held, "--filter"))
    k = at_most(k, len(held))
    if tables:
        with phase("building tables", show=True):
            held.build_tables()
    found = in_blocks(queries.codes, lambda some, _: held.search(some, k, filter=allowed))
    show_neighbours(*found, out, len(held), "hamming")


@app.command()
def stats(index: Index) -> None:
    """Print the number of codes in an index and their memory, as JSON."""
    held = read_index(index)
    with naming("INDEX", index):
        told = {**held.stats(), "file_bytes": index.stat().st_size}
    typer.echo(json.dumps(told, indent=2))


def _codes_for(held: HammingIndex | KeyedIndex, codes: Path, ids: str | None) -> files.Codes:
    """Codes that fit into an index: of its model, with keys if it has keys."""
    stored = read_numbered_codes(codes, ids)
    if held.fingerprint is not None and stored.header is None:
        raise ValueError(
            f"CODES {codes}: they do not name the model that made them; encode with `sigah encode`"
        )
    if held.fingerprint is not None and stored.fingerprint != held.fingerprint:
        raise ValueError(
            f"CODES {codes}: they were made by another model (fingerprint {stored.fingerprint})"
            f" than the codes of the index ({held.fingerprint}); encode with the index's model"
        )
    if isinstance(held, KeyedIndex) != has_keys(stored):
        has, lack = ("INDEX", "CODES") if isinstance(held, KeyedIndex) else ("CODES", "INDEX")
        raise ValueError(
            f"CODES {codes}: {has} has keys (strings) and {lack} does not; encode with `sigah"
            " encode --ids COLUMN`, the column that INDEX was made with"
        )
    return stored


def ids_of(codes: files.Codes) -> Any:
    """The ids of codes, of the kind that the index has."""
    return codes.ids


def _codes_with_ids(held: HammingIndex | KeyedIndex, codes: Path, ids: str | None) -> files.Codes:
    """Codes for an index whose ids are known, which say what they replace."""
    stored = _codes_for(held, codes, ids)
    if stored.ids is None:
        raise ValueError(f"CODES {codes}: they have no ids, so give --ids, those to replace")
    return stored


def _ids_of(codes: Path, ids: str | None) -> tuple[str, object]:
    """The argument that errors about ids must name."""
    return ("CODES", codes) if ids is None else ("--ids", ids)


def at_most(k: int, size: int, what: str = "codes") -> int:
    """``k``, or the number of codes and a note if there are fewer."""
    if k > size:
        typer.echo(f"note: -k {k:,}: there are only {size:,} {what}", err=True)
    return max(1, min(k, size))


def in_blocks(
    queries: NDArray[Any],
    search_some: Callable[[Any, int], tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Search block by block, with a progress bar; ``search_some`` also gets its first row."""
    found = []
    with bar(show=True) as progress:
        task = progress.add_task("search", total=len(queries), detail="")
        for first in range(0, max(1, len(queries)), BLOCK):
            some = queries[first : first + BLOCK]
            found.append(search_some(some, first))
            progress.advance(task, len(some))
    distances, ids = zip(*found, strict=True)
    return np.concatenate(distances), np.concatenate(ids)
