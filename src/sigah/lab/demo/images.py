"""Images: SiGAH, ITQ and LSH on MNIST and Fashion-MNIST, in one page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sigah.evaluation import cached_neighbors, evaluate, summarize, write_results
from sigah.evaluation.table import COLUMNS, best_rows, cell, results_table
from sigah.files import atomic_write
from sigah.hashers import ITQ, LSH, BinaryHasher, SiGAH
from sigah.lab import datasets
from sigah.lab.report.figures import LABELS, curves_figure, images_figure
from sigah.lab.report.plots import as_data
from sigah.lab.report.templates import templates
from sigah.search import HammingIndex

__all__ = ["SETS", "write_images"]

SETS = ("mnist", "fashion-mnist")
QUERIES = (1, 8, 15, 18)  # test images shown with their neighbours
SHOWN = 10  # neighbours a query


def write_images(out: Path, *, announce: Callable[[Any], None], beside: str | None = None) -> Path:
    """Train, measure and draw; returns the path of the page.

    Parameters
    ----------
    out : Path
        Folder for ``index.html`` and ``results.json``.
    announce : callable
        Told what happens: a line, or the table of a data set.
    beside : str, optional
        The name of the page on text in the same folder, to link to.
    """
    fitted: dict[tuple[str, int], BinaryHasher] = {}

    def keep(label: str, make: Callable[..., BinaryHasher]) -> Callable[[int, int], BinaryHasher]:
        def build(bits: int, seed: int) -> BinaryHasher:
            fitted[label, bits] = make(bits, random_state=seed)
            return fitted[label, bits]

        return build

    methods = {
        "sigah": keep("sigah", lambda bits, **kw: SiGAH(bits, verbose=True, **kw)),
        "itq": keep("itq", ITQ),
        "lsh": keep("lsh", LSH),
    }
    results, neighbours, reconstructions = [], {}, {}
    for name in SETS:
        split = datasets.load(name)
        announce(f"{name}: exact neighbours of {len(split.queries):,} queries (cached after this)")
        truth = cached_neighbors(split.base, split.queries, 1000).ids
        result = evaluate(
            methods,
            split.base,
            split.queries,
            name=name,
            n_bits=(32, 64),
            on_run=lambda results: announce(describe_run(results["runs"][-1])),
        )
        results.append(result)
        announce(results_table(result))
        for query in QUERIES:
            figure = neighbours_figure(split, truth, fitted, query)
            neighbours[f"{name}: test image {query} and its neighbours"] = as_data(figure, "png")
        figure = reconstructions_figure(name, split, fitted)
        reconstructions[f"{name}: images decoded from their codes"] = as_data(figure, "png")
    out.mkdir(parents=True, exist_ok=True)
    write_results(out / "results.json", {"results": results})
    page = (
        templates()
        .get_template("demo/images.html")
        .render(
            beside=beside,
            headings=[c.replace("relative_reconstruction_error", "rel. error") for c in COLUMNS],
            tables={result["data"]["name"]: table_of(result) for result in results},
            environment=describe_environment(results[0]["environment"]),
            curves=as_data(curves_figure(results), "png"),
            shown=SHOWN,
            neighbours=neighbours,
            reconstructions=reconstructions,
        )
    )
    with atomic_write(out / "index.html") as file:
        file.write(page.encode())
    return out / "index.html"


def neighbours_figure(
    split: Any,
    truth: np.ndarray[Any, Any],
    fitted: dict[tuple[str, int], BinaryHasher],
    query: int,
) -> Figure:
    """A query, its exact neighbours, and those that each method finds with 64 bits."""
    rows = [
        ("query", split.queries[query : query + 1]),
        ("exact", split.base[truth[query, :SHOWN]]),
    ]
    hits = {}
    for label in ("sigah", "itq", "lsh"):
        hasher = fitted[label, 64]
        index = HammingIndex(64)
        index.add(hasher.transform(split.base))
        _, ids = index.search(hasher.transform(split.queries[query : query + 1]), SHOWN)
        rows.append((LABELS[label], split.base[ids[0]]))
        hits[LABELS[label]] = np.isin(ids[0], truth[query, :100])
    return images_figure(rows, title="", highlight=hits)


def reconstructions_figure(
    name: str, split: Any, fitted: dict[tuple[str, int], BinaryHasher]
) -> Figure:
    """Test images beside what decoders make of their codes."""
    images = split.queries[: SHOWN + 4]
    rows = [("original", images)]
    for label, bits in (("sigah", 64), ("itq", 64), ("sigah", 32), ("itq", 32)):
        hasher: Any = fitted[label, bits]
        decoded = np.clip(hasher.reconstruct(hasher.transform(images)), 0, 1)
        rows.append((f"{LABELS[label]} {bits} bits", decoded))
    return images_figure(rows, title=name)


def table_of(result: dict[str, Any]) -> list[tuple[int, str, list[tuple[str, bool]]]]:
    """The table of one data set: bits, method, and figures, each with whether it is the best."""
    rows = summarize(result)
    best = {column: best_rows(rows, column) for column in COLUMNS}
    return [
        (
            row.n_bits,
            LABELS[row.method],
            [
                (cell(row, column), bool(best[column][i]) and column != "fit_seconds")
                for column in COLUMNS
            ],
        )
        for i, row in enumerate(rows)
    ]


def describe_run(run: dict[str, Any]) -> str:
    """One line on a finished run."""
    metrics = run["metrics"]
    return (
        f"  {LABELS[run['method']]:>6} {run['n_bits']} bits: pr_area {metrics['pr_area']:.3f},"
        f" map {metrics['map']:.3f}, fitted in {metrics['fit_seconds']:.1f} s"
    )


def describe_environment(environment: dict[str, Any]) -> str:
    """Machine and versions in one sentence."""
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    return (
        f"Measured on {environment['threads']} thread(s) of {environment['machine']}; {versions}."
    )
