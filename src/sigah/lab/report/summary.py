"""Which method wins? SiGAH's margin over the best other one; the leaders of each code length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sigah.evaluation.names import LOWER_IS_BETTER, METRICS
from sigah.hashers import METHODS
from sigah.lab.experiments import EXPERIMENTS, Case, Column, Experiment, Measured, Store
from sigah.lab.experiments.views import entry
from sigah.lab.report.figures import LABELS

__all__ = [
    "JUDGED",
    "MARKS",
    "Margin",
    "SetSummary",
    "headline",
    "leaders",
    "lengths_of",
    "metrics_of",
    "summarize_sets",
]

OURS = "sigah"
JUDGED = (
    "pr_area",
    "map",
    "precision@100",
    "recall10@10",
    "recall100@1000",
    "relative_reconstruction_error",
)
MARKS = {"won": "✓", "tie": "=", "lost": "✗"}


def all_methods(lengths: Sequence[int]) -> Experiment:
    """Every method with its defaults, and plug-ins; only what is measured already is taken."""
    return Experiment(
        name="summary",
        title="SiGAH beside the best other method",
        about="",
        cases=tuple(Case(name, name) for name in METHODS),
        columns=tuple(Column("pr_area", bits) for bits in lengths),
        data=(),
        view=lambda experiment, measured: [],
        open=True,
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
        Of the difference of two runs: the root of the sum of both variances (ddof=1). 0 with one
        seed.
    seeds : int
        Of the one of both that has fewer.
    rivals : int
        How many other methods were measured.
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
    rivals: int = 1
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
        parts = []
        for mark, text in (("won", "best in"), ("tie", "level in"), ("lost", "behind in")):
            metrics = [margin for margin in self.margins.values() if margin.mark == mark]
            if metrics:
                parts.append(f"{text} {named(metrics)}")
        return f"SiGAH beside {others(self.methods)}: {'; '.join(parts)}."


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


def others(count: int) -> str:
    """So many rivals, in words."""
    return f"{count} other method{'' if count == 1 else 's'}"


def lengths_of(summaries: Iterable[SetSummary]) -> list[int]:
    """All code lengths at which SiGAH is compared."""
    return sorted({bits for summary in summaries for _, bits in summary.margins})


def metrics_of(summaries: Iterable[SetSummary]) -> list[str]:
    """All metrics in which SiGAH is compared."""
    compared = {metric for summary in summaries for metric, _ in summary.margins}
    return [metric for metric in JUDGED if metric in compared]


def summarize_sets(store: Store) -> list[SetSummary]:
    """One summary a data set on which SiGAH and another method are measured."""
    summaries = []
    for one in store.collect(all_methods(store.lengths), sampled=True):
        margins = {
            (metric, bits): margin
            for metric in JUDGED
            for bits in store.lengths
            if (margin := margin_of(one, metric, bits))
        }
        if margins:
            lengths = {bits for _, bits in margins}
            rivals = {label for label, bits in one.runs if bits in lengths} - {OURS}
            summaries.append(SetSummary(one, margins, len(rivals)))
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
        len(cells),
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
    """The answer in two sentences: how often, and by how much in the paper's metric.

    Empty where SiGAH is compared with nothing.
    """
    summaries = list(summaries)
    total = sum(len(summary.margins) for summary in summaries)
    if not total:
        return ""
    won, tie, lost = (sum(s.count(mark) for s in summaries) for mark in MARKS)
    sets = f"{len(summaries)} data set{'s' if len(summaries) != 1 else ''}"
    counts = sorted({summary.methods for summary in summaries})
    rivals = f"{counts[0]} to {others(counts[-1])}" if len(counts) > 1 else others(counts[0])
    text = (
        f"SiGAH is better than every other method measured in {won} of {total} comparisons on"
        f" {sets} (with {rivals}{' each' if len(summaries) > 1 else ''}); it is level with the best"
        f" of them in {tie} and behind in {lost}."
    )
    leads = [m.lead for s in summaries for m in s.margins.values() if m.metric == "pr_area"]
    if not leads:
        return text
    least, most = (f"{lead:+.3f}".replace("-", "−") for lead in (min(leads), max(leads)))
    return f"{text} In mAP (`pr_area`) its margin is {least} to {most}."


def leaders(one: Measured) -> str:
    """Which method is best in which metric, a clause a code length; empty with one method.

    Examples
    --------
    >>> from sigah.lab.experiments import Measured
    >>> from sigah.lab.report.summary import leaders
    >>> runs = {("itq", 64): [{"metrics": {"map": 0.5}}], ("lsh", 64): [{"metrics": {"map": 0.4}}]}
    >>> leaders(Measured({}, runs))
    'Best at 64 bits: itq in true mAP.'
    """
    clauses = []
    for bits in sorted({bits for _, bits in one.runs}):
        best: dict[str, list[str]] = {}
        for metric in JUDGED:
            sign = -1 if metric in LOWER_IS_BETTER else 1
            means = {
                method: sign * mean
                for (method, length), runs in one.runs.items()
                if length == bits and (mean := entry(runs, metric).mean) is not None
            }
            if len(means) > 1:
                winner = max(means, key=means.__getitem__)
                best.setdefault(winner, []).append(METRICS[metric])
        if best:
            won = "; ".join(f"{method} in {', '.join(names)}" for method, names in best.items())
            clauses.append(f"Best at {bits} bits: {won}.")
    return " ".join(clauses)
