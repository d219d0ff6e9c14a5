"""The table of exported graphs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from sigah.lab.report.markdown import pipe_table as markdown

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


TABLES: dict[str, Callable[[], str]] = {
    "onnx": onnx_table,
}
