"""Fill in the tables and figures of the documentation from the committed JSON.

A table of a page stands between two comments, ``<!-- table: NAME -->`` and ``<!-- end -->``;
whatever is between them is replaced. ``docs/results/`` is written whole, a page a data set of
``results/``. With ``--check`` nothing is written, and the exit status tells whether the pages say
what the JSON says.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from sigah.lab.experiments import EXPERIMENTS, Store
from sigah.lab.report.figures import curves_figure, ratios_figure, recall_figure
from sigah.lab.report.markdown import markdown_pages, markdown_pictures
from sigah.lab.report.plots import draw as draw_plot
from tables import (
    advise,
    claims,
    cold,
    engines,
    frontier,
    images,
    latency,
    methods,
    onnx,
    ranking,
    retrieval,
    scale,
    search,
    streams,
)

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            "advise",
            "claims",
            "frontier",
            "images",
            "results",
            "search",
            "onnx",
            "engines",
            "streams",
            "performance",
            "scale",
            "service",
        )
    ),
]
IMAGES = ROOT / "docs" / "images"
TABLES = {
    **advise.TABLES,
    **methods.TABLES,
    **search.TABLES,
    **ranking.TABLES,
    **onnx.TABLES,
    **engines.TABLES,
    **cold.TABLES,
    **latency.TABLES,
    **scale.TABLES,
    **frontier.TABLES,
    **retrieval.TABLES,
    **claims.TABLES,
    **images.TABLES,
    **streams.TABLES,
}


def filled_in(page: str) -> str:
    """The page with every table made anew."""

    def table(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n{TABLES[found[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table: (\S+) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def pages() -> dict[Path, str]:
    """What every page of the documentation ought to say."""
    folder = ROOT / "docs" / "results"
    return {
        **{path: filled_in(path.read_text()) for path in PAGES},
        **{
            folder / name: text
            for name, text in markdown_pages(ROOT / "results", paper=True).items()
        },
        IMAGES / "frontier.svg": frontier.picture(),
    }


def draw() -> None:
    """The figures of the documentation."""
    folder = ROOT / "docs" / "results"
    pictures = {
        folder / name: content
        for name, content in markdown_pictures(ROOT / "results", paper=True).items()
    }
    for path, content in pictures.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    for path in folder.glob("pictures/*"):
        if path not in pictures:  # of runs that are no longer there
            path.unlink()
    everything = [
        json.loads((ROOT / "results" / f"{name}.json").read_text()) for name in methods.SETS
    ]
    three = [
        results | {"runs": [r for r in results["runs"] if r["method"] in ("sigah", "itq", "lsh")]}
        for results in everything
    ]
    decay = EXPERIMENTS["decay"]
    every = Store(ROOT / "results").collect(decay)
    measured = [one for one in every if one.data["name"] == "mnist" and not one.part]
    for name, panel in zip(("binary", "error"), decay.view(decay, measured)[2:4], strict=True):
        draw_plot(panel).savefig(IMAGES / f"decay-{name}.png", dpi=110)
    curves_figure(three).savefig(IMAGES / "curves.png", dpi=110)
    recall_figure(everything, n_bits=64).savefig(IMAGES / "recall.png", dpi=110)
    ratios_figure(search.search_rows("grid")).savefig(IMAGES / "search.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    arguments = parser.parse_args()
    for path, text in pages().items():
        if not arguments.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path} is out of date: run {__file__}")
    if not arguments.check:
        draw()


if __name__ == "__main__":
    main()
