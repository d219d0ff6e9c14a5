"""Table 7: SiGAH on features of several deep networks, judged by labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sigah.evaluation.names import METRICS
from sigah.lab.experiments.experiment import FIXED, Case, Column, Experiment, Measured
from sigah.lab.experiments.panels import Entry, Table
from sigah.lab.experiments.views import entry

__all__ = ["TABLE7"]

# the paper does not say which divisor its figures have: they stand beside both
DIVISORS, BITS = ("label_map_by_relevant@1000", "label_map_by_hits@1000"), 64
BACKBONES = {  # of CIFAR-10, in the paper's order
    "cifar10-alexnet": ("AlexNet", 0.461),
    "cifar10-vgg16": ("VGG16", 0.564),
    "cifar10-vgg19": ("VGG19", 0.573),
    "cifar10-resnet50": ("ResNet50", 0.641),
    "cifar10-resnet152": ("ResNet152", 0.717),
    "cifar10-densenet121": ("DenseNet121", 0.635),
}


def backbones(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """One table, a row for each set of features; the paper's below those that are measured."""
    label = experiment.cases[0].label
    rows: list[tuple[str, tuple[Entry, ...]]] = []
    here = set()
    for one in measured:
        name = one.data["name"]
        paper = None if one.part else BACKBONES.get(name, ("", None))[1]
        runs = one.runs.get((label, BITS), ())
        rows.append((one.title, tuple(entry(runs, metric, paper) for metric in DIVISORS)))
        here.add(name)
    rows += [
        (f"CIFAR-10, {title} (not measured here)", (Entry(paper=figure),) * len(DIVISORS))
        for name, (title, figure) in BACKBONES.items()
        if name not in here
    ]
    headings = tuple(f"{METRICS[metric]}, {BITS} bits" for metric in DIVISORS)
    apart = tuple(name for name, _ in rows)  # each has data of its own: no row beats another
    return [Table("Features", headings, DIVISORS, tuple(rows), apart)]


TABLE7 = Experiment(
    name="table7",
    title="Features of several networks",
    about="Table 7 of the paper: mAP of the first 1,000 with labels as the truth, ties at their"
    " expected value, by two divisors: min(relevant, 1,000), and the hits among the first 1,000, as"
    " many programs have it. The paper says neither its divisor nor the code length; its VGG16 is"
    " its figure at 64 bits in Table 6. A dash: measured before both were.",
    cases=(Case("SiGAH", FIXED, style="sigah"),),  # labels judge codes alone
    columns=(Column(DIVISORS[0], BITS),),
    data=tuple(BACKBONES),
    view=backbones,
    needs=("labels",),
)
