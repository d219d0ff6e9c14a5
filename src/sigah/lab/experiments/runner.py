"""Run an experiment: every unit of work that is not yet measured, one after another."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation import (
    EvaluationData,
    asymmetric_label_precision,
    label_average_precision,
)
from sigah.evaluation.loop import measure_all, measure_units
from sigah.hashers import BinaryHasher
from sigah.lab.experiments.experiment import CaseUnit, Experiment
from sigah.lab.experiments.found import record_found
from sigah.lab.experiments.neighbors import few_queries, record_neighbors
from sigah.lab.experiments.store import Store
from sigah.progress import bar

__all__ = ["run_experiment"]

LABEL_DEPTH = 1000
DIVISORS: tuple[Literal["relevant", "hits"], ...] = ("relevant", "hits")
PICTURES = 10  # queries of a gallery


def run_experiment(
    experiment: Experiment,
    data: EvaluationData,
    store: Store,
    *,
    seeds: int = 5,
    show: bool = False,
    on_run: Callable[[dict[str, Any]], None] = lambda run: None,
) -> int:
    """Measure what the store does not have; each run is written as soon as it is done.

    Parameters
    ----------
    experiment : Experiment
    data : EvaluationData
    store : Store
        Where runs are found and kept.
    seeds : int, default=5
        Seeds 0, 1, ... of every method.
    show : bool, default=False
        Draw a progress bar with the time left.
    on_run : callable
        Called with each new run.

    Returns
    -------
    int
        How many units were measured; 0 if the store had them all.

    Raises
    ------
    ValueError
        If the data lacks what the experiment needs: pixels, or labels.
    KeyboardInterrupt
        On Ctrl-C; the unit in work is dropped, the earlier ones are on disk.
    """
    if lacks := experiment.lacks(data):
        raise ValueError(lacks)
    units = experiment.units(data.description["dim"], seeds, quick=data.quick, metric=data.metric)
    needs = {unit: experiment.needs_of(unit) for unit in units}
    missing = [unit for unit in units if store.find(data.description, unit, needs[unit]) is None]

    def measure(unit: CaseUnit, hasher: BinaryHasher, data: EvaluationData) -> dict[str, Any]:
        run: dict[str, Any] = measure_all(hasher, data) if experiment.ranks else {"metrics": {}}
        run["experiment"] = experiment.name
        for need in needs[unit]:
            if need in PARTS:
                add(run, PARTS[need](hasher, data))
        return run

    measured = 0
    with bar(show=show and bool(missing)) as progress:
        task = progress.add_task(f"{experiment.name} {data.name}", total=len(missing), detail="")
        for unit in missing:
            progress.update(task, detail=f"{unit.label}, {unit.n_bits} bits, seed {unit.seed}")
            how = partial(measure, unit)
            # two cases may be one unit: then the second is found
            for one in measure_units([unit], data, store, measure=how, needs=needs[unit]):
                measured += one.new
                if one.new:
                    on_run(one.run)
            progress.advance(task)
    return measured


def add(run: dict[str, Any], parts: Mapping[str, Any]) -> None:
    """Put more parts into a run; its metrics stay, and grow."""
    metrics = run["metrics"] | parts.get("metrics", {})
    run |= parts
    run["metrics"] = metrics


def labels(hasher: BinaryHasher, data: EvaluationData) -> dict[str, Any]:
    """Mean average precision of the first ranks with labels as the truth, by both divisors."""
    codes = hasher.transform(data.base), hasher.transform(data.queries)
    truth: Any = (data.base_labels, data.query_labels)
    return {
        "labels": f"{LABEL_DEPTH} deep",
        "metrics": {
            f"label_map_by_{divisor}@{LABEL_DEPTH}": float(
                label_average_precision(*codes, *truth, depth=LABEL_DEPTH, divisor=divisor).mean()
            )
            for divisor in DIVISORS
        },
    }


def asymmetric(hasher: Any, data: EvaluationData) -> dict[str, Any]:
    """The same with real-valued queries; of methods whose bits are signs of scores."""
    if not hasattr(hasher, "project"):
        return {"asymmetric": "the method has no scores"}
    codes, scores = hasher.transform(data.base), hasher.project(data.queries)
    truth: Any = (data.base_labels, data.query_labels)
    return {
        "asymmetric": f"{LABEL_DEPTH} deep",
        "metrics": {
            f"asymmetric_label_map_by_{divisor}@{LABEL_DEPTH}": float(
                asymmetric_label_precision(
                    codes, scores, *truth, depth=LABEL_DEPTH, divisor=divisor
                ).mean()
            )
            for divisor in DIVISORS
        },
    }


def gallery(hasher: Any, data: EvaluationData) -> dict[str, Any]:
    """Some queries and what is rebuilt from their codes, as bytes of grey values."""
    chosen = few_queries(data.query_labels, len(data.queries), PICTURES)
    original = np.asarray(data.queries[chosen])
    rebuilt = hasher.reconstruct(hasher.transform(original))
    return {
        "gallery": {
            "picture": list(data.picture or ()),
            "original": encode(original),
            "rebuilt": encode(rebuilt),
        }
    }


def found(hasher: BinaryHasher, data: EvaluationData) -> dict[str, Any]:
    """What some queries find, and which classes are taken for which."""
    return {"found": record_found(hasher, data)}


def neighbors(hasher: BinaryHasher, data: EvaluationData) -> dict[str, Any]:
    """Pictures beside the neighbours that are found with their codes."""
    return {"neighbors": record_neighbors(hasher, data)}


# what an experiment may need beyond the metrics and curves that every run has
PARTS: dict[str, Callable[[BinaryHasher, EvaluationData], dict[str, Any]]] = {
    "asymmetric": asymmetric,
    "found": found,
    "gallery": gallery,
    "labels": labels,
    "neighbors": neighbors,
}


def encode(images: NDArray[Any]) -> str:
    """Grey values in [0, 1] as base64 of a byte each; values outside are clipped."""
    levels = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode()
