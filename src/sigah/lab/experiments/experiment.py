"""What an experiment is: methods, code lengths, metrics, and the paper's own figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from sigah.evaluation import EvaluationData
from sigah.evaluation.loop import Unit
from sigah.hashers.registry import knows_metric, make_hasher, method_label

__all__ = ["LITERAL", "Case", "CaseUnit", "Column", "Experiment", "Measured"]

# what the paper's own figures are about: its recipe, Eq. (20) and (21), without any term of ours
LITERAL = "sigah.paper"

Figures = Mapping[str, tuple[float | None, ...]]

HEADS = (
    *("greedy_hash", "bi_half", "cib_hash", "sdc", "crovca"),
    *("tbh", "deep_hashing", "deep_bit", "dbd_mq"),
)
ON_PIXELS = ("hash_gan", "bin_gan", "pixel_deep_bit")
# settings that make a method quick rather than good
QUICK = {
    **dict.fromkeys(HEADS, ("n_steps=100",)),
    **dict.fromkeys(ON_PIXELS, ("n_steps=2", "n_filters=4")),
    "sigah": ("n_steps=100",),
    "sigah.paper": ("n_steps=100",),
    "sigah.semantic": ("n_steps=100",),
    "stochastic_generative": ("n_steps=100",),
    "binary_autoencoder": ("n_iter=3",),
    "ordinal_constrained": ("max_iter=30", "n_anchors=100", "n_samples=1000"),
}


@dataclass(frozen=True)
class Case:
    """A method with its settings, as the experiment calls it.

    Attributes
    ----------
    label : str
        The name of its row or curve.
    method : str
        As ``sigah evaluate --methods`` takes it: ``sigah:adversarial=0``.
    bits : "dim" or None
        "dim": one bit a dimension, whatever length is asked for.
    style : str
        The method whose colour it has in plots.
    """

    label: str
    method: str
    bits: Literal["dim"] | None = None
    style: str = ""

    def n_bits(self, asked: int, dim: int) -> int:
        """The code length: what was asked, or the dimension rounded down to whole bytes."""
        return asked if self.bits is None else max(8, dim // 8 * 8)


@dataclass(frozen=True)
class Column:
    """A metric at a code length."""

    metric: str
    bits: int


@dataclass(frozen=True)
class CaseUnit(Unit):
    """A unit of work of a case: what the experiment calls it, and the length it asked for."""

    label: str
    asked_bits: int


@dataclass(frozen=True)
class Measured:
    """All runs of one experiment on one data set.

    Attributes
    ----------
    data : mapping
        The block ``data`` of the results: name, sizes, checksums.
    runs : mapping of (label, bits) to runs
        One run a seed.
    """

    data: Mapping[str, Any]
    runs: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]

    @property
    def title(self) -> str:
        """What the data is, and what of it was used if not all."""
        title = str(self.data.get("title") or self.data["name"])
        return f"{title} ({self.part})" if self.part else title

    @property
    def part(self) -> str:
        """What of the set was used; empty if all of it."""
        sample = self.data["n_train"]
        sampled = f"learned from {sample:,} vectors" if sample != self.data["n_base"] else ""
        return ", ".join(part for part in (self.data.get("part", ""), sampled) if part)


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper (arXiv 2306.06928).

    Attributes
    ----------
    name, title, about : str
        What the command line calls it, what it shows, and what of the paper's setting is known.
    cases : tuple of Case
    columns : tuple of Column
        What a table shows; in any case the code lengths that are run.
    data : tuple of str
        The sets of the full form.
    view : callable
        From the measurements on all data sets to tables, plots and galleries.
    paper : mapping
        By data set and label, the paper's figure for each column; None where its text has lost it.
    needs : tuple of str
        What a run must hold beyond the metrics and curves that all have: "history", "gallery",
        "labels", or a metric.
    records : tuple of str
        What runs of the first seed with the longest codes hold besides. Earlier runs without it are
        shown, but measured again.
    open : bool
        Whether it compares methods, so that a researcher's own may stand beside them.
    backbones : tuple of str
        For experiments on images: the features to compute of a folder of images; empty: none.
    ranks : bool
        Whether runs have the metrics and curves of exact neighbours. Labels need none of them.
    samples : bool
        Whether hashers may learn from a sample of the base: the protocol of some sets of images.
    """

    name: str
    title: str
    about: str
    cases: tuple[Case, ...]
    columns: tuple[Column, ...]
    data: tuple[str, ...]
    view: Callable[[Experiment, Sequence[Measured]], list[Any]]
    paper: Mapping[str, Figures] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    open: bool = False
    backbones: tuple[str, ...] = ()
    ranks: bool = True
    samples: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """What an earlier run must hold to be taken."""
        return ("curves", *self.needs) if self.ranks else self.needs

    def needs_of(self, unit: CaseUnit) -> tuple[str, ...]:
        """What the run of a unit of work must hold."""
        recorded = unit.seed == 0 and unit.asked_bits == max(self.lengths)
        return self.required + (self.records if recorded else ())

    @property
    def lengths(self) -> tuple[int, ...]:
        """The code lengths that are asked for."""
        return tuple(dict.fromkeys(column.bits for column in self.columns))

    def ran_on(self, one: Measured) -> bool:
        """Whether any run on a data set was made for this experiment, and not just for others."""
        return any(run.get("experiment") == self.name for runs in one.runs.values() for run in runs)

    def shown(self, one: Measured) -> tuple[Case, ...]:
        """Its cases, and the methods beyond them that were measured on a data set."""
        have = {case.label for case in self.cases}
        others = dict.fromkeys(label for label, _ in one.runs if label not in have)
        return self.cases + tuple(Case(label, label) for label in others)

    def beside(self, methods: Iterable[str]) -> Experiment:
        """The same with a case more for each method, if it compares methods."""
        if not self.open:
            return self
        have = {case.label for case in self.cases}
        labels = {method_label(method): method for method in methods}
        more = tuple(Case(label, method) for label, method in labels.items() if label not in have)
        return replace(self, cases=self.cases + more)

    def lacks(self, data: EvaluationData) -> str:
        """Why this cannot be run on the data; empty if it can."""
        if "gallery" in self.needs and data.picture is None:
            return f"{self.name} shows pictures, and the vectors of {data.name} are none"
        if "labels" in self.needs and (data.base_labels is None or data.query_labels is None):
            return f"{self.name} is judged by labels, and {data.name} has none"
        return ""

    def units(self, dim: int, seeds: int, *, quick: bool, metric: str = "l2") -> list[CaseUnit]:
        """All the work on a data set of this dimension and metric.

        Lengths that a method cannot make are left out, and methods that do not know the metric.

        Seeds come last, so that an interrupted run has few methods whole rather than all begun.
        """
        units = []
        for asked in self.lengths:
            for case in self.cases:
                n_bits = case.n_bits(asked, dim)
                if case.bits == "dim" and asked != max(self.lengths):
                    continue  # one length only: it stands beside the longest codes
                if not knows_metric(case.method, metric):
                    continue
                settings = QUICK.get(case.method.partition(":")[0], ()) if quick else ()
                for seed in range(seeds):
                    make = partial(make_hasher, case.method, n_bits, seed, settings, metric=metric)
                    name = method_label(case.method)
                    unit = CaseUnit(name, n_bits, seed, make, case.label, asked)
                    if n_bits <= dim or unit.make().exceeds_dimension:
                        units.append(unit)
        return units
