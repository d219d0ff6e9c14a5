"""Run an experiment: every unit of work that is not yet measured, one after another."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
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
from sigah.lab.experiments.neighbors import record_neighbors
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
    missing = [
        unit for unit in units if store.find(data.description, unit, experiment.required) is None
    ]

    def measure(hasher: BinaryHasher, data: EvaluationData) -> dict[str, Any]:
        run: dict[str, Any] = measure_all(hasher, data) if experiment.ranks else {"metrics": {}}
        run["experiment"] = experiment.name
        for need in experiment.needs:
            if need in PARTS:
                add(run, PARTS[need](hasher, data))
        return run

    measured = 0
    with bar(show=show and bool(missing)) as progress:
        task = progress.add_task(f"{experiment.name} {data.name}", total=len(missing), detail="")

        def told() -> Iterator[CaseUnit]:
            for unit in missing:  # two cases may be one unit: the loop finds the second
                progress.update(task, detail=f"{unit.label}, {unit.n_bits} bits, seed {unit.seed}")
                yield unit
                progress.advance(task)

        for one in measure_units(told(), data, store, measure=measure, needs=experiment.required):
            measured += one.new
            if one.new:
                on_run(one.run)
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
    chosen = chosen_queries(data.query_labels, len(data.queries))
    original = np.asarray(data.queries[chosen])
    rebuilt = hasher.reconstruct(hasher.transform(original))
    return {
        "gallery": {
            "picture": list(data.picture or ()),
            "original": encode(original),
            "rebuilt": encode(rebuilt),
        }
    }


def neighbors(hasher: BinaryHasher, data: EvaluationData) -> dict[str, Any]:
    """Pictures beside the neighbours that are found with their codes."""
    return {"neighbors": record_neighbors(hasher, data)}


# what an experiment may need beyond the metrics and curves that every run has
PARTS: dict[str, Callable[[BinaryHasher, EvaluationData], dict[str, Any]]] = {
    "asymmetric": asymmetric,
    "gallery": gallery,
    "labels": labels,
    "neighbors": neighbors,
}


def chosen_queries(labels: NDArray[Any] | None, n: int) -> NDArray[np.intp]:
    """The first query of each label, or the first queries."""
    if labels is None:
        return np.arange(min(PICTURES, n))
    return np.unique(labels, return_index=True)[1][:PICTURES]


def encode(images: NDArray[Any]) -> str:
    """Grey values in [0, 1] as base64 of a byte each; values outside are clipped."""
    levels = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode()
