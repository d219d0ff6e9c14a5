"""The page in a real browser: a desktop's window, a phone's, and on paper."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import CHROMIUM, Tab, browser

from sigah.lab.report.page import write_report

ROOT = Path(__file__).parents[3]
SETS = ("mnist", "photo-gist-960", "wordnet-text")
PHONE, PAPER = 390, 718  # CSS pixels; A4 between its margins

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="no Chromium here to look at the page with; `make test-browser` installs one",
    ),
]


def results(name: str, number: int) -> dict[str, Any]:
    """Measurements of MNIST as if they were of another set, with pictures and histories."""
    rng = np.random.default_rng(number)
    content: dict[str, Any] = json.loads((ROOT / "results" / "mnist.json").read_bytes())
    content["runs"] += json.loads((ROOT / "results" / "mnist-ablation.json").read_bytes())["runs"]
    content["data"] |= {"name": name, "base_sha256": f"{number:064x}"}
    content["runs"] = [run for run in content["runs"] if run["seed"] < 2]
    for run in content["runs"]:
        pixels = rng.integers(256, size=(12, 784), dtype=np.uint8).tobytes()
        text = base64.b64encode(pixels).decode()
        run["gallery"] = {"picture": [28, 28], "original": text, "rebuilt": text}
        run["neighbors"] = {
            "picture": [28, 28],
            "near": 100,
            "queries": [3, 4],
            "exact": [list(range(8)), list(range(8))],
            "found": [list(range(2, 10)), list(range(8))],
            "hits": [[True, False] * 4, [True] * 8],
            "sources": [-1, -2, *range(10)],
            "pixels": base64.b64encode(zlib.compress(pixels)).decode(),
        }
        run["history"] = [
            {"step": step, "energy_real": 1 / step, "adversarial": 2 / step, "reconstruction": 1.0}
            for step in (100, 200, 300)
        ]
    return content


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for number, name in enumerate(SETS):
        (folder / f"{name}.json").write_text(json.dumps(results(name, number)))
    out = folder / "report.html"
    write_report(folder, out, paper=True)
    return out


@pytest.fixture(scope="module")
def tab(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.resize(1280)
        tab.open(page)
        yield tab


def test_it_loads_without_a_word_and_from_nowhere_else(tab: Tab, page: Path) -> None:
    assert tab.words == []
    assert tab.requests == [page.as_uri()]
    assert not re.search(r'(?:src|href)="(?!#|data:)', page.read_text())
    assert page.stat().st_size < 8e6


def test_every_picture_is_decoded(tab: Tab) -> None:
    widths = tab.ask(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert len(widths) > 4 * len(SETS)
    assert min(widths) > 100
    described = tab.ask("[...document.images].map(i => i.alt)")
    assert all(described)
    assert len(set(described)) == len(described)


def test_links_lead_to_what_they_name_and_open_it(tab: Tab) -> None:
    for name in ("mnist-fig3", "wordnet-text-neighbors"):
        assert not tab.ask(f"document.getElementById('{name}').checkVisibility()")
        tab.ask(f"document.querySelector('a[href=\"#{name}\"]').click()")
        tab.ask("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
        assert tab.ask(f"document.getElementById('{name}').checkVisibility()"), "its fold is open"
    for name in SETS:
        assert tab.ask(f"document.querySelectorAll('nav a[href=\"#{name}\"]').length") == 1


@pytest.mark.parametrize("width", [1280, 768, PHONE])
def test_nothing_is_wider_than_the_window(tab: Tab, width: int) -> None:
    tab.resize(width)
    tab.ask("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert tab.ask("document.documentElement.scrollWidth") <= width
    # tables may scroll in their own box, pictures and text may not
    beyond = tab.ask(
        "[...document.querySelectorAll('main img, main p, main dl, summary, h1, h2, h3')]"
        f".filter(e => e.getBoundingClientRect().right > {width})"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []


def test_paper_has_all_of_it(tab: Tab) -> None:
    tab.ask("document.querySelectorAll('details').forEach(fold => fold.open = false)")
    tab.resize(PAPER)
    tab.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert tab.ask("document.documentElement.scrollWidth") <= PAPER, "no table is clipped"
        hidden = tab.ask(
            "[...document.querySelectorAll('table, img')].filter(e => !e.getClientRects().length)"
            ".length"
        )
        assert hidden == 0, "folds are open"
        assert tab.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    finally:
        tab.call("Emulation.setEmulatedMedia", media="")
    paper = tab.print()
    assert paper.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) > len(SETS), "a page a data set and more"


def test_dark_windows_are_dark_and_paper_is_light(tab: Tab) -> None:
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    brightness = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)[0]"
    tab.call("Emulation.setEmulatedMedia", media="screen", features=dark)
    assert tab.ask(brightness) < 60
    tab.call("Emulation.setEmulatedMedia", media="print", features=dark)
    assert tab.ask(brightness) == 255
    tab.call("Emulation.setEmulatedMedia", media="", features=[])
