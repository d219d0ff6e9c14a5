"""``sigah deploy``: an index that is served, changed, and given a new model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sigah import files
from sigah.cli.inputs import (
    naming,
    read_chosen,
    read_ids_for,
    read_index,
    read_model,
    read_vector_index,
)
from sigah.cli.options import FORMS, IDS, Filter, Header, Neighbours, Out, Overwrite, Vectors
from sigah.cli.outputs import check_output, show_neighbours
from sigah.cli.search import at_most, in_blocks
from sigah.cli.vectors import column_note, column_of_ids, has_column, read_vectors
from sigah.progress import phase
from sigah.rows import finite
from sigah.serving import Deployment
from sigah.serving.generation import OfVectors

__all__ = ["app"]

app = typer.Typer(
    help="Serve an index from a folder: create, search, change, give it a new model, go back.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Made by `sigah deploy create`.")]
_ids = typer.Option(
    "--ids",
    metavar="COLUMN|IDS",
    help=f"The column of a Parquet or Arrow file with the ids or keys; or ids or keys {FORMS}",
)
Ids = Annotated[str, _ids]
IdsOrRows = Annotated[str | None, _ids]


@app.command()
def create(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    index: Annotated[
        Path,
        typer.Argument(
            metavar="INDEX", help="Made by `sigah index build`, or by `sigah vectors build`."
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help="The model of the codes; not for vectors."),
    ] = None,
) -> None:
    """Make a folder that serves an index; several processes may search and change it.

    Example: sigah deploy create served mnist.index mnist.model
    """
    held: Any
    if files.kind_of(index) == "vectors":
        held = read_vector_index(index)
    else:
        held = read_index(index)
        if model is None:
            raise ValueError(f"INDEX {index} holds codes; give the MODEL that made them after it")
    hasher = None if model is None else read_model(model)
    with naming("MODEL", model, only="model"):
        Deployment.create(folder, held, hasher)
    typer.echo(f"{folder}: {len(held):,} {_what(held)}, generation 1 serves")


@app.command()
def search(
    folder: Folder,
    queries: Annotated[str, typer.Argument(metavar="QUERIES", help="Vectors to look up.")],
    k: Neighbours = 10,
    chosen: Filter = None,
    header: Header = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the k nearest neighbours of each query.

    Example: sigah deploy search served mnist:queries -k 10 --out neighbours.npz
    """
    check_output(out, "neighbours", [folder, queries, chosen], overwrite=overwrite)
    serving = _open(folder).current()
    looked_up = _read_rows(queries, "QUERIES", serving, header)
    index: Any = serving.index
    allowed = None
    if chosen is not None:
        allowed = index.select(read_chosen(chosen, index, "--filter"))
    k = at_most(k, len(index), _what(index))
    largest = index.refined.largest if isinstance(index, OfVectors) else np.inf

    def find(some: Any, first: int) -> tuple[NDArray[Any], NDArray[Any]]:
        return serving.search(finite(some, first, largest=largest), k, filter=allowed)

    with naming("QUERIES", queries, only="Input X "):
        found = in_blocks(looked_up, find)
    by = index.metric if isinstance(index, OfVectors) else "hamming"
    show_neighbours(*found, out, len(index), by, _what(index))


@app.command()
def add(folder: Folder, vectors: Vectors, ids: Ids, header: Header = None) -> None:
    """Add vectors with new ids or keys.

    Example: sigah deploy add served today.parquet --ids name
    """
    _change(folder, "add", vectors, ids, header)


@app.command()
def update(folder: Folder, vectors: Vectors, ids: Ids, header: Header = None) -> None:
    """Replace the vectors of ids or keys that are held.

    Example: sigah deploy update served today.parquet --ids name
    """
    _change(folder, "update", vectors, ids, header)


@app.command()
def upsert(folder: Folder, vectors: Vectors, ids: Ids, header: Header = None) -> None:
    """Replace the vectors of ids or keys that are held, and add the others.

    Example: sigah deploy upsert served today.parquet --ids name
    """
    _change(folder, "upsert", vectors, ids, header)


@app.command()
def remove(folder: Folder, ids: Annotated[str, typer.Argument(metavar="IDS", help=IDS)]) -> None:
    """Remove ids or keys.

    Example: sigah deploy remove served doc/7,doc/8
    """
    deployment = _open(folder)
    index: Any = deployment.current().index
    unwanted = read_chosen(ids, index, "IDS")
    with naming("IDS", ids[:60], only="key"), naming("IDS", ids[:60], only="id"):
        deployment.remove(unwanted)
    _tell(folder, deployment)


@app.command()
def reencode(
    folder: Folder,
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="The new model, made by `sigah fit`; for vectors, an index of `sigah vectors"
            " build`, such as one of a sample.",
        ),
    ],
    vectors: Vectors,
    ids: IdsOrRows = None,
    header: Header = None,
) -> None:
    """Encode all vectors by a new model, beside the one that serves; then `switch` to it.

    The folder is searched and changed meanwhile. After an interruption, the same command resumes.
    VECTORS has the vectors of all ids; those changed after the last `save` need not be among them.

    Example: sigah deploy reencode served new.model all.parquet --ids name
    """
    deployment = _open(folder)
    serving = deployment.current()
    new: Any
    if isinstance(serving.index, OfVectors):
        new = read_vector_index(model, "MODEL")
    else:
        new = read_model(model)
    rows = _read_rows(vectors, "VECTORS", serving, header)
    named = _read_ids(ids, rows, serving)
    try:
        with (
            naming("MODEL", model, only="model"),
            naming("--ids", ids, only="ids"),
            naming("--ids", ids, only="key"),
            naming("--ids", ids, only="id "),
            naming("VECTORS", vectors, only="vectors"),
            naming("VECTORS", vectors, only="Input X "),
        ):
            deployment.reencode(new, rows, named, show=True)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: the same command resumes ({folder})", err=True)
        sys.exit(130)
    told = deployment.stats()
    typer.echo(
        f"{folder}: generation {told['next']} is ready, {told['generation']} serves; next: sigah"
        f" deploy switch {folder}"
    )


@app.command()
def switch(folder: Folder) -> None:
    """Let the new generation serve; processes that have the folder open follow by themselves.

    Example: sigah deploy switch served
    """
    deployment = _open(folder)
    with naming("FOLDER", folder):
        deployment.switch()
    _tell(folder, deployment)


@app.command()
def back(folder: Folder) -> None:
    """Let the generation serve that served before; once more, to undo that.

    Example: sigah deploy back served
    """
    deployment = _open(folder)
    with naming("FOLDER", folder):
        deployment.back()
    _tell(folder, deployment)


@app.command()
def save(folder: Folder) -> None:
    """Write the changes into the files of the indexes, so that the log of changes starts anew.

    Example: sigah deploy save served
    """
    deployment = _open(folder)
    deployment.save()
    _tell(folder, deployment)


@app.command()
def forget(folder: Folder) -> None:
    """Delete all generations but the one that serves, and an unfinished re-encoding.

    Example: sigah deploy forget served
    """
    deployment = _open(folder)
    deployment.forget()
    _tell(folder, deployment)


@app.command()
def stats(folder: Folder) -> None:
    """Print what serves, and the bytes of changes since the last save, as JSON."""
    typer.echo(json.dumps(_open(folder).stats(), indent=2))


def _open(folder: Path) -> Deployment:
    with naming("FOLDER", folder):
        return Deployment(folder)


def _what(index: object) -> str:
    return "vectors" if isinstance(index, OfVectors) else "codes"


def _tell(folder: Path, deployment: Deployment) -> None:
    serving = deployment.current()
    typer.echo(
        f"{folder}: {len(serving.index):,} {_what(serving.index)}, generation {serving.number}"
        " serves"
    )


def _read_rows(argument: str, name: str, serving: Any, header: bool | None) -> Any:
    """Vectors of the dimension that is served."""
    rows = read_vectors(argument, name, header=header)
    if rows.shape[1] != serving.dim:
        raise ValueError(
            f"{name} {argument} has vectors of {rows.shape[1]} dimensions, but FOLDER serves"
            f" {serving.dim}"
        )
    return rows


def _read_ids(ids: str | None, rows: Any, serving: Any) -> Any:
    """The ids or keys of rows; the name of their column as it is, if the source has such one."""
    if ids is None:
        return None
    if has_column(rows, ids):
        return ids
    return read_ids_for(ids, serving.index, rows.shape[0], note=column_note(rows))


def _change(folder: Path, how: str, vectors: str, ids: str, header: bool | None) -> None:
    """Add, update or upsert the vectors of a file."""
    deployment = _open(folder)
    serving = deployment.current()
    rows = _read_rows(vectors, "VECTORS", serving, header)
    named: Any = _read_ids(ids, rows, serving)
    if named is ids:
        named = column_of_ids(rows, ids, "--ids")
    with (
        phase("writing changes", show=True),
        naming("VECTORS", vectors, only="vectors"),
        naming("VECTORS", vectors, only="Input vectors "),
        naming("--ids", ids[:60], only="key"),
        naming("--ids", ids[:60], only="id"),
    ):
        getattr(deployment, how)(np.asarray(rows[:]), named)
    _tell(folder, deployment)
