"""Experiments end to end on small data: what is run, kept, run again, and shown."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah.evaluation import EvaluationData, keys, read_results
from sigah.hashers import SiGAH
from sigah.hashers.itq import ITQ
from sigah.hashers.registry import method_class
from sigah.lab.experiments import EXPERIMENTS, Store, runner
from sigah.lab.experiments.experiment import HEADS, QUICK
from sigah.lab.experiments.panels import Gallery, Plot, Table
from sigah.lab.experiments.views import decode
from sigah.lab.report.chapters import verdict
from sigah.lab.report.page import write_report

pytestmark = pytest.mark.slow
TABLE2, TABLE4, FIG6 = (EXPERIMENTS[name] for name in ("table2", "table4", "fig6"))
FEW_STEPS = {
    **dict.fromkeys(HEADS, ("n_steps=5",)),
    "sigah": ("n_steps=10",),
    "sigah.paper": ("n_steps=10",),
    "stochastic_generative": ("n_steps=10",),
    "binary_autoencoder": ("n_iter=1",),
    "ordinal_constrained": ("max_iter=5", "n_anchors=40", "n_samples=200"),
}


@pytest.fixture(scope="module", autouse=True)
def small_and_apart(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Quick settings that suit a few hundred vectors, and a cache of our own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGAH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name, settings in FEW_STEPS.items():
            patch.setitem(QUICK, name, settings)
        yield


@pytest.fixture(scope="module")
def material() -> EvaluationData:
    """300 pictures of 8 x 8 in three classes, and 20 queries."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=320)
    centres = rng.random((3, 64))
    pictures = np.clip(centres[labels] + 0.2 * rng.normal(size=(320, 64)), 0, 1).astype("float32")
    return EvaluationData(
        "squares",
        pictures[20:],
        pictures[:20],
        k=20,
        base_labels=labels[20:],
        query_labels=labels[:20],
        picture=(8, 8),
        part="small",
        quick=True,
    )


@pytest.fixture(scope="module")
def folder(material: EvaluationData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of every experiment with one seed."""
    folder = tmp_path_factory.mktemp("results")
    for experiment in EXPERIMENTS.values():
        runner.run_experiment(experiment, material, Store(folder), seeds=1)
    return folder


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classes of the hashers fitted from here on."""
    fitted: list[str] = []
    for hasher in {type(case) for case in (SiGAH(), ITQ())}:
        fit = hasher.fit

        def counted(self: Any, X: Any, y: Any = None, fit: Any = fit) -> Any:
            fitted.append(type(self).__name__)
            return fit(self, X, y)

        monkeypatch.setattr(hasher, "fit", counted)
    return fitted


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_measures_all_it_describes(
    name: str, folder: Path, material: EvaluationData
) -> None:
    experiment = EXPERIMENTS[name]
    (measured,) = Store(folder).collect(experiment)
    wanted = {(u.label, u.asked_bits) for u in experiment.units(64, 1, quick=True)}
    assert set(measured.runs) == wanted
    panels = experiment.view(experiment, [measured])
    assert any(not isinstance(panel, Table) or panel.measured for panel in panels)
    for panel in panels:
        if isinstance(panel, Plot):
            assert all(np.isfinite([*s.x, *s.y]).all() for s in panel.series)


def test_what_is_measured_is_never_measured_again(
    folder: Path, material: EvaluationData, fits: list[str]
) -> None:
    for experiment in EXPERIMENTS.values():
        assert runner.run_experiment(experiment, material, Store(folder), seeds=1) == 0
    assert fits == []


def test_experiments_share_their_runs(
    material: EvaluationData, tmp_path: Path, fits: list[str]
) -> None:
    runner.run_experiment(EXPERIMENTS["table3"], material, Store(tmp_path), seeds=1)
    before = Counter(fits)
    runner.run_experiment(EXPERIMENTS["table2"], material, Store(tmp_path), seeds=1)
    # all of Table 3 is known; the literal reading at both lengths is new
    assert Counter(fits) - before == {"SiGAH": 2}
    before = Counter(fits)
    runner.run_experiment(TABLE4, material, Store(tmp_path), seeds=1)
    # the paper's recipe is known; without its discriminator, at both lengths, it is not
    assert Counter(fits) - before == {"SiGAH": 2}


def test_an_interrupted_run_goes_on(
    material: EvaluationData, tmp_path: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = 0

    def interrupt(run: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run_experiment(TABLE4, material, Store(tmp_path), seeds=2, on_run=interrupt)
    assert len(read_results(tmp_path / "squares-table4.json")["runs"]) == 3
    fits.clear()
    runner.run_experiment(TABLE4, material, Store(tmp_path), seeds=2)
    assert len(fits) == 2 * 2 * 2 - 3
    runs = read_results(tmp_path / "squares-table4.json")["runs"]
    assert len({(run["key"], run["seed"]) for run in runs}) == len(runs) == 8


def test_training_cut_short_is_no_measurement(
    material: EvaluationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SiGAH keeps what it learned until Ctrl-C; its figures must not."""
    fit = SiGAH.fit

    def cut_short(self: Any, X: Any, y: Any = None) -> Any:
        fit(self, X, y).training_["interrupted"] = True
        return self

    monkeypatch.setattr(SiGAH, "fit", cut_short)
    with pytest.raises(KeyboardInterrupt):
        runner.run_experiment(TABLE4, material, Store(tmp_path), seeds=1)
    assert not list(tmp_path.iterdir())


def test_changed_data_is_measured_anew(
    folder: Path, material: EvaluationData, tmp_path: Path, fits: list[str]
) -> None:
    (tmp_path / "before.json").write_bytes((folder / "squares-table4.json").read_bytes())
    base = material.base.copy()
    base[0, 0] += 0.5
    changed = replace(material, name="moved", base=base)
    assert runner.run_experiment(TABLE4, changed, Store(tmp_path), seeds=1) == 4
    assert len(fits) == 4
    with pytest.raises(ValueError, match="other data of the same name"):
        runner.run_experiment(TABLE4, replace(changed, base=base + 1), Store(tmp_path), seeds=1)


def test_changed_code_or_versions_are_measured_anew(
    material: EvaluationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runner.run_experiment(FIG6, material, Store(tmp_path), seeds=1) == 7
    versions = keys.package_versions()
    monkeypatch.setattr(keys, "package_versions", lambda: {**versions, "torch": "0.1"})
    unit = FIG6.units(64, 1, quick=True)[0]
    assert Store(tmp_path).find(material.description, unit, FIG6.needs) is None
    monkeypatch.undo()
    assert Store(tmp_path).find(material.description, unit, FIG6.needs) is not None
    for case in FIG6.cases:
        kind = method_class(case.method)
        monkeypatch.setattr(kind, "revision", kind.revision + 1)
    assert Store(tmp_path).find(material.description, unit, FIG6.needs) is None
    (shown,) = Store(tmp_path).collect(FIG6)
    assert len(shown.runs) == 7, "the page shows what there is until it is measured again"


def test_committed_results_are_recognised() -> None:
    """Every run of results/ still holds: nothing of it would be measured again."""
    folder = Path(__file__).parents[3] / "results"
    store = Store(folder)
    versions = {
        name: number
        for content in store.files.values()
        for run in content["runs"]
        for name, number in run.get("versions", {}).items()
    }
    with pytest.MonkeyPatch.context() as patch:
        # of the machine that measured them, whatever is installed here
        patch.setattr(keys, "package_versions", lambda: versions)
        total = 0
        for content in store.files.values():
            for run in content["runs"]:
                assert keys.run_key(content["data"], run) is not None
                assert keys.still_holds(run, method_class(run["method"])), run["method"]
                total += 1
        (mnist,) = (
            data
            for data in store.sets.values()
            if data["name"] == "mnist" and data["n_train"] == data["n_base"]
        )
        # the others are being measured again with the recipe that trains
        for name in ("table2", "table7"):
            for unit in EXPERIMENTS[name].units(784, 5, quick=False):
                if name == "table7" and unit.label != "SiGAH":
                    continue  # of images; the pixels of MNIST have the paper's row
                assert store.find(mnist, unit, EXPERIMENTS[name].needs), (name, unit.label)
    assert total > 900


def test_runs_of_sigah_evaluate_are_taken(
    folder: Path, material: EvaluationData, tmp_path: Path
) -> None:
    """Files written before keys and versions were recorded, or parameters added."""
    content = read_results(folder / "squares-table1.json")
    known = ("method", "n_bits", "seed", "parameters", "metrics", "curves", "revision")
    for run in content["runs"]:
        for extra in set(run) - set(known):
            del run[extra]
        run["parameters"].pop("patience", None)
    (tmp_path / "old.json").write_text(json.dumps(content))
    assert runner.run_experiment(TABLE2, material, Store(tmp_path), seeds=1) == 0
    # but the history of training is not in them
    assert runner.run_experiment(EXPERIMENTS["fig7"], material, Store(tmp_path), seeds=1) == 7


def test_every_run_tells_where_it_comes_from(folder: Path, material: EvaluationData) -> None:
    for path in folder.glob("*.json"):
        content = read_results(path)
        assert content["data"] == material.description
        for run in content["runs"]:
            assert run["environment"]["versions"].keys() >= {"numpy", "torch", "python"}
            assert run["environment"]["machine"]
            assert run["environment"]["threads"] >= 1
            assert run["command"].startswith("sigah")
            assert re.fullmatch(r"[0-9a-f]{64}", run["key"])
            assert run["revision"] == method_class(run["method"]).revision
            assert f"{run['experiment']}.json" in path.name
            assert run["finished"].endswith("+00:00")


def test_galleries_hold_the_queries_themselves(folder: Path, material: EvaluationData) -> None:
    panels = FIG6.view(FIG6, Store(folder).collect(FIG6))
    (gallery,) = [panel for panel in panels if isinstance(panel, Gallery)]
    labels = [label for label, _ in gallery.rows]
    assert labels == ["original", *(case.label for case in FIG6.cases)]
    first = [int(np.argmax(material.query_labels == label)) for label in range(3)]
    np.testing.assert_allclose(
        gallery.rows[0][1].reshape(3, 64), material.queries[first], atol=0.5 / 255 + 1e-6
    )
    assert decode(runner.encode(np.array([[-1.0, 2.0]])), (1, 2)).tolist() == [[[0, 1]]]


def test_table_7_has_both_divisors(folder: Path) -> None:
    (measured,) = Store(folder).collect(EXPERIMENTS["table7"])
    for run in measured.runs["SiGAH", 64]:
        by_relevant = run["metrics"]["label_map_by_relevant@1000"]
        by_hits = run["metrics"]["label_map_by_hits@1000"]
        assert 0 < by_relevant <= by_hits <= 1
    table = EXPERIMENTS["table7"].view(EXPERIMENTS["table7"], [measured])[0]
    figures = [cell.mean for cell in table.rows[0][1][:2]]
    assert figures == pytest.approx([by_relevant, by_hits])


def test_experiments_say_what_the_data_lacks(material: EvaluationData, tmp_path: Path) -> None:
    bare = replace(material, picture=None, base_labels=None)
    for name, word in (("fig6", "pictures"), ("neighbors", "pictures"), ("table7", "labels")):
        with pytest.raises(ValueError, match=word):
            runner.run_experiment(EXPERIMENTS[name], bare, Store(tmp_path), seeds=1)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mnist.json").write_text('{"data": ')
    with pytest.raises(ValueError, match="mnist.json is damaged"):
        Store(tmp_path)


def test_the_papers_figures_fit_their_columns() -> None:
    for experiment in EXPERIMENTS.values():
        # a shorter schedule is named in the label of ours
        labels = {case.label.partition(" (32 filters")[0] for case in experiment.cases}
        if experiment.name.startswith("table6"):
            labels |= {"HashGAN (pixels)", "BinGAN (pixels)"}  # which learn from no features
            labels |= {"TBH", "DeepBit", "DBD-MQ", "Deep Hashing"}
        for figures in experiment.paper.values():
            assert set(figures) <= labels
            assert {len(row) for row in figures.values()} == {len(experiment.columns)}


# ------------------------------------------------------------------- page


class Page(HTMLParser):
    """What a page refers to, whether its tags close, and the cells of its tables."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.cells: list[dict[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        attributes = dict(attrs)
        assert tag != "script"
        self.references += [v for k, v in attrs if k in ("src", "href", "srcset", "action")]
        self.ids += [v for k, v in attrs if k == "id"]
        if "data-mean" in attributes:
            self.cells.append({**attributes, "text": ""})
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and "td" in self.open and self.cells:
            self.cells[-1]["text"] = str(self.cells[-1]["text"]) + data


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    where = tmp_path_factory.mktemp("page")
    shown = write_report(folder, where / "report.html", plots=where / "plots")
    # Table 2 is Table 1 on MNIST
    assert shown == [name for name in EXPERIMENTS if name != "table2"]
    return (where / "report.html").read_text(), where / "plots"


def test_the_page_is_whole_and_loads_nothing(page: tuple[str, Path]) -> None:
    parsed = Page(page[0])
    assert not parsed.open, "every tag is closed"
    assert len(set(parsed.ids)) == len(parsed.ids)
    for reference in parsed.references:
        assert reference.startswith("data:") or reference.removeprefix("#") in parsed.ids
    assert not re.search(r"@import|url\(", page[0])
    assert "The quick form" in page[0]
    for name in EXPERIMENTS:
        if name not in ("table2", "table7"):
            assert f"squares-small-{name}" in parsed.ids
    assert "table7" in parsed.ids, "shown once, for all sets"


def test_the_page_shows_the_figures_of_the_json(page: tuple[str, Path], folder: Path) -> None:
    measured = {
        value
        for path in folder.glob("*.json")
        for run in read_results(path)["runs"]
        for value in [
            *run["metrics"].values(),
            *(share for row in run.get("found", {}).get("confusion", {}).values() for share in row),
        ]
    }
    cells = Page(page[0]).cells
    assert len(cells) > 50
    for cell in cells:
        value = float(str(cell["data-mean"]))
        assert value in measured
        text = str(cell["text"]).split()[0].replace(",", "")
        digits = len(text.partition(".")[2])
        assert digits >= (1 if str(cell["data-metric"]).endswith("_seconds") else 2)
        assert float(text) == pytest.approx(value, abs=0.51 * 10**-digits)


def test_plots_are_files_too(page: tuple[str, Path]) -> None:
    names = {path.stem for path in page[1].glob("*.svg")}
    assert names == {path.stem for path in page[1].glob("*.png")}
    drawn = {"table1", "table6", "table7", "decay", "fig3", "fig4", "fig6", "fig7", "fig8"}
    drawn.add("neighbors")
    assert {name.partition("-")[0] for name in names} == drawn
    assert "<text" in next(page[1].glob("fig7-*.svg")).read_text(), "text stays text"


def test_figures_stand_beside_the_papers(
    folder: Path, material: EvaluationData, tmp_path: Path
) -> None:
    """The same runs, as if they were of MNIST."""
    content = read_results(folder / "squares-table1.json")  # it has the runs of table 2 as well
    content["data"] |= {"name": "mnist", "part": ""}
    (tmp_path / "mnist.json").write_text(json.dumps(content))
    (measured,) = Store(tmp_path).collect(TABLE2)
    (table,) = [panel for panel in TABLE2.view(TABLE2, [measured]) if isinstance(panel, Table)]
    row = [label for label, _ in table.rows].index("LSH")
    cell = table.rows[row][1][0]
    ours = measured.runs["LSH", 32][0]["metrics"]["pr_area"]
    assert (cell.paper, cell.mean) == (0.2148, ours)
    assert cell.difference == pytest.approx(ours - 0.2148)
    assert table.won(row, 0) is (ours >= 0.2148)
    assert verdict(table).endswith("in the paper in 4 of 4.")
    write_report(tmp_path, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    sign = "+" if ours >= 0.2148 else "−"
    assert f"{sign}{abs(ours - 0.2148):.4f}" in text


def test_time_is_won_by_the_faster() -> None:
    from sigah.lab.experiments.panels import Entry

    rows = tuple(
        (name, (Entry(2.0, t),)) for name, t in (("slow", 3.0), ("fast", 1.0), ("so", 2.0))
    )
    table = Table("", ("seconds",), ("fit_cpu_seconds",), rows)
    assert (table.won(0, 0), table.won(1, 0), table.best(0)) == (False, True, 1)
    assert replace(table, apart=("fast",)).best(0) == 2
    assert replace(table, apart=("fast", "so")).best(0) is None, "nothing to be better than"


def test_an_empty_folder_makes_no_page(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sigah reproduce"):
        write_report(tmp_path, tmp_path / "page.html")
