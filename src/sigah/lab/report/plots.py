"""Plots and galleries of experiments as Matplotlib figures, for the page and for papers."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from sigah.files import atomic_write
from sigah.lab.experiments.panels import Gallery, HeatMap, Plot, Series
from sigah.lab.report.figures import STYLE, line_style

__all__ = ["as_data", "draw", "encode", "file_name", "kind_of", "save"]

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
# text stays text, and the same figure has the same bytes
SVG: Any = {"svg.fonttype": "none", "svg.hashsalt": "sigah", "font.sans-serif": ["DejaVu Sans"]}
SAVED: dict[str, Any] = {
    "svg": {"metadata": {"Date": None}},
    "png": {"metadata": {"Software": None}},
    "webp": {"pil_kwargs": {"quality": 80}},
}
HIT, MISS = "#0072b2", "#d55e00"
READABLE = 16  # rows or columns of a heat map whose cells have room for a number
WIDE = 66  # letters in a row of a legend, each label with its line
LINE = 6  # letters that are as wide as the line before a label


def draw(panel: Plot | Gallery | HeatMap) -> Figure:
    """The figure of a panel."""
    if isinstance(panel, Gallery):
        return draw_gallery(panel)
    if isinstance(panel, HeatMap):
        return draw_heat_map(panel)
    widest = max((len(series.label) for series in panel.series), default=0) + LINE
    columns = max(1, min(3, WIDE // widest))
    lines = -(-len(panel.series) // columns) if len(panel.series) > 1 else 0
    with mpl.rc_context(STYLE):
        # axes of one size, and the legend below them, where it covers no curve
        figure = Figure(figsize=(4.8, 3.2 + 0.2 * lines), layout="constrained")
        axes = figure.subplots()
        for series, colour in zip(panel.series, colours(panel.series), strict=True):
            draw_series(axes, series, colour)
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
        set_scale(axes, panel)
        if panel.unit:
            axes.set_ylim(0, 1.02)
            if panel.scale == "linear":
                axes.set_xlim(0, 1)
        if lines:
            figure.legend(loc="outside lower center", ncols=columns, fontsize=8)
    return figure


def draw_gallery(panel: Gallery) -> Figure:
    """Rows of pictures with their labels to the left; hits have a bar below, or all are judged."""
    height, width = panel.rows[0][1].shape[1:3]
    edge = max(1, round(0.06 * width)) if panel.judged else 0  # of a frame
    # a picture and the gap after it
    high, wide = round(1.16 * height) + 2 * edge, round(1.08 * width) + 2 * edge
    longest = max(len(images) for _, images in panel.rows)
    sheet = np.ones((high * len(panel.rows), wide * longest, 3), np.float32)
    labels = [label.replace(", ", ",\n") for label, _ in panel.rows]
    # room for the longest line of a label at about .08 inches a letter
    margin = 0.2 + 0.08 * max(len(line) for label in labels for line in label.split("\n"))
    inches = (margin + 0.5 * longest, 0.54 * len(panel.rows))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=inches)
        axes = figure.add_axes((margin / inches[0], 0, 1 - margin / inches[0], 1))
        axes.set_axis_off()
        for row, (label, images) in enumerate(panel.rows):
            top = high * row + edge
            place = (-0.3 * width, top + height / 2)
            axes.text(*place, labels[row], ha="right", va="center", linespacing=1)
            for column, image in enumerate(images):
                left = wide * column + edge
                hit = label in panel.hits and bool(panel.hits[label][column])
                if panel.judged and label in panel.hits:
                    frame = slice(top - edge, top + height + edge)
                    sheet[frame, left - edge : left + width + edge] = to_rgb(HIT if hit else MISS)
                    draw_sign(axes, left + width, top + height, hit=hit)
                elif hit:
                    axes.plot(
                        (left, left + width - 1),
                        (top + 1.05 * height, top + 1.05 * height),
                        color=HIT,
                        linewidth=2.4,
                        solid_capstyle="butt",
                    )
                # grey: dark on paper
                shown = image if image.ndim == 3 else 1 - image[..., None]
                sheet[top : top + height, left : left + width] = shown
        axes.imshow(sheet, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    return figure


def draw_sign(axes: Axes, right: float, bottom: float, *, hit: bool) -> None:
    """A tick or a cross in the corner of a picture, for who does not see the colours of frames."""
    axes.text(
        right,
        bottom,
        "✓" if hit else "✗",
        color="white",
        fontsize=6,
        ha="right",
        va="bottom",
        bbox={"facecolor": HIT if hit else MISS, "linewidth": 0, "pad": 0.6},
    )


def draw_heat_map(panel: HeatMap) -> Figure:
    """Shares as shades, and as numbers where the cells have room."""
    n_rows, n_columns = panel.values.shape
    readable = max(n_rows, n_columns) <= READABLE
    cell, size = (0.42, 8) if readable else (0.1, 5)  # inches; points
    margin = 0.6 + 0.012 * size * max(map(len, panel.rows + panel.columns))
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        inches = (margin + cell * n_columns + 0.4, margin + cell * n_rows)
        figure = Figure(figsize=inches, layout="constrained")
        axes = figure.subplots()
        axes.imshow(panel.values, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(n_columns), panel.columns, rotation=90, fontsize=size)
        axes.set_yticks(range(n_rows), panel.rows, fontsize=size)
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
        axes.tick_params(length=0)
        for row, column in np.ndindex(panel.values.shape) if readable else ():
            share = panel.values[row, column]
            if share >= 0.005:
                colour = "white" if share > 0.5 else "black"
                text = f"{share:.2f}".removeprefix("0")
                axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=7)
    return figure


def draw_series(axes: Axes, series: Series, colour: str | tuple[float, ...]) -> None:
    """One curve, with a band of one deviation."""
    line: dict[str, Any] = {"color": colour, "linewidth": 1.8}
    if series.style:
        line = line_style(series.style)
    if not series.style and series.few:
        line |= {"marker": "o", "markersize": 4}
    axes.plot(series.x, series.y, **{**line, "label": series.label})
    if series.deviation:
        y, spread = np.array(series.y), np.array(series.deviation)
        axes.fill_between(
            series.x, y - spread, y + spread, color=line["color"], alpha=0.15, linewidth=0
        )


def colours(series: Sequence[Series]) -> list[str | tuple[float, ...]]:
    """A colour a curve: apart for a few, a ramp for a row of settings."""
    if len(series) <= len(COLOURS):
        return list(COLOURS[: len(series)])
    ramp = mpl.colormaps["viridis"]
    return [tuple(ramp(i / len(series))) for i in range(len(series))]


def set_scale(axes: Axes, panel: Plot) -> None:
    """The x axis: linear, or one of the logarithmic ones."""
    xs = sorted({x for series in panel.series for x in series.x})
    if panel.scale == "log":
        axes.set_xscale("log")
    elif panel.scale == "sizes":
        axes.set_xscale("log")
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.minorticks_off()
    elif panel.scale == "weights" and any(x > 0 for x in xs):
        axes.set_xscale("symlog", linthresh=min(x for x in xs if x > 0), linscale=0.4)
        axes.set_xticks(xs, [f"{x:g}" for x in xs], rotation=45 if len(xs) > 6 else 0)
        axes.minorticks_off()


def kind_of(panel: Plot | Gallery | HeatMap) -> str:
    """The format of a panel's figure; photographs are a quarter of the size as WebP."""
    if not isinstance(panel, Gallery):
        return "svg"
    return "webp" if any(images.ndim == 4 for _, images in panel.rows) else "png"


def as_data(figure: Figure, kind: str) -> str:
    """A figure as a data URI."""
    media = "svg+xml" if kind == "svg" else kind
    return f"data:image/{media};base64,{base64.b64encode(encode(figure, kind)).decode()}"


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as SVG and as PNG of 300 dots an inch."""
    for kind in ("svg", "png"):
        with atomic_write(folder / f"{name}.{kind}") as file:
            file.write(encode(figure, kind, dpi=300))


def file_name(*parts: str) -> str:
    """A plain name for a file: ``fig7-mnist-a-retrieval``."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def encode(figure: Figure, kind: str, dpi: int = 110) -> bytes:
    """The bytes of a figure; the same for the same figure."""
    buffer = io.BytesIO()
    with mpl.rc_context(SVG):
        figure.savefig(buffer, format=kind, dpi=dpi, **SAVED[kind])
    return buffer.getvalue()
