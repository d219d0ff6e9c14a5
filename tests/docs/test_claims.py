"""What the pages say in words is what the committed measurements say."""

from __future__ import annotations

import json
import re
from typing import Any

from pages import ROOT

from sigah.evaluation import summarize

FIXED = "sigah:dictionary=gaussian:dictionary_ratio=2"


def means(name: str) -> dict[tuple[str, int], dict[str, float]]:
    results = json.loads((ROOT / "results" / f"{name}.json").read_text())
    return {(row.method, row.n_bits): row.mean for row in summarize(results)}


def short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def plain(page: str) -> str:
    return " ".join((ROOT / page).read_text().split())


def test_what_makes_the_codes_good() -> None:
    whole, without = means("mnist")["sigah", 64], means("mnist-ablation")
    pair = without[f"{FIXED}:pair=0", 64]
    neighbour = without[f"{FIXED}:neighbor=0", 64]
    text = plain("docs/methods.md")
    assert f"from {short(whole['pr_area'])} to {short(pair['pr_area'])}" in text
    assert f"from {short(whole['map'])} to {short(neighbour['map'])}" in text


def test_our_terms_make_the_codes_and_the_generator_does_not() -> None:
    whole, others = means("mnist")["sigah", 64], means("mnist-ablation")
    bare = others["sigah:pair=0:neighbor=0", 64]
    alone = others["sigah:reconstruction=0:sparsity=0:adversarial=0", 64]
    default, without_terms, without_generator = (
        f"{short(row['pr_area'])} and {short(row['map'])}" for row in (whole, bare, alone)
    )
    assert (
        f"`pr_area` and `map` are {default}, without both terms {without_terms}, and without any"
        f" generator {without_generator}" in plain("README.md")
    )
    assert bare["map"] < whole["map"] < alone["map"] + 0.002


def test_the_discriminator_decides_nothing() -> None:
    whole = means("mnist")["sigah", 64]
    without = means("mnist-ablation")[f"{FIXED}:adversarial=0", 64]
    assert abs(whole["pr_area"] - without["pr_area"]) < 0.002
    assert abs(whole["map"] - without["map"]) < 0.002


def leads() -> dict[str, dict[str, str]]:
    """Set by set, the marks of the table of leads, which another test holds against the JSON."""
    text = (ROOT / "docs" / "results.md").read_text()
    found = re.search(r"<!-- table: sets -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found is not None
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|\n").split("|")] for line in found[1].splitlines()
    ]
    names = (re.sub(r"\[(.*?)\].*", r"\1", line[0]) for line in lines)
    return {
        name: dict(zip(head[1:], line[1:], strict=True))
        for name, line in zip(names, lines, strict=True)
    }


def test_the_chooser_says_where_sigah_does_not_lead() -> None:
    section = plain("docs/choose.md").partition("## When SiGAH is not the best")[2]
    rows: dict[str, Any] = leads()
    for metric in ("mAP", "true mAP", "P@100"):
        for bits in (32, 64):
            assert all(row[f"{metric} {bits}"].startswith("✓") for row in rows.values())
    said = {
        "glove-50": ("`glove-50` at both lengths", {32, 64}),
        "wordnet-text": ("`wordnet-text`", {64}),
        "fashion-mnist": ("Fashion-MNIST at 64 bits", {64}),
        "mnist": ("on MNIST,", {32}),
        "CIFAR-10, JPEG copy; GIST-384, 32 pixels": ("GIST of CIFAR-10", {32}),
        "photo-sift": ("`photo-sift` at 32 bits", {32}),
    }
    for name, row in rows.items():
        behind = {bits for bits in (32, 64) if not row[f"recall 10@10 {bits}"].startswith("✓")}
        words, lengths = said.get(name, ("", set()))
        assert behind == lengths, name
        assert words in section


def test_no_page_promises_the_best_recall() -> None:
    for page in ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]:
        assert "best recall at every length" not in plain(page)
