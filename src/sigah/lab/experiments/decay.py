"""Weight decay, and the gap between relaxed and binary codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sigah.lab.experiments.experiment import LITERAL, Case, Column, Experiment, Measured
from sigah.lab.experiments.views import history_plot, metric_plot

__all__ = ["DECAY"]

DECAYS = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3)
BITS = 64
SHOWN = ("decay 0", "decay 0.0001", "decay 0.001")
ERRORS = {"reconstruction": "relaxed codes", "binary_reconstruction": "binary codes"}


def mechanism(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """Retrieval against the decay; during training, mean tanh^2 and both errors."""
    labels = {case.label: decay for case, decay in zip(experiment.cases, DECAYS, strict=True)}
    plots = []
    for one in measured:
        plots += [
            metric_plot(
                one,
                labels,
                [(BITS, metric)],
                title=f"({letter}) {title}",
                x_label="weight decay",
                scale="weights",
            )
            for letter, metric, title in (
                ("a", "pr_area", "pooled area"),
                ("b", "map", "ranking"),
            )
        ]
        plots += [
            history_plot(
                one,
                SHOWN,
                BITS,
                terms,
                title=f"({letter}) {title}",
                y_label=y_label,
            )
            for letter, title, terms, y_label in (
                ("c", "how binary the relaxed codes are", {"saturation": ""}, "mean tanh^2"),
                ("d", "reconstruction error", ERRORS, "error of training batches"),
            )
        ]
    return [plot for plot in plots if plot]


DECAY = Experiment(
    name="decay",
    title="Weight decay closes the relaxation gap",
    about="Not in the paper, which trains with weight decay and has lost its value. The decay keeps"
    " V small. Rebuilding then pays only if the relaxed codes tanh(W^T x) are near -1 or 1, where"
    " they equal their signs: (c) their mean square rises, and (d) the error of vectors made from"
    " signs falls to the error of those made from relaxed codes. Codes of 64 bits.",
    cases=tuple(
        Case(f"decay {decay:g}", LITERAL if decay == 1e-3 else f"{LITERAL}:weight_decay={decay:g}")
        for decay in DECAYS
    ),
    columns=(Column("pr_area", BITS),),
    data=("mnist",),
    view=mechanism,
    needs=("history",),
)
