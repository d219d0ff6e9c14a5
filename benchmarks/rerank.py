"""What ranking Hamming candidates again is worth: recall10@10 of each distance on real images.

Learns from the base of each set, looks up all test queries, and takes ten candidates a neighbour.
``none`` is Hamming search alone with ties by id. ``docs/search.md`` shows the results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from sigah import HammingIndex, TwoStageSearch, datasets
from sigah.cli.codes import make_hasher
from sigah.evaluation import cached_neighbors
from sigah.evaluation.protocol import environment

K, OVERSAMPLING, N_BITS = 10, 10, 64


def recall(ids: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    return float((ids[:, :, None] == truth[:, None, :]).any(axis=2).mean())


def measure(name: str, method: str) -> dict[str, Any]:
    """Recall and milliseconds a query of all distances, for one method on one set."""
    split = datasets.load(name)
    truth = cached_neighbors(split.base, split.queries, 1000)[0][:, :K]
    hasher = make_hasher(method, N_BITS, 0, []).fit(split.base)
    index = HammingIndex(N_BITS)
    index.add(hasher.transform(split.base))
    began = time.perf_counter()
    _, ids = index.search(hasher.transform(split.queries), K)
    recalls = {"none": recall(ids, truth)}
    seconds = {"none": time.perf_counter() - began}
    for by in ("asymmetric", "spherical", "decoded", "raw"):
        vectors = split.base if by == "raw" else None
        search = TwoStageSearch(index, hasher, by, oversampling=OVERSAMPLING, vectors=vectors)
        began = time.perf_counter()
        _, ids = search.search(split.queries, K)
        seconds[by] = time.perf_counter() - began
        recalls[by] = recall(ids, truth)
    milliseconds = {by: 1000 * value / len(truth) for by, value in seconds.items()}
    return {"data": name, "method": method, "recall": recalls, "milliseconds": milliseconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default="mnist,fashion-mnist")
    parser.add_argument("--methods", default="itq,sigah")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/rerank.json"))
    arguments = parser.parse_args()
    rows = []
    for name, method in itertools.product(arguments.sets.split(","), arguments.methods.split(",")):
        rows.append(measure(name, method))
        shown = "  ".join(f"{by} {value:.3f}" for by, value in rows[-1]["recall"].items())
        print(f"{name:14} {method:6} {shown}", flush=True)
    report = {
        "k": K,
        "oversampling": OVERSAMPLING,
        "n_bits": N_BITS,
        "environment": environment(),
        "rows": rows,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
