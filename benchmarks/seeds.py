"""Run a measurement on every set, by every method, with several seeds, and keep it as JSON."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from reports import write_report
from sigah.evaluation import EvaluationData
from sigah.evaluation.loop import Unit, measure_units
from sigah.evaluation.store import RunStore
from sigah.hashers.registry import make_hasher, method_class, method_label
from sigah.lab.experiments import prepare


def run(
    measure: Callable[[Any, EvaluationData], dict[str, float]],
    *,
    description: str | None,
    methods: str,
    json_path: str,
    settings: dict[str, Any],
) -> None:
    """The command line of a benchmark; ``measure(fitted hasher, data)`` gives figures by name.

    ``settings["n_bits"]`` is one code length or a list of them.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sets", default="mnist,fashion-mnist")
    parser.add_argument("--methods", default=methods)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path(json_path))
    arguments = parser.parse_args()
    rows = []
    asked = settings["n_bits"]
    for name in arguments.sets.split(","):
        data, store = prepare(name), RunStore()
        for n_bits, method in product(
            asked if isinstance(asked, list) else [asked], arguments.methods.split(",")
        ):
            longest = data.base.shape[1]
            if n_bits > longest and not method_class(method).exceeds_dimension:
                continue
            units = [
                Unit(method_label(method), n_bits, seed, partial(make_hasher, method, n_bits, seed))
                for seed in range(arguments.seeds)
            ]
            figures = {}
            for one in measure_units(
                units, data, store, measure=lambda hasher, data: {"metrics": measure(hasher, data)}
            ):
                figures[one.unit.seed] = {
                    by: value
                    for by, value in one.run["metrics"].items()
                    if not by.startswith("fit_")
                }
            length = {"n_bits": n_bits} if isinstance(asked, list) else {}
            row = {"data": name, "method": method, **length, "runs": list(figures.values())}
            rows.append(row)
            shown = "  ".join(f"{by} {mean(row, by):.3f}" for by in row["runs"][0])
            print(f"{name:14} {method:22} {n_bits:4}  {shown}", flush=True)
            write_report(arguments.json, settings | {"seeds": arguments.seeds, "rows": rows})


def mean(row: dict[str, Any], by: str) -> float:
    """Over the seeds of a row."""
    return statistics.fmean(run[by] for run in row["runs"])


def with_deviation(row: dict[str, Any], by: str) -> str:
    """Mean and standard deviation (ddof=1) over the seeds of a row; a dash where not measured."""
    if by not in row["runs"][0]:
        return "–"
    return f"{mean(row, by):.3f} ± {statistics.stdev(run[by] for run in row['runs']):.3f}"
