"""An advice as one HTML page that needs nothing else: words, curves and a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from sigah import __version__
from sigah.advice.choice import Candidate
from sigah.advice.run import Advice
from sigah.advice.words import (
    in_words,
    plain_words,
    quality_told,
    readable_bytes,
    readable_time,
    recall_range,
)

__all__ = ["page"]

COLOURS = {  # Okabe and Ito, apart for the colour-blind too
    "sign": "#7f8790",
    "itq": "#0072b2",
    "sigah": "#d55e00",
    "vectors": "#009e73",
    "pq": "#56b4e9",
    "opq": "#cc79a7",
    "rabitq": "#e69f00",
    "sq8": "#a58b00",
    "floats": "#000000",
}
WIDE, HIGH = 400, 290
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 12, 44  # margins of a chart

STYLE = """
:root { --ink: #22262c; --soft: #5d646e; --line: #e2e5e9; --page: #fff; --card: #f4f6f8;
        --mark: #b34700; color-scheme: light; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9ba3ae; --line: #333a43; --page: #15181c; --card: #1e2329;
          --mark: #ff9d57; color-scheme: dark; } .c-floats { --c: #e4e7eb !important; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 1100px; color: var(--ink);
       background: var(--page); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
       -webkit-text-size-adjust: 100%; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .3rem; } p { margin: .35rem 0; max-width: 48rem; }
.soft { color: var(--soft); font-size: .9rem; }
.advice { background: var(--card); border-left: 4px solid var(--mark); padding: .8rem 1rem;
          margin: 1rem 0; border-radius: .2rem; } .advice p:first-child { font-weight: 620; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
          gap: 1.4rem 1.2rem; margin: 1.6rem 0; } figure { margin: 0; min-width: 0; }
svg { display: block; width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--soft); }
svg .grid { stroke: var(--line); } svg .limit { stroke: var(--mark); stroke-dasharray: 5 4; }
svg .series { stroke: var(--c); fill: none; stroke-width: 2; }
svg .whisker { stroke: var(--c); stroke-width: 1.4; opacity: .7; }
svg .dot { fill: var(--c); stroke: var(--page); stroke-width: 1; }
svg .chosen { fill: none; stroke: var(--mark); stroke-width: 2.4; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1rem; font-size: .9rem; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%;
            margin-right: .4em; background: var(--c); }
.legend .ring { background: none; border: 2.5px solid var(--mark); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem;
        width: 100%; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
         white-space: nowrap; } th { font-weight: 600; color: var(--soft); }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tr.best td { font-weight: 650; color: var(--mark); }
@media (max-width: 620px) { body { padding: 1.1rem .8rem 3rem; } h1 { font-size: 1.3rem; }
  th, td { padding: .3rem .3rem; font-size: .78rem; } .desk { display: none; } }
"""

X = Callable[[Candidate], float | None]


def page(advice: Advice) -> str:
    """The page."""
    reads = {one.reads for one in advice.candidates}
    chosen = 0 if advice.recommended is None else advice.recommended.reads
    charts = []
    for count in dict.fromkeys((0, chosen or max(reads, default=0))):
        some = [one for one in advice.candidates if one.reads == count]
        title = "Codes alone" if not count else f"Codes, and {count:,} original vectors read"
        if any(one.method != "floats" for one in some):
            charts.append(
                _chart(title, some, advice, lambda one: one.bytes, "bytes a vector", _as_bytes)
            )
    timed = [one for one in advice.candidates if one.microseconds is not None]
    if timed:
        charts.append(
            _chart(
                "Time",
                timed,
                advice,
                lambda one: one.microseconds,
                "one query",
                readable_time,
                joined=False,
            )
        )
    methods = dict.fromkeys(one.method for one in advice.candidates)
    legend = "".join(
        f'<span class="c-{name}" style="--c:{COLOURS[name]}"><i></i>{name}</span>'
        for name in methods
    )
    words = "".join(f"<p>{escape(sentence)}</p>" for sentence in plain_words(advice))
    title = f"sigah advise: {escape(advice.name)}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(advice.name)}</h1>
<p class="soft">{advice.n_vectors:,} vectors of {advice.dim:,} dimensions, {advice.metric},
{advice.k} nearest</p>
<div class="advice">{words}</div>
<div class="legend">{legend}<span><i class="ring"></i>recommended</span></div>
<div class="charts">{"".join(charts)}</div>
<div class="scroll">{_table(advice)}</div>
<p class="soft">Height: {_measure(advice)}; bars: 95 % intervals. Times:
{escape(str(advice.environment.get("machine")))},
{advice.environment.get("threads")} threads. sigah {__version__}.</p>
</body>
</html>
"""


def _chart(
    title: str,
    candidates: Sequence[Candidate],
    advice: Advice,
    x_of: X,
    label: str,
    named: Callable[[float], str],
    *,
    joined: bool = True,
) -> str:
    """A figure: recall, or nDCG kept, against something positive, on a logarithmic axis."""
    xs = [x for one in candidates if (x := x_of(one))]
    what = _measure(advice)
    low, high = math.log2(min(xs)) - 0.3, math.log2(max(xs)) + 0.3
    bottom = math.floor(10 * max(0.0, min(one.quality.low for one in candidates))) / 10
    top = max(1.0, max(one.quality.high for one in candidates))  # codes may surpass the vectors

    def across(x: float) -> float:
        return LEFT + (math.log2(x) - low) / (high - low) * (WIDE - LEFT - RIGHT)

    def up(recall: float) -> float:
        return HIGH - BOTTOM - (recall - bottom) / (top - bottom) * (HIGH - TOP - BOTTOM)

    drawn = []
    step = next(step for step in (0.02, 0.05, 0.1, 0.2) if (1 - bottom) / step <= 5.01)
    ticks = [1 - count * step for count in range(int((1 - bottom) / step + 1.01))]
    for recall in ticks:
        drawn.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{up(recall):.1f}"'
            f' y2="{up(recall):.1f}"/><text x="{LEFT - 6}" y="{up(recall) + 4:.1f}"'
            f' text-anchor="end">{recall:.2f}</text>'
        )
    every = max(1, math.ceil((high - low) / 6))
    for power in range(math.ceil(low), math.floor(high) + 1, every):
        drawn.append(
            f'<text x="{across(2.0**power):.1f}" y="{HIGH - BOTTOM + 17}"'
            f' text-anchor="middle">{named(2.0**power)}</text>'
        )
    drawn.append(
        f'<text x="{(LEFT + WIDE - RIGHT) / 2}" y="{HIGH - 6}" text-anchor="middle">{label}</text>'
    )
    wanted = advice.wishes.recall
    if wanted is not None and wanted >= bottom:
        drawn.append(
            f'<line class="limit" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{up(wanted):.1f}"'
            f' y2="{up(wanted):.1f}"/>'
        )
    for method in dict.fromkeys(one.method for one in candidates):
        some = [one for one in candidates if one.method == method]
        points = sorted((x_of(one) or 0, one.quality.expected, one) for one in _best(some, joined))
        drawn.append(f'<g class="c-{method}" style="--c:{COLOURS[method]}">')
        if joined and len(points) > 1:
            path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y, _ in points)
            drawn.append(f'<polyline class="series" points="{path}"/>')
        for x, y, one in points:
            at = f"{across(x):.1f}"
            drawn.append(
                f'<line class="whisker" x1="{at}" x2="{at}"'
                f' y1="{up(max(bottom, one.quality.low)):.1f}" y2="{up(one.quality.high):.1f}"/>'
                f'<circle class="dot" cx="{at}" cy="{up(y):.1f}" r="4"><title>'
                f"{escape(_told(one))}</title></circle>"
            )
            if one == advice.recommended:
                drawn.append(f'<circle class="chosen" cx="{at}" cy="{up(y):.1f}" r="8"/>')
        drawn.append("</g>")
    return (
        f"<figure><h2>{escape(title)}</h2>"
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(title)}: {what}">'
        f"{''.join(drawn)}</svg></figure>"
    )


def _measure(advice: Advice) -> str:
    """What is wished and compared."""
    return "recall" if advice.judgements is None else f"share of the nDCG@{advice.k} kept"


def _best(candidates: Sequence[Candidate], joined: bool) -> list[Candidate]:
    """On a curve, one point a size: the ranking with the highest quality."""
    if not joined:
        return list(candidates)
    best: dict[int, Candidate] = {}
    for one in candidates:
        if one.bytes not in best or one.quality.expected > best[one.bytes].quality.expected:
            best[one.bytes] = one
    return list(best.values())


def _table(advice: Advice) -> str:
    judged = advice.judgements is not None
    of_judgements = (f"nDCG@{advice.k}", "kept (95 %)") if judged else ()
    head = (
        "method",
        "ranking",
        "bytes",
        "reads",
        *of_judgements,
        "recall (95 %)",
        "one query",
        "memory",
    )
    heads = "".join(f"<th{' class=desk' if name == 'memory' else ''}>{name}</th>" for name in head)
    rows = []
    for one in advice.candidates:
        cells = [one.method, one.ranking, f"{one.bytes:,}", f"{one.reads:,}"]
        if one.ndcg is not None and one.kept is not None:
            cells += [f"{one.ndcg.expected:.3f}", in_words(one.kept)]
        cells.append(recall_range(one))
        cells.append("–" if one.microseconds is None else readable_time(one.microseconds))
        text = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        best = ' class="best"' if one == advice.recommended else ""
        size = readable_bytes(one.memory_bytes)
        rows.append(f"<tr{best}>{text}<td class=desk>{size}</td></tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _told(one: Candidate) -> str:
    reads = f", {one.reads:,} reads" if one.reads else ""
    return f"{one.method} ({one.ranking}), {one.bytes:,} bytes{reads}: {quality_told(one)}"


def _as_bytes(size: float) -> str:
    return f"{size:,.0f}"
