"""Run a measurement on every set, by every method, with several seeds, and keep it as JSON."""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sigah.evaluation.protocol import environment


def run(
    measure: Callable[[str, str, int], dict[str, float]],
    *,
    description: str | None,
    methods: str,
    json_path: str,
    settings: dict[str, Any],
) -> None:
    """The command line of a benchmark; ``measure(set, method, seed)`` gives figures by name."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sets", default="mnist,fashion-mnist")
    parser.add_argument("--methods", default=methods)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path(json_path))
    arguments = parser.parse_args()
    rows = []
    for name, method in itertools.product(arguments.sets.split(","), arguments.methods.split(",")):
        runs = [measure(name, method, seed) for seed in range(arguments.seeds)]
        columns = {by: [run[by] for run in runs] for by in runs[0]}
        row = {
            "data": name,
            "method": method,
            "mean": {by: statistics.fmean(values) for by, values in columns.items()},
            "std": {by: statistics.pstdev(values) for by, values in columns.items()},
            "runs": runs,
        }
        rows.append(row)
        shown = "  ".join(f"{by} {statistics.fmean(v):.3f}" for by, v in columns.items())
        print(f"{name:14} {method:22} {shown}", flush=True)
    report = settings | {
        "seeds": arguments.seeds,
        "environment": environment(),
        "rows": rows,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")
