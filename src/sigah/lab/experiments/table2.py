"""Table 2: retrieval on MNIST."""

from __future__ import annotations

from sigah.lab.experiments.curves import tables_and_curves
from sigah.lab.experiments.experiment import Column, Experiment
from sigah.lab.experiments.table1 import COMPARED

__all__ = ["TABLE2"]

TABLE2 = Experiment(
    name="table2",
    title="Retrieval on MNIST",
    about="Table 2 of the paper: its mAP (pr_area) and precision of the first 100 at 32 and 64"
    " bits, K = 1,000 Euclidean neighbours, pixels.",
    cases=COMPARED,
    columns=(
        Column("pr_area", 32),
        Column("pr_area", 64),
        Column("precision@100", 32),
        Column("precision@100", 64),
    ),
    data=("mnist",),
    open=True,
    view=tables_and_curves,
    paper={
        "mnist": {
            "LSH": (0.2148, 0.3598, 0.4952, 0.7450),
            "ITQ": (0.4223, 0.4681, 0.8255, 0.9267),
            "SpH": (0.3462, 0.4894, 0.6786, 0.8467),
            "BA": (0.3897, 0.4156, 0.8045, 0.9086),
            "SGH": (0.4195, 0.4920, 0.8101, 0.9124),
            "OCH": (0.4191, 0.4550, 0.7649, 0.8835),
            "SiGAH": (0.4320, 0.5014, 0.8255, 0.9294),
            "SiGAH, as the paper reads": (0.4320, 0.5014, 0.8255, 0.9294),
        }
    },
)
