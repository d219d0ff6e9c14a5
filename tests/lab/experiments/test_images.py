"""Experiments on images by path: what a name means, and which figures stand beside which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sigah.cli.root import app
from sigah.evaluation import label_average_precision, read_results
from sigah.hashers import METHODS
from sigah.hashers.registry import make_hasher
from sigah.lab import datasets
from sigah.lab.experiments import (
    EXPERIMENTS,
    Store,
    available,
    explain_absence,
    prepare,
    run_experiment,
    with_backbones,
)
from sigah.lab.experiments.experiment import QUICK, Case, Column, Measured
from sigah.lab.experiments.panels import Entry
from sigah.lab.experiments.table6 import family

TABLE6, TABLE7 = EXPERIMENTS["table6"], EXPERIMENTS["table7"]
SMALL = replace(
    TABLE6,
    cases=(Case("ITQ", "itq"), Case("LSH", "lsh")),
    columns=(Column("label_map_by_relevant@1000", 16),),
)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stripes across, and stripes upright: 40 and 5 of each, with noise."""
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    root = tmp_path / "stripes"
    for part, n in (("train", 40), ("test", 5)):
        for kind in ("across", "upright"):
            (root / part / kind).mkdir(parents=True)
            for number in range(n):
                wave = np.sin(np.arange(32) * rng.uniform(0.5, 1.5))
                image = 128 + 60 * np.tile(wave, (32, 1)) + rng.normal(0, 20, (32, 32))
                image = image if kind == "upright" else image.T
                pixels = np.clip(image, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / kind / f"{number}.png")
    return root


def test_a_folder_means_the_backbones_of_the_experiment(pictures: Path) -> None:
    assert with_backbones(str(pictures), TABLE6) == [f"{pictures}@vgg16:64"]
    assert len(with_backbones(str(pictures), TABLE7)) == len(TABLE7.backbones) == 5
    assert with_backbones("cifar-10", TABLE6) == ["cifar-10@vgg16:64"]
    assert with_backbones("cifar-10", EXPERIMENTS["table2"]) == ["cifar-10"]
    assert with_backbones(f"{pictures}@gist-384", TABLE6) == [f"{pictures}@gist-384"]
    with pytest.raises(ValueError, match="no data set of table2, which takes vectors: compute"):
        with_backbones(str(pictures), EXPERIMENTS["table2"])
    assert available(f"{pictures}@gist-384") and not available(f"{pictures}-2@gist-384")
    assert not available("cifar-10@gist-384")
    assert "or give images by path" in explain_absence("cifar-10@vgg16:64")


def test_features_of_images_are_prepared_with_their_labels(pictures: Path) -> None:
    data = prepare(f"{pictures}@gist-384")
    assert data.name == "stripes-gist-384-32" and data.description["title"].startswith("stripes; ")
    assert data.base.shape == (80, 384) and data.query_labels.tolist() == [0] * 5 + [1] * 5
    assert (data.metric, data.n_train, data.k) == ("l2", None, 80)


def test_a_run_on_images_has_the_label_figures_alone(pictures: Path, tmp_path: Path) -> None:
    data = prepare(f"{pictures}@gist-384")
    assert run_experiment(SMALL, data, Store(tmp_path / "out"), seeds=1) == 2
    assert run_experiment(SMALL, data, Store(tmp_path / "out"), seeds=1) == 0
    (run, _) = read_results(tmp_path / "out/stripes-gist-384-32-table6.json")["runs"]
    hasher = METHODS["itq"](16, random_state=0).fit(data.base)
    codes = hasher.transform(data.base), hasher.transform(data.queries)
    for divisor in ("relevant", "hits"):
        found = label_average_precision(
            *codes, data.base_labels, data.query_labels, divisor=divisor
        )
        symmetric = run["metrics"][f"label_map_by_{divisor}@1000"]
        assert symmetric == pytest.approx(found.mean())
        asymmetric = run["metrics"][f"asymmetric_label_map_by_{divisor}@1000"]
        assert 0.6 < asymmetric <= 1 and 0.6 < symmetric <= 1
    # such a run does not serve experiments that want the metrics of exact neighbours
    with_ranks = replace(SMALL, ranks=True)
    assert run_experiment(with_ranks, data, Store(tmp_path / "out"), seeds=1) == 2


def test_cifar_of_the_catalogue_is_a_set_of_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path))
    rng = np.random.default_rng(0)
    levels = rng.integers(256, size=(40, 3072))
    base, queries = (levels[:30] / 255).astype("float32"), (levels[30:] / 255).astype("float32")
    labels = rng.integers(10, size=40)
    split = datasets.Split(base, queries, labels[:30], labels[30:])
    monkeypatch.setattr(datasets, "load", lambda name: split)
    data = prepare("cifar-10@gist-384")
    assert data.name == "cifar-10-gist-384-32"
    assert data.description["title"] == "CIFAR-10; GIST-384, 32 pixels"
    from sigah.lab.images.cifar import fetched_cifar

    image = np.asarray(fetched_cifar().parts["queries"].read(2))
    np.testing.assert_array_equal(image.transpose(2, 0, 1).ravel(), levels[32])


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("cifar-10-vgg16-64", "cifar-10"),
        ("cifar-10-jpeg-vgg16-64", "cifar-10"),
        ("tiny-imagenet-100-vgg16-64", "imagenet-100"),
        ("imagenet-100", "imagenet-100"),
        ("mnist", ""),
    ],
)
def test_the_papers_figures_stand_beside_their_family(name: str, of: str) -> None:
    assert family(name) == of
    run = {"seed": 0, "metrics": {"label_map_by_relevant@1000": 0.4}}
    one = Measured({"name": name, "n_train": 9, "n_base": 9, "title": "T"}, {("ITQ", 64): [run]})
    tables = TABLE6.view(TABLE6, [one])
    rows = dict(tables[0].rows)
    paper = {"cifar-10": 0.442, "imagenet-100": 0.391, "": None}[of]
    assert rows["ITQ"][2] == Entry(paper, 0.4, 0.0, 1)
    assert ("HashGAN (pixels)" in rows) == (of == "cifar-10")
    assert tables[0].title == "T: by the relevant"
    assert all(cell.paper is None for _, cells in tables[2].rows for cell in cells)


def test_methods_on_pixels_run_on_the_images_themselves(pictures: Path, tmp_path: Path) -> None:
    table = EXPERIMENTS["table6-pixels"]
    assert with_backbones(str(pictures), table) == [f"{pictures}@pixels:32"]
    data = replace(prepare(f"{pictures}@pixels:8"), quick=True)
    assert data.base.shape == (80, 8 * 8 * 3) and data.metric == "l2" and data.base.max() > 1
    small = replace(table, columns=(Column("label_map_by_relevant@1000", 16),))
    assert run_experiment(small, data, Store(tmp_path / "out"), seeds=1) == 4
    runs = read_results(tmp_path / "out/stripes-pixels-8-table6-pixels.json")["runs"]
    methods = ["bin_gan", "hash_gan", "itq", "pixel_deep_bit"]
    assert sorted(run["method"].partition(":")[0] for run in runs) == methods
    assert all(0 < run["metrics"]["label_map_by_hits@1000"] <= 1 for run in runs)


def test_short_schedules_do_not_stand_in_the_papers_rows() -> None:
    table = EXPERIMENTS["table6-pixels"]
    run = {"seed": 0, "metrics": {"label_map_by_relevant@1000": 0.2}}
    data = {"name": "cifar-10-jpeg-pixels-32", "n_train": 9, "n_base": 9, "title": "T"}
    short = next(case.label for case in table.cases if case.label.startswith("HashGAN"))
    rows = dict(table.view(table, [Measured(data, {(short, 32): [run]})])[0].rows)
    assert rows[short][1] == Entry(None, 0.2, 0.0, 1)
    assert [cell.paper for cell in rows["HashGAN"]] == [0.447, 0.463, 0.481]
    assert "2 passes" in short


@pytest.mark.parametrize(
    ("name", "batch"), [("hash_gan", 100), ("bin_gan", 25), ("pixel_deep_bit", 32)]
)
def test_short_schedules_are_two_passes_over_cifar(name: str, batch: int) -> None:
    (case,) = (c for c in EXPERIMENTS["table6-pixels"].cases if c.method.startswith(f"{name}:"))
    made = make_hasher(case.method, 32, 0)
    settings = made.get_params()
    assert settings["batch_size"] == batch and settings["n_steps"] * batch == 2 * 50_000


def test_a_protocol_that_samples_is_collected(tmp_path: Path, pictures: Path) -> None:
    data = replace(prepare(f"{pictures}@gist-384"), n_train=30)
    run_experiment(SMALL, data, Store(tmp_path / "out"), seeds=1)
    (one,) = Store(tmp_path / "out").collect(SMALL)
    assert one.title == "stripes; GIST-384, 32 pixels (learned from 30 vectors)"
    assert Store(tmp_path / "out").collect(replace(SMALL, samples=False)) == []


def test_the_command_runs_on_images(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(QUICK, "sigah", ("n_steps=2", "dictionary=identity"))
    out = tmp_path / "out"
    asked = ["reproduce", "table7", "--data", f"{pictures}@gist-384", "--quick", "-o", str(out)]
    run = CliRunner().invoke(app, asked)
    assert run.exit_code == 0, run.output
    assert "stripes; GIST-384, 32 pixels" in run.output
    again = CliRunner().invoke(app, asked)
    assert "all runs were measured before" in again.output
    missing = CliRunner().invoke(app, ["reproduce", "table6", "-o", str(out)])
    assert missing.exit_code and "or give images by path" in str(missing.exception)
