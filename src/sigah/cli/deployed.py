"""``sigah evaluate MODEL INDEX QUERIES``: what is deployed, measured as it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sigah.cli.inputs import naming
from sigah.cli.outputs import check_output
from sigah.cli.searching import Opened, check_ranking, check_raw, open_codes_of_model
from sigah.cli.vectors import file_named, read_vectors
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
from sigah.rows.ids import IdColumn

__all__ = ["Recipe", "evaluate_deployed"]


@dataclass(frozen=True)
class Recipe:
    """How the index is searched, and what is true, as the user wrote it."""

    by: str
    oversampling: str
    vectors: str | None
    truth: str | None
    qrels: str | None
    query_ids: str | None
    k: int


def evaluate_deployed(
    model: Path,
    index: Path,
    queries: str,
    recipe: Recipe,
    *,
    json_file: Path | None,
    header: bool | None,
    overwrite: bool,
) -> None:
    """Measure recall, relevance, latency and memory of a search that exists."""
    inputs = (model, index, queries, recipe.vectors, recipe.truth, recipe.qrels)
    check_output(json_file, "results", inputs, overwrite=overwrite, option="--json")
    check_ranking(recipe.by)
    check_raw(recipe.by, recipe.vectors)
    widths = _oversamplings(recipe.oversampling) if recipe.by != "hamming" else [1.0]
    if recipe.truth is recipe.qrels is recipe.vectors is None:
        raise ValueError(
            "nothing says which neighbours are right: give --truth (ids of true neighbours),"
            " --qrels (relevance judgements) or --vectors (the encoded vectors, for exact truth)"
        )
    opened = open_codes_of_model(model, index)
    hasher, held = opened.hasher, opened.index
    k = min(recipe.k, len(held))
    with naming("QUERIES", queries):
        vectors = read_vectors(queries, "QUERIES", hasher=hasher, header=header)
        looked_up = finite(np.asarray(vectors), 0)
    rows = None
    if recipe.vectors is not None:
        rows = read_vectors(recipe.vectors, "--vectors", hasher=hasher, header=header)
    truth, source = _truth(recipe, opened, rows, looked_up, k)
    grades = None if recipe.qrels is None else _grades(recipe, opened, queries, looked_up)
    results: dict[str, Any] = {
        "data": {
            "name": Path(queries).name,
            "n_base": len(held),
            "n_queries": len(looked_up),
            "queries_sha256": content_hash(looked_up),
            "k": k,
            "truth": source,
            "judgements": recipe.qrels,
        },
        "index": {
            "file": str(index),
            "model": str(model),
            "method": hasher.name,
            "metric": getattr(hasher, "metric", "l2"),
            "model_bytes": model.stat().st_size,
            **held.stats(),
            "bytes_per_vector": _bytes_per_vector(held.stats()),
            "raw_bytes_per_vector": None
            if rows is None or recipe.by != "raw"
            else rows.shape[1] * rows.dtype.itemsize,
        },
        "measurements": [],
    }
    for width in widths:
        search = opened.search(recipe.by, width, rows)
        with (
            naming("--truth", recipe.truth, only="truth"),
            naming("--qrels", recipe.qrels, only="judgements"),
        ):
            found = measure_search(search, looked_up, k, truth=truth, grades=grades, show=True)
        results["measurements"].append(
            {
                "by": recipe.by,
                "oversampling": None if recipe.by == "hamming" else width,
                **asdict(found),
            }
        )
        results |= provenance()
        if json_file is not None:  # after every recipe, so that an interruption loses none
            write_results(json_file, results)
    # columns are folded at the edge of a terminal, but never in a pipe
    Console(width=None if sys.stdout.isatty() else 160).print(_table(results))


def _oversamplings(text: str) -> list[float]:
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(1 <= number < float("inf") for number in numbers):
        raise ValueError(f"--oversampling {text}: give numbers of at least 1, separated by commas")
    return numbers


def _truth(
    recipe: Recipe, opened: Opened, rows: Any, queries: NDArray[Any], k: int
) -> tuple[NDArray[Any] | None, str | None]:
    """Ids of true neighbours and where they come from; None if only judgements are given."""
    if recipe.truth is not None:
        with naming("--truth", recipe.truth):
            truth = np.asarray(open_array(recipe.truth))
            file = file_named(recipe.truth)
            if file.suffix.lower() in (".h5", ".hdf5") and (metric := metric_stated_in(file)):
                check_same_metric(opened.hasher, metric, "the truth")
            if truth.ndim == 2 and truth.dtype.kind in "iuUTO":
                names = truth[:, :k].ravel().tolist()
                _check_any_held(map(str, names), opened, names[:3])
        return truth, recipe.truth
    if rows is None:
        return None, None
    if not np.array_equal(opened.numbered.ids, np.arange(len(rows))):
        if recipe.qrels is not None:
            return None, None
        raise ValueError(
            f"--vectors {recipe.vectors}: the index does not hold the codes of just these"
            f" {len(rows):,} rows, so they do not say what is true in it; give --truth"
        )
    metric = getattr(opened.hasher, "metric", "l2")
    with phase("finding the true neighbours", show=True), naming("--vectors", recipe.vectors):
        exact = cached_neighbors(rows, queries, k, metric)
    return opened.named(exact.ids.astype(np.int64)), f"exact, {metric}"


def _grades(
    recipe: Recipe, opened: Opened, argument: str, queries: NDArray[Any]
) -> Sequence[Grades]:
    """The judgements of each query."""
    with naming("--qrels", recipe.qrels):
        judgements = read_qrels(str(recipe.qrels))
    names: Sequence[Any] = range(len(queries))
    if recipe.query_ids is not None:
        with naming("--query-ids", recipe.query_ids):
            column = IdColumn.of(read_vectors(argument, "QUERIES"), recipe.query_ids)
            names = column.reader()(len(queries)).to_pylist()
    with naming("--qrels", recipe.qrels):
        grades = judgements_of(judgements, names)
        judged = (result for one in grades for result in one)
        _check_any_held(judged, opened, list(next(filter(None, grades)))[:3])
        return grades


def _check_any_held(results: Iterable[str], opened: Opened, first: list[Any]) -> None:
    """Refuse right answers that no search can find: they belong to another index."""
    if not any(opened.holds(result) for result in results):
        held = opened.named(opened.numbered.ids[:3]).tolist()
        raise ValueError(
            f"none of its results is in the index: they begin with {first}, the ids of the index"
            f" with {held}"
        )


def _bytes_per_vector(stats: dict[str, Any]) -> float:
    kept = sum(size for name, size in stats.items() if name.endswith("_bytes"))
    return float(kept / max(1, stats["n_codes"]))


def _table(results: dict[str, Any]) -> Table:
    """One row for each recipe."""
    data, index = results["data"], results["index"]
    first = results["measurements"][0]
    metrics = list(first["metrics"])
    table = Table(
        title=f"{index['file']}: {data['n_base']:,} codes of {index['n_bits']} bits"
        f" ({index['method']}, {index['metric']}), {data['n_queries']:,} queries, k = {data['k']}",
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
    texts = [
        f"{index['bytes_per_vector']:.1f} bytes per vector in memory"
        + (
            f" and {index['raw_bytes_per_vector']:,} raw"
            if index["raw_bytes_per_vector"] is not None
            else ""
        ),
        f"batches of {batch['queries_per_call']:,}, time per query",
        f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}",
        "±: 95 % intervals over queries",
    ]
    if (judged := results["measurements"][0]["n_judged"]) is not None:
        texts.append(f"{judged:,} of {data['n_queries']:,} queries have relevant results")
    return "; ".join(texts) + "."


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} us" if seconds < 0.01 else f"{seconds * 1e3:,.0f} ms"
