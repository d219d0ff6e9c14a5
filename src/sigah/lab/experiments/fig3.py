"""Fig. 3: recall curves."""

from __future__ import annotations

from sigah.lab.experiments.experiment import Column, Experiment
from sigah.lab.experiments.table1 import COMPARED
from sigah.lab.experiments.views import recall_plots

__all__ = ["FIG3"]

FIG3 = Experiment(
    name="fig3",
    title="Recall curves",
    about="Fig. 3 of the paper: the share of the 1, 10, 100 and 1,000 nearest neighbours among the"
    " vectors retrieved (R-1, R-10, R-100, R-1K). The text has lost the code length; ours is 64"
    " bits. Its curves survive in no numbers; it says that SiGAH's are highest on all three sets.",
    cases=COMPARED,
    columns=(Column("pr_area", 64),),
    data=("gist1m", "deep1m", "tiny-100k"),
    open=True,
    view=recall_plots,
)
