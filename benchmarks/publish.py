"""Print results as the Markdown tables of docs/results.md, and draw their curves for the README."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sigah.evaluation import summarize
from sigah.report.figures import curves_figure

COLUMNS = {
    "pr_area": 3,
    "map": 3,
    "precision@100": 3,
    "recall10@10": 3,
    "recall100@1000": 3,
    "relative_reconstruction_error": 3,
}


def number(row: dict[str, Any], column: str, digits: int) -> str:
    if column not in row["mean"]:
        return "–"
    return f"{row['mean'][column]:.{digits}f} ± {row['std'][column]:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="JSON of `sigah evaluate`")
    parser.add_argument("--figure", type=Path, help="draw precision-recall and recall curves here")
    arguments = parser.parse_args()
    everything = [json.loads(path.read_text()) for path in arguments.files]
    if arguments.figure:
        curves_figure(everything).savefig(arguments.figure, dpi=110)
    for path, results in zip(arguments.files, everything, strict=True):
        rows = summarize(results)
        print(f"\n`{path}` ({results['data']['name']}, {rows[0]['seeds']} seeds)\n")
        print("| bits | method | " + " | ".join(COLUMNS) + " |")
        print("|---:|---|" + "---:|" * len(COLUMNS))
        for row in rows:
            cells = [number(row, column, digits) for column, digits in COLUMNS.items()]
            print(f"| {row['n_bits']} | `{row['method']}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
