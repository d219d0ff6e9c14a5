"""Matplotlib figures of results, neighbours and reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["curves_figure", "images_figure", "ratios_figure", "recall_figure"]

GAP = 3  # pixels between two images of a sheet

LABELS = {
    "sigah": "SiGAH",
    "sigah.paper": "SiGAH (paper)",
    "sigah.semantic": "SiGAH (semantic)",
    "itq": "ITQ",
    "lsh": "LSH",
    "qolsh": "QoLSH",
    "sign": "sign",
    "pca_rotation": "PCA + rotation",
    "spherical": "Spherical",
    "binary_autoencoder": "BA",
    "stochastic_generative": "Stochastic Generative",
    "ordinal_constrained": "OCH",
    "spectral": "Spectral",
    "kmeans": "K-means",
    "anchor_graph": "Anchor Graph",
    "discrete_graph": "Discrete Graph",
    "scalable_graph": "Scalable Graph",
}
# the methods of the paper in the palette of Okabe and Ito, apart for the colour-blind too; a marker
# each besides, for prints in grey. Dashed: what learns order or graphs
COLOURS = {
    "sigah": "#d55e00",
    "sigah.paper": "#e69f00",
    "itq": "#0072b2",
    "lsh": "#b4b8bc",
    "qolsh": "#50565c",
    "sign": "#dde1e4",
    "pca_rotation": "#a8b7c4",
    "spherical": "#009e73",
    "binary_autoencoder": "#56b4e9",
    "stochastic_generative": "#cc79a7",
    "ordinal_constrained": "#000000",
    "spectral": "#b58bc9",
    "kmeans": "#9ccc65",
    "anchor_graph": "#7b3fa0",
    "discrete_graph": "#d16ba5",
    "scalable_graph": "#4b3fa0",
}
MARKERS = {
    "sigah": "o",
    "sigah.paper": "D",
    "itq": "s",
    "lsh": "x",
    "qolsh": "+",
    "spherical": "^",
    "binary_autoencoder": "v",
    "stochastic_generative": "P",
    "ordinal_constrained": "d",
}
DASHED = ("ordinal_constrained", "spectral", "anchor_graph", "discrete_graph", "scalable_graph")
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
}


def curves_figure(results: Sequence[Mapping[str, Any]]) -> Figure:
    """Precision-recall and recall curves: a row a data set, a pair of panels a code length.

    Curves are those of the first seed of each method.
    """
    lengths = sorted({run["n_bits"] for run in results[0]["runs"]})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * 2 * len(lengths), 2.9 * len(results)), layout="constrained")
        axes = figure.subplots(len(results), 2 * len(lengths), squeeze=False)
        for row, result in zip(axes, results, strict=True):
            for column, bits in enumerate(lengths):
                runs = [run for run in result["runs"] if run["n_bits"] == bits]
                first_seed = min(run["seed"] for run in runs)
                for run in runs:
                    if run["seed"] == first_seed:
                        draw_run(row[2 * column], row[2 * column + 1], run, result["data"])
                label_panels(row[2 * column], row[2 * column + 1], result["data"], bits)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def recall_figure(results: Sequence[Mapping[str, Any]], *, n_bits: int) -> Figure:
    """Recall-R curves at one code length: a row a data set, a panel for each K.

    Curves are means over the seeds of each method.
    """
    sizes = [1, 10, 100, 1000]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1 * len(sizes), 3.2 * len(results)), layout="constrained")
        axes = figure.subplots(len(results), len(sizes), squeeze=False)
        for row, result in zip(axes, results, strict=True):
            curves: dict[str, list[Mapping[str, Any]]] = {}
            for run in result["runs"]:
                if run["n_bits"] == n_bits:
                    curves.setdefault(run["method"], []).append(run["curves"])
            for ax, size in zip(row, sizes, strict=True):
                for method, group in curves.items():
                    mean = [
                        fmean(at) for at in zip(*(c[f"recall{size}"] for c in group), strict=True)
                    ]
                    ax.plot(group[0]["depths"], mean, **line_style(method))
                ax.set(
                    title=f"{result['data']['name']}, {n_bits} bits: R-{size}",
                    xlabel="vectors retrieved",
                    ylabel=f"recall of the {size} nearest" if size > 1 else "recall of the nearest",
                    xscale="log",
                    ylim=(0, 1.02),
                )
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=8)
    return figure


def line_style(method: str) -> dict[str, Any]:
    """Colour, dash and label of a method, the same in every figure."""
    return {
        "color": COLOURS.get(method),
        "linewidth": 2.4 if method == "sigah" else 1.5,
        "linestyle": "--" if method in DASHED else "-",
        "marker": MARKERS.get(method),
        "markersize": 5 if method == "sigah" else 4,
        "markevery": 0.12,  # of the diagonal: as many on a steep curve as on a flat one
        "label": LABELS.get(method, method),
        "zorder": 3 if method == "sigah" else 2,
    }


def draw_run(pr: Axes, recall: Axes, run: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """One method's curves."""
    method, curves = run["method"], run["curves"]
    line = line_style(method)
    pr.plot(curves["pr_recall"], curves["pr_precision"], **line)
    recall.plot(curves["depths"], curves[f"recall{min(100, data['k'])}"], **line)


def label_panels(pr: Axes, recall: Axes, data: Mapping[str, Any], bits: int) -> None:
    """Titles, axes and limits."""
    pr.set(
        title=f"{data['name']}, {bits} bits",
        xlabel=f"recall of the {data['k']:,} true neighbours",
        ylabel="precision (pooled)",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    recall.set(
        title=f"{data['name']}, {bits} bits",
        xlabel="vectors retrieved",
        ylabel=f"recall of the {min(100, data['k'])} nearest",
        xscale="log",
        ylim=(0, 1.02),
    )


def ratios_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """How many times faster a search is than its peer, a panel for each number of codes.

    Rows have ``n``, ``n_bits``, ``queries``, ``k`` and ``ratio``.
    """
    sizes, lengths, queries, ks = (
        sorted({row[key] for row in rows}) for key in ("n", "n_bits", "queries", "k")
    )
    ratio = {(r["n"], r["n_bits"], r["queries"], r["k"]): r["ratio"] for r in rows}
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(9.5, 1 + 2.1 * len(sizes)), layout="constrained")
        for axis, n in zip(figure.subplots(len(sizes), 1, squeeze=False)[:, 0], sizes, strict=True):
            cells = [[ratio[n, bits, q, k] for q in queries for k in ks] for bits in lengths]
            axis.imshow(cells, norm=LogNorm(1 / 16, 16), cmap="RdYlGn", aspect="auto", alpha=0.75)
            for y, line in enumerate(cells):
                for x, value in enumerate(line):
                    axis.text(x, y, f"{value:.3g}", ha="center", va="center", fontsize=8)
            axis.set_title(f"{n:,} codes")
            axis.set_yticks(range(len(lengths)), [f"{bits} bits" for bits in lengths])
            axis.set_xticks(range(len(queries) * len(ks)), [f"{k}" for _ in queries for k in ks])
            for group, q in enumerate(queries):
                middle = len(ks) * (group + 0.5) - 0.5
                label = f"{q:,} quer{'y' if q == 1 else 'ies'}, k ="
                axis.annotate(
                    label, (middle, -0.22), xycoords=("data", "axes fraction"), ha="center"
                )
                if group:
                    axis.axvline(len(ks) * group - 0.5, color="white", linewidth=3)
            axis.tick_params(length=0)
    return figure


def images_figure(
    rows: Sequence[tuple[str, NDArray[Any]]],
    *,
    shape: tuple[int, int] = (28, 28),
    title: str,
    highlight: Mapping[str, NDArray[Any]] | None = None,
) -> Figure:
    """Labelled rows of small grey images.

    Parameters
    ----------
    rows : sequence of (label, images)
        ``images`` has shape ``(m, height * width)``, with values in [0, 1].
    highlight : mapping of label to bool array (m,), optional
        Images to underline: hits among found neighbours.
    """
    n = max(len(images) for _, images in rows)
    height, width = shape[0] + GAP, shape[1] + GAP
    # one picture for all: matplotlib takes longer for the axes of an image than for its pixels
    sheet = np.zeros((height * len(rows), width * n))
    for row, (_, images) in enumerate(rows):
        for i, image in enumerate(images):
            top, left = row * height, i * width
            sheet[top : top + shape[0], left : left + shape[1]] = np.reshape(image, shape)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.5 + 0.62 * n, 0.3 + 0.68 * len(rows)))
        figure.suptitle(title, fontsize=10, y=0.995)
        axis = figure.subplots()
        figure.subplots_adjust(
            left=1.45 / (1.5 + 0.62 * n),
            right=0.995,
            top=1 - 0.34 / (0.3 + 0.68 * len(rows)),
            bottom=0.02,
        )
        axis.set_axis_off()
        axis.imshow(sheet, cmap="gray_r", vmin=0, vmax=1)
        for row, (label, _) in enumerate(rows):
            middle, bottom = row * height + shape[0] / 2, (row + 1) * height - GAP / 2
            axis.text(-4, middle, label, ha="right", va="center", fontsize=9)
            for i, hit in enumerate(highlight.get(label, ()) if highlight else ()):
                colour = "#0072b2" if hit else "#d9d9d9"
                left = i * width
                axis.plot([left, left + shape[1] - 1], [bottom, bottom], color=colour, lw=3)
    return figure
