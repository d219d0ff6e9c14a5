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
from matplotlib.figure import Figure

from sigah.experiments.views import Gallery, Plot, Series
from sigah.persistence import atomic_write
from sigah.report.figures import STYLE, images_figure, line_style

__all__ = ["as_data", "draw", "file_name", "save"]

COLOURS = ("#c8364a", "#2b5f8f", "#3d8b4e", "#e79a3b", "#7b3fa0", "#1a9e9e", "#8a5a2b")
# text stays text, and the same figure has the same bytes
SVG: Any = {"svg.fonttype": "none", "svg.hashsalt": "sigah", "font.sans-serif": ["DejaVu Sans"]}
CROWDED = 5  # curves beside which a legend would cover the plot


def draw(panel: Plot | Gallery) -> Figure:
    """The figure of a plot or a gallery."""
    if isinstance(panel, Gallery):
        height, width = panel.rows[0][1].shape[1:]
        rows = [(label, images.reshape(len(images), -1)) for label, images in panel.rows]
        return images_figure(rows, title="", shape=(height, width))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.4), layout="constrained")
        axes = figure.subplots()
        for series, colour in zip(panel.series, colours(panel.series), strict=True):
            draw_series(axes, series, colour)
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
        set_scale(axes, panel)
        if len(panel.series) > CROWDED:
            figure.legend(loc="outside lower center", ncols=3, fontsize=8)
        elif len(panel.series) > 1:
            axes.legend(fontsize=8)
    return figure


def draw_series(axes: Axes, series: Series, colour: str | tuple[float, ...]) -> None:
    """One curve, with a band of one deviation."""
    line = line_style(series.style) if series.style else {"color": colour, "linewidth": 1.8}
    marker = "o" if len(series.x) <= 12 and not series.style else None
    axes.plot(series.x, series.y, **{**line, "label": series.label}, marker=marker, markersize=4)
    if series.deviation:
        y, spread = np.array(series.y), np.array(series.deviation)
        axes.fill_between(
            series.x, y - spread, y + spread, color=line["color"], alpha=0.15, linewidth=0
        )


def colours(series: Sequence[Series]) -> list[str | tuple[float, ...]]:
    """A colour a curve: apart for a few, a ramp for a row of settings."""
    if len(series) <= len(COLOURS) - 1:
        return list(COLOURS[: len(series)])
    ramp = mpl.colormaps["viridis"]
    return [tuple(ramp(i / len(series))) for i in range(len(series))]


def set_scale(axes: Axes, panel: Plot) -> None:
    """The x axis: linear, logarithmic, or logarithmic with a place for 0."""
    xs = sorted({x for series in panel.series for x in series.x})
    if panel.scale == "log":
        axes.set_xscale("log")
    elif panel.scale == "weights" and any(x > 0 for x in xs):
        axes.set_xscale("symlog", linthresh=min(x for x in xs if x > 0), linscale=0.4)
        axes.set_xticks(xs, [f"{x:g}" for x in xs], rotation=45 if len(xs) > 6 else 0)
        axes.minorticks_off()


def as_data(figure: Figure, kind: str) -> str:
    """A figure as a data URI: "svg" for lines, "png" for pictures."""
    content = encode(figure, kind)
    media = "image/svg+xml" if kind == "svg" else "image/png"
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


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
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
