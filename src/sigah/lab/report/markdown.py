"""Results as Markdown: a page a data set, for documentation that stands beside the code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import isnan, nan
from pathlib import Path

from sigah.evaluation.names import METRICS
from sigah.files import atomic_write
from sigah.lab.experiments import Store
from sigah.lab.experiments.panels import Entry, Gallery, HeatMap, Plot, Table
from sigah.lab.report.chapters import Chapter, Section, chapters, sections_across
from sigah.lab.report.plots import draw, encode, file_name, kind_of
from sigah.lab.report.summary import (
    JUDGED,
    MARKS,
    Margin,
    SetSummary,
    headline,
    lengths_of,
    metrics_of,
)

__all__ = ["markdown_pages", "markdown_pictures", "matrix", "pipe_table", "write_markdown"]

PICTURES = "pictures"  # the folder beside the pages
SECONDS = ("fit_seconds", "fit_cpu_seconds")
LEGEND = (
    "✓: better than every other method measured by more than a standard deviation; =: within one;"
    " ✗: worse by more. The number is how far SiGAH is ahead of the best other method of equal"
    " length, whichever that is (positive is better). Deviations are over seeds (ddof=1), that of a"
    " margin is of the difference of two runs."
)


def pipe_table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table; the first ``left`` columns are aligned left, the others right.

    Examples
    --------
    >>> from sigah.lab.report.markdown import pipe_table
    >>> print(pipe_table(["method", "map"], [["`itq`", "0.5"]]))
    | method | map |
    | --- | ---: |
    | `itq` | 0.5 |
    """
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def write_markdown(
    results: str | os.PathLike[str], folder: str | os.PathLike[str], *, paper: bool = False
) -> dict[str, str]:
    """Write the pages of :func:`markdown_pages` into a folder, and their pictures below it.

    Returns
    -------
    dict of str to str
        The text of every page by its name.
    """
    pages = markdown_pages(results, paper=paper)
    contents: dict[str, bytes] = {name: text.encode() for name, text in pages.items()}
    contents |= markdown_pictures(results, paper=paper)
    for name, content in contents.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
    return pages


def markdown_pages(results: str | os.PathLike[str], *, paper: bool = False) -> dict[str, str]:
    """The pages of a folder of results: ``README.md``, and one for each data set.

    Parameters
    ----------
    results : path-like
        A folder of JSON files, of ``sigah reproduce`` or ``sigah evaluate``.
    paper : bool, default=False
        As in :func:`~sigah.lab.report.page.write_report`.

    Returns
    -------
    dict of str to str
        Text by file name. The same results make the same text.

    Raises
    ------
    ValueError
        If the folder holds nothing of any experiment.
    """
    store = Store(results)
    sets = chapters(store, paper=paper)
    if not sets:
        raise ValueError(f"{results} holds no results; measure some with `sigah reproduce`")
    return {"README.md": index(store, sets, paper=paper)} | {
        f"{chapter.anchor}.md": chapter_page(chapter) for chapter in sets
    }


def markdown_pictures(results: str | os.PathLike[str], *, paper: bool = False) -> dict[str, bytes]:
    """The pictures that the pages of a folder of results show, by file name."""
    store = Store(results)
    sections = [one for chapter in chapters(store, paper=paper) for one in chapter.sections]
    sections += sections_across(store)
    return {
        picture_name(one, panel): encode(draw(panel), kind_of(panel))
        for one in sections
        for panel in one.figures
        if isinstance(panel, Gallery | HeatMap)
    }


def picture_name(one: Section, panel: Gallery | HeatMap) -> str:
    """The file of a picture, beside the pages."""
    return f"{PICTURES}/{file_name(one.anchor, one.title(panel))}.{kind_of(panel)}"


def pictures(one: Section) -> list[str]:
    """The notes and the pictures of a section; a picture's text says what it shows."""
    parts = list(one.notes)
    for panel in one.figures:
        if isinstance(panel, Gallery | HeatMap):
            title = one.title(panel)
            text = panel.description.replace("[", "(").replace("]", ")")
            parts += [f"### {title}"] if title else []
            parts.append(f"![{text}]({picture_name(one, panel)})")
    return parts


def index(store: Store, sets: Sequence[Chapter], *, paper: bool) -> str:
    """The summary, and what has a row a data set."""
    parts = [
        "# Results by data set",
        f"Made from the JSON by `sigah report{' --paper' if paper else ''} --markdown`; the same"
        " with curves, in one page: without `--markdown`.",
    ]
    parts += [f"[{one.title}]({one.anchor}.md). {one.leaders}" for one in sets if not one.paper]
    summaries = [chapter.summary for chapter in sets if chapter.summary]
    if summaries:
        parts += [headline(summaries), matrix(sets), LEGEND]
    for one in sections_across(store):
        parts += [f"## {one.place}: {one.experiment.title}", one.experiment.about]
        for number, table in enumerate(one.tables):
            parts += [f"### {table.title}"] if number else []
            parts.append(experiment_table(table))
        parts += pictures(one)
    return "\n\n".join(parts) + "\n"


def chapter_page(chapter: Chapter) -> str:
    """All tables of a data set."""
    data = chapter.data
    about = f"{chapter.about}. " if chapter.about else ""
    parts = [
        f"# {chapter.title}",
        f"{about}{data['n_base']:,} vectors of {data['dim']} dimensions, {data['n_queries']:,}"
        f" queries, {data['k']:,} true neighbours each.",
    ]
    if chapter.leaders:
        parts.append(chapter.leaders)
    if chapter.summary:
        parts += [chapter.summary.sentence, margins(chapter.summary, paper=chapter.paper), LEGEND]
    for one in chapter.sections:
        panels: list[tuple[str, str]] = [
            (one.title(table), experiment_table(table)) for table in one.tables
        ]
        panels += [
            (one.title(panel), settings_table(panel))
            for panel in one.figures
            if isinstance(panel, Plot)
            and not panel.unit  # a curve, however few its points
            and all(series.few for series in panel.series)
        ]
        shown = pictures(one)
        if panels or shown:
            command = f" Run it with `sigah reproduce {one.experiment.name} --data {data['name']}`."
            parts += [
                f"## {one.place}: {one.experiment.title}",
                one.experiment.about,
                f"Seeds: {one.seeds}.{command if chapter.paper else ''}",
            ]
        for title, table in sorted(panels, key=lambda panel: panel[0]):  # (a) before (b)
            parts += [f"### {title}", table] if title else [table]
        parts += shown
    return "\n\n".join(parts) + "\n"


def matrix(sets: Sequence[Chapter], *, folder: str = "", metrics: Sequence[str] = JUDGED) -> str:
    """A row a data set, linked to its page in ``folder``: SiGAH's mark and margin a metric."""
    summaries = [chapter.summary for chapter in sets if chapter.summary]
    columns = [
        (metric, bits)
        for metric in metrics_of(summaries)
        if metric in metrics
        for bits in lengths_of(summaries)
    ]
    lines = [
        [f"[{chapter.title}]({folder}{chapter.anchor}.md)", str(chapter.summary.methods)]
        + [short(chapter.summary.margins.get(column)) for column in columns]
        for chapter in sets
        if chapter.summary
    ]
    head = ["data set", "others", *(f"{METRICS[metric]} {bits}" for metric, bits in columns)]
    return pipe_table(head, lines)


def short(margin: Margin | None) -> str:
    """A mark and a margin: "✓ +.110"."""
    if margin is None:
        return "–"
    sign = "+" if margin.lead >= 0 else "−"
    return f"{MARKS[margin.mark]} {sign}{abs(margin.lead):.3f}".replace("0.", ".", 1)


def margins(summary: SetSummary, *, paper: bool) -> str:
    """SiGAH beside the best other method, metric by metric; the paper's margin beside ours."""
    head = ["metric", "bits", "ahead by", "deviations", "SiGAH", "best other", ""]
    head += ["in the paper"] if paper else []
    lines = [
        [
            METRICS[margin.metric],
            str(margin.bits),
            f"{MARKS[margin.mark]} {margin.lead:+.3f}",
            "–" if margin.deviations is None else f"{margin.deviations:+.1f}",
            f"{margin.ours:.3f}",
            margin.rival,
            f"{margin.theirs:.3f}",
            *(["–" if margin.paper is None else f"{margin.paper:+.3f}"] if paper else []),
        ]
        for margin in summary.margins.values()
    ]
    return pipe_table(head, lines)


def experiment_table(table: Table) -> str:
    """Ours, and where the paper has a figure, the paper's and the difference; the best in bold."""
    compared = [
        any(cells[column].paper is not None for _, cells in table.rows)
        for column in range(len(table.metrics))
    ]
    head = [table.corner]
    for heading, beside in zip(table.headings, compared, strict=True):
        head += [heading, "paper", "diff."] if beside else [heading]
    lines = []
    for row, (label, cells) in enumerate(table.rows):
        line = [label]
        for column, cell in enumerate(cells):
            digits = 1 if table.metrics[column] in SECONDS else 3
            text = with_deviation(cell, digits)
            line.append(f"**{text}**" if table.leads(row, column) else text)
            if compared[column]:
                line.append("–" if cell.paper is None else f"{cell.paper:.{digits}f}")
                line.append("–" if cell.difference is None else f"{cell.difference:+.{digits}f}")
        lines.append(line)
    return pipe_table(head, lines)


def settings_table(plot: Plot) -> str:
    """The points of a plot of a few settings, a row a setting."""
    cells = {
        (x, number): f"{y:.3f}" if isnan(spread) else f"{y:.3f} ± {spread:.3f}"
        for number, series in enumerate(plot.series)
        for x, y, spread in zip(
            series.x, series.y, series.deviation or (nan,) * len(series.x), strict=True
        )
    }
    head = [plot.x_label, *(f"{plot.y_label}, {series.label}" for series in plot.series)]
    lines = [
        [f"{x:g}", *(cells.get((x, number), "–") for number in range(len(plot.series)))]
        for x in sorted({x for x, _ in cells})
    ]
    return pipe_table(head, lines)


def with_deviation(cell: Entry, digits: int) -> str:
    """Mean, deviation where several seeds ran, and the interval over queries if it is known."""
    if cell.mean is None:
        return "–"
    spread = f" ± {cell.deviation:.{digits}f}" if cell.seeds > 1 else ""
    ends = cell.interval
    interval = f" [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else ""
    return f"{cell.mean:.{digits}f}{spread}{interval}"
