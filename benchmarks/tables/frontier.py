"""The tables and the picture of docs/frontier.md: recall, bytes and time, ours beside FAISS's."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from sigah.lab.report.markdown import pipe_table

RESULTS = Path(__file__).resolve().parents[1] / "results" / "frontier.json"
SETS = ("wordnet-text", "mnist", "glove-50", "photo-sift", "photo-gist-960")
SHOWN = "wordnet-text"  # in the picture
BYTES = 16
RANKED = {"wordnet-text": (8, BYTES, 32)}  # bytes in the table of ranked vectors, if not BYTES
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 760, 400, 56, 24, 52, 30
FASTEST, SLOWEST = 50, 4000  # microseconds, of the axis


def rows() -> list[dict[str, Any]]:
    """All measurements."""
    found: list[dict[str, Any]] = json.loads(RESULTS.read_text())["rows"]
    return found


def recalls(name: str) -> dict[str, dict[int, list[float]]]:
    """recall10@10 of each seed: by method, then by bytes."""
    return by_method(name, lambda row: row["recall10@10"])


def with_vectors(row: dict[str, Any]) -> float | None:
    """Recall where the original vectors rank the best 100: of sigah as its search does it."""
    recall: float | None = row.get("with_vectors" if row["method"] == "sigah" else "recall10@100")
    return recall


def by_method(
    name: str, recall_of: Callable[[dict[str, Any]], float | None]
) -> dict[str, dict[int, list[float]]]:
    """A recall of each seed of a set, where there is one: by method, then by bytes."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows():
        if row["set"] == name and (recall := recall_of(row)) is not None:
            found[row["method"]][row["budget"]].append(recall)
    return found


def _place(method: str) -> tuple[bool, int]:
    """Ours first, and shortlists in the order of their length."""
    ours = method.startswith("sigah, ")
    return (not method.startswith("sigah"), int(method.split()[1]) if ours else 0)


def recall_table(name: str) -> str:
    """Mean recall by method and bytes; the best is bold where sigah is measured too."""
    found = recalls(name)
    means = {
        method: {budget: fmean(some) for budget, some in by.items()} for method, by in found.items()
    }
    budgets = sorted({budget for by in means.values() for budget in by})
    best = {
        budget: max(by.get(budget, 0) for by in means.values())
        for budget in budgets
        if budget in means.get("sigah", {})
    }

    def cell(recall: float | None, budget: int) -> str:
        if recall is None:
            return ""
        return f"**{recall:.3f}**" if recall == best.get(budget) else f"{recall:.3f}"

    def seeds(method: str) -> str:
        counts = sorted({len(some) for some in found[method].values()})
        return " to ".join(str(count) for count in (counts[:1] + counts[1:][-1:]))

    lines = [
        [method, seeds(method), *(cell(means[method].get(budget), budget) for budget in budgets)]
        for method in sorted(means, key=_place)
        if len(found[method]) > 1 or not method.startswith("sigah, ")
    ]
    return pipe_table(["method", "seeds", *(f"{budget} bytes" for budget in budgets)], lines)


def ranked_table() -> str:
    """Mean recall where the original vectors rank the best 100; the best is bold."""
    found = {name: by_method(name, with_vectors) for name in SETS}
    columns = [(name, budget) for name in SETS for budget in RANKED.get(name, (BYTES,))]
    lines = []
    for method in sorted(
        dict.fromkeys(method for by in found.values() for method in by), key=_place
    ):
        if method.startswith("sigah, ") or method.endswith(", cosine"):
            continue
        cells = [found[name].get(method, {}).get(budget) for name, budget in columns]
        lines.append([method, *(None if some is None else fmean(some) for some in cells)])
    best = [max(filter(None, column)) for column in list(zip(*lines, strict=True))[1:]]

    def cell(recall: float | None, most: float) -> str:
        if recall is None:
            return ""
        return f"**{recall:.3f}**" if recall == most else f"{recall:.3f}"

    return pipe_table(
        ["method", *(f"{name}, {budget} bytes" for name, budget in columns)],
        [
            [method, *(cell(*pair) for pair in zip(cells, best, strict=True))]
            for method, *cells in lines
        ],
    )


def time_table() -> str:
    """Times of the kept indexes, in microseconds a query."""
    lines = []
    timed = [row for row in rows() if "1 threads" in row]
    for row in sorted(timed, key=lambda row: (SETS.index(row["set"]), row["budget"])):
        times = [row[f"{n} threads"][kind] for n in (1, 2) for kind in ("batch_us", "single_us")]
        lines.append([
            f"{row['set']}, {row['budget']} bytes: {row['method']}",
            f"{row['recall10@10']:.3f}", *(f"{time:,.0f}" for time in times),
        ])  # fmt: skip
    head = ["index", "recall10@10", "batch, 1", "single, 1", "batch, 2", "single, 2"]
    return pipe_table(head, lines)


def picture() -> str:
    """Recall against time at equal bytes as SVG that is readable on light and dark pages."""
    timed = [row for row in rows() if row["set"] == SHOWN and row["budget"] == BYTES]
    timed = [row for row in timed if "1 threads" in row]

    def at(time: float, recall: float) -> tuple[float, float]:
        share = math.log(time / FASTEST) / math.log(SLOWEST / FASTEST)
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(HEIGHT - BOTTOM - recall / 0.7 * (HEIGHT - TOP - BOTTOM), 1)

    def place(row: dict[str, Any]) -> tuple[float, float]:
        return at(row["1 threads"]["batch_us"], row["recall10@10"])

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>Recall against time a query at {BYTES} bytes a vector, {SHOWN}</title>",
        "<style>text { font: 13px sans-serif; fill: #212529 } .grid { stroke: #adb5bd;"
        " stroke-opacity: .5 } .ours { fill: #d9480f; stroke: #d9480f } text.ours { stroke: none }"
        " .theirs { fill: #1c7ed6 } @media (prefers-color-scheme: dark) { text { fill: #e9ecef }"
        " text.ours { fill: #ff922b } }</style>",
        f'<text x="{LEFT}" y="14">recall10@10, {BYTES} bytes a vector, {SHOWN}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">microseconds a query, in a'
        " batch, one thread</text>",
    ]
    for tenth in range(8):
        x, y = at(FASTEST, tenth / 10)
        parts.append(f'<path class="grid" d="M{x} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{tenth / 10:.1f}</text>')
    for time in (50, 100, 200, 500, 1000, 2000, 4000):
        x, y = at(time, 0)
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{time:,}</text>')
    ours = sorted(
        (row for row in timed if row["method"].startswith("sigah")),
        key=lambda row: row["shortlist"],
    )
    line = " ".join("{},{}".format(*place(row)) for row in ours)
    parts.append(f'<polyline class="ours" points="{line}" style="fill:none" stroke-width="2.5"/>')
    for row in timed:
        x, y = place(row)
        mine = row["method"].startswith("sigah")
        kind, label = ("ours", "") if mine else ("theirs", row["method"])
        if mine and row is ours[-1]:
            lists = f"{ours[0]['shortlist']:,} to {ours[-1]['shortlist']:,}"
            label = f"sigah VectorIndex, {lists} candidates"
        parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="4"/>')
        parts.append(f'<text class="{kind if mine else ""}" x="{x + 8}" y="{y + 4}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


TABLES = {
    "frontier-times": time_table,
    "frontier-ranked": ranked_table,
    **{f"frontier-{name}": partial(recall_table, name) for name in SETS},
}
