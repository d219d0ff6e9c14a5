"""The tables and figures of the paper (arXiv 2306.06928), one file each, and how they are run."""

from __future__ import annotations

from sigah.lab.experiments.decay import DECAY
from sigah.lab.experiments.experiment import Case, Column, Experiment, Measured
from sigah.lab.experiments.fig3 import FIG3
from sigah.lab.experiments.fig4 import FIG4
from sigah.lab.experiments.fig6 import FIG6
from sigah.lab.experiments.fig7 import FIG7
from sigah.lab.experiments.fig8 import FIG8
from sigah.lab.experiments.neighbors import NEIGHBORS
from sigah.lab.experiments.runner import run_experiment
from sigah.lab.experiments.sets import available, explain_absence, prepare, with_backbones
from sigah.lab.experiments.store import Store
from sigah.lab.experiments.table1 import TABLE1
from sigah.lab.experiments.table2 import TABLE2
from sigah.lab.experiments.table3 import TABLE3
from sigah.lab.experiments.table4 import TABLE4
from sigah.lab.experiments.table5 import TABLE5
from sigah.lab.experiments.table6 import TABLE6, TABLE6_GIST, TABLE6_PIXELS
from sigah.lab.experiments.table7 import TABLE7

__all__ = [
    "EXPERIMENTS",
    "Case",
    "Column",
    "Experiment",
    "Measured",
    "Store",
    "available",
    "explain_absence",
    "prepare",
    "run_experiment",
    "with_backbones",
]

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        TABLE1, TABLE2, TABLE3, TABLE4, TABLE5, TABLE6, TABLE6_GIST, TABLE6_PIXELS, TABLE7,
        FIG3, FIG4, FIG6, FIG7, FIG8, DECAY, NEIGHBORS,
    )
}  # fmt: skip
