"""What queries find, judged by labels: pictures, frames, and which classes are mistaken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sigah import ITQ
from sigah.evaluation import EvaluationData
from sigah.lab.experiments import EXPERIMENTS, Measured, Store, prepare, run_experiment
from sigah.lab.experiments.experiment import Case, Column
from sigah.lab.experiments.found import found_panels, pictures_of, record_found
from sigah.lab.experiments.panels import Gallery, HeatMap, Table
from sigah.lab.images import extract, open_backbone, open_images, squares
from sigah.lab.report.markdown import write_markdown
from sigah.lab.report.page import write_report
from sigah.lab.report.plots import HIT, MISS, draw

TABLE6 = EXPERIMENTS["table6"]
SMALL = replace(
    TABLE6,
    cases=(Case("ITQ", "itq"), Case("LSH", "lsh")),
    columns=(
        Column("label_map_by_relevant@1000", 16),
        Column("label_map_by_relevant@1000", 32),
    ),
)
ORACLE = "Oracle, 30 tied"  # all codes of a class are equal
COLOURS = {"blue": (30, 60, 220), "green": (20, 200, 40), "red": (230, 30, 20)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of one colour each: 30 of a class in the base, 2 as queries."""
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    root = tmp_path / "colours"
    for part, n in (("train", 30), ("test", 2)):
        for kind, colour in COLOURS.items():
            (root / part / kind).mkdir(parents=True)
            for number in range(n):
                noise = rng.integers(-5, 6, (32, 32, 3))
                pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / kind / f"{number}.png")
    return root


@pytest.fixture
def data(folder: Path) -> EvaluationData:
    return prepare(f"{folder}@pixels:8")


class Oracle:
    """Codes that name a class; ``wrong`` names the class of a query that is taken for another."""

    n_bits = 16

    def __init__(self, data: EvaluationData, wrong: dict[int, int] | None = None) -> None:
        of_base: Any = zip(data.base, data.base_labels, strict=True)
        of_queries: Any = zip(data.queries, data.query_labels, strict=True)
        self.known = {row.tobytes(): int(label) for row, label in of_base}
        for row, label in of_queries:
            self.known[row.tobytes()] = (wrong or {}).get(int(label), int(label))

    def transform(self, rows: Any) -> Any:
        codes = np.array([[0, 255, 15][self.known[row.tobytes()]] for row in np.asarray(rows)])
        return np.repeat(codes[:, None], 2, axis=1).astype(np.uint8)


def shown(record: dict[str, Any], label: str = "Oracle") -> list[Any]:
    """The panels of a record."""
    run = {"seed": 0, "metrics": {}, "experiment": "table6", "found": record}
    about = {"name": "colours", "title": "Colours", "n_train": 90, "n_base": 90}
    return found_panels(replace(SMALL, cases=()), [Measured(about, {(label, 32): [run]})])


def test_a_hasher_that_finds_the_right_classes_mistakes_none(data: EvaluationData) -> None:
    record = record_found(Oracle(data), data)
    assert record["classes"] == ["blue", "green", "red"] and record["depth"] == 30
    assert list(record["confusion"].values()) == np.eye(3).tolist()
    assert record["found"] == [[name] * 10 for name in ("blue", "green", "red")]
    table, heat, *galleries, note = shown(record)
    assert isinstance(table, Table) and table.corner == "class"
    assert [cells[0].mean for _, cells in table.rows] == [1, 1, 1]
    assert isinstance(heat, HeatMap) and (heat.values == np.eye(3)).all()
    assert heat.description == "blue: 100% blue; green: 100% green; red: 100% red"
    assert len(galleries) == 3 and "A blue frame with a tick" in note
    assert all(gallery.hits[ORACLE].all() for gallery in galleries)
    assert galleries[2].description == f"query; {ORACLE}: 10 of 10 right"


def test_of_many_classes_the_easiest_and_the_hardest_are_shown(data: EvaluationData) -> None:
    names = [f"class {number:02}" for number in range(30)]
    shares = np.full((30, 30), 0.001)
    np.fill_diagonal(shares, np.random.default_rng(0).permutation(30) / 30)
    confusion = dict(zip(names, shares.tolist(), strict=True))
    record = record_found(Oracle(data), data)
    record |= {"classes": names, "confusion": confusion}
    table, heat, *_ = shown(record)
    assert isinstance(table, Table) and isinstance(heat, HeatMap)
    found = [cells[0].mean for _, cells in table.rows]
    np.testing.assert_allclose(found, np.r_[29:19:-1, 9:-1:-1] / 30)
    assert heat.rows == heat.columns == tuple(name for name, _ in table.rows)
    np.testing.assert_allclose(np.diag(heat.values), found)
    assert table.title.endswith(", 20 of 30 classes") and heat.title.endswith(", 20 of 30 classes")


def test_frames_and_signs_follow_the_labels(data: EvaluationData) -> None:
    record = record_found(Oracle(data, wrong={2: 0}), data)
    assert record["confusion"]["red"] == [1, 0, 0]
    galleries = [panel for panel in shown(record) if isinstance(panel, Gallery)]
    assert [gallery.hits[ORACLE].all() for gallery in galleries] == [True, True, False]
    assert not galleries[2].hits[ORACLE].any()
    assert galleries[2].description == f"query; {ORACLE}: 0 of 10 right, else 10 blue"
    for gallery, colour, sign in ((galleries[0], HIT, "✓"), (galleries[2], MISS, "✗")):
        (axes,) = draw(gallery).axes
        signs = [text for text in axes.texts if text.get_text() in "✓✗"]
        assert [text.get_text() for text in signs] == [sign] * 10
        sheet = np.asarray(axes.images[0].get_array())
        frame = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        row = sheet[len(sheet) // 2 :]  # below the query
        # ten frames of 2 pixels around pictures of 32
        framed = np.abs(row - frame).max(axis=2) < 1e-6
        assert framed.sum() == 10 * (36 * 36 - 32 * 32)


def test_pictures_are_those_of_the_images(folder: Path, data: EvaluationData) -> None:
    record = record_found(Oracle(data), data)
    images, pictures = open_images(folder), pictures_of(record)
    for number, query in enumerate(record["queries"]):
        exact = squares(images.parts["queries"], [query], 32)[0] / 255
        assert np.abs(pictures[-1 - number] - exact).mean() < 0.03, "but for the loss of JPEG"
    for row in record["ids"]:
        for i in row:
            exact = squares(images.parts["base"], [i], 32)[0] / 255
            assert np.abs(pictures[i] - exact).mean() < 0.03


def test_digits_have_grey_pictures() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((60, 28 * 28)).astype(np.float32)
    rows = np.repeat(np.repeat(rows.reshape(60, 28, 28)[:, ::7, ::7], 7, 1), 7, 2).reshape(60, -1)
    labels = np.arange(60) % 3
    data = EvaluationData(
        "digits", rows[9:], rows[:9], k=5, base_labels=labels[9:], query_labels=labels[:9],
        picture=(28, 28),
    )  # fmt: skip
    record = record_found(ITQ(16, random_state=0).fit(data.base), data)
    pictures = pictures_of(record)
    assert np.abs(pictures[-1] - rows[0].reshape(28, 28)).mean() < 0.05
    assert record["asked"] == ["0", "1", "2"]


def test_results_are_in_the_order_of_a_search(data: EvaluationData) -> None:
    hasher = ITQ(16, random_state=0).fit(data.base)
    record = record_found(hasher, data)
    base, queries = (np.unpackbits(hasher.transform(X), axis=1) for X in (data.base, data.queries))
    for query, ids, found in zip(record["queries"], record["ids"], record["found"], strict=True):
        distances = (base != queries[query]).sum(axis=1)
        assert ids == np.argsort(distances, kind="stable")[:10].tolist()
        assert found == [list(COLOURS)[label] for label in data.base_labels[ids]]
    for row in record["confusion"].values():
        assert sum(row) == pytest.approx(1, abs=1e-3)


def test_the_first_seed_of_the_longest_codes_is_recorded(
    data: EvaluationData, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = replace(SMALL, records=())
    assert run_experiment(before, data, Store(out), seeds=2) == 8
    assert len(Store(out).collect(SMALL)) == 1, "earlier runs are shown"
    assert run_experiment(SMALL, data, Store(out), seeds=2) == 2, "and measured again"
    assert run_experiment(SMALL, data, Store(out), seeds=2) == 0
    (one,) = Store(out).collect(SMALL)
    recorded = {
        (label, bits, run["seed"])
        for (label, bits), runs in one.runs.items()
        for run in runs
        if "found" in run
    }
    assert recorded == {("ITQ", 32, 0), ("LSH", 32, 0)}


def test_the_page_and_the_markdown_show_what_is_found(data: EvaluationData, tmp_path: Path) -> None:
    run_experiment(replace(TABLE6, cases=SMALL.cases), data, Store(tmp_path / "out"), seeds=1)
    write_report(tmp_path / "out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/webp") == 3, "a picture a class"
    assert 'alt="Table 6, colours; ' in page and "of 10 right" in page
    assert "precision of the first 30 by class, 64 bits" in page
    assert "A blue frame with a tick" in page
    (name,) = (name for name in write_markdown(tmp_path / "out", tmp_path / "md") if "col" in name)
    text = (tmp_path / "md" / name).read_text()
    pictures = sorted(file.name for file in (tmp_path / "md/pictures").iterdir())
    assert len(pictures) == 4 and all(f"](pictures/{picture})" in text for picture in pictures)
    assert "| class | LSH | ITQ |" in text


def test_features_know_their_images(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "features"
    extract(open_images(folder), open_backbone("pixels:8"), place)
    data = prepare(str(place))
    assert data.classes == tuple(COLOURS) and data.thumbnails is not None
    folder.rename(tmp_path / "elsewhere")
    data = prepare(str(place))
    assert data.thumbnails is None
    record = record_found(Oracle(data), data)
    assert record["pictures"] is None
    table, heat, note = shown(record)
    assert isinstance(table, Table) and isinstance(heat, HeatMap)
    assert "no pictures of what is found" in note and "--data IMAGES@BACKBONE" in note


def test_images_that_changed_are_not_shown(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "features"
    extract(open_images(folder), open_backbone("pixels:8"), place)
    Image.new("RGB", (32, 32)).save(folder / "train/red/0.png")
    assert prepare(str(place)).thumbnails is None


def test_the_quick_form_has_images_of_all_classes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigah.lab.experiments.sets.QUICK_BASE", 18)
    monkeypatch.setattr("sigah.lab.experiments.sets.QUICK_QUERIES", 3)
    data = prepare(f"{folder}@pixels:8", quick=True)
    assert np.bincount(data.base_labels).tolist() == [6, 6, 6]
    assert data.query_labels.tolist() == [0, 1, 2]
    assert data.thumbnails is not None
    (picture,) = data.thumbnails("base", np.array([17]))
    assert np.abs(picture.mean(axis=(0, 1)) - COLOURS["red"]).max() < 20


def test_images_elsewhere_have_no_pictures_of_table7() -> None:
    """Table 7 shares methods with Table 6: what only Table 6 was run on is shown there."""
    record = {"pictures": None, "depth": 1, "classes": ["a"], "confusion": {"a": [1.0]}}
    run = {"seed": 0, "metrics": {}, "experiment": "table6", "found": record}
    one = Measured({"name": "x", "n_train": 1, "n_base": 1}, {("ITQ", 64): [run]})
    table7 = EXPERIMENTS["table7"]
    assert found_panels(table7, [one]) == []
    run["experiment"] = "table7"
    assert len(found_panels(table7, [one])) == 3
