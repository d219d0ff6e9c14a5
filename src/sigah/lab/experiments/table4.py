"""Table 4: with and without the discriminator."""

from __future__ import annotations

from sigah.lab.experiments.experiment import FIXED, Case, Column, Experiment
from sigah.lab.experiments.views import paper_tables

__all__ = ["TABLE4"]

WITHOUT, WITH = "without discriminator", "with discriminator"

TABLE4 = Experiment(
    name="table4",
    title="What the discriminator is worth",
    about="Table 4 of the paper: its mAP (pr_area) with the weight of Eq. (21) at 0, and as it is."
    " Below it the same for the paper's literal reading, whose other terms are the paper's alone.",
    cases=(
        Case(WITHOUT, f"{FIXED}:adversarial=0"),
        Case(WITH, FIXED),
        Case(f"as the paper reads, {WITHOUT}", "sigah.paper:adversarial=0"),
        Case(f"as the paper reads, {WITH}", "sigah.paper"),
    ),
    columns=(Column("pr_area", 32), Column("pr_area", 64)),
    data=("gist1m", "deep1m", "tiny-100k", "mnist"),
    view=paper_tables,
    paper={
        "gist1m": {WITHOUT: (0.1976, 0.2594), WITH: (0.2076, 0.2594)},
        "deep1m": {WITHOUT: (0.2024, 0.3118), WITH: (0.2156, 0.3307)},
        "tiny-100k": {WITHOUT: (0.1576, 0.2348), WITH: (0.1576, 0.2425)},
    },
)
