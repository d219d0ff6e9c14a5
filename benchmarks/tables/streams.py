"""Tables of docs/streams.md: encoding a large file, and drift."""

from __future__ import annotations

import json
from pathlib import Path

from sigah.lab.report.markdown import pipe_table as markdown

ROOT = Path(__file__).resolve().parents[2]


def encode_table() -> str:
    """Encoding a file of vectors beside reading it and multiplying."""
    found = json.loads((ROOT / "benchmarks" / "results" / "encode_stream.json").read_text())
    names = {
        "read": "reading the file",
        "product": "the product of the vectors by one column a bit",
        "encode": "`encode`",
    }
    lines = [
        [
            label,
            f"{found[name]['seconds']:.1f}",
            f"{found['n_vectors'] / found[name]['seconds'] / 1e6:.2f} M/s",
            f"{found[name]['peak_memory_bytes'] / 2**20:.0f} MiB",
        ]
        for name, label in names.items()
    ]
    data = f"{found['n_vectors']:,} x {found['dim']} float32, {found['n_bits']} bits"
    return markdown([data, "seconds", "vectors", "peak memory"], lines)


def drift_table() -> str:
    """Verdicts, and the loss of recall of each sample."""
    rows = json.loads((ROOT / "benchmarks" / "results" / "drift.json").read_text())["rows"]
    names = {
        "halves": "two halves of MNIST",
        "digits": "digits 0-4, then 5-9",
        "clothes": "MNIST, then Fashion-MNIST",
    }
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = []
    for pair, label in names.items():
        line = [label]
        for method in methods:
            some = [row for row in rows if (row["method"], row["pair"]) == (method, pair)]
            losses = [row["loss"] for row in some]
            rebuilt = sum(row["verdict"] == "rebuild" for row in some)
            line.append(f"{rebuilt} of {len(some)}; {min(losses):+.3f} to {max(losses):+.3f}")
        lines.append(line)
    return markdown(["rebuild", *(f"`{method}`" for method in methods)], lines)


TABLES = {"encode-stream": encode_table, "drift": drift_table}
