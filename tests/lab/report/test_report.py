"""The demo's page on images and its parts, on a small slice of real ones."""

from __future__ import annotations

import base64
import io
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from sigah import SiGAH
from sigah.evaluation.table import results_table
from sigah.lab import datasets
from sigah.lab.demo import demo
from sigah.lab.demo.images import write_images
from sigah.lab.report.figures import images_figure, ratios_figure


@pytest.fixture(scope="module")
def page(digits: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base, queries = digits
    split = datasets.Split(base[:2000], queries[:20], np.zeros(2000), np.zeros(20))

    def write_text(out: Path, *, announce: Any) -> Path:
        (out / "text.html").write_text("<title>sigah</title>")
        return out / "text.html"

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGAH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(datasets, "load", lambda name: split)
        patch.setitem(
            write_images.__globals__,
            "SiGAH",
            partial(SiGAH, n_steps=10, batch_size=100, dictionary_ratio=0.5),
        )
        patch.setitem(demo.__globals__, "write_text", write_text)
        return demo(tmp_path_factory.mktemp("demo"), announce=lambda line: None)


def test_the_page_carries_all_it_shows(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r'(?:src|href)="(?!data:)([^"]+)', text)
    assert links == ["text.html"], "nothing is loaded from elsewhere"
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(pictures) == 1 + 2 * 4 + 2  # curves, four queries and one sheet a data set
    for picture in pictures:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("L"))
        assert pixels.std() > 5, "the picture is not blank"
    for name in ("mnist", "fashion-mnist", "SiGAH", "ITQ", "LSH"):
        assert name in text


def test_the_results_beside_the_page_are_the_ones_shown(page: Path) -> None:
    results = json.loads((page.parent / "results.json").read_text())["results"]
    assert [result["data"]["name"] for result in results] == ["mnist", "fashion-mnist"]
    for run in results[0]["runs"]:
        assert f"{run['metrics']['map']:.3f}" in page.read_text()


def test_the_table_marks_the_best_of_each_length(page: Path) -> None:
    result = json.loads((page.parent / "results.json").read_text())["results"][0]
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(results_table(result))
    text = console.export_text(styles=True)
    for bits in (32, 64):
        best = max(r["metrics"]["map"] for r in result["runs"] if r["n_bits"] == bits)
        assert f"\x1b[1m{best:.3f}" in text


def test_image_rows_keep_their_order() -> None:
    black, white = np.ones((3, 784)), np.zeros((2, 784))
    figure = images_figure([("black", black), ("white", white)], title="")
    (axis,) = figure.axes
    sheet = np.asarray(axis.images[0].get_array())
    rows = np.split(sheet, 2)
    inked = [[image.max() for image in np.split(row, 3, axis=1)] for row in rows]
    assert inked == [[1, 1, 1], [0, 0, 0]]
    labels = {text.get_text(): text.get_position()[1] for text in axis.texts}
    assert labels["black"] < len(rows[0]) < labels["white"], "each label stands beside its row"


def test_hits_are_underlined_in_colour() -> None:
    images = [("query", np.ones((1, 784))), ("found", np.ones((3, 784)))]
    hits = {"found": np.array([True, False, True])}
    (axis,) = images_figure(images, title="", highlight=hits).axes
    places = [line.get_xdata()[0] for line in axis.lines]
    colours = [line.get_color() for line in axis.lines]
    assert places == sorted(places) and len(places) == 3
    assert colours[0] == colours[2] != colours[1]
    below_first_row = np.asarray(axis.images[0].get_array()).shape[0] / 2
    assert all(line.get_ydata()[0] > below_first_row for line in axis.lines)


def test_ratios_stand_in_their_cells() -> None:
    rows = [
        {"n": n, "n_bits": bits, "queries": queries, "k": k, "ratio": n + bits + queries + k / 10}
        for n in (100, 200)
        for bits in (8, 16)
        for queries in (1, 40)
        for k in (1, 2, 3)
    ]
    figure = ratios_figure(rows[::-1])
    assert [axis.get_title() for axis in figure.axes] == ["100 codes", "200 codes"]
    for axis, n in zip(figure.axes, (100, 200), strict=True):
        shown = {text.get_position(): text.get_text() for text in axis.texts}
        for row in rows:
            if row["n"] == n:
                place = (3 * (row["queries"] == 40) + row["k"] - 1, int(row["n_bits"] == 16))
                assert shown[place] == f"{row['ratio']:.3g}"
