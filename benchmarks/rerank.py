"""What ranking Hamming candidates again is worth: recall10@10 of each distance on real images.

Learns from the base of each set, looks up all test queries, and takes ten candidates a neighbour.
``none`` is Hamming search alone with ties by id. ``docs/search.md`` shows the results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from sigah import HammingIndex, TwoStageSearch, datasets
from sigah.evaluation import cached_neighbors
from sigah.evaluation.protocol import environment
from sigah.hashers.names import make_hasher

K, OVERSAMPLING, N_BITS = 10, 10, 64
DISTANCES = ("asymmetric", "spherical", "decoded", "raw")


def recall(ids: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    return float((ids[:, :, None] == truth[:, None, :]).any(axis=2).mean())


def measure(name: str, method: str, seed: int) -> dict[str, float]:
    """Recall of all distances, for one method on one set."""
    split = datasets.load(name)
    truth = cached_neighbors(split.base, split.queries, 1000)[0][:, :K]
    hasher = make_hasher(method, N_BITS, seed, []).fit(split.base)
    index = HammingIndex(N_BITS)
    index.add(hasher.transform(split.base))
    recalls = {"none": recall(index.search(hasher.transform(split.queries), K)[1], truth)}
    for by in DISTANCES:
        vectors = split.base if by == "raw" else None
        search = TwoStageSearch(index, hasher, by, oversampling=OVERSAMPLING, vectors=vectors)
        recalls[by] = recall(search.search(split.queries, K)[1], truth)
    return recalls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default="mnist,fashion-mnist")
    parser.add_argument("--methods", default="itq,sigah")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/rerank.json"))
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
        print(f"{name:14} {method:6} {shown}", flush=True)
    report = {
        "k": K,
        "oversampling": OVERSAMPLING,
        "n_bits": N_BITS,
        "seeds": arguments.seeds,
        "by": ["none", *DISTANCES],
        "environment": environment(),
        "rows": rows,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
