"""Fig. 8: weights of the losses, and other generators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sigah.evaluation.names import METRICS
from sigah.lab.experiments.experiment import LITERAL, Case, Column, Experiment, Measured
from sigah.lab.experiments.panels import Table
from sigah.lab.experiments.views import entry, metric_plot

__all__ = ["FIG8"]

BITS = 64
WEIGHTS = (0.0, 0.001, 0.01, 0.1, 1.0)
# the three weights of Eq. (20), and what they stand at here
TERMS = {"sparsity": 0.01, "graph": 0.001, "adversarial": 0.1}
# a 4-layer auto-encoder d - r - w - d is a generator whose dictionary of w columns is learned; a
# 3-layer one, d - r - d, has none
GENERATORS = {
    "SiGAH": LITERAL,
    "3-AE": f"{LITERAL}:dictionary=identity:activation=identity:sparsity=0",
    **{
        f"4-AE, w = {text}": f"{LITERAL}:dictionary=learned:dictionary_ratio={ratio}"
        ":activation=relu:sparsity=0"
        for text, ratio in (("d/4", 0.25), ("d/2", 0.5), ("d", 1), ("2d", 2))
    },
}


def weights(default: float) -> tuple[float, ...]:
    """The grid, with the default in its place."""
    return tuple(sorted({*WEIGHTS, default}))


def weights_and_generators(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """Panels (a) to (c), and (d) as a table."""
    shown: list[Any] = []
    for one in measured:
        for letter, (term, default) in zip("abc", TERMS.items(), strict=True):
            shown.append(
                metric_plot(
                    one,
                    {f"{term} = {weight:g}": weight for weight in weights(default)},
                    [(BITS, "pr_area")],
                    title=f"({letter}) {term}",
                    x_label=f"weight of the {term} term",
                    scale="weights",
                )
            )
        metrics = ("pr_area", "precision@100", "relative_reconstruction_error")
        rows = [
            (label, tuple(entry(one.runs[label, BITS], metric) for metric in metrics))
            for label in GENERATORS
            if (label, BITS) in one.runs
        ]
        if len(rows) > 1:
            headings = tuple(f"{METRICS[metric]} {BITS}" for metric in metrics)
            shown.append(Table(f"{one.title}: (d) generators", headings, metrics, tuple(rows)))
    return [panel for panel in shown if panel]


FIG8 = Experiment(
    name="fig8",
    title="Weights of the losses, and other generators",
    about="Fig. 8 of the paper: (a) to (c) mAP (pr_area) against the weights of the sparsity, Eq."
    " (13), graph, Eq. (17), and adversarial terms, Eq. (20); (d) five other generators: a 3-layer"
    " auto-encoder and 4-layer ones of four widths w, trained the same way. The text has lost which"
    " letter is which weight, the widths, and all numbers; widths here are ours.",
    cases=(
        *(
            Case(
                f"{term} = {weight:g}",
                LITERAL if weight == default else f"{LITERAL}:{term}={weight:g}",
            )
            for term, default in TERMS.items()
            for weight in weights(default)
        ),
        *(Case(label, method) for label, method in GENERATORS.items()),
    ),
    columns=(Column("pr_area", BITS),),
    data=("mnist",),
    view=weights_and_generators,
)
