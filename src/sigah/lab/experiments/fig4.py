"""Fig. 4: the size of the dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sigah.lab.experiments.experiment import LITERAL, Case, Column, Experiment, Measured
from sigah.lab.experiments.views import metric_plot

__all__ = ["FIG4"]

RATIOS = {"d/8": 0.125, "d/4": 0.25, "d/2": 0.5, "d": 1.0, "2d": 2.0, "4d": 4.0}


def against_size(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """Reconstruction error and mAP against n."""
    lengths = list(dict.fromkeys(column.bits for column in experiment.columns))
    plots = []
    for one in measured:
        sizes = {f"n = {text}": round(ratio * one.data["dim"]) for text, ratio in RATIOS.items()}
        for metric, title in (
            ("relative_reconstruction_error", "reconstruction error"),
            ("pr_area", "retrieval"),
        ):
            plots.append(
                metric_plot(
                    one,
                    sizes,
                    [(bits, metric) for bits in lengths],
                    title=title,
                    x_label="n, dictionary vectors",
                    scale="log",
                )
            )
    return [plot for plot in plots if plot]


FIG4 = Experiment(
    name="fig4",
    title="Size of the dictionary",
    about="Fig. 4 of the paper: reconstruction error, here relative to the variance, and mAP"
    " (pr_area) against the number n of dictionary vectors. The paper says that both improve with n"
    " and level off from n = 2 d; its curves survive in no numbers.",
    cases=tuple(
        Case(f"n = {text}", f"{LITERAL}:dictionary_ratio={ratio:g}")
        for text, ratio in RATIOS.items()
    ),
    columns=(Column("relative_reconstruction_error", 64),),
    data=("mnist",),
    view=against_size,
)
