"""Table 4: with and without the discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sigah.evaluation.names import METRICS
from sigah.lab.experiments.experiment import LITERAL, Case, Column, Experiment, Measured
from sigah.lab.experiments.panels import Entry, Table
from sigah.lab.experiments.views import paired, paper_tables

__all__ = ["TABLE4"]

WITHOUT, WITH = "without discriminator", "with discriminator"
COMPARED = ("pr_area", "map", "precision@100", "recall10@10", "relative_reconstruction_error")


def tables_and_differences(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """The paper's table, and for each set the differences of runs that share a seed."""
    shown: list[Any] = list(paper_tables(experiment, measured))
    for one in measured:
        rows = [
            (f"{METRICS[metric]} {bits}", cells)
            for metric in COMPARED
            for bits in experiment.lengths
            if (cells := difference(one, (WITHOUT, bits), (WITH, bits), metric))
        ]
        if rows:
            shown.append(
                Table(
                    f"{one.title}: with less without, paired by seed",
                    ("difference", "t"),
                    ("difference", "t"),
                    tuple(rows),
                    apart=tuple(label for label, _ in rows),
                )
            )
    return shown


def difference(
    one: Measured, without: tuple[str, int], with_: tuple[str, int], metric: str
) -> tuple[Entry, ...]:
    """The mean difference with its deviation, and its t; empty if fewer than two seeds pair."""
    found = paired(one.runs.get(with_, ()), one.runs.get(without, ()), metric)
    if found is None:
        return ()
    return Entry(None, found.mean, found.deviation, found.seeds), Entry(None, found.t, 0.0, 1)


TABLE4 = Experiment(
    name="table4",
    title="What the discriminator is worth",
    about="Table 4 of the paper: its mAP (pr_area) with the weight of Eq. (21) at 0, and as it is."
    " Runs with and without it share their seeds, and so start and batches: the second table has"
    " the mean of the differences, their deviation, and Student's t (with 5 seeds, a t beyond 2.78"
    " in size is significant at 5 %, taken alone).",
    cases=(Case(WITHOUT, f"{LITERAL}:adversarial=0"), Case(WITH, LITERAL)),
    columns=(Column("pr_area", 32), Column("pr_area", 64)),
    data=("gist1m", "deep1m", "tiny-100k", "mnist"),
    view=tables_and_differences,
    paper={
        "gist1m": {WITHOUT: (0.1976, 0.2594), WITH: (0.2076, 0.2594)},
        "deep1m": {WITHOUT: (0.2024, 0.3118), WITH: (0.2156, 0.3307)},
        "tiny-100k": {WITHOUT: (0.1576, 0.2348), WITH: (0.1576, 0.2425)},
    },
)
