"""What ``n_neighbors`` of SiGAH is worth, by the number K of true neighbours that are looked for.

``SiGAH()`` learns who is among the ``n_neighbors`` nearest, and no other method is told a number.
Here codes that were learned with several are judged with several K, beside ITQ, on the first 2,000
queries of each set. ``docs/results.md`` shows the results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seeds import run
from sigah.evaluation import (
    EvaluationData,
    average_precision,
    cached_neighbors,
    pr_area,
    rank_counts,
    recall_at,
)

N_BITS = 64
KS = (10, 100, 1000, 10_000)
N_QUERIES = 2000
METHODS = ("itq", *(f"sigah:n_neighbors={n}" for n in KS))


def measure(hasher: Any, data: EvaluationData) -> dict[str, float]:
    """The pooled area, mAP and the recall of K among the first K, for each K."""
    queries = np.asarray(data.queries[:N_QUERIES])
    truth = cached_neighbors(data.base, queries, max(KS)).ids
    codes = hasher.transform(data.base), hasher.transform(queries)
    figures = {}
    for k, counts in rank_counts(*codes, truth, ks=KS).items():
        figures[f"pr_area@K={k}"] = pr_area(counts)
        figures[f"map@K={k}"] = float(average_precision(counts).mean())
        figures[f"recall@K={k}"] = float(recall_at(counts, k).mean())
    return figures


if __name__ == "__main__":
    run(
        measure,
        description=__doc__,
        methods=",".join(METHODS),
        json_path="benchmarks/results/neighborhoods.json",
        settings={"n_bits": N_BITS, "n_queries": N_QUERIES, "ks": list(KS)},
    )
