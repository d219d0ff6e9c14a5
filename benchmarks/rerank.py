"""What ranking Hamming candidates again is worth: recall10@10 of each distance on real images.

Learns from the base of each set, looks up all test queries, and takes ten candidates a neighbour.
``none`` is Hamming search alone with ties by id. ``docs/search.md`` shows the results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seeds import run
from sigah import HammingIndex, TwoStageSearch
from sigah.evaluation import EvaluationData

K, OVERSAMPLING, N_BITS = 10, 10, 64
DISTANCES = ("asymmetric", "spherical", "decoded", "raw")


def recall(ids: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    return float((ids[:, :, None] == truth[:, None, :]).any(axis=2).mean())


def measure(hasher: Any, data: EvaluationData) -> dict[str, float]:
    """Recall of all distances, for one method on one set."""
    truth = data.truth[:, :K]
    index = HammingIndex(N_BITS)
    index.add(hasher.transform(data.base))
    recalls = {"none": recall(index.search(hasher.transform(data.queries), K)[1], truth)}
    for by in DISTANCES:
        vectors = data.base if by == "raw" else None
        search = TwoStageSearch(index, hasher, by, oversampling=OVERSAMPLING, vectors=vectors)
        recalls[by] = recall(search.search(data.queries, K)[1], truth)
    return recalls


if __name__ == "__main__":
    run(
        measure,
        description=__doc__,
        methods="itq,sigah",
        json_path="benchmarks/results/rerank.json",
        settings={
            "k": K,
            "oversampling": OVERSAMPLING,
            "n_bits": N_BITS,
            "by": ["none", *DISTANCES],
        },
    )
