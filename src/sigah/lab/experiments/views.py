"""From runs to what is shown: tables beside the paper's, plots, galleries. Pure functions."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation.names import METRICS
from sigah.evaluation.results import deviation
from sigah.lab.experiments.experiment import Experiment, Measured
from sigah.lab.experiments.panels import Entry, Gallery, Plot, Series, Table

__all__ = [
    "entry",
    "galleries",
    "history_plot",
    "metric_plot",
    "paired",
    "paper_tables",
    "recall_plots",
]

PAPER_SETS = {"mnist": "MNIST", "gist1m": "GIST1M", "deep1m": "Deep1M", "tiny-100k": "Tiny100K"}


def entry(runs: Sequence[Mapping[str, Any]], metric: str, paper: float | None = None) -> Entry:
    """Mean and standard deviation (ddof=1) over the runs that have the metric.

    Examples
    --------
    >>> from sigah.lab.experiments.views import entry
    >>> entry([{"metrics": {"map": 0.25}}, {"metrics": {"map": 0.75}}], "map", paper=0.25)
    Entry(paper=0.25, mean=0.5, deviation=0.3535533905932738, seeds=2, interval=None)
    """
    values = [run["metrics"][metric] for run in runs if metric in run["metrics"]]
    if not values:
        return Entry(paper)
    ends = [run.get("intervals", {}).get(metric) for run in runs]
    interval = None
    if None not in ends:
        low, high = np.mean(ends, axis=0)
        interval = float(low), float(high)
    return Entry(paper, float(np.mean(values)), deviation(values), len(values), interval)


@dataclass(frozen=True)
class Paired:
    """Differences of runs that share a seed: mean, standard deviation (ddof=1), Student's t."""

    mean: float
    deviation: float
    t: float
    seeds: int


def paired(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], metric: str
) -> Paired | None:
    """Compare two methods seed by seed; None if fewer than two seeds have the metric in both.

    Examples
    --------
    >>> from sigah.lab.experiments.views import paired
    >>> runs = lambda *values: [{"seed": s, "metrics": {"map": v}} for s, v in enumerate(values)]
    >>> found = paired(runs(0.5, 0.75, 0.5), runs(0.25, 0.5, 0.5), "map")
    >>> round(found.mean, 3), round(found.t, 3), found.seeds
    (0.167, 2.0, 3)
    """
    mine, other = (
        {run["seed"]: run["metrics"][metric] for run in runs if metric in run["metrics"]}
        for runs in (ours, theirs)
    )
    seeds = sorted(mine.keys() & other.keys())
    if len(seeds) < 2:
        return None
    differences = np.array([mine[seed] - other[seed] for seed in seeds])
    mean, spread = float(differences.mean()), deviation(differences)
    error = spread / np.sqrt(len(seeds))
    t = mean / error if error else float(np.copysign(np.inf, mean)) if mean else 0.0
    return Paired(mean, spread, float(t), len(seeds))


def paper_tables(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """A table for each data set measured, then the paper's alone for sets that are not."""
    headings = tuple(f"{METRICS[c.metric]} {c.bits}" for c in experiment.columns)
    metrics = tuple(column.metric for column in experiment.columns)
    apart = tuple(case.label for case in experiment.cases if case.bits is not None)
    tables = []
    for one in measured:
        # the paper's figures belong to its own data, whole
        paper = {} if one.part else experiment.paper.get(one.data["name"], {})
        rows = []
        for case in experiment.shown(one):
            figures = paper.get(case.label, (None,) * len(metrics))
            cells = tuple(
                entry(one.runs.get((case.label, column.bits), ()), column.metric, figure)
                for column, figure in zip(experiment.columns, figures, strict=True)
            )
            if any(cell.mean is not None or cell.paper is not None for cell in cells):
                rows.append((case.label, cells))
        tables.append(Table(one.title, headings, metrics, tuple(rows), apart))
    here = {one.data["name"] for one in measured if not one.part}
    for name, paper in experiment.paper.items():
        if name not in here:
            title = f"{PAPER_SETS.get(name, name)}: the paper's figures, not measured here"
            rows = [
                (label, tuple(Entry(paper=figure) for figure in figures))
                for label, figures in paper.items()
            ]
            tables.append(Table(title, headings, metrics, tuple(rows), apart))
    return tables


def recall_plots(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """R-1, R-10, R-100 and R-1K against the number of vectors retrieved."""
    bits = experiment.columns[0].bits
    plots = []
    for one in measured:
        for size, title in ((1, "R-1"), (10, "R-10"), (100, "R-100"), (1000, "R-1K")):
            series = [
                mean_curve(
                    case.label,
                    [(run["curves"]["depths"], run["curves"][f"recall{size}"]) for run in runs],
                    case.style,
                )
                for case in experiment.shown(one)
                if (runs := one.runs.get((case.label, bits)))
                and f"recall{size}" in runs[0]["curves"]
            ]
            if series:
                plots.append(
                    Plot(
                        f"{one.title}, {bits} bits: {title}",
                        "vectors retrieved",
                        f"recall of the {size:,} nearest" if size > 1 else "recall of the nearest",
                        tuple(series),
                        "log",
                        unit=True,
                    )
                )
    return plots


def metric_plot(
    one: Measured,
    labels: Mapping[str, float],
    columns: Iterable[tuple[int, str]],
    *,
    title: str,
    x_label: str,
    scale: str = "linear",
) -> Plot | None:
    """A metric against a setting: ``labels`` tells the setting of each case, a curve a column."""
    series = []
    y_label = ""
    for bits, metric in columns:
        points = [
            (x, entry(one.runs[label, bits], metric))
            for label, x in labels.items()
            if (label, bits) in one.runs
        ]
        points = [(x, cell) for x, cell in points if cell.mean is not None]
        y_label = METRICS[metric]
        if len(points) > 1:
            series.append(
                Series(
                    f"{bits} bits",
                    tuple(float(x) for x, _ in points),
                    tuple(cell.mean or 0.0 for _, cell in points),
                    tuple(
                        cell.deviation or 0.0 if cell.seeds > 1 else np.nan for _, cell in points
                    ),
                )
            )
    if not series:
        return None
    return Plot(f"{one.title}: {title}", x_label, y_label, tuple(series), scale)


def history_plot(
    one: Measured,
    labels: Sequence[str],
    bits: int,
    terms: Mapping[str, str],
    *,
    title: str,
    y_label: str,
    value: Callable[[float], float] = float,
) -> Plot | None:
    """Terms of the training history against iterations; ``terms`` tells what to call each."""
    series = []
    for label in labels:
        runs = [run for run in one.runs.get((label, bits), ()) if run.get("history")]
        for term, name in terms.items():
            curves = [
                ([e["step"] for e in run["history"]], [value(e[term]) for e in run["history"]])
                for run in runs
                if term in run["history"][0]
            ]
            if curves:
                text = ", ".join(part for part in (label if len(labels) > 1 else "", name) if part)
                series.append(mean_curve(text, curves))
    if not series:
        return None
    return Plot(f"{one.title}: {title}", "iterations", y_label, tuple(series))


def mean_curve(
    label: str, curves: Sequence[tuple[Sequence[float], Sequence[float]]], style: str = ""
) -> Series:
    """The mean over seeds of curves on one grid, and the deviation where there are several."""
    ys = np.array([y for _, y in curves])
    deviation = tuple(ys.std(axis=0, ddof=1).tolist()) if len(ys) > 1 else ()
    return Series(
        label, tuple(map(float, curves[0][0])), tuple(ys.mean(axis=0).tolist()), deviation, style
    )


def galleries(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """Queries above what each method rebuilds from their codes; the first seed of each."""
    bits = experiment.columns[0].bits
    shown = []
    for one in measured:
        rows: list[tuple[str, NDArray[np.float32]]] = []
        for case in experiment.cases:
            if not (runs := one.runs.get((case.label, bits))):
                continue
            run = runs[0]
            picture = run["gallery"]["picture"]
            if not rows:
                rows.append(("original", decode(run["gallery"]["original"], picture)))
            rows.append((case.label, decode(run["gallery"]["rebuilt"], picture)))
        if rows:
            shown.append(Gallery(one.title, tuple(rows)))
    return shown


def decode(text: str, picture: Sequence[int]) -> NDArray[np.float32]:
    """Images ``(m, height, width)`` from base64 of a byte each."""
    levels = np.frombuffer(base64.b64decode(text), np.uint8).astype(np.float32)
    return (levels / np.float32(255)).reshape(-1, *picture)
