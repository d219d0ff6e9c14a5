"""Results as JSON, and their summary over seeds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sigah import files

__all__ = ["Summary", "deviation", "read_results", "summarize", "write_results"]


@dataclass(frozen=True)
class Summary:
    """A method at one code length, over its seeds.

    Attributes
    ----------
    method : str
    n_bits, seeds : int
    mean, deviation : dict of str to float
        By metric. The standard deviation has ddof=1; it is 0 with one seed.
    intervals : dict of str to (float, float)
        95 % intervals over queries, where measured: their ends are means over the seeds.
    """

    method: str
    n_bits: int
    seeds: int
    mean: dict[str, float]
    deviation: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def summarize(results: Mapping[str, Any]) -> list[Summary]:
    """Mean and standard deviation over seeds, one row for each method and code length.

    Parameters
    ----------
    results : mapping
        From :func:`~sigah.evaluation.evaluate` or :func:`read_results`.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import evaluate, summarize
    >>> X = np.random.default_rng(0).normal(size=(500, 16)).astype("float32")
    >>> results = evaluate(["lsh"], X[50:], X[:50], name="noise", n_bits=[32], seeds=[0, 1], k=10)
    >>> [row] = summarize(results)
    >>> row.method, row.n_bits, row.seeds, 0 < row.mean["map"] < 1
    ('lsh', 32, 2, True)
    """
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for run in results["runs"]:
        groups.setdefault((run["method"], run["n_bits"]), []).append(run)
    return [summary(*key, runs) for key, runs in groups.items()]


def summary(method: str, n_bits: int, runs: Sequence[Mapping[str, Any]]) -> Summary:
    """Summarise the runs of one method and length, for the metrics that all of them have."""
    metrics = {
        name: [run["metrics"][name] for run in runs]
        for name in runs[0]["metrics"]
        if all(name in run["metrics"] for run in runs)
    }
    intervals = {
        name: np.mean([run["intervals"][name] for run in runs], axis=0)
        for name in runs[0].get("intervals", {})
        if all(name in run.get("intervals", {}) for run in runs)
    }
    return Summary(
        method,
        n_bits,
        len(runs),
        {name: float(np.mean(values)) for name, values in metrics.items()},
        {name: deviation(values) for name, values in metrics.items()},
        {name: (float(low), float(high)) for name, (low, high) in intervals.items()},
    )


def deviation(values: ArrayLike) -> float:
    """The standard deviation of a sample (ddof=1); 0 for a single value.

    Examples
    --------
    >>> from sigah.evaluation.results import deviation
    >>> deviation([1.0, 3.0]), deviation([1.0])
    (1.4142135623730951, 0.0)
    """
    array = np.asarray(values, np.float64)
    return float(array.std(ddof=1)) if len(array) > 1 else 0.0


def write_results(path: str | os.PathLike[str], results: Mapping[str, Any]) -> None:
    """Write results as JSON, atomically.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists.
    results : mapping
        From :func:`~sigah.evaluation.evaluate`.
    """
    with files.atomic_write(path) as file:
        file.write(json.dumps(results, allow_nan=False).encode())


def read_results(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the JSON of :func:`write_results`.

    Raises
    ------
    ValueError
        If the file does not hold such results; the message names the file.
    OSError
        If the file cannot be read.

    See Also
    --------
    summarize : Means and deviations of what was read.
    """
    try:
        results = json.loads(Path(path).read_bytes())
        summarize(results)
        results["data"]["name"], results["environment"]["versions"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} does not hold results of `sigah evaluate` ({error})") from error
    return dict(results)
