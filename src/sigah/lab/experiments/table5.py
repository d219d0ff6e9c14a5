"""Table 5: activations of the generator."""

from __future__ import annotations

from sigah.lab.experiments.experiment import LITERAL, Case, Column, Experiment
from sigah.lab.experiments.views import paper_tables

__all__ = ["TABLE5"]

TABLE5 = Experiment(
    name="table5",
    title="Activations of the generator",
    about="Table 5 of the paper: its mAP (pr_area) by the activation of the sparse layer, Eq. (5)."
    " The paper does not say the code length; its figures are near its others at 64 bits.",
    cases=(
        Case("sigmoid", f"{LITERAL}:activation=sigmoid"),
        Case("tanh", f"{LITERAL}:activation=tanh"),
        Case("ReLU", f"{LITERAL}:activation=relu"),
        Case("LeakyReLU", LITERAL),
        Case("SWISH", f"{LITERAL}:activation=silu"),
    ),
    columns=(Column("pr_area", 64),),
    data=("tiny-100k", "deep1m", "mnist"),
    view=paper_tables,
    paper={
        "tiny-100k": {
            "sigmoid": (0.2236,),
            "tanh": (0.2207,),
            "ReLU": (0.2116,),
            "LeakyReLU": (0.2348,),
            "SWISH": (0.2327,),
        },
        "deep1m": {
            "sigmoid": (0.3325,),
            "tanh": (0.3305,),
            "ReLU": (0.3079,),
            "LeakyReLU": (0.3316,),
            "SWISH": (0.3261,),
        },
        "mnist": {
            "sigmoid": (None,),
            "tanh": (0.4872,),
            "ReLU": (0.4697,),
            "LeakyReLU": (0.5060,),
            "SWISH": (0.4986,),
        },
    },
)
