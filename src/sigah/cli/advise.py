"""``sigah advise``: which method, how many bytes and how much re-ranking suit these vectors."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from sigah.cli.inputs import naming
from sigah.cli.options import Header, Overwrite, Vectors, check_metric
from sigah.cli.outputs import check_output
from sigah.cli.vectors import column_of_ids, read_vectors
from sigah.files.atomic import atomic_write
from sigah.rows import open_array

__all__ = ["advise"]

MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}
ROWS_SHOWN = 16


def advise(
    vectors: Vectors,
    queries: Annotated[
        str | None,
        typer.Option(help="Typical queries; default: a part of VECTORS is held out."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            help="With --queries: row numbers of their true neighbours; only if --sample takes in"
            " all of VECTORS. Default: an exact search of the sample."
        ),
    ] = None,
    qrels: Annotated[
        str | None,
        typer.Option(
            help="With --queries: relevance judgements (TREC or BEIR); only if --sample takes in"
            " all of VECTORS. Candidates are compared by the share that they keep of the nDCG."
        ),
    ] = None,
    query_ids: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="With --qrels: the column of --queries with their ids; default: row numbers.",
        ),
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="With --qrels: the column of VECTORS with their ids; default: row numbers.",
        ),
    ] = None,
    metric: Annotated[
        str, typer.Option(callback=check_metric, help="cosine, l2, or ip (the inner product).")
    ] = "cosine",
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours wanted.")] = 10,
    recall: Annotated[
        float | None,
        typer.Option(
            help="Wanted share of the true neighbours, with --qrels of the nDCG of the full"
            " vectors; default: 0.95, or, with --bytes, as much as they allow."
        ),
    ] = None,
    n_bytes: Annotated[
        float | None,
        typer.Option("--bytes", help="At most, in memory for each vector; default: no limit."),
    ] = None,
    latency: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="At most, for one query, such as 1ms or 500us; default: no limit."
        ),
    ] = None,
    reads: Annotated[
        int, typer.Option(min=0, help="Original vectors that a query may read, at most.")
    ] = 200,
    raw: Annotated[
        str, typer.Option(help="Where the original vectors are: disk, memory, or none.")
    ] = "disk",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Of sign, itq, vectors, sigah, sq8, pq, opq, rabitq, separated by commas; default:"
            " all that are installed."
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1000,
            help="Vectors to measure on, drawn uniformly; default: 100000, with --qrels 200000.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="The same seed draws the same sample.")
    ] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write everything to this file.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write a page with curves to this file.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Also write the recommendation to this file; `fit` and others take it."),
    ] = None,
    header: Header = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure on a sample which method, how many bytes and how much re-ranking suit VECTORS.

    Figures for all of VECTORS are predicted from the sample, with intervals. Ctrl-C ends the
    measurements early and still tells what is known (exit status 130).

    Example: sigah advise glove-50 --recall 0.9 --reads 100

    Example: sigah advise glove-50 --bytes 16 --raw none --json advice.json --recipe recipe.json

    Example: sigah advise texts.parquet --ids id --queries questions.npy --qrels qrels.tsv
    """
    inputs = (vectors, queries, truth, qrels)
    for path, kind, option in (
        (json_file, "advice", "--json"),
        (html, "page", "--html"),
        (recipe, "recipe", "--recipe"),
    ):
        check_output(path, kind, inputs, overwrite=overwrite, option=option)
    slowest = None if latency is None else _seconds(latency)
    if truth is not None and queries is None:
        raise ValueError(f"--truth {truth} needs --queries, whose neighbours it names")
    if qrels is not None and queries is None:
        raise ValueError(f"--qrels {qrels} needs --queries, whose results it judges")
    if qrels is not None and truth is not None:
        raise ValueError("--qrels and --truth both say what is right: leave one of them out")
    for column, option in ((query_ids, "--query-ids"), (ids, "--ids")):
        if column is not None and qrels is None:
            raise ValueError(f"{option} {column} needs --qrels, whose names it explains")
    rows = read_vectors(vectors, header=header)
    looked_up = None
    if queries is not None:
        looked_up = read_vectors(queries, "--queries", header=header)
    from sigah.advice import AdviceInterrupted
    from sigah.advice import advise as give_advice

    true = None
    if truth is not None:
        with naming("--truth", truth):
            true = np.asarray(open_array(truth))
    grades = names = None
    if qrels is not None and looked_up is not None:
        from sigah.evaluation import judgements_of, read_qrels

        with naming("--qrels", qrels):
            judgements = read_qrels(qrels)
        names_of_queries = column_of_ids(looked_up, query_ids, "--query-ids")
        with naming("--qrels", qrels):
            grades = judgements_of(judgements, names_of_queries)
        names = None if ids is None else column_of_ids(rows, ids, "--ids")
    interrupted = False
    with (
        naming("VECTORS", vectors, only="Input X "),
        naming("VECTORS", vectors, only="vectors: "),
        naming("--queries", queries, only="queries"),
        naming("--queries", queries, only="Input queries "),
        naming("--truth", truth, only="truth"),
        naming("--qrels", qrels, only="grades"),
        naming("--ids", ids, only="ids"),
        naming("-k", k, only="k can"),
        naming("--recall", recall, only="recall"),
        naming("--bytes", n_bytes, only="n_bytes"),
        naming("--raw", raw, only="raw"),
        naming("--methods", methods, only="methods: "),
    ):
        try:
            advice = give_advice(
                rows,
                looked_up,
                truth=true,
                grades=grades,
                ids=names,
                metric=metric,
                k=k,
                recall=recall,
                n_bytes=n_bytes,
                latency=slowest,
                reads=reads,
                raw=raw,
                methods=None if methods is None else methods.split(","),
                sample=sample,
                seed=seed,
                name=vectors,
                show=True,
            )
        except AdviceInterrupted as error:
            advice, interrupted = error.advice, True
    if json_file is not None:
        _write(json_file, advice.to_json() + "\n")
    if html is not None:
        from sigah.advice.page import page

        _write(html, page(advice))
    if recipe is not None and not interrupted:
        from sigah.advice import write_recipe

        write_recipe(recipe, advice.recipe())
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(_table(advice))
    for sentence in str(advice).split("\n"):
        console.print(sentence, markup=False)
    if interrupted:
        typer.echo("interrupted: this is what was measured before", err=True)
        sys.exit(130)


def _seconds(text: str) -> float:
    """A time such as ``1ms``."""
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(us|ms|s)\s*", text)
    if found is None or not float(found[1]):
        raise ValueError(f"--latency {text}: give a time with its unit, such as 1ms or 500us")
    return float(found[1]) * MICROSECONDS[found[2]] / 1e6


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def _table(advice: Any) -> Table:
    """The candidates on the way to the recommendation, by bytes."""
    from sigah.advice.words import in_words, readable_bytes, readable_time, recall_range

    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{advice.name}: {advice.n_vectors:,} vectors of {advice.dim:,} dimensions,"
        f" {advice.metric}, k = {advice.k}",
        title_justify="left",
    )
    for name in ("method", "ranking"):
        table.add_column(name, no_wrap=True)
    judged = (f"nDCG@{advice.k}", "kept (95 %)") if advice.judgements is not None else ()
    for name in ("bytes", "reads", *judged, "recall (95 %)", "one query", "memory"):
        table.add_column(name, justify="right", overflow="fold")
    for one in shown(advice):
        table.add_row(
            one.method,
            one.ranking,
            f"{one.bytes:,}",
            f"{one.reads:,}",
            *((f"{one.ndcg.expected:.3f}", in_words(one.kept)) if one.kept is not None else ()),
            recall_range(one),
            "-" if one.microseconds is None else readable_time(one.microseconds),
            readable_bytes(one.memory_bytes),
            style="bold" if one == advice.recommended else None,
        )
    return table


def shown(advice: Any) -> list[Any]:
    """The recommended one and its runners-up, and the best of each size and method."""
    best: dict[tuple[str, int], Any] = {}
    for one in advice.candidates:
        key = (one.method, one.bytes)
        if key not in best or one.quality.expected > best[key].quality.expected:
            best[key] = one
    picked = [] if advice.choice is None else [advice.recommended, *advice.choice.runners_up]
    others = sorted(best.values(), key=lambda one: -one.quality.expected)
    picked += [one for one in others if one not in picked]
    return sorted(picked[:ROWS_SHOWN], key=lambda one: (one.cost, one.quality.expected))
