"""``sigah report``: one self-contained page of all that is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from sigah.evaluation.names import METRICS
from sigah.files import atomic_write
from sigah.lab.experiments import EXPERIMENTS, Store
from sigah.lab.experiments.panels import Gallery, HeatMap, Plot
from sigah.lab.report.chapters import (
    Section,
    chapters,
    papers_alone,
    place,
    provenance,
    sections_across,
    verdict,
)
from sigah.lab.report.deployed import deployed
from sigah.lab.report.plots import as_data, draw, file_name, kind_of, save
from sigah.lab.report.summary import MARKS, headline, lengths_of, metrics_of
from sigah.lab.report.templates import templates

__all__ = ["write_report"]

DIGITS = {
    "fit_seconds": 1,
    "fit_cpu_seconds": 1,
    "deviations": 1,
    "reconstruction_error": 3,
    "class_precision": 2,
}


@dataclass(frozen=True)
class Picture:
    """A drawn panel: its data, and its size in CSS pixels."""

    title: str
    description: str
    uri: str
    width: int
    height: int
    wide: bool


def write_report(
    results: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    plots: str | os.PathLike[str] | None = None,
    paper: bool = False,
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
    paper : bool, default=False
        Show the results of ``sigah evaluate`` on named sets as the paper's experiments, too, with
        the paper's figures beside them where it has some. Those of ``sigah reproduce`` always are.

    Returns
    -------
    list of str
        The experiments and indexes that the page shows.

    Raises
    ------
    ValueError
        If the folder holds no results; with ``paper``, if none is on a named set.
    """
    store = Store(results)
    sets = chapters(store, paper=paper)
    indexes = deployed(results)
    if not sets and not indexes:
        raise ValueError(f"{results} holds no results; measure some with `sigah reproduce`")
    if paper and not any(chapter.paper for chapter in sets):
        raise ValueError(
            f"paper: {results} has no results on a data set that the paper or the catalogue names,"
            " so nothing of the paper can stand beside them; leave --paper out"
        )
    across = sections_across(store)
    about_paper = any(chapter.paper for chapter in sets)
    summaries = [chapter.summary for chapter in sets if chapter.summary]
    shown = experiments_of([*(one for chapter in sets for one in chapter.sections), *across])
    page = template().render(
        chapters=sets,
        indexes=indexes,
        across=across,
        paper=about_paper,
        alone=list(papers_alone(store)) if about_paper else [],
        absent=[place(name) for name in EXPERIMENTS if not store.collect(EXPERIMENTS[name])]
        if about_paper
        else [],
        summaries=[(chapter, chapter.summary) for chapter in sets if chapter.summary],
        headline=headline(summaries),
        lengths=lengths_of(summaries),
        judged=metrics_of(summaries),
        one_seed=any(
            margin.seeds == 1 for summary in summaries for margin in summary.margins.values()
        ),
        quick=any(chapter.data.get("quick") for chapter in sets),
        files=[provenance(path, content) for path, content in sorted(store.files.items())],
        pictures=draw_all(
            [*(one for chapter in sets for one in chapter.sections), *across],
            Path(plots) if plots else None,
        ),
    )
    with atomic_write(out) as file:
        file.write(page.encode())
    return [*shown, *(one.title for one in indexes)]


def template() -> jinja2.Template:
    """The page to be filled in; its style sheet stands beside it."""
    environment = templates()
    environment.filters |= {"figure": figure, "signed": signed, "lead": lead}
    environment.globals |= {
        "verdict": verdict,
        "metrics": METRICS,
        "marks": MARKS,
    }
    return environment.get_template("report/report.html")


def draw_all(sections: Sequence[Section], plots: Path | None) -> dict[str, list[Picture]]:
    """The pictures of every section by its anchor, also written as files if asked."""
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    return {one.anchor: [draw_one(one, panel, plots) for panel in one.figures] for one in sections}


def draw_one(one: Section, panel: Plot | Gallery | HeatMap, plots: Path | None) -> Picture:
    """One picture."""
    drawn = draw(panel)
    if plots is not None:
        save(drawn, plots, file_name(one.experiment.name, panel.title))
    wide = isinstance(panel, Gallery)
    width, height = drawn.get_size_inches() * 96
    return Picture(
        one.title(panel),
        f"{one.place}, {panel.title}: {panel.description}",
        as_data(drawn, kind_of(panel)),
        round(width),
        round(height),
        wide,
    )


def experiments_of(sections: Sequence[Section]) -> list[str]:
    """The names of the experiments shown, in their own order."""
    names = {one.experiment.name for one in sections}
    return [name for name in (*EXPERIMENTS, "methods") if name in names]


def figure(value: float | None, metric: str) -> str:
    """A number as it is printed; a dash where there is none.

    Examples
    --------
    >>> from sigah.lab.report.page import figure
    >>> figure(0.58034, "pr_area"), figure(1120, "fit_seconds"), figure(None, "map")
    ('0.5803', '1,120.0', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.{DIGITS.get(metric, 4)}f}"


def signed(value: float, metric: str) -> str:
    """A difference with its sign."""
    return ("+" if value >= 0 else "−") + figure(abs(value), metric)


def lead(value: float) -> str:
    """A margin in three digits, for the matrix.

    Examples
    --------
    >>> from sigah.lab.report.page import lead
    >>> lead(0.1098), lead(-0.0398)
    ('+.110', '−.040')
    """
    return ("+" if value >= 0 else "−") + f"{abs(value):.3f}".removeprefix("0")
