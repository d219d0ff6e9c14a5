"""Does SiGAH win? Its margin over the best other method: each data set, metric and code length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sigah.hashers import METHODS
from sigah.lab.experiments import EXPERIMENTS, Case, Column, Experiment, Measured, Store
from sigah.lab.experiments.views import LOWER_IS_BETTER, METRICS, entry
from sigah.lab.report.figures import LABELS

__all__ = ["JUDGED", "MARKS", "Margin", "SetSummary", "headline", "summarize_sets"]

OURS = "sigah"
JUDGED = (
    "pr_area",
    "map",
    "precision@100",
    "recall10@10",
    "recall100@1000",
    "relative_reconstruction_error",
)
LENGTHS = (32, 64)
MARKS = {"won": "✓", "tie": "=", "lost": "✗"}

# every method with its defaults, of which only what is measured already is taken
ALL_METHODS = Experiment(
    name="summary",
    title="SiGAH beside the best other method",
    about="",
    cases=tuple(Case(name, name) for name in METHODS),
    columns=tuple(Column("pr_area", bits) for bits in LENGTHS),
    data=(),
    view=lambda experiment, measured: [],
)


@dataclass(frozen=True)
class Margin:
    """SiGAH's lead over the best other method in one metric at one code length.

    Attributes
    ----------
    metric : str
    bits : int
    rival : str
        The best of the other methods.
    ours, theirs : float
        Means over seeds.
    deviation : float
        Of the difference of two runs: the root of the sum of both variances. 0 with one seed.
    seeds : int
        Of the one of both that has fewer.
    paper : float or None
        The margin in the paper's own table.
    """

    metric: str
    bits: int
    rival: str
    ours: float
    theirs: float
    deviation: float
    seeds: int
    paper: float | None = None

    @property
    def lead(self) -> float:
        """How much better ours is, whichever way is better; negative if it is worse."""
        return (self.ours - self.theirs) * (-1 if self.metric in LOWER_IS_BETTER else 1)

    @property
    def deviations(self) -> float | None:
        """The lead in standard deviations; None where nothing varies."""
        return self.lead / self.deviation if self.deviation else None

    @property
    def mark(self) -> Literal["won", "tie", "lost"]:
        """Within one standard deviation nobody wins.

        Examples
        --------
        >>> from sigah.lab.report.summary import Margin
        >>> Margin("map", 32, "itq", ours=0.58, theirs=0.54, deviation=0.01, seeds=5).mark
        'won'
        >>> Margin("map", 32, "itq", ours=0.58, theirs=0.58, deviation=0.01, seeds=5).mark
        'tie'
        """
        if abs(self.lead) <= self.deviation:
            return "tie"
        return "won" if self.lead > 0 else "lost"


@dataclass(frozen=True)
class SetSummary:
    """The margins on one data set, in the order of `JUDGED` and of the lengths."""

    measured: Measured
    margins: Mapping[tuple[str, int], Margin]
    methods: int

    def count(self, mark: str) -> int:
        """How many comparisons ended so."""
        return sum(margin.mark == mark for margin in self.margins.values())

    @property
    def sentence(self) -> str:
        """What is won and lost, in words."""
        if not self.margins:
            return "SiGAH or its rivals are not measured on it."
        parts = []
        for mark, text in (("won", "best in"), ("tie", "level in"), ("lost", "behind in")):
            metrics = [margin for margin in self.margins.values() if margin.mark == mark]
            if metrics:
                parts.append(f"{text} {named(metrics)}")
        return f"SiGAH beside {self.methods} other methods: {'; '.join(parts)}."


def named(margins: Sequence[Margin]) -> str:
    """Metrics by their lengths: "mAP and P@100 at 32 and 64 bits"."""
    lengths: dict[str, list[int]] = {}
    for margin in margins:
        lengths.setdefault(METRICS[margin.metric], []).append(margin.bits)
    groups: dict[tuple[int, ...], list[str]] = {}
    for metric, bits in lengths.items():
        groups.setdefault(tuple(bits), []).append(metric)
    return ", ".join(
        f"{' and '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)}"
        f" at {' and '.join(map(str, bits))} bits"
        for bits, names in groups.items()
    )


def summarize_sets(store: Store) -> list[SetSummary]:
    """One summary a data set on which SiGAH and another method are measured."""
    summaries = []
    for one in store.collect(ALL_METHODS):
        margins = {
            (metric, bits): margin
            for metric in JUDGED
            for bits in LENGTHS
            if (margin := margin_of(one, metric, bits))
        }
        if margins:
            others = {label for label, _ in one.runs} - {OURS}
            summaries.append(SetSummary(one, margins, len(others)))
    return summaries


def margin_of(one: Measured, metric: str, bits: int) -> Margin | None:
    """SiGAH beside the best other method; None where either is not measured."""
    sign = -1 if metric in LOWER_IS_BETTER else 1
    cells = {
        label: cell
        for (label, length), runs in one.runs.items()
        if length == bits and (cell := entry(runs, metric)).mean is not None
    }
    ours = cells.pop(OURS, None)
    if ours is None or not cells:
        return None
    rival, best = max(cells.items(), key=lambda item: sign * (item[1].mean or 0.0))
    return Margin(
        metric,
        bits,
        LABELS.get(rival, rival),
        ours.mean or 0.0,
        best.mean or 0.0,
        math.hypot(ours.deviation or 0.0, best.deviation or 0.0),
        min(ours.seeds, best.seeds),
        None if one.part else paper_margin(str(one.data["name"]), metric, bits),
    )


def paper_margin(name: str, metric: str, bits: int) -> float | None:
    """SiGAH's lead over the best other method of equal length in the paper's table of the set."""
    for experiment in (EXPERIMENTS["table1"], EXPERIMENTS["table2"]):
        figures: Mapping[str, Any] = experiment.paper.get(name, {})
        wide = {case.label for case in experiment.cases if case.bits}
        for place, column in enumerate(experiment.columns):
            if (column.metric, column.bits) == (metric, bits) and figures:
                others = [
                    row[place]
                    for label, row in figures.items()
                    if not label.startswith("SiGAH") and label not in wide
                ]
                return float(figures["SiGAH"][place] - max(others))
    return None


def headline(summaries: Iterable[SetSummary]) -> str:
    """The answer in two sentences: how often, and by how much in the paper's metric."""
    summaries = list(summaries)
    total = sum(len(summary.margins) for summary in summaries)
    won, tie, lost = (sum(s.count(mark) for s in summaries) for mark in MARKS)
    sets = f"{len(summaries)} data set{'s' if len(summaries) != 1 else ''}"
    text = (
        f"SiGAH is better than every other method in {won} of {total} comparisons on {sets}; "
        f"it is level with the best of them in {tie} and behind in {lost}."
    )
    leads = [m.lead for s in summaries for m in s.margins.values() if m.metric == "pr_area"]
    if not leads:
        return text
    least, most = (f"{lead:+.3f}".replace("-", "−") for lead in (min(leads), max(leads)))
    return f"{text} In the paper's mAP its margin is {least} to {most}."
