"""Table 7: SiGAH on features of several deep networks, judged by labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sigah.evaluation.names import METRICS
from sigah.lab.experiments.experiment import Case, Column, Experiment, Measured
from sigah.lab.experiments.found import found_panels
from sigah.lab.experiments.panels import Entry, Table
from sigah.lab.experiments.table6 import PITFALLS, SEMANTIC
from sigah.lab.experiments.views import entry

__all__ = ["TABLE7"]

# the paper does not say which divisor its figures have: they stand beside both
DIVISORS, BITS = ("label_map_by_relevant@1000", "label_map_by_hits@1000"), 64
SECONDS = "fit_seconds"
QUERIES = 3  # of each set: there are several
# labels judge codes alone: the dictionary of training will do
CODES = "sigah:dictionary=gaussian:dictionary_ratio=2"
BACKBONES = {  # of CIFAR-10, in the paper's order, by the beginning of the name of the features
    "cifar-10-alexnet": ("AlexNet", 0.461),
    "cifar-10-vgg16": ("VGG16", 0.564),
    "cifar-10-vgg19": ("VGG19", 0.573),
    "cifar-10-resnet50": ("ResNet50", 0.641),
    "cifar-10-resnet152": ("ResNet152", 0.717),
    "cifar-10-densenet121": ("DenseNet121", 0.635),
}


def paper_of(name: str) -> float | None:
    """The paper's figure for a set of features: of CIFAR-10 or its copy, whatever its size."""
    plain = name.replace("cifar-10-jpeg-", "cifar-10-")
    return next(
        (figure for start, (_, figure) in BACKBONES.items() if plain.startswith(start)), None
    )


def backbones(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """One table, a row for each set of features; the paper's below those that are measured."""
    rows: list[tuple[str, tuple[Entry, ...]]] = []
    here = set()
    for one in measured:
        paper = None if one.data.get("quick") else paper_of(one.data["name"])
        here.add(paper)
        for case in experiment.shown(one):
            if runs := one.runs.get((case.label, BITS), ()):
                cells = (
                    *(entry(runs, metric, paper) for metric in DIVISORS),
                    entry(runs, SECONDS),
                )
                plain = case is experiment.cases[0]
                rows.append((one.title if plain else f"{one.title}: {case.label}", cells))
    rows += [
        (
            f"CIFAR-10, {title} (not measured here)",
            (*(Entry(paper=figure),) * len(DIVISORS), Entry()),
        )
        for title, figure in BACKBONES.values()
        if figure not in here
    ]
    headings = (*(f"{METRICS[metric]}, {BITS} bits" for metric in DIVISORS), "seconds to fit")
    apart = tuple(name for name, _ in rows)  # each has data of its own: no row beats another
    table = Table("Features", headings, (*DIVISORS, SECONDS), tuple(rows), apart)
    return [table, *found_panels(experiment, measured, QUERIES)]


TABLE7 = Experiment(
    name="table7",
    title="Features of several networks",
    about="Table 7 of the paper: mAP of the first 1,000 with labels as the truth, by two divisors."
    " The paper says neither its divisor nor the code length; its VGG16 is its figure at 64 bits in"
    f" Table 6. A dash: measured before both were. {PITFALLS}",
    cases=(
        Case("SiGAH", CODES, style="sigah"),
        Case("ITQ", "itq", style="itq"),
        Case("SiGAH(D)", SEMANTIC, style="sigah"),
    ),
    columns=(Column(DIVISORS[0], BITS),),
    data=("cifar-10",),
    view=backbones,
    needs=("labels",),
    records=("found",),
    backbones=(
        "vgg16:64",
        "mobilenet:96",
        "efficientnet-lite0:96",
        "efficientnet-lite1:96",
        "efficientnet-lite2:96",
    ),
    ranks=False,
    samples=True,
)
