"""What is shown: tables, plots and galleries, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation.names import LOWER_IS_BETTER

__all__ = ["Entry", "Gallery", "HeatMap", "Plot", "Series", "Table"]


@dataclass(frozen=True)
class Entry:
    """One cell: the paper's figure and ours, each None where there is none.

    Attributes
    ----------
    paper, mean, deviation : float or None
        The standard deviation is over seeds, with ddof=1.
    seeds : int
    interval : tuple of float, optional
        The 95 % interval over queries.
    """

    paper: float | None = None
    mean: float | None = None
    deviation: float | None = None
    seeds: int = 0
    interval: tuple[float, float] | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.paper is None or self.mean is None else self.mean - self.paper


@dataclass(frozen=True)
class Table:
    """Rows of entries.

    ``metrics`` has the metric of each column, and ``headings`` what to call the columns. Rows named
    in ``apart`` have codes of another length, and are not ranked with the others. ``corner`` says
    what a row is; if it is no method, the columns are, and the best of a row is marked.
    """

    title: str
    headings: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]
    apart: tuple[str, ...] = ()
    corner: str = "method"

    def leads(self, row: int, column: int) -> bool:
        """Whether a cell has the best mean among the methods that it is compared with."""
        if self.corner == "method":
            return self.best(column) == row
        means = [cell.mean for cell in self.rows[row][1] if cell.mean is not None]
        return len(means) > 1 and self.rows[row][1][column].mean == max(means)

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
    """A curve; ``deviation`` over seeds is empty, or NaN at a point, where there is one seed."""

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

    ``scale`` is that of the x axis: "linear", "log", "weights": logarithmic with a place for 0, or
    "sizes": logarithmic with a tick at every point.
    Axes of shares in [0, 1], ``unit``, are shown whole.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    scale: str = "linear"
    unit: bool = False

    @property
    def description(self) -> str:
        """What it shows, for who cannot see it."""
        return ", ".join(series.label for series in self.series)


@dataclass(frozen=True)
class Gallery:
    """Labelled rows of images in [0, 1], ``(m, height, width)``, or ``(..., 3)`` in colour.

    ``hits`` tells, for the rows that have it, which images are what was looked for. Where they are
    ``judged``, those that are not are marked too. ``words`` says what a row shows.
    """

    title: str
    rows: tuple[tuple[str, NDArray[np.float32]], ...]
    hits: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    judged: bool = False

    @property
    def description(self) -> str:
        """What it shows, for who cannot see it."""
        return "; ".join(
            f"{label}: {self.words[label]}" if label in self.words else label
            for label, _ in self.rows
        )


@dataclass(frozen=True)
class HeatMap:
    """Shares in [0, 1], a row for each of ``rows``, a column for each of ``columns``."""

    title: str
    y_label: str
    x_label: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float64]

    @property
    def description(self) -> str:
        """What it shows, for who cannot see it: the two largest shares of each row."""
        told = []
        for name, shares in zip(self.rows, self.values, strict=True):
            most = np.argsort(-shares, kind="stable")[:2]
            parts = [f"{shares[i]:.0%} {self.columns[i]}" for i in most if shares[i] > 0]
            told.append(f"{name}: {', '.join(parts)}")
        return "; ".join(told)
