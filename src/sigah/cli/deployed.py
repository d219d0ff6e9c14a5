"""``sigah evaluate MODEL INDEX QUERIES``: what is deployed, measured as it is.

An index of vectors has its model in it, and codes may lie in an engine: ``subjects.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sigah.cli.inputs import naming, read_model, read_vector_index
from sigah.cli.searching import (
    DEFAULT_OVERSAMPLING,
    RANKINGS,
    check_has_candidates,
    check_raw,
    open_codes_of_model,
)
from sigah.cli.subjects import CodeSubject, EngineSubject, Subject, VectorSubject
from sigah.cli.vectors import at_hand, column_of_ids, file_named, read_vectors
from sigah.engines import connect
from sigah.engines.registry import parse_settings
from sigah.evaluation.deployed import measure_search
from sigah.evaluation.provenance import provenance
from sigah.evaluation.qrels import judgements_of, read_qrels
from sigah.evaluation.relevance import Grades
from sigah.evaluation.results import write_results
from sigah.evaluation.truth import cached_neighbors, content_hash
from sigah.metric import check_same_metric
from sigah.progress import phase
from sigah.rows import finite, open_array
from sigah.rows.formats.hdf5 import metric_stated_in

__all__ = ["Recipe", "evaluate_deployed", "subject_of"]


@dataclass(frozen=True)
class Recipe:
    """How the index is searched, and what is true, as the user wrote it."""

    by: str | None
    oversampling: str | None
    vectors: str | None
    truth: str | None
    qrels: str | None
    query_ids: str | None
    k: int


@contextmanager
def subject_of(
    base: Path, index: str | None, engine: str | None, settings: Sequence[str]
) -> Iterator[Subject]:
    """What the arguments name: a model and its codes or a target of an engine, or vectors."""
    if index is None:
        yield VectorSubject(read_vector_index(base), base)
    elif engine is None:
        yield CodeSubject(open_codes_of_model(base, Path(index)), base)
    else:
        hasher = read_model(base)
        with connect(engine, index, **parse_settings(engine, settings)) as target:
            yield EngineSubject(target, hasher, engine, index, base)


def evaluate_deployed(
    subject: Subject,
    name: str,
    queries: str,
    recipe: Recipe,
    *,
    json_file: Path | None,
    header: bool | None,
) -> None:
    """Measure recall, relevance, latency and memory of a search that exists.

    ``name`` is what the user calls the subject.
    """
    by = subject.ranking(recipe.by)
    k = min(recipe.k, subject.n)
    widths = _oversamplings(recipe.oversampling, by, most=subject.n / k)
    _check_used(recipe, by)
    with naming("QUERIES", queries):
        vectors = _read_rows(queries, "QUERIES", subject, header)
        looked_up = finite(np.asarray(vectors), 0)
    rows = None
    if recipe.vectors is not None:
        rows = _read_rows(recipe.vectors, "--vectors", subject, header)
        rows = at_hand(rows, "--vectors", recipe.vectors)
    truth, source = _truth(recipe, subject, by, rows, looked_up, k)
    grades = None if recipe.qrels is None else _grades(recipe, subject, vectors)
    results: dict[str, Any] = {
        "data": {
            "name": Path(queries).name,
            "n_base": subject.n,
            "n_queries": len(looked_up),
            "queries_sha256": content_hash(looked_up),
            "k": k,
            "truth": source,
            "judgements": recipe.qrels,
        },
        "index": {
            "file": name,
            "what": subject.what,
            **subject.about(),
            "raw_bytes_per_vector": None
            if rows is None or by != "raw"
            else rows.shape[1] * rows.dtype.itemsize,
        },
        "measurements": [],
    }
    for width in widths:
        search = subject.search(by, width, rows)
        with (
            naming("--truth", recipe.truth, only="truth"),
            naming("--qrels", recipe.qrels, only="judgements"),
        ):
            found = measure_search(search, looked_up, k, truth=truth, grades=grades, show=True)
        results["measurements"].append({"by": by, "oversampling": width, **asdict(found)})
        results |= provenance()
        if json_file is not None:  # after every recipe, so that an interruption loses none
            write_results(json_file, results)
    # columns are folded at the edge of a terminal, but never in a pipe
    Console(width=None if sys.stdout.isatty() else 160).print(_table(results))


def _read_rows(argument: str, name: str, subject: Subject, header: bool | None) -> Any:
    """Vectors of the dimension of those that the subject holds."""
    vectors = read_vectors(argument, name, header=header)
    if vectors.shape[1] != subject.dim:
        raise ValueError(
            f"{name} {argument} has vectors of {vectors.shape[1]} dimensions, but those that are"
            f" searched have {subject.dim}"
        )
    return vectors


def _oversamplings(text: str | None, by: str, most: float) -> list[float | None]:
    """Candidates for each neighbour, to be measured in turn; None: as the index says itself."""
    if text is None:
        return [min(DEFAULT_OVERSAMPLING, most) if by in RANKINGS else None]
    check_has_candidates(by, text)
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(number >= 1 for number in numbers):
        raise ValueError(f"--oversampling {text}: give numbers of at least 1, separated by commas")
    return [min(number, most) for number in numbers]


def _check_used(recipe: Recipe, by: str) -> None:
    """Refuse what says nothing about the truth, and what no other option uses."""
    check_raw(by, recipe.vectors)
    if recipe.truth is recipe.qrels is recipe.vectors is None:
        raise ValueError(
            "nothing says which neighbours are right: give --truth (ids of true neighbours),"
            " --qrels (relevance judgements) or --vectors (the encoded vectors, for exact truth)"
        )
    if recipe.vectors is not None and recipe.truth is not None and by != "raw":
        raise ValueError(
            f"--vectors {recipe.vectors}: --truth says already which neighbours are right; leave"
            " one of them out, or add --by raw to rank by these vectors"
        )
    if recipe.query_ids is not None and recipe.qrels is None:
        raise ValueError(
            f"--query-ids {recipe.query_ids} needs --qrels, the judgements that name queries by it"
        )


def _truth(
    recipe: Recipe, subject: Subject, by: str, rows: Any, queries: NDArray[Any], k: int
) -> tuple[NDArray[Any] | None, str | None]:
    """Ids of true neighbours and where they come from; None if only judgements are given."""
    if recipe.truth is not None:
        with naming("--truth", recipe.truth):
            truth = np.asarray(open_array(recipe.truth))
            file = file_named(recipe.truth)
            if file.suffix.lower() in (".h5", ".hdf5") and (metric := metric_stated_in(file)):
                check_same_metric(subject, metric, "the truth")
            if truth.ndim == 2 and truth.dtype.kind in "iuUTO":
                names = truth[:, :k].ravel().tolist()
                _check_any_held(map(str, names), subject, names[:3])
        return truth, recipe.truth
    if rows is None:
        return None, None
    if not subject.has_rows_as_ids(len(rows)):
        if recipe.qrels is not None and by == "raw":
            return None, None
        cure = "give --truth" if recipe.qrels is None else "leave --vectors out"
        raise ValueError(
            f"--vectors {recipe.vectors}: the index does not hold the codes of just these"
            f" {len(rows):,} rows, so they do not say what is true in it; {cure}"
        )
    metric = subject.metric
    with phase("finding the true neighbours", show=True), naming("--vectors", recipe.vectors):
        exact = cached_neighbors(rows, queries, k, metric)
    return subject.named(exact.ids.astype(np.int64)), f"exact, {metric}"


def _grades(recipe: Recipe, subject: Subject, queries: Any) -> Sequence[Grades]:
    """The judgements of each query."""
    with naming("--qrels", recipe.qrels):
        judgements = read_qrels(str(recipe.qrels))
    names = column_of_ids(queries, recipe.query_ids, "--query-ids")
    with naming("--qrels", recipe.qrels):
        grades = judgements_of(judgements, names)
        judged = (result for one in grades for result in one)
        _check_any_held(judged, subject, list(next(filter(None, grades)))[:3])
        return grades


def _check_any_held(results: Iterable[str], subject: Subject, first: list[Any]) -> None:
    """Refuse right answers that no search can find: they belong to another index."""
    if not any(subject.holds(result) for result in results):
        held = subject.first()
        raise ValueError(
            f"none of its results is in the index: they begin with {first}, the ids of the index"
            f" with {held}"
        )


def _table(results: dict[str, Any]) -> Table:
    """One row for each recipe."""
    data, index = results["data"], results["index"]
    first = results["measurements"][0]
    metrics = list(first["metrics"])
    table = Table(
        title=f"{index['file']}: {data['n_base']:,} {index['what']}, {data['n_queries']:,} queries,"
        f" k = {data['k']}",
        caption=_caption(results),
    )
    for column in ("ranked by", *metrics, "one query: p50", "p95", "p99", "batch", "queries/s"):
        table.add_column(
            column, overflow="fold", justify="left" if column == "ranked by" else "right"
        )
    for row in results["measurements"]:
        width = row["oversampling"]
        cells = [row["by"] if width is None else f"{row['by']}, oversampling {width:g}"]
        for name in metrics:
            low, high = row["intervals"][name]
            cells.append(f"{row['metrics'][name]:.3f} ±{(high - low) / 2:.3f}")
        single, batch = row["latency"]["single"], row["latency"]["batch"]
        cells += [_time(single[p]) for p in ("p50", "p95", "p99")]
        cells.append(_time(batch["p50"] / batch["queries_per_call"]))
        fastest = max(one["queries_per_second"] for one in row["latency"].values())
        table.add_row(*cells, f"{fastest:,.0f}")
    return table


def _caption(results: dict[str, Any]) -> str:
    data, index, machine = results["data"], results["index"], results["environment"]
    batch = results["measurements"][0]["latency"]["batch"]
    kept, raw = index["bytes_per_vector"], index["raw_bytes_per_vector"]
    where = "in the file" if "engine" in index else "in memory"
    texts = [
        (f"{kept:.1f} bytes per vector {where}" if kept is not None else "memory is the engine's")
        + ("" if raw is None else f" and {raw:,} raw"),
        f"batches of {batch['queries_per_call']:,}, time per query",
        f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}",
        "±: 95 % intervals over queries",
    ]
    if (judged := results["measurements"][0]["n_judged"]) is not None:
        texts.append(f"{judged:,} of {data['n_queries']:,} queries have relevant results")
    return "; ".join(texts) + "."


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} us" if seconds < 0.01 else f"{seconds * 1e3:,.0f} ms"
