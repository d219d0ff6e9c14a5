"""Fig. 6: images rebuilt from their codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sigah.lab.experiments.experiment import LITERAL, Case, Column, Experiment, Measured
from sigah.lab.experiments.views import galleries, paper_tables

__all__ = ["FIG6"]


def pictures_and_errors(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """The gallery of each set, and the errors in numbers."""
    return [*galleries(experiment, measured), *paper_tables(experiment, measured)]


FIG6 = Experiment(
    name="fig6",
    title="Images rebuilt from their codes",
    about="Fig. 6 of the paper: test images beside what BA, SGH, QoLSH (as many bits as dimensions)"
    " and the paper's recipe with dictionaries of several sizes rebuild from their codes. The last"
    " row is `SiGAH()`, its dictionary refitted after training. The text has lost the code length"
    " and the errors; ours is 64 bits. Errors are mean squared, over all queries.",
    cases=(
        Case("BA", "binary_autoencoder"),
        Case("SGH", "stochastic_generative"),
        Case("QoLSH (d bits)", "qolsh", bits="dim"),
        Case("SiGAH, n = d/2", f"{LITERAL}:dictionary_ratio=0.5"),
        Case("SiGAH, n = d", f"{LITERAL}:dictionary_ratio=1"),
        Case("SiGAH, n = 2d", LITERAL),
        Case("SiGAH()", "sigah"),
    ),
    columns=(Column("reconstruction_error", 64), Column("relative_reconstruction_error", 64)),
    data=("mnist",),
    view=pictures_and_errors,
    needs=("gallery",),
)
