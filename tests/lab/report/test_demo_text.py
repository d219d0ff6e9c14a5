"""The demo's page on text: what it says is what was measured, and it can be used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import CHROMIUM, Tab, browser

from sigah.evaluation import exact_neighbors
from sigah.lab import datasets
from sigah.lab.demo.text import (
    DEPTH,
    N_SHOWN,
    READABLE,
    Answers,
    Sample,
    compare,
    drawn,
    page,
    write_text,
)

PHONE = 400  # CSS pixels
BUDGETS = (8, 16)
TOPICS = ("tree", "river", "music", "court", "ship", "coin", "bird", "stone", "</script>", "wine")


def sentences(rng: np.random.Generator, n: int) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Vectors around topics, and sentences that name the topic."""
    topics = np.random.default_rng(1).normal(size=(len(TOPICS), 128))
    drawn = rng.integers(len(TOPICS), size=n)
    vectors = topics[drawn] + rng.normal(size=(n, 128))
    texts = [
        f"something like a {TOPICS[topic]} & its kind, number {row}"
        for row, topic in enumerate(drawn)
    ]
    return vectors.astype(np.float32), texts


@pytest.fixture(scope="module")
def sample() -> Sample:
    rng = np.random.default_rng(0)
    (base, base_texts), (queries, query_texts) = sentences(rng, 1500), sentences(rng, 130)
    query_texts[:20] = ["short"] * 20
    split = datasets.Split(base, queries, None, None)
    texts = datasets.Texts(base_texts, query_texts)
    return drawn(split, texts, n_base=1200, n_queries=125)


@pytest.fixture(scope="module")
def found(sample: Sample) -> dict[str, list[Answers]]:
    return compare(sample, BUDGETS, announce=lambda line: None)


@pytest.fixture(scope="module")
def written(
    sample: Sample, found: dict[str, list[Answers]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    file = tmp_path_factory.mktemp("demo") / "text.html"
    file.write_text(page(sample, found))
    return file


def test_sentences_stay_with_their_vectors(sample: Sample) -> None:
    assert len(sample.base) == len(sample.base_texts) == len(set(sample.base_texts)) == 1200
    rng = np.random.default_rng(0)
    base, texts = sentences(rng, 1500)
    for row in (0, 500, 1199):
        np.testing.assert_array_equal(sample.base[row], base[texts.index(sample.base_texts[row])])
    readable = [len(text) in READABLE for text in sample.query_texts]
    assert all(readable[:N_SHOWN]) and not any(readable[-15:])


def test_full_vectors_are_the_truth_and_codes_find_a_part(
    sample: Sample, found: dict[str, list[Answers]]
) -> None:
    truth = exact_neighbors(sample.base, sample.queries, DEPTH, "cosine").ids
    (full,) = found["full"]
    assert full.n_bytes == 4 * 128 and full.recall == 1
    np.testing.assert_array_equal(full.ids, truth[:, :10])
    np.testing.assert_array_equal(full.places, np.tile(np.arange(10), (len(truth), 1)))
    for some in (found["sign"], found["sigah"]):
        assert [answers.n_bytes for answers in some] == list(BUDGETS)
        assert some[0].recall < some[1].recall < 1
        for answers in some:
            for ids, places, true in zip(answers.ids, answers.places, truth, strict=True):
                order = true.tolist()
                assert places.tolist() == [
                    order.index(one) if one in order else DEPTH for one in ids.tolist()
                ]
    assert found["sigah"][0].recall > found["sign"][0].recall
    assert found["sigah"][0].model_bytes > 0


def test_the_page_has_what_was_measured_and_nothing_from_elsewhere(
    written: Path, sample: Sample, found: dict[str, list[Answers]]
) -> None:
    text = written.read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert text.count("</script>") == 2, "a sentence ends no script"
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert match
    data = json.loads(match[1])
    assert [query["text"] for query in data["queries"]] == sample.query_texts[:N_SHOWN]
    for name, some in found.items():
        for answers in some:
            for number in (0, 57, 99):
                shown = data["queries"][number][name][str(answers.n_bytes)]
                texts = [sample.base_texts[row] for row in answers.ids[number].tolist()]
                assert [data["texts"][one] for one, _ in shown] == texts
                assert [place for _, place in shown] == answers.places[number].tolist()
            assert f"{answers.recall:.3f}" in text or name == "full"
    assert "1,200 definitions" in text and "125 sentences" in text


def test_the_set_is_read_and_the_page_written(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = datasets.Split(sample.base, sample.queries, None, None)
    texts = datasets.Texts(sample.base_texts, sample.query_texts)
    monkeypatch.setattr(datasets, "load", {"wordnet-text": split}.get)
    monkeypatch.setattr(datasets, "texts", {"wordnet-text": texts}.get)
    monkeypatch.setitem(write_text.__globals__, "BUDGETS", (8,))
    told: list[str] = []
    out = write_text(tmp_path / "demo", announce=told.append)
    assert out == tmp_path / "demo" / "text.html" and "<title>sigah" in out.read_text()
    assert len(told) == 3 and "sigah  8 bytes" in told[2]


def test_without_the_set_images_are_left(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str) -> None:
        if name == "wordnet-text":
            raise OSError(f"{name} could not be fetched:\n- a package: no network")

    def write(out: Path, *, announce: Any, text: bool) -> Path:
        assert not text
        return out / "index.html"

    monkeypatch.setattr("sigah.cli.evaluation.fetch_with_bar", fetch)
    monkeypatch.setattr("sigah.lab.demo.demo", write)
    out = tmp_path / "demo"
    status, said, _ = run("demo", "--out", out)
    reason = "wordnet-text could not be fetched: - a package: no network"
    assert status == 0
    assert said.splitlines() == [
        f"text is left out: {reason}",
        f"open {out / 'index.html'} in a browser",
    ]


needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium here to look at the page with; `make test-browser` installs one",
)


@pytest.fixture
def tab(written: Path, tmp_path: Path) -> Iterator[Tab]:
    with browser(tmp_path / "profile") as tab:
        tab.resize(1200)
        tab.open(written)
        yield tab


def choose(tab: Tab, name: str, value: int) -> None:
    tab.ask(f"document.querySelector('input[name={name}][value=\"{value}\"]').click()")


def items(tab: Tab, name: str) -> list[tuple[str, str, str]]:
    """The mark, the text and the note of each of the found."""
    return tab.ask(
        f"[...document.querySelectorAll('#{name}-list li')].map(e => [e.children[0].textContent,"
        " e.children[1].firstChild.textContent, e.querySelector('small').textContent])"
    )


@pytest.mark.slow
@needs_chromium
def test_it_loads_alone_and_shows_what_is_chosen(
    tab: Tab, written: Path, sample: Sample, found: dict[str, list[Answers]]
) -> None:
    for number, size in ((0, 1), (41, 0), (99, 1)):
        choose(tab, "query", number)
        choose(tab, "bytes", BUDGETS[size])
        assert tab.ask("document.getElementById('query').textContent") == sample.query_texts[number]
        found_by = {}
        for name in ("sign", "sigah"):
            answers = found[name][size]
            hits = answers.places[number] < 10
            shown = items(tab, name)
            assert [mark == "✓" for mark, *_ in shown] == hits.tolist()
            found_by[name] = [sample.base_texts[row] for row in answers.ids[number].tolist()]
            assert [text for _, text, _ in shown] == found_by[name]
            for (_, _, note), place in zip(shown, answers.places[number].tolist(), strict=True):
                assert re.findall(r"\d+", note) == [str(min(place + 1, DEPTH))]
            told = tab.ask(
                f"[...document.querySelectorAll('#{name}-list [role=img]')].map(e => e.ariaLabel)"
            )
            assert [text == "one of the true ten" for text in told] == hits.tolist()
            colours = tab.ask(
                f"[...document.querySelectorAll('#{name}-list li')]"
                ".map(e => getComputedStyle(e.children[0]).color)"
            )
            assert len({*zip(colours, hits.tolist(), strict=True)}) == len({*hits.tolist()})
            for part, expected in (
                ("hits", f"{hits.sum()} of 10"),
                ("mean", f"mean {10 * answers.recall:.1f} of 10"),
                ("bytes", f"{BUDGETS[size]} bytes"),
                ("time", f"{round(answers.microseconds):,} µs"),
            ):
                assert tab.ask(f"document.getElementById('{name}-{part}').textContent") == expected
        for rank, (mark, text, note) in enumerate(items(tab, "full"), 1):
            assert mark == str(rank)
            signs, ours = (text in found_by[name] for name in ("sign", "sigah"))
            assert note == f"{'✓' if signs else '✗'} signs{'✓' if ours else '✗'} sigah"
    assert tab.words == []
    assert tab.requests == [written.as_uri()]


@pytest.mark.slow
@needs_chromium
def test_the_filter_leaves_what_has_its_words_and_enter_takes_the_first(
    tab: Tab, sample: Sample
) -> None:
    def type_in(text: str) -> list[str]:
        tab.ask(
            f"document.getElementById('filter').value = {json.dumps(text)};"
            "document.getElementById('filter').dispatchEvent(new Event('input'))"
        )
        return tab.ask(
            "[...document.querySelectorAll('#queries label')].filter(e => e.checkVisibility())"
            ".map(e => e.textContent)"
        )

    def enter() -> str:
        tab.ask(
            "document.getElementById('filter')"
            ".dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}))"
        )
        return tab.ask("document.getElementById('query').textContent")

    shown = sample.query_texts[:N_SHOWN]
    assert type_in("") == shown
    river = [text for text in shown if "river" in text and "1" in text]
    assert type_in("  1 RIVER") == river != []
    assert enter() == river[0]
    none = "document.getElementById('none').checkVisibility()"
    assert not tab.ask(none)
    assert type_in("river zzz") == []
    assert tab.ask(none), "it is said that there is none"
    assert enter() == river[0]
    assert type_in("</script>") == [text for text in shown if "</script>" in text]


@pytest.mark.slow
@needs_chromium
def test_it_fits_windows_phones_and_paper(tab: Tab) -> None:
    lists = "[...document.querySelectorAll('ol')].map(e => e.checkVisibility())"
    tab.ask("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    for width in (1200, 768, PHONE):
        tab.resize(width)
        assert tab.ask("document.documentElement.scrollWidth") <= width
        beyond = tab.ask(
            "[...document.querySelectorAll('img, p, dl, li, label, input, h1, h2, blockquote')]"
            f".filter(e => e.getBoundingClientRect().right > {width})"
            ".map(e => e.outerHTML.slice(0, 80))"
        )
        assert beyond == []
        assert tab.ask(lists) == [True, width > PHONE, width > PHONE]
    for column in range(3):
        tab.ask(f"document.querySelectorAll('.columns > label')[{column}].click()")
        assert tab.ask(lists) == [column == shown for shown in range(3)], "one list at a time"
    # nothing is left below the page: its end is that of its last part
    below = "document.body.getBoundingClientRect().bottom"
    assert tab.ask(f"document.documentElement.scrollHeight - {below}") < 2
    tab.resize(718)
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert not tab.ask("document.getElementById('filter').checkVisibility()")
    assert tab.ask(lists) == [True, True, True]
