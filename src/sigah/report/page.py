"""``sigah report``: one self-contained page of all that is measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from sigah.experiments import EXPERIMENTS, Experiment, Measured, Store
from sigah.experiments.keys import still_holds
from sigah.experiments.views import Gallery, Plot, Table
from sigah.hashers import METHODS
from sigah.persistence import atomic_write
from sigah.report.plots import as_data, draw, file_name, save

__all__ = ["write_report"]

OURS = "SiGAH"  # the row that the paper claims to be best


@dataclass(frozen=True)
class Picture:
    """A drawn panel."""

    title: str
    uri: str
    wide: bool


@dataclass(frozen=True)
class Section:
    """An experiment of the page."""

    experiment: Experiment
    measured: Sequence[Measured]
    tables: Sequence[Table]
    unmeasured: Sequence[Table]
    pictures: Sequence[Picture]
    older: int

    @property
    def place(self) -> str:
        """Where it stands in the paper: "Table 2", "Fig. 7"."""
        return place(self.experiment.name)

    @property
    def shows(self) -> bool:
        """Whether there is anything of ours to see."""
        return bool(self.tables or self.pictures)

    @property
    def seeds(self) -> str:
        """How many seeds a figure is the mean of: "5", or "1 to 5"."""
        counts = sorted({len(runs) for one in self.measured for runs in one.runs.values()})
        return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def write_report(
    results: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    plots: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Write the page, and the plots as files if asked.

    Parameters
    ----------
    results : path-like
        A folder of JSON files, of ``sigah reproduce`` or ``sigah evaluate``.
    out : path-like
        The HTML file; it loads nothing from elsewhere.
    plots : path-like, optional
        Folder for every plot and gallery as SVG and PNG.

    Returns
    -------
    list of str
        The experiments that the page shows.

    Raises
    ------
    ValueError
        If the folder holds nothing of any experiment.
    """
    store = Store(results)
    sections = [
        drawn
        for experiment in EXPERIMENTS.values()
        if (measured := store.collect(experiment))
        and ((drawn := section(experiment, measured, Path(plots) if plots else None)).shows)
    ]
    if not sections:
        raise ValueError(f"{results} holds no results; measure some with `sigah reproduce`")
    template = resources.files("sigah.report").joinpath("report.html").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": figure, "signed": signed}
    page = environment.from_string(template).render(
        sections=sections,
        absent=[place(name) for name in EXPERIMENTS if name not in shown(sections)],
        sets=[(Measured(data, {}), list(where(data, sections))) for data in store.sets.values()],
        quick=any(data.get("quick") for data in store.sets.values()),
        files=[provenance(path, content) for path, content in sorted(store.files.items())],
        verdict=verdict,
    )
    with atomic_write(out) as file:
        file.write(page.encode())
    return shown(sections)


def section(experiment: Experiment, measured: Sequence[Measured], plots: Path | None) -> Section:
    """The panels of an experiment, drawn."""
    panels = experiment.view(experiment, measured)
    pictures = []
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    for panel in panels:
        if isinstance(panel, Plot | Gallery):
            drawn = draw(panel)
            wide = isinstance(panel, Gallery)
            pictures.append(Picture(panel.title, as_data(drawn, "png" if wide else "svg"), wide))
            if plots is not None:
                save(drawn, plots, file_name(experiment.name, panel.title))
    tables = [panel for panel in panels if isinstance(panel, Table)]
    return Section(
        experiment,
        measured,
        [table for table in tables if table.measured],
        [table for table in tables if not table.measured],
        pictures,
        sum(
            not still_holds(run, METHODS[run["method"].partition(":")[0].partition(".")[0]])
            for one in measured
            for runs in one.runs.values()
            for run in runs
        ),
    )


def place(name: str) -> str:
    """How the paper calls an experiment.

    Examples
    --------
    >>> from sigah.report.page import place
    >>> place("table2"), place("fig7")
    ('Table 2', 'Fig. 7')
    """
    kind = name.rstrip("0123456789")
    return f"{'Table' if kind == 'table' else 'Fig.'} {name[len(kind) :]}"


def shown(sections: Sequence[Section]) -> list[str]:
    """The names of the experiments."""
    return [section.experiment.name for section in sections]


def where(data: Mapping[str, Any], sections: Sequence[Section]) -> Iterator[Section]:
    """The experiments that a data set appears in."""
    for one in sections:
        if any(measured.data is data for measured in one.measured):
            yield one


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


def figure(value: float | None, metric: str) -> str:
    """A number as it is printed; a dash where there is none.

    Examples
    --------
    >>> from sigah.report.page import figure
    >>> figure(0.58034, "pr_area"), figure(1120, "fit_cpu_seconds"), figure(None, "map")
    ('0.5803', '1,120.0', '–')
    """
    if value is None:
        return "–"
    digits = {"fit_cpu_seconds": 1, "reconstruction_error": 3}.get(metric, 4)
    return f"{value:,.{digits}f}"


def signed(value: float, metric: str) -> str:
    """A difference with its sign."""
    return ("+" if value >= 0 else "−") + figure(abs(value), metric)


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
