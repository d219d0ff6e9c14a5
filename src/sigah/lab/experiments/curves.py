"""Precision-recall curves, beside the tables whose areas they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sigah.lab.experiments.experiment import Experiment, Measured
from sigah.lab.experiments.panels import Plot, Series
from sigah.lab.experiments.views import paper_tables

__all__ = ["precision_recall_plots", "tables_and_curves"]


def precision_recall_plots(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """Precision against recall, both pooled over all queries: a plot for each code length.

    A point is one Hamming radius, and the area below the curve is what the paper calls mAP.
    """
    plots = []
    for one in measured:
        for bits in dict.fromkeys(column.bits for column in experiment.columns):
            series = []
            for case in experiment.shown(one):
                runs = one.runs.get((case.label, bits), ())
                curves = [run["curves"] for run in runs if "pr_recall" in run["curves"]]
                if curves:
                    series.append(pooled_curve(case.label, curves, case.style))
            if series:
                plots.append(
                    Plot(
                        f"{one.title}, {bits} bits: precision and recall",
                        f"recall of the {one.data['k']:,} nearest",
                        "precision",
                        tuple(series),
                        unit=True,
                    )
                )
    return plots


def pooled_curve(label: str, curves: Sequence[Mapping[str, Any]], style: str) -> Series:
    """The mean curve over seeds, radius by radius; both coordinates differ between seeds."""
    x, y = (
        np.mean([curve[name] for curve in curves], axis=0) for name in ("pr_recall", "pr_precision")
    )
    # radii that find nothing, or everything already, draw nothing new
    kept = np.flatnonzero(np.concatenate(([True], np.diff(x) > 5e-4)) & (y > 0))
    return Series(label, tuple(x[kept].tolist()), tuple(y[kept].tolist()), style=style)


def tables_and_curves(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """The tables, and precision-recall curves of what they show."""
    return [*paper_tables(experiment, measured), *precision_recall_plots(experiment, measured)]
