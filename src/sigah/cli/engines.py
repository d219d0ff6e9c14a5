"""``sigah export | query | withdraw``: codes in existing search engines and databases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sigah import engines
from sigah.cli.inputs import (
    has_keys,
    naming,
    read_ids,
    read_keys,
    read_model,
    read_numbered_codes,
)
from sigah.cli.options import IDS, Codes, Header, Model, Neighbours, Numbers, Out, Overwrite
from sigah.cli.outputs import check_output, show_neighbours
from sigah.cli.recipes import RecipeFile, take_recipe
from sigah.cli.search import at_most, in_blocks
from sigah.cli.vectors import read_vectors
from sigah.engines.registry import engine_class, parse_settings
from sigah.rows import finite, open_array

__all__ = ["export", "query", "withdraw"]

Name = Annotated[
    str, typer.Argument(metavar="ENGINE", help=f"One of: {', '.join(engines.ENGINES)}.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting of the engine; repeatable."),
]


def export(
    context: typer.Context,
    engine: Name,
    codes: Codes,
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help="A path or an address.")],
    ids: Numbers = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            help="The vectors behind the codes, in the same order, which rank candidates; pgvector"
            " and lancedb keep them."
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="LABELS",
            help="One label for each code: a .npy file, or a text file with one label per line.",
        ),
    ] = None,
    settings: Settings = None,
    recipe: RecipeFile = None,
    header: Header = None,
) -> None:
    """Load codes into an engine, with ids and labels; the same command resumes an interrupted run.

    Example: sigah export faiss codes.npy --to codes.faiss

    Example: sigah export faiss codes.npy --to codes.faiss --metadata labels.txt --set kind=hnsw

    Example: sigah export lancedb codes.npy --to mnist.lancedb --vectors mnist
    """
    with naming("ENGINE", engine):
        engine_class(engine)
    stored = read_numbered_codes(codes, ids)
    if metadata is not None and has_keys(stored):
        raise ValueError(
            f"--metadata {metadata}: an engine keeps one text beside a code, and here it is its key"
            " (ids of CODES are strings); leave it out, or give --ids, whole numbers"
        )
    if stored.fingerprint is None:
        raise ValueError(
            f"CODES {codes} do not name the model that made them; files of `sigah encode` do"
        )
    if recipe is not None:
        wanted = take_recipe(context, recipe, "codes").recipe.bits
        if stored.n_bits != wanted:
            raise ValueError(
                f"CODES {codes} have {stored.n_bits} bits, but the recipe {recipe} says {wanted}"
            )
    labels = None if metadata is None else read_labels(metadata)
    if labels is not None and len(labels) != len(stored):
        raise ValueError(
            f"--metadata {metadata} has {len(labels):,} labels, but CODES has {len(stored):,} codes"
        )
    rows = None if vectors is None else read_vectors(vectors, "--vectors", header=header)
    if rows is not None and rows.shape[0] != len(stored):
        raise ValueError(
            f"--vectors {vectors} has {rows.shape[0]:,} rows, but CODES has {len(stored):,} codes"
        )
    chosen_settings = parse_settings(engine, settings or [])
    try:
        with naming("--ids", (ids or "")[:60], only="ids "):
            done = engines.export(
                engine,
                to,
                stored.codes,
                fingerprint=stored.fingerprint,
                ids=stored.ids,
                labels=labels,
                vectors=rows,
                show=True,
                **chosen_settings,
            )
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command resumes", err=True)
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
    ranked: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many of the nearest codes the exported vectors rank; default: none."
        ),
    ] = None,
    settings: Settings = None,
    header: Header = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the k nearest codes of each query in an engine; some engines approximate.

    Example: sigah query faiss mnist.model mnist:queries --from codes.faiss -k 10
    """
    with naming("ENGINE", engine):
        engine_class(engine)
    check_output(out, "neighbours", [model, queries, source], overwrite=overwrite)
    hasher = read_model(model)
    looked_up = read_vectors(queries, "QUERIES", hasher=hasher, header=header)
    with engines.connect(engine, source, **parse_settings(engine, settings or [])) as target:
        search = engines.VectorSearch(target, hasher)
        wanted = parse_labels(chosen, target.about) if chosen else None
        k = at_most(k, len(target))
        if ranked is not None and ranked < k:
            raise ValueError(f"--ranked {ranked}: at least -k {k} codes must be ranked")
        with naming("QUERIES", queries, only="Input X "):
            found = in_blocks(
                looked_up,
                lambda some, first: search.search(
                    finite(some, first), k, filter=wanted, n_ranked=ranked
                ),
            )
        by = "hamming" if ranked is None else getattr(hasher, "metric", "l2")
        show_neighbours(*found, out, len(target), by)


def withdraw(
    engine: Name,
    ids: Annotated[
        str,
        typer.Argument(metavar="IDS", help=IDS),
    ],
    source: Annotated[
        str, typer.Option("--from", metavar="TARGET", help="Where `sigah export` put the codes.")
    ],
    settings: Settings = None,
) -> None:
    """Remove codes from an engine by id or key, with their labels and vectors.

    Example: sigah withdraw faiss 7,11,13 --from codes.faiss
    """
    with naming("ENGINE", engine):
        engine_class(engine)
    chosen_settings = parse_settings(engine, settings or [])
    with engines.connect(engine, source, **chosen_settings) as target:
        keyed = target.about is not None and target.about.keys
    unwanted = read_keys(ids, "IDS") if keyed else read_ids(ids, "IDS")
    removed = engines.remove(engine, source, unwanted, **chosen_settings)
    typer.echo(f"{engine}: {removed:,} codes removed")


def read_labels(path: Path) -> NDArray[Any]:
    """Labels in a file; if all lines are whole numbers, labels are numbers."""
    with naming("--metadata", path):
        if path.suffix.lower() == ".npy":
            return np.asarray(open_array(path))
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    try:
        numbers = np.array([int(line) for line in lines], np.int64)
    except (ValueError, OverflowError):
        return np.array(lines, object)
    # 007 is text: as a number it would become 7
    return numbers if list(map(str, numbers)) == lines else np.array(lines, object)


def parse_labels(words: list[str], about: engines.About | None) -> list[Any]:
    """The words of ``--filter``, in the type of the target's labels."""
    if about is None or about.labels != "int":
        return list(words)
    try:
        return [int(word) for word in words]
    except ValueError:
        raise ValueError(
            f"--filter: labels of the target are whole numbers, got {', '.join(words)}"
        ) from None
