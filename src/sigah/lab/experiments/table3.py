"""Table 3: the time that training takes."""

from __future__ import annotations

from sigah.lab.experiments.experiment import Column, Experiment
from sigah.lab.experiments.table1 import COMPARED
from sigah.lab.experiments.views import paper_tables

__all__ = ["TABLE3"]

TIMED = ("ITQ", "BA", "SGH", "OCH", "SiGAH")

TABLE3 = Experiment(
    name="table3",
    title="Training time",
    about="Table 3 of the paper: seconds of training on all base vectors at 32 and 64 bits. Ours"
    " are seconds of one processor core, summed over threads, so that it does not matter what else"
    " the machine did; the paper's are of a dual-core PC of its time. The order of the methods can"
    " be compared, the seconds cannot.",
    cases=tuple(case for case in COMPARED if case.label in TIMED),
    columns=(Column("fit_cpu_seconds", 32), Column("fit_cpu_seconds", 64)),
    data=("gist1m", "deep1m", "tiny-100k"),
    open=True,
    view=paper_tables,
    needs=("fit_cpu_seconds",),
    paper={
        "gist1m": {
            "ITQ": (1.53, 2.85),
            "BA": (534, 1120),
            "SGH": (320.7, 350.4),
            "OCH": (35.3, 37.5),
            "SiGAH": (85.3, 98.2),
        },
        "deep1m": {
            "ITQ": (0.43, 0.982),
            "BA": (163.7, 225.2),
            "SGH": (201.6, 230.2),
            "OCH": (6.74, 9.08),
            "SiGAH": (25.89, 35.93),
        },
        "tiny-100k": {
            "ITQ": (4.47, 5.58),
            "BA": (514.8, 1350),
            "SGH": (301.8, 340.4),
            "OCH": (19.9, 23.01),
            "SiGAH": (69.11, 86.69),
        },
    },
)
