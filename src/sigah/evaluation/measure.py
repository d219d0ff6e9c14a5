"""Every metric of one fitted hasher."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation.intervals import mean_interval, pr_area_interval
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
from sigah.hashers import BinaryHasher
from sigah.metric import normalized
from sigah.rows.dtypes import as_numbers

__all__ = ["RECALL_SIZES", "measure"]

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
        Exact neighbours of each query in the base by the hasher's metric, nearest first.

    Returns
    -------
    dict
        ``metrics``, numbers by name (see ``docs/protocol.md``); ``intervals``, the 95 % interval of
        some of them over queries, as two numbers; and ``curves``.

    See Also
    --------
    sigah.evaluation.evaluate : Fits and measures several methods.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import ITQ
    >>> from sigah.evaluation import exact_neighbors, measure
    >>> X = np.random.default_rng(0).normal(size=(500, 16)).astype("float32")
    >>> base, queries = X[50:], X[:50]
    >>> truth = exact_neighbors(base, queries, k=10).ids
    >>> measured = measure(ITQ(n_bits=16, random_state=0).fit(base), base, queries, truth)
    >>> 0 < measured["metrics"]["map"] < 1
    True
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
    of_queries = {
        "map": average_precision(counts),
        "precision@100": precision_at(counts, min(100, len(base))),
    }
    if 10 in sizes and 10 in depths:
        of_queries["recall10@10"] = recall_at(counts_of[10], 10)
    metrics = {
        "pr_area": pr_area(counts),
        "map": float(of_queries["map"].mean()),
        "map_best": float(average_precision(counts, ties="best").mean()),
        "map_worst": float(average_precision(counts, ties="worst").mean()),
        "precision@100": float(of_queries["precision@100"].mean()),
        **{
            f"recall{size}@{depth}": curves[f"recall{size}"][depths.index(depth)]
            for size, depth in ((1, 10), (10, 10), (10, 100), (100, 1000))
            if size in sizes and depth in depths
        },
        "encode_vectors_per_second": len(base) / seconds,
        **bit_statistics(base_codes),
    }
    if hasattr(hasher, "reconstruct"):
        original = normalized(as_numbers(queries)) if hasher.metric == "cosine" else queries
        error, relative = reconstruction_error(original, hasher.reconstruct(query_codes))
        metrics |= {"reconstruction_error": error, "relative_reconstruction_error": relative}
    curves |= {
        "depths": [float(depth) for depth in depths],
        "pr_recall": recall.tolist(),
        "pr_precision": precision.tolist(),
    }
    intervals = {"pr_area": pr_area_interval(counts)} | {
        name: mean_interval(values) for name, values in of_queries.items()
    }
    return {
        "metrics": metrics,
        "intervals": {name: list(ends) for name, ends in intervals.items()},
        "curves": curves,
    }
