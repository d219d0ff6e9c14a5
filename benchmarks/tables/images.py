"""The table of docs/images.md: methods on features of images, judged by labels."""

from __future__ import annotations

from pathlib import Path

from sigah.lab.experiments import TABLE6, Store
from sigah.lab.experiments.views import entry
from sigah.lab.report.markdown import pipe_table

RESULTS = Path(__file__).resolve().parents[2] / "results"
SET = "cifar-10-jpeg-vgg16-64"
RELEVANT = "label_map_by_relevant@1000"
LONGEST = (  # heading, and metric of the longest codes
    ("by the hits, 64", "label_map_by_hits@1000"),
    ("asymmetric, 64", "asymmetric_label_map_by_relevant@1000"),
    ("CPU seconds to fit, 64", "fit_cpu_seconds"),
)


def images_table() -> str:
    """A line a method, the best by the longest codes first."""
    (one,) = (one for one in Store(RESULTS).collect(TABLE6) if one.data["name"] == SET)
    paper = TABLE6.paper["cifar-10"]
    lines = []
    for case in TABLE6.cases:
        if not (runs := [one.runs.get((case.label, bits), ()) for bits in TABLE6.lengths])[-1]:
            continue
        figures = [entry(some, RELEVANT).mean for some in runs]
        more = [entry(runs[-1], metric).mean for _, metric in LONGEST]
        seconds = more.pop()
        cells = ["" if figure is None else f"{figure:.3f}" for figure in (*figures, *more)]
        theirs = "/".join(f"{figure:.3f}" for figure in paper.get(case.label, ()))
        fitting = "" if seconds is None else f"{seconds:.0f}"
        lines.append((figures[-1], [case.label, str(len(runs[-1])), *cells, fitting, theirs]))
    lines.sort(key=lambda line: -(line[0] or 0))
    headings = [f"{bits} bits" for bits in TABLE6.lengths] + [heading for heading, _ in LONGEST]
    return pipe_table(["method", "seeds", *headings, "the paper"], [line for _, line in lines])


TABLES = {"images": images_table}
