"""Fig. 7: the margin of the discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sigah.lab.experiments.experiment import LITERAL, Case, Column, Experiment, Measured
from sigah.lab.experiments.views import history_plot, metric_plot

__all__ = ["FIG7"]

MARGINS = (0.0, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0)
BITS = 64
ENERGIES = {"energy_real": "real", "adversarial": "synthetic"}


def margins(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """The paper's panels (a) to (d): mAP, energies at a small and a large margin, error."""
    labels = {case.label: margin for case, margin in zip(experiment.cases, MARGINS, strict=True)}
    plots = []
    for one in measured:
        plots.append(
            metric_plot(
                one,
                labels,
                [(BITS, "pr_area")],
                title="(a) retrieval",
                x_label="margin m",
                scale="weights",
            )
        )
        for letter, margin in (("b", 0.05), ("c", 1.0)):
            plots.append(
                history_plot(
                    one,
                    [f"m = {margin:g}"],
                    BITS,
                    ENERGIES,
                    title=f"({letter}) energies, m = {margin:g}",
                    y_label="energy",
                )
            )
        plots.append(
            history_plot(
                one,
                list(labels),
                BITS,
                {"reconstruction": ""},
                title="(d) reconstruction error",
                y_label="error of training batches",
            )
        )
    return [plot for plot in plots if plot]


FIG7 = Experiment(
    name="fig7",
    title="Margin of the discriminator",
    about="Fig. 7 of the paper: (a) mAP (pr_area) against the margin m of Eq. (16), (b) and (c) the"
    " energies of real and synthetic vectors against iterations at a small and a large margin, (d)"
    " the reconstruction error against iterations. Margins, energies and errors are in units of the"
    " mean variance. The paper says that mAP falls for large margins; its numbers are lost.",
    cases=tuple(
        Case(f"m = {margin:g}", LITERAL if margin == 0.05 else f"{LITERAL}:margin={margin:g}")
        for margin in MARGINS
    ),
    columns=(Column("pr_area", BITS),),
    data=("mnist",),
    view=margins,
    needs=("history",),
)
