"""A whole evaluation: fit, encode, rank, measure, over methods, code lengths and seeds."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah import files
from sigah.evaluation.metrics import (
    average_precision,
    bit_statistics,
    pr_area,
    pr_curve,
    precision_at,
    rank_counts,
    recall_at,
    reconstruction_error,
)
from sigah.evaluation.truth import cached_neighbors, content_hash
from sigah.hashers import BinaryHasher
from sigah.machine import peak_memory_bytes, processor_name
from sigah.threads import available_threads

__all__ = ["RECALL_SIZES", "evaluate", "measure", "read_results", "summarize", "write_results"]

RECALL_SIZES = (1, 10, 100, 1000)  # K of the recall curves: and R-1K
RECALL_DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


def measure(
    hasher: BinaryHasher,
    base: NDArray[Any],
    queries: NDArray[Any],
    truth: NDArray[np.integer],
) -> dict[str, Any]:
    """Every metric of one fitted hasher.

    Parameters
    ----------
    hasher : BinaryHasher
        Fitted.
    base, queries : array-like, shapes (n, d) and (q, d)
    truth : ndarray of int, shape (q, k)
        Exact neighbours of each query in the base, nearest first.

    Returns
    -------
    dict
        ``metrics``, numbers by name (see ``docs/protocol.md``), and ``curves``.
    """
    began = time.perf_counter()
    base_codes = hasher.transform(base)
    seconds = time.perf_counter() - began
    query_codes = hasher.transform(queries)
    k = truth.shape[1]
    sizes = tuple(size for size in (*RECALL_SIZES, k) if size <= k)
    counts_of = rank_counts(base_codes, query_codes, truth, ks=sizes)
    counts = counts_of[k]
    recall, precision = pr_curve(counts)
    depths = [depth for depth in RECALL_DEPTHS if depth <= len(base)]
    curves: dict[str, list[float]] = {
        f"recall{size}": [float(recall_at(counts_of[size], depth).mean()) for depth in depths]
        for size in sorted(set(sizes))
    }
    metrics = {
        "pr_area": pr_area(counts),
        "map": float(average_precision(counts).mean()),
        "map_best": float(average_precision(counts, ties="best").mean()),
        "map_worst": float(average_precision(counts, ties="worst").mean()),
        "precision@100": float(precision_at(counts, min(100, len(base))).mean()),
        **{
            f"recall{size}@{depth}": curves[f"recall{size}"][depths.index(depth)]
            for size, depth in ((1, 10), (10, 10), (10, 100), (100, 1000))
            if size in sizes and depth in depths
        },
        "encode_vectors_per_second": len(base) / seconds,
        **bit_statistics(base_codes),
    }
    if hasattr(hasher, "reconstruct"):
        error, relative = reconstruction_error(queries, hasher.reconstruct(query_codes))
        metrics |= {"reconstruction_error": error, "relative_reconstruction_error": relative}
    curves |= {
        "depths": [float(depth) for depth in depths],
        "pr_recall": recall.tolist(),
        "pr_precision": precision.tolist(),
    }
    return {"metrics": metrics, "curves": curves}


def evaluate(
    methods: Mapping[str, Callable[[int, int], BinaryHasher]],
    base: NDArray[Any],
    queries: NDArray[Any],
    *,
    name: str,
    n_bits: Iterable[int] = (64,),
    seeds: Iterable[int] = (0,),
    k: int = 1000,
    n_train: int | None = None,
    on_run: Callable[[dict[str, Any]], None] = lambda results: None,
    resume: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fit and measure every method at every code length with every seed.

    A method that cannot make more bits than dimensions is left out of the lengths it cannot make.

    Parameters
    ----------
    methods : mapping of str to callable
        What makes an unfitted hasher from ``(n_bits, seed)``.
    base, queries : array-like, shapes (n, d) and (q, d)
        Hashers are trained on the base, as in the paper.
    name : str
        What to call the data in the results.
    n_bits, seeds : iterables of int
    k : int, default=1000
        True neighbours of each query.
    n_train : int, optional
        Learn from this many vectors of the base, drawn by each seed, instead of all.
    on_run : callable
        Called with the results so far after each run, the latest last, to show progress and to
        save them.
    resume : mapping, optional
        Results of an earlier call on the same data and machine. Runs that they hold with the same
        parameters are not measured again, and their runs of other methods, lengths and seeds are
        kept.

    Returns
    -------
    dict
        ``data`` and ``environment`` (provenance), and ``runs``: one dict for each method, code
        length and seed, with parameters, metrics and curves. Ready for JSON.

    Raises
    ------
    ValueError
        If ``k`` exceeds the base, no method can make the code lengths, or ``resume`` was measured
        on other data or elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import LSH
    >>> from sigah.evaluation import evaluate
    >>> X = np.random.default_rng(0).normal(size=(500, 16)).astype("float32")
    >>> results = evaluate(
    ...     {"lsh": lambda bits, seed: LSH(bits, random_state=seed)},
    ...     X[50:], X[:50], name="noise", n_bits=[32], k=10,
    ... )
    >>> 0 < results["runs"][0]["metrics"]["map"] < 1
    True
    """
    if n_train is not None and not 1 <= n_train <= len(base):
        raise ValueError(f"n_train = {n_train} vectors cannot be drawn from a base of {len(base)}")
    if k > len(base):
        raise ValueError(f"k = {k} true neighbours were asked for, but the base has {len(base)}")
    results: dict[str, Any] = {
        "data": {
            "name": name,
            "n_base": len(base),
            "n_queries": len(queries),
            "dim": base.shape[1],
            "k": k,
            "n_train": n_train or len(base),
            "base_sha256": content_hash(base),
            "queries_sha256": content_hash(queries),
        },
        "environment": environment(),
        "runs": [],
    }
    earlier = {place(run): run for run in resumable_runs(resume, results)}

    def so_far() -> dict[str, Any]:
        return {**results, "runs": [*earlier.values(), *results["runs"]]}

    truth = cached_neighbors(base, queries, k).ids
    for bits in n_bits:
        for label, make in methods.items():
            for seed in seeds:
                hasher = make(bits, seed)
                if bits > base.shape[1] and not hasher.exceeds_dimension:
                    continue
                run: dict[str, Any] = {
                    "method": label,
                    "n_bits": bits,
                    "seed": seed,
                    "parameters": hasher.get_params(),
                }
                before = earlier.pop(place(run), None)
                if before is not None and same(before["parameters"], run["parameters"]):
                    results["runs"].append(before)
                    continue
                learned_from = training_rows(base, n_train, seed)
                began = time.perf_counter()
                hasher.fit(learned_from)
                fit_seconds = time.perf_counter() - began
                run |= measure(hasher, base, queries, truth)
                run["metrics"]["fit_seconds"] = fit_seconds
                results["runs"].append(run)
                results["environment"] = environment()
                on_run(so_far())
    if not results["runs"]:
        raise ValueError(
            f"none of {', '.join(methods)} can make that many bits of {base.shape[1]} dimensions;"
            " lower n_bits, or take a method that can, as `sigah methods` lists"
        )
    return so_far()


def training_rows(base: NDArray[Any], n_train: int | None, seed: int) -> NDArray[Any]:
    """All of the base, or as many rows of it drawn by the seed."""
    if n_train is None:
        return base
    chosen = np.random.default_rng(seed).permutation(len(base))[:n_train]
    return base[np.sort(chosen)]


def place(run: Mapping[str, Any]) -> tuple[str, int, int]:
    """What an evaluation has one run of: a method, a length and a seed."""
    return run["method"], run["n_bits"], run["seed"]


def same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether parameters are those that a file tells of."""
    return bool(before == json.loads(json.dumps(now)))


def resumable_runs(
    earlier: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Runs of earlier results, if they were measured on the same data, versions and machine."""
    if earlier is None:
        return []
    for part, keys in (
        ("data", ("base_sha256", "queries_sha256", "k", "n_train")),
        ("environment", ("versions", "machine", "threads")),
    ):
        for key in keys:
            if (before := earlier[part].get(key)) != now[part][key]:
                raise ValueError(
                    f"cannot resume: the results were measured with {key} {before}, not"
                    f" {now[part][key]}; move them away or do not resume"
                )
    return list(earlier["runs"])


def summarize(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds, one row for each method and code length."""
    groups: dict[tuple[str, int], list[dict[str, float]]] = {}
    for run in results["runs"]:
        groups.setdefault((run["method"], run["n_bits"]), []).append(run["metrics"])
    return [
        {
            "method": method,
            "n_bits": bits,
            "seeds": len(group),
            "mean": {key: float(np.mean([m[key] for m in group])) for key in group[0]},
            "std": {key: float(np.std([m[key] for m in group])) for key in group[0]},
        }
        for (method, bits), group in groups.items()
    ]


def environment() -> dict[str, Any]:
    """Versions, processor, threads and memory of this run."""
    versions = {}
    for package in ("sigah", "numpy", "scipy", "scikit-learn", "torch"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "versions": {"python": platform.python_version(), **versions},
        "machine": processor_name(),
        "threads": available_threads(),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def write_results(path: str | os.PathLike[str], results: Mapping[str, Any]) -> None:
    """Write results as JSON, atomically."""
    with files.atomic_write(path) as file:
        file.write(json.dumps(results, allow_nan=False).encode())


def read_results(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the JSON of :func:`write_results`; anything else is a ValueError that names the file."""
    try:
        results = json.loads(Path(path).read_bytes())
        summarize(results)
        results["data"]["name"], results["environment"]["versions"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} does not hold results of `sigah evaluate` ({error})") from error
    return dict(results)
