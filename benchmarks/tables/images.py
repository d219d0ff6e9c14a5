"""The tables of docs/images.md: methods on features of images, judged by labels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sigah.lab.experiments import TABLE6, TABLE6_GIST, Store
from sigah.lab.experiments.views import entry
from sigah.lab.report.markdown import pipe_table

RESULTS = Path(__file__).resolve().parents[2] / "results"
SETS = {  # by the name of their table
    "images": "cifar-10-jpeg-vgg16-64",
    "images-lite0": "cifar-10-jpeg-efficientnet-lite0-96",
}
LATER = "-avx512"  # the same images, vectors computed and methods measured on another machine
GIST = "cifar-10-jpeg-gist-512-32"
RELEVANT, HITS = "label_map_by_relevant@1000", "label_map_by_hits@1000"
LONGEST = (  # heading, and metric of the longest codes
    ("by the hits", HITS),
    ("asymmetric", "asymmetric_label_map_by_relevant@1000"),
    ("CPU seconds to fit", "fit_cpu_seconds"),
)


def images_table(name: str) -> str:
    """A line a method, the best by the longest codes first; later figures replace earlier ones."""
    sets = {one.data["name"]: one.runs for one in Store(RESULTS).collect(TABLE6)}
    measured = {**sets[name], **sets.get(name + LATER, {})}
    paper = TABLE6.paper["cifar-10"]
    lengths = [bits for bits in TABLE6.lengths if any(key[1] == bits for key in measured)]
    lines = []
    for case in TABLE6.cases:
        if not (runs := [measured.get((case.label, bits), ()) for bits in lengths])[-1]:
            continue
        figures = [entry(some, RELEVANT).mean for some in runs]
        more = [entry(runs[-1], metric).mean for _, metric in LONGEST]
        seconds = more.pop()
        cells = ["" if figure is None else f"{figure:.3f}" for figure in (*figures, *more)]
        theirs = "/".join(f"{figure:.3f}" for figure in paper.get(case.label, ())[: len(lengths)])
        fitting = "" if seconds is None else f"{seconds:.0f}"
        lines.append((figures[-1], [case.label, str(len(runs[-1])), *cells, fitting, theirs]))
    lines.sort(key=lambda line: -(line[0] or 0))
    headings = [f"{bits} bits" for bits in lengths]
    headings += [f"{heading}, {lengths[-1]}" for heading, _ in LONGEST]
    return pipe_table(["method", "seeds", *headings, "the paper"], [line for _, line in lines])


def gist_table() -> str:
    """By both divisors at all lengths: the paper's figures may be by either."""
    (one,) = (one for one in Store(RESULTS).collect(TABLE6_GIST) if one.data["name"] == GIST)
    paper, lengths = TABLE6_GIST.paper["cifar-10"], TABLE6_GIST.lengths
    columns = [(metric, bits) for metric in (HITS, RELEVANT) for bits in lengths]
    lines = []
    for case in TABLE6_GIST.cases:
        found = [entry(one.runs[case.label, bits], metric).mean or 0 for metric, bits in columns]
        theirs = "/".join(f"{figure:.3f}" for figure in paper.get(case.label, ()))
        lines.append([case.label, *(f"{figure:.3f}" for figure in found), theirs])
    headings = [f"by the hits, {bits}" for bits in lengths]
    headings += [f"by the relevant, {bits}" for bits in lengths]
    return pipe_table(["method", *headings, "the paper"], lines)


TABLES = {"images-gist": gist_table} | {
    table: partial(images_table, name) for table, name in SETS.items()
}
