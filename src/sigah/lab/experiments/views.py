"""From runs to what is shown: tables beside the paper's, plots, galleries. Pure functions."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.lab.experiments.experiment import Experiment, Measured

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "Entry",
    "Gallery",
    "Plot",
    "Series",
    "Table",
    "entry",
    "galleries",
    "history_plot",
    "metric_plot",
    "paper_tables",
    "recall_plots",
]

METRICS = {
    "pr_area": "mAP",  # what the paper prints under this name
    "map": "true mAP",
    "precision@100": "P@100",
    "recall10@10": "recall 10@10",
    "recall100@1000": "recall 100@1k",
    "fit_seconds": "seconds",
    "fit_cpu_seconds": "CPU seconds",
    "reconstruction_error": "error",
    "relative_reconstruction_error": "relative error",
    "label_map@1000": "label mAP@1000",
}
LOWER_IS_BETTER = (
    "fit_seconds",
    "fit_cpu_seconds",
    "reconstruction_error",
    "relative_reconstruction_error",
)
PAPER_SETS = {"mnist": "MNIST", "gist1m": "GIST1M", "deep1m": "Deep1M", "tiny-100k": "Tiny100K"}


@dataclass(frozen=True)
class Entry:
    """One cell: the paper's figure and ours, each None where there is none.

    Attributes
    ----------
    paper, mean, deviation : float or None
        The deviation is over seeds.
    seeds : int
    """

    paper: float | None = None
    mean: float | None = None
    deviation: float | None = None
    seeds: int = 0

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.paper is None or self.mean is None else self.mean - self.paper


@dataclass(frozen=True)
class Table:
    """Rows of entries.

    ``metrics`` has the metric of each column, and ``headings`` what to call the columns. Rows named
    in ``apart`` have codes of another length, and are not ranked with the others.
    """

    title: str
    headings: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]
    apart: tuple[str, ...] = ()

    def best(self, column: int, *, paper: bool = False) -> int | None:
        """The row with the best mean (or paper's figure) of a column; None of fewer than two."""
        sign = -1 if self.metrics[column] in LOWER_IS_BETTER else 1
        values = [
            (sign * value, row)
            for row, (label, cells) in enumerate(self.rows)
            if label not in self.apart
            and (value := cells[column].paper if paper else cells[column].mean) is not None
        ]
        return max(values)[1] if len(values) > 1 else None

    def won(self, row: int, column: int) -> bool | None:
        """Whether ours is at least as good as the paper's figure; None without one."""
        difference = self.rows[row][1][column].difference
        if difference is None:
            return None
        return difference <= 0 if self.metrics[column] in LOWER_IS_BETTER else difference >= 0

    @property
    def measured(self) -> bool:
        """Whether any cell has a figure of ours."""
        return any(cell.mean is not None for _, cells in self.rows for cell in cells)


@dataclass(frozen=True)
class Series:
    """A curve; ``deviation`` over seeds is empty where there is one seed."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    deviation: tuple[float, ...] = ()
    style: str = ""

    @property
    def few(self) -> bool:
        """Whether its points are few enough to be marked, and to be read one by one."""
        return len(self.x) <= 12


@dataclass(frozen=True)
class Plot:
    """Curves in one pair of axes.

    ``scale`` is that of the x axis: "linear", "log", or "weights": logarithmic with a place for 0.
    Axes of shares in [0, 1], ``unit``, are shown whole.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    scale: str = "linear"
    unit: bool = False


@dataclass(frozen=True)
class Gallery:
    """Labelled rows of grey images, ``(m, height, width)`` in [0, 1].

    ``hits`` tells, for the rows that have it, which images are what was looked for.
    """

    title: str
    rows: tuple[tuple[str, NDArray[np.float32]], ...]
    hits: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


def entry(runs: Sequence[Mapping[str, Any]], metric: str, paper: float | None = None) -> Entry:
    """Mean and deviation over the runs that have the metric.

    Examples
    --------
    >>> from sigah.lab.experiments.views import entry
    >>> entry([{"metrics": {"map": 0.25}}, {"metrics": {"map": 0.75}}], "map", paper=0.25)
    Entry(paper=0.25, mean=0.5, deviation=0.25, seeds=2)
    """
    values = [run["metrics"][metric] for run in runs if metric in run["metrics"]]
    if not values:
        return Entry(paper)
    return Entry(paper, float(np.mean(values)), float(np.std(values)), len(values))


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
        for case in experiment.cases:
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
                for case in experiment.cases
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
                    tuple(cell.deviation or 0.0 for _, cell in points),
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
    deviation = tuple(ys.std(axis=0).tolist()) if len(ys) > 1 else ()
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
