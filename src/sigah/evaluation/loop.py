"""The loop that fits and measures: units of work in, runs out.

``sigah evaluate``, ``sigah reproduce``, the demo and the benchmarks use this loop, so they share
two rules. A run that the store already has is not measured again. An interruption ends the loop:
the current unit is dropped, and all earlier runs are complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sigah.evaluation.data import EvaluationData
from sigah.evaluation.keys import package_versions, unit_key
from sigah.evaluation.measure import measure
from sigah.evaluation.provenance import environment, provenance
from sigah.evaluation.store import Run, RunStore
from sigah.hashers import METHODS, BinaryHasher
from sigah.hashers.registry import make_hasher, method_label
from sigah.metric import check_same_metric
from sigah.plugins import class_path

__all__ = ["Measured", "Unit", "evaluate", "measure_units"]

Maker = Callable[[int, int], BinaryHasher]


@dataclass(frozen=True)
class Unit:
    """The smallest piece of work: one hasher fitted with one seed, and measured.

    Attributes
    ----------
    method : str
        Its name in results.
    n_bits, seed : int
    make : callable
        Makes the unfitted hasher.
    """

    method: str
    n_bits: int
    seed: int
    make: Callable[[], BinaryHasher]


@dataclass(frozen=True)
class Measured:
    """The run of a unit, and whether it was measured now or found in the store."""

    unit: Unit
    run: Run
    new: bool


def measure_all(hasher: BinaryHasher, data: EvaluationData) -> dict[str, Any]:
    """All metrics and curves of a fitted hasher."""
    return measure(hasher, data.base, data.queries, data.truth)


def measure_units(
    units: Iterable[Unit],
    data: EvaluationData,
    store: RunStore,
    *,
    measure: Callable[[BinaryHasher, EvaluationData], Mapping[str, Any]] = measure_all,
    needs: Iterable[str] = (),
) -> Iterator[Measured]:
    """Find or measure every unit, one after another.

    Parameters
    ----------
    units : iterable of Unit
    data : EvaluationData
    store : RunStore
        Searched for each unit; each new run is stored before it is yielded.
    measure : callable
        Maps a fitted hasher and the data to parts of a run; ``metrics`` must be one of them.
    needs : iterable of str
        Parts and metrics that an earlier run must have.

    Yields
    ------
    Measured

    Raises
    ------
    ValueError
        Before any work, if a hasher has another metric than the data.
    KeyboardInterrupt
        On Ctrl-C, even if a method ends its training early and keeps what it learned.
    """
    units, needs = list(units), tuple(needs)
    for unit in units:
        check_same_metric(unit.make(), data.metric, "the evaluation")
    for unit in units:
        found = store.find(data.description, unit, needs)
        run = found or measure_unit(unit, data, measure)
        if found is None:
            store.keep(data.description, run)
        yield Measured(unit, run, new=found is None)


def measure_unit(
    unit: Unit,
    data: EvaluationData,
    measure: Callable[[BinaryHasher, EvaluationData], Mapping[str, Any]],
) -> Run:
    """Fit one hasher and measure it; the run includes provenance."""
    hasher = unit.make()
    parameters = hasher.get_params()
    key = unit_key(data.description, hasher)
    rows = data.training_rows(unit.seed)
    began, began_cpu = time.perf_counter(), time.process_time()
    hasher.fit(rows)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    if getattr(hasher, "training_", {}).get("interrupted"):
        raise KeyboardInterrupt  # a partly trained model is not measured
    run: Run = {
        "key": key,
        "method": unit.method,
        "n_bits": unit.n_bits,
        "seed": unit.seed,
        "parameters": parameters,
        **measure(hasher, data),
    }
    run["metrics"] |= {"fit_seconds": seconds, "fit_cpu_seconds": cpu_seconds}
    if history := getattr(hasher, "history_", None):
        run["history"] = history
    if METHODS.get(hasher.name) is not type(hasher):
        run["class"] = class_path(type(hasher))
    return run | {
        "revision": hasher.revision,
        "versions": package_versions(),
        **provenance(),
    }


def evaluate(
    methods: Mapping[str, Maker] | Iterable[str],
    base: Any,
    queries: Any,
    *,
    name: str,
    n_bits: Iterable[int] = (64,),
    seeds: Iterable[int] = (0,),
    k: int = 1000,
    n_train: int | None = None,
    metric: str = "l2",
    on_run: Callable[[dict[str, Any]], None] = lambda results: None,
    resume: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fit and measure every method at every code length with every seed.

    Code lengths that a method cannot make (more bits than dimensions) are skipped.

    Parameters
    ----------
    methods : iterable of str, or mapping of str to callable
        Methods as on the command line, such as ``"itq"`` or ``"my_module:MyHash"``; or a mapping of
        names of your choice to functions that make an unfitted hasher from ``(n_bits, seed)``.
    base, queries : array-like, shapes (n, d) and (q, d)
        Hashers learn from the base, as in the paper.
    name : str
        Name of the data in the results.
    n_bits, seeds : iterables of int
    k : int, default=1000
        True neighbours of each query.
    n_train : int, optional
        Learn from this many vectors of the base, drawn by each seed, instead of all.
    metric : {"l2", "cosine", "ip"}
        By which neighbours are true. Named methods learn for it; functions must make hashers of the
        same metric.
    on_run : callable
        Called after each new run with the results so far, the latest run last, to show progress and
        to save them.
    resume : mapping, optional
        Results of an earlier call on the same data. Valid runs (same settings, same revision of the
        method, same versions of its packages) are not measured again. Runs of other methods,
        lengths and seeds are kept.

    Returns
    -------
    dict
        ``data`` and ``environment`` (provenance), and ``runs``: one dict for each method, code
        length and seed, with parameters, metrics, curves and provenance. Ready for JSON.

    Raises
    ------
    ValueError
        If ``k`` exceeds the base, no method can make the code lengths, a method has another metric,
        or ``resume`` was measured on other data.
    KeyboardInterrupt
        On Ctrl-C. The results last given to ``on_run`` are complete.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import evaluate
    >>> X = np.random.default_rng(0).normal(size=(500, 16)).astype("float32")
    >>> results = evaluate(["lsh"], X[50:], X[:50], name="noise", n_bits=[32], k=10)
    >>> 0 < results["runs"][0]["metrics"]["map"] < 1
    True
    """
    makers: Mapping[str, Maker] = (
        methods if isinstance(methods, Mapping) else makers_of(list(methods), metric)
    )
    data = EvaluationData(name, base, queries, k, n_train, metric)
    seeds = list(seeds)
    units = [
        Unit(label, bits, seed, partial(make, bits, seed))
        for bits in n_bits
        for label, make in makers.items()
        for seed in seeds
        if bits <= base.shape[1] or make(bits, seed).exceeds_dimension
    ]
    if not units:
        raise ValueError(
            f"none of {', '.join(makers)} can make that many bits from {base.shape[1]} dimensions;"
            " lower n_bits, or use a method that can (see `sigah methods`)"
        )
    if resume is not None:
        check_same_data(resume["data"], data.description)
    before: list[Run] = [] if resume is None else list(resume["runs"])
    results: dict[str, Any] = {
        "data": data.description,
        "environment": environment(),
        "runs": [],
    }
    asked = {(unit.method, unit.n_bits, unit.seed) for unit in units}
    others = [run for run in before if place(run) not in asked]
    waiting = {place(run): run for run in before if place(run) in asked}
    for one in measure_units(units, data, RunStore(data.description, before)):
        waiting.pop(place(one.run), None)
        results["runs"].append(one.run)
        if one.new:
            results["environment"] = environment()
            on_run({**results, "runs": [*others, *waiting.values(), *results["runs"]]})
    return {**results, "runs": [*others, *results["runs"]]}


def makers_of(methods: Iterable[str], metric: str = "l2") -> dict[str, Maker]:
    """Functions that make the hashers of methods for a metric, by their names in results.

    Raises
    ------
    ValueError
        If there is no such method, or two have one name.
    """
    makers: dict[str, Maker] = {}
    for method in methods:
        label = method_label(method)
        if label in makers:
            raise ValueError(f"two methods have the name {label}; give them different names")
        makers[label] = partial(make_hasher, method, metric=metric)
    return makers


def place(run: Mapping[str, Any]) -> tuple[str, int, int]:
    """The method, code length and seed of a run, unique within results."""
    return run["method"], run["n_bits"], run["seed"]


def check_same_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to mix runs on different data."""
    before = {"metric": "l2", **before}  # of before there were metrics
    for key in ("base_sha256", "queries_sha256", "k", "n_train", "metric"):
        if before.get(key) != now[key]:
            raise ValueError(
                f"cannot resume: the results were measured with {key} {before.get(key)}, not"
                f" {now[key]}; move them away or do not resume"
            )
