"""Who wins: margins, ties and marks, as HTML and as Markdown."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from sigah import SiGAH
from sigah.lab.experiments import Store
from sigah.lab.experiments.table1 import TABLE1
from sigah.lab.experiments.views import paired
from sigah.lab.report.chapters import chapters
from sigah.lab.report.figures import COLOURS, MARKERS
from sigah.lab.report.markdown import markdown_pages, write_markdown
from sigah.lab.report.page import write_report
from sigah.lab.report.summary import Margin, headline, summarize_sets


def write(folder: Path, figures: dict[str, dict[str, list[float]]], **data: Any) -> None:
    """Results with these figures, a value a seed."""
    block = {
        "name": "mnist", "n_base": 100, "n_queries": 10, "dim": 64, "k": 5, "n_train": 100,
        "base_sha256": "a", "queries_sha256": "b", **data,
    }  # fmt: skip
    runs = [
        {
            "method": method,
            "n_bits": 32,
            "seed": seed,
            "parameters": {},
            "metrics": {metric: values[seed] for metric, values in metrics.items()},
            "curves": {"pr_recall": [0.1, 1.0], "pr_precision": [0.9, 0.1]},
        }
        for method, metrics in figures.items()
        for seed in range(len(next(iter(metrics.values()))))
    ]
    (folder / f"{block['name']}.json").write_text(json.dumps({"data": block, "runs": runs}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path,
        {
            "sigah": {
                "pr_area": [0.6, 0.8],
                "precision@100": [0.5, 0.5],
                "relative_reconstruction_error": [0.4, 0.4],
            },
            "itq": {
                "pr_area": [0.5, 0.5],
                "precision@100": [0.5, 0.5],
                "relative_reconstruction_error": [0.3, 0.3],
            },
            "lsh": {"pr_area": [0.45, 0.75], "precision@100": [0.4, 0.4]},
        },
    )
    return tmp_path


def test_margins_are_over_the_best_other_method(folder: Path) -> None:
    (summary,) = summarize_sets(Store(folder))
    area = summary.margins["pr_area", 32]
    assert (area.rival, area.seeds) == ("LSH", 2)  # the best mean, whatever its spread
    assert area.lead == pytest.approx(0.1)
    assert area.deviation == pytest.approx(np.hypot(0.1, 0.15) * 2**0.5)  # ddof=1
    assert area.mark == "tie", "within one standard deviation"
    assert (area.rivals, summary.methods) == (2, 2)
    assert summary.margins["relative_reconstruction_error", 32].rivals == 1
    assert area.paper == pytest.approx(0.4320 - 0.4223)  # of Table 2
    assert summary.margins["precision@100", 32].mark == "tie"
    error = summary.margins["relative_reconstruction_error", 32]
    assert (error.mark, error.rival) == ("lost", "ITQ")  # smaller is better
    assert error.lead == pytest.approx(-0.1)
    assert error.deviations is None, "nothing varies"
    assert "1 data set (with 2 other methods)" in headline([summary])
    assert "level with the best of them in 2 and behind in 1" in headline([summary])
    assert headline([summary]).endswith("In mAP (`pr_area`) its margin is +0.100 to +0.100.")
    assert headline([]) == "", "nothing is said of 0 comparisons"


def test_marks_change_at_one_deviation() -> None:
    def mark(ours: float) -> str:
        return Margin("map", 32, "itq", ours, 0.5, deviation=0.125, seeds=5).mark

    marks = [mark(ours) for ours in (0.374, 0.375, 0.5, 0.625, 0.626)]
    assert marks == ["lost", "tie", "tie", "tie", "won"]


def test_a_slice_is_not_beside_the_papers_figures(folder: Path) -> None:
    content = json.loads((folder / "mnist.json").read_bytes())
    content["data"]["part"] = "its first 100 vectors"
    (folder / "mnist.json").write_text(json.dumps(content))
    (summary,) = summarize_sets(Store(folder))
    assert summary.margins["pr_area", 32].paper is None


def test_a_set_is_shown_under_the_table_that_has_its_paper(folder: Path) -> None:
    figures = {"sigah": {"pr_area": [0.6]}, "itq": {"pr_area": [0.5]}}
    write(folder, figures, name="gist1m", base_sha256="c")
    write(folder, figures, name="of-mine", base_sha256="d")
    shown = {
        chapter.data["name"]: [one.experiment.name for one in chapter.sections]
        for chapter in chapters(Store(folder), paper=True)
    }
    assert list(shown) == ["mnist", "gist1m", "of-mine"], "as the catalogue has them"
    assert {name: "table1" in names for name, names in shown.items()} == {
        "mnist": False,
        "gist1m": True,
        "of-mine": False,
    }
    assert {name: "table2" in names for name, names in shown.items()} == {
        "mnist": True,
        "gist1m": False,
        "of-mine": False,
    }
    assert shown["of-mine"] == ["methods"]


def test_a_method_alone_is_no_comparison(tmp_path: Path) -> None:
    metrics = {"pr_area": [0.6, 0.8], "fit_cpu_seconds": [1.0, 2.0], "label_map@1000": [0.5, 0.5]}
    write(tmp_path, {"sigah": metrics})
    (chapter,) = chapters(Store(tmp_path), paper=True)
    assert [one.experiment.name for one in chapter.sections] == ["table2"], "nor Tables 3 to 5"
    write(tmp_path, {"sigah": metrics, "itq": metrics})
    (chapter,) = chapters(Store(tmp_path), paper=True)
    assert [one.experiment.name for one in chapter.sections] == ["table2", "table3"]


def test_markdown_says_the_same(folder: Path, tmp_path: Path) -> None:
    pages = write_markdown(folder, tmp_path / "pages", paper=True)
    assert {path.name: path.read_text() for path in (tmp_path / "pages").iterdir()} == pages
    assert set(pages) == {"README.md", "mnist.md"}
    assert "[mnist](mnist.md)" in pages["README.md"]
    assert "✗ −.100" in pages["README.md"]
    assert "| mAP | 32 | = +0.100 | +0.4 | 0.700 | LSH | 0.600 | +0.010 |" in pages["mnist.md"]
    row = next(line for line in pages["mnist.md"].splitlines() if line.startswith("| SiGAH |"))
    assert row.startswith("| SiGAH | **0.700 ± 0.141** | 0.432 | +0.268 | – | 0.501 | – |")
    tables = re.findall(r"(?:^\|.*\n)+", pages["mnist.md"], re.MULTILINE)
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1, "columns fit"
    with pytest.raises(ValueError, match="holds no results"):
        markdown_pages(tmp_path / "pages")


def test_a_plot_of_a_few_settings_is_a_table_and_a_curve_is_not(tmp_path: Path) -> None:
    figures = {"pr_area": [0.6, 0.8]}, {"pr_area": [0.5, 0.7]}
    write(tmp_path, dict(zip(("sigah.paper", "sigah.paper:margin=1"), figures, strict=True)))
    content = json.loads((tmp_path / "mnist.json").read_bytes())
    for run in content["runs"]:
        run["n_bits"] = 64
        run["parameters"] = SiGAH.paper(64).get_params()
        if "margin" in run["method"]:
            run["parameters"]["margin"] = 1.0
        steps = range(50, 1050, 50)
        run["history"] = [
            {"step": step, "energy_real": 0.1, "adversarial": 0.1, "reconstruction": 0.1}
            for step in steps
        ]
    (tmp_path / "mnist.json").write_text(json.dumps(content))
    page = markdown_pages(tmp_path, paper=True)["mnist.md"]
    figure = page[page.index("## Fig. 7") :]
    assert "| margin m | mAP, 64 bits |\n| --- | ---: |\n| 0.05 | 0.700 ± 0.141 |\n" in figure
    assert "| 1 | 0.600 ± 0.141 |" in figure
    figure = figure[: figure.find("\n## ", 1)]
    assert "### (b)" not in figure, "energies against iterations"


# ------------------------------------------------------------------ data of the user's own


def test_the_report_of_own_data_is_about_own_data(tmp_path: Path) -> None:
    """Any code length, methods of one's own and settings; nothing of the paper's."""
    figures = {
        "sigah": {"pr_area": [0.6, 0.62], "map": [0.5, 0.5]},
        "itq": {"pr_area": [0.5, 0.52], "map": [0.55, 0.55]},
        "itq:n_iter=3": {"pr_area": [0.4, 0.4], "map": [0.4, 0.4]},
        "pair_hash": {"pr_area": [0.65, 0.66], "map": [0.45, 0.46]},
    }
    write(tmp_path, figures, name="shop", dim=512)
    content = json.loads((tmp_path / "shop.json").read_bytes())
    for run in content["runs"]:
        run["n_bits"] = 256
        if run["method"] == "pair_hash":
            run |= {"class": "my_hash:PairHash", "key": "5" * 64, "revision": 1}
        if run["method"] == "itq:n_iter=3":
            run["parameters"] = {"n_iter": 3}
    (tmp_path / "shop.json").write_text(json.dumps(content))
    write_report(tmp_path, tmp_path / "page.html")
    pages = markdown_pages(tmp_path)
    for text in ((tmp_path / "page.html").read_text(), pages["README.md"] + pages["shop.md"]):
        assert "256" in text
        assert "pair_hash" in text
        assert "itq:n_iter=3" in text
        assert "Best at 256 bits: pair_hash in mAP; itq in true mAP." in text
        for foreign in ("GIST1M", "arXiv", "0 of 0", "sigah reproduce", "Does SiGAH win", "MNIST"):
            assert foreign not in text
    assert "SiGAH is better than every other method measured in 0 of 2 comparisons" in " ".join(
        pages["README.md"].split()
    )
    (summary,) = summarize_sets(Store(tmp_path))
    assert summary.margins["pr_area", 256].rival == "pair_hash"
    assert summary.margins["pr_area", 256].rivals == 2, "settings of one method are no rivals"
    # without SiGAH there is nothing to say of it
    content["runs"] = [run for run in content["runs"] if run["method"] != "sigah"]
    (tmp_path / "shop.json").write_text(json.dumps(content))
    write_report(tmp_path, tmp_path / "page.html")
    assert "SiGAH is better" not in (tmp_path / "page.html").read_text()
    assert "SiGAH" not in markdown_pages(tmp_path)["README.md"]


def test_results_of_evaluate_stand_alone_unless_the_paper_is_asked_for(
    folder: Path, tmp_path: Path
) -> None:
    """MNIST is in the paper: at the default, nothing of it is shown; with `paper`, its Table 2."""
    write_report(folder, tmp_path / "page.html")
    alone = (tmp_path / "page.html").read_text(), markdown_pages(folder)["mnist.md"]
    for text in alone:
        assert "Methods compared" in text
        for foreign in ("Table 2", "arXiv", "in the paper", "data-paper", "0.432"):
            assert foreign not in text
    write_report(folder, tmp_path / "page.html", paper=True)
    beside = (tmp_path / "page.html").read_text(), markdown_pages(folder, paper=True)["mnist.md"]
    for text in beside:
        assert "Table 2" in text and "in the paper" in text and "0.432" in text
    content = json.loads((folder / "mnist.json").read_bytes())
    content["runs"][0]["experiment"] = "table2"  # of `sigah reproduce`: always beside the paper
    (folder / "mnist.json").write_text(json.dumps(content))
    assert markdown_pages(folder)["mnist.md"] == beside[1]


def test_the_paper_cannot_stand_beside_own_data(tmp_path: Path) -> None:
    write(tmp_path, {"itq": {"map": [0.5]}, "lsh": {"map": [0.4]}}, name="shop")
    with pytest.raises(ValueError, match="no results on a data set .* leave --paper out"):
        write_report(tmp_path, tmp_path / "page.html", paper=True)


def test_a_method_of_ones_own_stands_in_the_papers_tables(folder: Path) -> None:
    content = json.loads((folder / "mnist.json").read_bytes())
    own = json.loads(json.dumps(content["runs"][0]))
    own |= {"method": "pair_hash", "class": "my_hash:PairHash", "key": "5" * 64}
    own["metrics"]["pr_area"] = 0.9
    content["runs"].append(own)
    (folder / "mnist.json").write_text(json.dumps(content))
    page = markdown_pages(folder, paper=True)["mnist.md"]
    table = page[page.index("## Table 2") :]
    assert re.search(r"^\| pair_hash \| \*\*0.900\*\* \| – ", table, re.MULTILINE)
    (summary,) = summarize_sets(Store(folder))
    assert summary.margins["pr_area", 32].rival == "pair_hash"


def test_runs_learned_from_a_sample_are_shown_where_there_are_no_others(tmp_path: Path) -> None:
    write(tmp_path, {"itq": {"map": [0.5]}, "lsh": {"map": [0.4]}}, name="shop", n_train=50)
    assert "learned from 50 vectors" in markdown_pages(tmp_path)["README.md"]


def test_what_the_discriminator_is_worth_is_paired_by_seed() -> None:
    def runs(*values: float) -> list[dict[str, Any]]:
        return [{"seed": s, "metrics": {"map": v}} for s, v in enumerate(values)]

    # seeds differ by more than the two methods do
    found = paired(runs(0.51, 0.62, 0.73, 0.84), runs(0.50, 0.60, 0.71, 0.83), "map")
    assert found is not None
    assert (round(found.mean, 4), found.seeds) == (0.015, 4)
    expected = ttest_rel([0.51, 0.62, 0.73, 0.84], [0.50, 0.60, 0.71, 0.83])
    assert found.t == pytest.approx(expected.statistic)
    assert paired(runs(0.5), runs(0.4), "map") is None, "one pair has no deviation"
    shuffled = paired(runs(0.51, 0.62, 0.73, 0.84)[::-1], runs(0.50, 0.60, 0.71, 0.83), "map")
    assert shuffled == found, "by seed, not by place"


# ------------------------------------------------------------------ colours

# what dichromats see of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1)
SEEN = {
    "all": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def lab(colour: str, eyes: str) -> Any:
    """CIE L*a*b* of a colour as these eyes see it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(SEEN[eyes]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = xyz @ linear / [0.9505, 1.0, 1.089]
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", SEEN)
def test_methods_of_the_paper_have_colours_that_all_can_tell_apart(eyes: str) -> None:
    for one, other in combinations([case.style for case in TABLE1.cases], 2):
        distance = np.linalg.norm(lab(COLOURS[one], eyes) - lab(COLOURS[other], eyes))
        assert distance > 10, f"{one} and {other}: {distance:.0f}"
        assert MARKERS[one] != MARKERS[other]
