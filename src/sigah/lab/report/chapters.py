"""What is shown, in the order it is read: a chapter a data set, an experiment a section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigah.evaluation.keys import still_holds
from sigah.evaluation.names import METRICS
from sigah.hashers import METHODS
from sigah.lab import datasets
from sigah.lab.experiments import EXPERIMENTS, Case, Column, Experiment, Measured, Store
from sigah.lab.experiments.curves import precision_recall_plots
from sigah.lab.experiments.panels import Gallery, HeatMap, Plot, Table
from sigah.lab.experiments.store import set_key
from sigah.lab.experiments.views import entry
from sigah.lab.report.plots import file_name
from sigah.lab.report.summary import JUDGED, SetSummary, leaders, summarize_sets

__all__ = [
    "Chapter",
    "Section",
    "chapters",
    "papers_alone",
    "place",
    "provenance",
    "section",
    "sections_across",
    "verdict",
]

OURS = "SiGAH"  # the row that the paper claims to be best
ACROSS = ("table7",)  # a row a data set: shown once, for all sets together
# one comparison on other data: a set is shown under the one that has the paper's figures for it
TWINS = {"table1": "table2", "table2": "table1"}


@dataclass(frozen=True)
class Section:
    """An experiment on one data set, or on several."""

    anchor: str
    experiment: Experiment
    measured: Sequence[Measured]
    tables: Sequence[Table]
    figures: Sequence[Plot | Gallery | HeatMap]
    notes: Sequence[str] = ()

    @property
    def place(self) -> str:
        """Where it stands in the paper: "Table 2", "Fig. 7"."""
        return place(self.experiment.name)

    @property
    def seeds(self) -> str:
        """How many seeds a figure is the mean of: "5", or "1 to 5"."""
        counts = sorted({len(runs) for one in self.measured for runs in one.runs.values()})
        return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"

    @property
    def older(self) -> int:
        """How many runs are of an earlier version of the code, or of other package versions."""
        return sum(
            not still_holds(run, method)
            for one in self.measured
            for runs in one.runs.values()
            for run in runs
            if (method := METHODS.get(run["method"].partition(":")[0].partition(".")[0]))
        )

    def title(self, panel: Table | Plot | Gallery | HeatMap) -> str:
        """The title of a panel, less the name of the set if that is clear already."""
        if len(self.measured) > 1:
            return panel.title
        return panel.title.removeprefix(self.measured[0].title).lstrip(",: ")


@dataclass(frozen=True)
class Chapter:
    """All that is measured on one data set."""

    anchor: str
    title: str
    data: Mapping[str, Any]
    about: str
    licence: str
    summary: SetSummary | None
    sections: Sequence[Section]
    paper: bool  # whether it is about the paper: reproduced, or asked for
    leaders: str = ""  # which method is best in what


def chapters(store: Store, *, paper: bool = False) -> list[Chapter]:
    """A chapter for each data set with anything to show, in the order of the catalogue.

    Sets that experiments were run on have a section an experiment; so have sets of the catalogue
    if the ``paper`` is asked for. Others have one section with every method and code length.
    """
    summaries = {set_key(s.measured.data): s for s in summarize_sets(store)}
    experiments: dict[str, list[tuple[Experiment, Measured]]] = {}
    for experiment in EXPERIMENTS.values():
        for one in store.collect(experiment):
            experiments.setdefault(set_key(one.data), []).append((experiment, one))
    order = list(datasets.CATALOG)
    made: list[Chapter] = []
    for everything in sorted(store.everything(), key=lambda one: rank(one, order)):
        data = everything.data
        key = set_key(data)
        known = datasets.CATALOG.get(str(data["name"]))
        about_paper = store.reproduced(data) or (paper and known is not None)
        anchor = file_name(everything.title)
        if any(chapter.anchor == anchor for chapter in made):  # other data of the same name
            anchor += f"-{len(made) + 1}"
        pairs = experiments.get(key, [])
        if about_paper and pairs:
            sections = [
                section(experiment, [measured], f"{anchor}-{experiment.name}")
                for experiment, measured in pairs
                if experiment.name not in ACROSS
                and compares(experiment, measured)
                and not shown_elsewhere(experiment, pairs)
            ]
        else:
            sections = [section(overview(everything), [everything], f"{anchor}-methods")]
        made.append(
            Chapter(
                anchor,
                everything.title,
                data,
                known.summary if known else "",
                known.licence if known else "",
                summaries.get(key),
                [shown for shown in sections if shown.tables or shown.figures],
                about_paper,
                "" if about_paper else leaders(everything),
            )
        )
    # of a known set learned from a sample, only its paper's table speaks where there is one
    whole = [one for one in made if not (one.paper and is_sample(one.data))] or made
    # a set with nothing but its row across sets needs no chapter, unless there is no other
    return [chapter for chapter in whole if chapter.sections] or whole


def is_sample(data: Mapping[str, Any]) -> bool:
    """Whether hashers learned from a part of the base."""
    return bool(data["n_train"] != data["n_base"])


def overview(everything: Measured) -> Experiment:
    """Every method, setting and length that is measured on a set, as an experiment."""
    lengths = sorted({bits for _, bits in everything.runs})
    return Experiment(
        name="methods",
        title="Methods compared",
        about="Every method that is measured, with its settings. mAP is the area under one"
        " precision-recall curve pooled over all queries (`pr_area`), which papers on hashing print"
        " under this name; true mAP the mean over queries. ±: standard deviation over seeds"
        " (ddof=1); in brackets: 95 % intervals over queries.",
        cases=tuple(Case(label, label) for label in dict.fromkeys(n for n, _ in everything.runs)),
        columns=tuple(Column("pr_area", bits) for bits in lengths),
        data=(),
        view=method_panels,
    )


def method_panels(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """A table a code length, and precision-recall curves."""
    panels: list[Any] = []
    for one in measured:
        for bits in experiment.lengths:
            of_length = {label: runs for (label, n), runs in one.runs.items() if n == bits}
            metrics = tuple(
                metric
                for metric in (*JUDGED, "fit_seconds")
                if any(metric in run["metrics"] for runs in of_length.values() for run in runs)
            )
            rows = tuple(
                (label, tuple(entry(runs, metric) for metric in metrics))
                for label, runs in of_length.items()
            )
            headings = tuple(METRICS[metric] for metric in metrics)
            panels.append(Table(f"{one.title}: {bits} bits", headings, metrics, rows))
    return panels + precision_recall_plots(experiment, measured)


def rank(one: Measured, order: Sequence[str]) -> tuple[int, str]:
    """Where a set stands among the others."""
    name = str(one.data["name"])
    return (order.index(name) if name in order else len(order), one.title)


def shown_elsewhere(experiment: Experiment, pairs: Sequence[tuple[Experiment, Measured]]) -> bool:
    """Whether the twin of an experiment is the one to show on this set."""
    name = str(pairs[0][1].data["name"])
    twin = next((e for e, _ in pairs if e.name == TWINS.get(experiment.name)), None)
    if twin is None or name in experiment.paper:
        return False
    return name in twin.paper or experiment.name == "table2"


def compares(experiment: Experiment, measured: Measured) -> bool:
    """Whether two cases at least are measured: one alone, shared with others, shows nothing.

    Retrieval itself is shown of one method too. Experiments on images, which share methods, are
    shown on the features that they were run on.
    """
    if experiment.backbones and not experiment.ran_on(measured):
        return False
    return experiment.name in TWINS or len({label for label, _ in measured.runs}) > 1


def section(experiment: Experiment, measured: Sequence[Measured], anchor: str) -> Section:
    """The panels of an experiment that show anything of ours."""
    panels = experiment.view(experiment, measured)
    return Section(
        anchor,
        experiment,
        measured,
        [panel for panel in panels if isinstance(panel, Table) and panel.measured],
        [panel for panel in panels if isinstance(panel, Plot | Gallery | HeatMap)],
        [panel for panel in panels if isinstance(panel, str)],
    )


def sections_across(store: Store) -> list[Section]:
    """What has a row a data set."""
    return [
        section(EXPERIMENTS[name], measured, name)
        for name in ACROSS
        if (measured := store.collect(EXPERIMENTS[name]))
    ]


def papers_alone(store: Store) -> Iterator[tuple[Experiment, Table]]:
    """The paper's tables on data that is not measured here."""
    for experiment in EXPERIMENTS.values():
        for panel in experiment.view(experiment, store.collect(experiment)):
            if isinstance(panel, Table) and not panel.measured:
                yield experiment, panel


def place(name: str) -> str:
    """How the paper calls an experiment; our own by their titles.

    Examples
    --------
    >>> from sigah.lab.report.chapters import place
    >>> place("table2"), place("fig7"), place("neighbors")
    ('Table 2', 'Fig. 7', 'Pictures')
    """
    number = name.lstrip("abcdefghijklmnopqrstuvwxyz")
    kind = {"table": "Table", "fig": "Fig."}.get(name.removesuffix(number))
    return f"{kind} {number}" if kind else {"methods": "Results"}.get(name, "Pictures")


def verdict(table: Table) -> str:
    """Whether the paper's claim holds: in how many columns SiGAH is best, here and there."""
    names = [name for name, _ in table.rows]
    if OURS not in names or len(names) == 1:
        return ""
    row = names.index(OURS)
    ours = [best for i in range(len(table.metrics)) if (best := table.best(i)) is not None]
    theirs = [
        best for i in range(len(table.metrics)) if (best := table.best(i, paper=True)) is not None
    ]
    text = f"{OURS} is best in {ours.count(row)} of {len(ours)} columns"
    # rows of two readings share the paper's figures: the name decides, not the row
    held = sum(table.rows[best][0].startswith(OURS) for best in theirs)
    return text + (f"; in the paper in {held} of {len(theirs)}." if theirs else ".")


def provenance(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Where the figures of a file come from."""
    runs = content["runs"]
    environment = content.get("environment", {})
    commands = sorted({run["command"] for run in runs if "command" in run})
    dates = sorted(run["finished"] for run in runs if "finished" in run)
    versions = environment.get("versions", {})
    return {
        "name": path.name,
        "data": content["data"],
        "runs": len(runs),
        "seeds": ", ".join(map(str, sorted({run["seed"] for run in runs}))),
        "machine": environment.get("machine", "not recorded"),
        "threads": environment.get("threads", "not recorded"),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "commands": commands or ["sigah evaluate (its arguments were not recorded)"],
        "dates": f"{dates[0]} to {dates[-1]}" if dates else "not recorded",
    }
