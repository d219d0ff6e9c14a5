"""Run an experiment: every unit of work that is not yet measured, one after another."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation import measure
from sigah.evaluation.labels import label_average_precision
from sigah.evaluation.protocol import environment
from sigah.hashers import BinaryHasher
from sigah.lab.experiments.experiment import Experiment, Unit
from sigah.lab.experiments.keys import code_version, package_versions, unit_key
from sigah.lab.experiments.material import Material
from sigah.lab.experiments.neighbors import record_neighbors
from sigah.lab.experiments.store import Store
from sigah.progress import bar

__all__ = ["run_experiment"]

LABEL_DEPTH = 1000
PICTURES = 10  # queries of a gallery


def run_experiment(
    experiment: Experiment,
    material: Material,
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
    material : Material
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
    if lacks := experiment.lacks(material):
        raise ValueError(lacks)
    data = material.description
    units = experiment.units(data["dim"], seeds, quick=material.quick)
    missing = [unit for unit in units if store.find(data, unit, experiment.needs) is None]
    measured = 0
    with bar(show=show and bool(missing)) as progress:
        task = progress.add_task(f"{experiment.name} {data['name']}", total=len(missing), detail="")
        for unit in missing:
            progress.update(task, detail=f"{unit.label}, {unit.n_bits} bits, seed {unit.seed}")
            if store.find(data, unit, experiment.needs) is None:  # two cases may be one unit
                run = measure_unit(unit, material, experiment.needs)
                store.add(experiment.name, data, run)
                measured += 1
                on_run(run)
            progress.advance(task)
    return measured


def measure_unit(unit: Unit, material: Material, needs: tuple[str, ...]) -> dict[str, Any]:
    """Fit one hasher and measure it; the run tells where its figures come from."""
    hasher = unit.hasher()
    parameters = hasher.get_params()
    began, began_cpu = time.perf_counter(), time.process_time()
    hasher.fit(material.base)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    if getattr(hasher, "training_", {}).get("interrupted"):
        raise KeyboardInterrupt  # SiGAH keeps what it learned so far, which is no measurement
    run: dict[str, Any] = {
        "key": unit_key(material.description, unit.method, parameters, unit.n_bits),
        "method": unit.method,
        "n_bits": unit.n_bits,
        "seed": unit.seed,
        "parameters": parameters,
        **measure(hasher, material.base, material.queries, material.truth),
    }
    run["metrics"] |= {"fit_seconds": seconds, "fit_cpu_seconds": cpu_seconds}
    if history := getattr(hasher, "history_", None):
        run["history"] = history
    if "gallery" in needs:
        run["gallery"] = gallery(hasher, material)
    if "neighbors" in needs:
        run["neighbors"] = record_neighbors(hasher, material)
    if "labels" in needs:
        run["labels"] = f"{LABEL_DEPTH} deep, divisor min(relevant, {LABEL_DEPTH})"
        run["metrics"][f"label_map@{LABEL_DEPTH}"] = label_map(hasher, material)
    return run | {
        "code": code_version(type(hasher)),
        "versions": package_versions(),
        "environment": environment(),
        "command": " ".join(["sigah", *sys.argv[1:]]),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def label_map(hasher: BinaryHasher, material: Material) -> float:
    """Mean average precision of the first ranks, with labels as the truth."""
    codes = hasher.transform(material.base), hasher.transform(material.queries)
    labels: Any = (material.base_labels, material.query_labels)
    return float(label_average_precision(*codes, *labels, depth=LABEL_DEPTH).mean())


def gallery(hasher: Any, material: Material) -> dict[str, Any]:
    """Some queries and what is rebuilt from their codes, as bytes of grey values."""
    chosen = chosen_queries(material.query_labels, len(material.queries))
    original = np.asarray(material.queries[chosen])
    rebuilt = hasher.reconstruct(hasher.transform(original))
    return {
        "picture": list(material.picture or ()),
        "original": encode(original),
        "rebuilt": encode(rebuilt),
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
