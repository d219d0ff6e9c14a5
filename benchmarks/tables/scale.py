"""Tables of exported graphs and of plans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from sigah.lab.report.markdown import pipe_table as markdown
from sigah.plan import plan
from sigah.plan.words import summary

ROOT = Path(__file__).resolve().parents[2]


def onnx_table() -> str:
    """Exported graphs beside the methods themselves."""
    report = json.loads((ROOT / "benchmarks" / "results" / "onnx.json").read_text())
    head = [
        "method",
        "bits that differ",
        "at thresholds",
        "at thresholds, float32",
        "M vectors/s",
        "`transform`",
        "float32",
        "time over float32",
        "encoder, kB",
        "decoder, kB",
        "decoder off by",
    ]
    lines = []
    for row in report["rows"]:
        rates = [
            f"{report['n_vectors'] / row[f'{way}_seconds'] / 1e6:.2f}"
            if f"{way}_seconds" in row
            else "–"
            for way in ("graph", "transform", "float32")
        ]
        over = "–"
        if "float32_seconds" in row:
            over = f"{row['graph_seconds'] / row['float32_seconds']:.1f} x"
        counts = [
            f"{row[key]:,}" if key in row else "–"
            for key in (
                "differing_bits",
                "differing_bits_at_thresholds",
                "float32_differing_bits_at_thresholds",
            )
        ]
        sizes = [
            f"{row[key] / 1e3:,.0f}" if key in row else "–"
            for key in ("encoder_bytes", "decoder_bytes")
        ]
        off = f"{row['decoder_difference']:.0e}" if "decoder_difference" in row else "–"
        off = off.replace("0e+00", "0")
        lines.append([f"`{row['method']}`", *counts, *rates, over, *sizes, off])
    return markdown(head, lines)


def scale_table() -> str:
    """Plans of four sizes, side by side."""
    sizes = {"1 million": 1e6, "100 million": 1e8, "10 billion": 1e10}
    plans = {title: plan(n, 128, dim=768) for title, n in sizes.items()}
    plans["10 billion, 16 cores and 256 GB"] = plan(1e10, 128, cores=16, ram_gb=256)
    columns = [summary(each) for each in plans.values()]
    lines = []
    for heading in columns[0]:
        rows = zip(*(column[heading].items() for column in columns), strict=True)
        for cells in rows:
            name = "machines" if cells[0][0].startswith("of ") else cells[0][0]
            lines.append([name, *(text for _, text in cells)])
    return markdown(["", *plans], lines, left=1 + len(plans))


def scale_assumptions() -> str:
    """What the largest of these plans assumes."""
    return "\n".join(f"- {said}" for said in plan(1e10, 128, cores=16, ram_gb=256).assumptions)


TABLES: dict[str, Callable[[], str]] = {
    "onnx": onnx_table,
    "scale": scale_table,
    "scale-assumptions": scale_assumptions,
}
