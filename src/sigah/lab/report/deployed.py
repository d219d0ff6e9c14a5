"""What ``sigah evaluate MODEL INDEX QUERIES`` measured, as chapters of the report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Deployed", "deployed"]

WIDE, HIGH, LEFT, BOTTOM, EDGE = 400, 260, 44, 40, 14  # a chart and its margins


@dataclass(frozen=True)
class Deployed:
    """A file of measurements of one index.

    Attributes
    ----------
    anchor, title, about : str
    headings : tuple of str
    rows : tuple of tuple of str
        A row for each way of ranking; the first cell says which.
    chart : str
        Recall against the time of a query, as SVG; "" for a single row.
    notes : dict of str to str
        Machine, versions and sizes.
    """

    anchor: str
    title: str
    about: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    chart: str
    notes: Mapping[str, str]


def deployed(folder: str | os.PathLike[str]) -> list[Deployed]:
    """The measurements of indexes in the JSON files of a folder, by the names of the files."""
    found: list[Deployed] = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
        except ValueError:
            continue  # the store of results says which file is damaged
        if isinstance(content, dict) and {"data", "index", "measurements"} <= content.keys():
            found.append(_deployed(f"deployed-{len(found) + 1}", content))
    return found


def _deployed(anchor: str, content: Mapping[str, Any]) -> Deployed:
    data, index, measured = content["data"], content["index"], content["measurements"]
    names = list(measured[0]["metrics"])
    what = index.get("what") or f"codes of {index['n_bits']} bits ({index['method']})"
    sizes = {
        "a vector": index["bytes_per_vector"],
        "a raw vector, on disk or in memory": index["raw_bytes_per_vector"],
        "the model": index.get("model_bytes"),
    }
    machine = content.get("environment", {})
    judged = measured[0]["n_judged"]
    return Deployed(
        anchor,
        Path(str(index["file"])).name,
        f"{data['n_base']:,} {what}; {data['n_queries']:,} queries of {data['name']},"
        f" k = {data['k']}."
        + (f" Truth: {data['truth']}." if data["truth"] else "")
        + (f" {judged:,} queries have relevant results." if judged is not None else ""),
        ("ranked by", *names, "p50", "p95", "p99", "in a batch", "queries/s"),
        tuple(_row(one, names) for one in measured),
        _chart(measured, names[0]) if len(measured) > 1 else "",
        {
            "bytes": "; ".join(
                f"{name} {size:,.4g}" for name, size in sizes.items() if size is not None
            ),
            "machine": f"{machine.get('machine', '?')}, {machine.get('threads', '?')} thread(s)",
            "timed calls": ", ".join(
                f"{name} {one['calls']:,}" for name, one in measured[0]["latency"].items()
            ),
        },
    )


def _row(one: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    single, batch = one["latency"]["single"], one["latency"]["batch"]
    fastest = max(some["queries_per_second"] for some in one["latency"].values())
    return (
        _ranking(one),
        *(
            f"{one['metrics'][name]:.3f}"
            f" ±{(one['intervals'][name][1] - one['intervals'][name][0]) / 2:.3f}"
            for name in names
        ),
        *(_time(single[part]) for part in ("p50", "p95", "p99")),
        _time(batch["p50"] / batch["queries_per_call"]),
        f"{fastest:,.0f}",
    )


def _ranking(one: Mapping[str, Any]) -> str:
    width = one["oversampling"]
    return str(one["by"]) if width is None else f"{one['by']}, oversampling {width:g}"


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs" if seconds < 0.01 else f"{seconds * 1e3:,.0f} ms"


def _chart(measured: Sequence[Mapping[str, Any]], name: str) -> str:
    """Points of one metric with their intervals, against the median time of a query."""
    points = sorted(
        (one["latency"]["single"]["p50"], one["metrics"][name], *one["intervals"][name])
        for one in measured
    )
    low, high = math.log2(points[0][0]) - 0.3, math.log2(points[-1][0]) + 0.3
    floor = math.floor(10 * min(point[2] for point in points)) / 10

    def across(seconds: float) -> float:
        return LEFT + (math.log2(seconds) - low) / (high - low) * (WIDE - LEFT - EDGE)

    def up(value: float) -> float:
        return HIGH - BOTTOM - (value - floor) / max(1 - floor, 0.1) * (HIGH - BOTTOM - EDGE)

    drawn = []
    for step in range(5):
        value = floor + (1 - floor) * step / 4
        drawn.append(
            f'<line x1="{LEFT}" x2="{WIDE - EDGE}" y1="{up(value):.1f}" y2="{up(value):.1f}"'
            f' stroke="currentColor" opacity=".15"/><text x="{LEFT - 6}" y="{up(value) + 4:.1f}"'
            f' text-anchor="end">{value:.2f}</text>'
        )
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y, *_ in points)
    drawn.append(f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="2"/>')
    for x, y, least, most in points:
        at = f"{across(x):.1f}"
        drawn.append(
            f'<line x1="{at}" x2="{at}" y1="{up(least):.1f}" y2="{up(most):.1f}"'
            f' stroke="currentColor"/><circle cx="{at}" cy="{up(y):.1f}" r="4"'
            f' fill="currentColor"><title>{y:.3f}, {_time(x)}</title></circle>'
        )
    for x in dict.fromkeys((points[0][0], points[-1][0])):
        drawn.append(
            f'<text x="{across(x):.1f}" y="{HIGH - BOTTOM + 18}" text-anchor="middle">{_time(x)}'
            "</text>"
        )
    drawn.append(
        f'<text x="{(LEFT + WIDE) / 2:.0f}" y="{HIGH - 4}" text-anchor="middle">{name} by the'
        " median time of one query</text>"
    )
    return (
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{name} and time"'
        f' fill="currentColor" font-size="12">{"".join(drawn)}</svg>'
    )
