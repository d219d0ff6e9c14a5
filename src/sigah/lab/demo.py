"""The demo: SiGAH, ITQ and LSH on real images, in one page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sigah import files
from sigah.evaluation import cached_neighbors, evaluate, summarize, write_results
from sigah.evaluation.table import COLUMNS, best_rows, cell, results_table
from sigah.hashers import ITQ, LSH, BinaryHasher, SiGAH
from sigah.lab import datasets
from sigah.lab.report.figures import LABELS, curves_figure, images_figure
from sigah.search import HammingIndex

__all__ = ["demo"]

SETS = ("mnist", "fashion-mnist")
QUERIES = (1, 8, 15, 18)  # test images shown with their neighbours
SHOWN = 10  # neighbours a query

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>sigah demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-weight: 650; margin-bottom: .2rem; } h2 { margin-top: 2.4rem; font-weight: 600; }
img { max-width: 100%; height: auto; display: block; margin: 1rem 0; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .8rem; border-bottom: 1px solid #e6e6e6; }
th { font-weight: 600; border-bottom: 2px solid #999; }
td:nth-child(2), th:nth-child(2) { text-align: left; }
td.best { font-weight: 700; color: #c8364a; } tr.first td { border-top: 2px solid #ccc; }
p.small { color: #666; font-size: .9rem; }
</style></head><body>
<h1>sigah: codes learned from real images</h1>
<p>Each 784-dimensional image becomes a code of 32 or 64 bits, 784 or 392 times smaller than its
pixels as float32. Neighbours are found by Hamming distance between codes and compared with the
exact 1,000 nearest of 60,000 images in Euclidean distance, for 10,000 test images.</p>
$tables
<p class="small">pr_area: area under one precision-recall curve pooled over all queries (what the
paper calls mAP). map: mean average precision, ties at their expected value. Best of each length
in red.
$environment</p>
<h2>Curves</h2>$curves
<h2>Neighbours found with 64-bit codes</h2>
<p>The first $shown neighbours of four test images a set: the exact ones, then those found with
codes. A blue bar marks an image that is among the exact 100 nearest.</p>$neighbours
<h2>Images decoded from their codes</h2>
<p>The generator of SiGAH rebuilds an image from its bits alone.</p>$reconstructions
</body></html>
""")


def demo(out: Path, *, announce: Callable[[Any], None]) -> Path:
    """Train, measure and draw; returns the path of the page.

    Parameters
    ----------
    out : Path
        Folder for ``index.html`` and ``results.json``.
    announce : callable
        Told what happens: a line, or the table of a data set.
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
    results, neighbours, reconstructions = [], [], []
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
        neighbours += [neighbours_figure(split, truth, fitted, query) for query in QUERIES]
        reconstructions.append(reconstructions_figure(name, split, fitted))
    out.mkdir(parents=True, exist_ok=True)
    write_results(out / "results.json", {"results": results})
    page = PAGE.substitute(
        tables="".join(html_table(result) for result in results),
        environment=html.escape(describe_environment(results[0]["environment"])),
        curves=embed(curves_figure(results)),
        shown=SHOWN,
        neighbours="".join(map(embed, neighbours)),
        reconstructions="".join(map(embed, reconstructions)),
    )
    with files.atomic_write(out / "index.html") as file:
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


def html_table(result: dict[str, Any]) -> str:
    """The table of one data set."""
    rows = summarize(result)
    best = {column: best_rows(rows, column) for column in COLUMNS}
    lines = [f"<h2>{result['data']['name']}</h2><table><tr><th>bits</th><th>method</th>"]
    lines += [
        f"<th>{c.replace('relative_reconstruction_error', 'rel. error')}</th>" for c in COLUMNS
    ]
    lines.append("</tr>")
    for i, row in enumerate(rows):
        first = i > 0 and rows[i - 1].n_bits != row.n_bits
        lines.append(f'<tr class="{"first" if first else ""}"><td>{row.n_bits}</td>')
        lines.append(f"<td>{LABELS[row.method]}</td>")
        for column in COLUMNS:
            mark = ' class="best"' if best[column][i] and column != "fit_seconds" else ""
            lines.append(f"<td{mark}>{cell(row, column)}</td>")
        lines.append("</tr>")
    return "".join([*lines, "</table>"])


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


def embed(figure: Figure) -> str:
    """A figure as an HTML image that carries its own data."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" src="data:image/png;base64,{data}">'
