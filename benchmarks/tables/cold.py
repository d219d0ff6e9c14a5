"""The table of docs/performance.md: what a new process costs."""

from __future__ import annotations

import json
from pathlib import Path

from sigah.lab.report.markdown import pipe_table as markdown

RESULTS = Path(__file__).resolve().parents[1] / "results" / "cold_start.json"


def cold_table() -> str:
    """Processor seconds of whole processes."""
    found = json.loads(RESULTS.read_text())
    labels = {
        "python": "Python alone",
        "numpy": "Python and NumPy alone",
        "version": "`sigah --version`",
        "help": "`sigah --help`",
        "first_query": f"load SiGAH, open an index of {found['n_codes']:,} codes, answer one query",
        "thousand_queries": "the same, and a thousand queries, which load the kernels",
    }
    lines = [
        [
            label,
            f"{found['processes'][kind]['processor_seconds']:.2f}",
            f"{found['processes'][kind]['least_processor_seconds']:.2f}",
        ]
        for kind, label in labels.items()
    ]
    return markdown(["process", "processor, median s", "processor, least s"], lines)


def installed_table() -> str:
    """Sizes of an environment that holds the core."""
    found = json.loads(RESULTS.read_text())
    largest = ", ".join(
        f"{name} {size / 1e6:.0f}" for name, size in list(found["largest_packages"].items())[:4]
    )
    return (
        f"The environment of the core takes {found['installed_bytes'] / 1e6:,.0f} MB without pip"
        f" (MB: {largest})."
    )


TABLES = {"cold": cold_table, "installed": installed_table}
