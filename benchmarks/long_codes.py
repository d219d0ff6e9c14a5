"""Codes of more than 64 bits: how many of the nearest vectors they find.

``SiGAH()`` beside its start, ITQ, on the first 2,000 queries of each set.
``docs/results.md`` shows the results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seeds import run
from sigah.evaluation import EvaluationData, average_precision, rank_counts, recall_at

LENGTHS = [128, 256, 512]
KS = (10, 1000)
N_QUERIES = 2000


def measure(hasher: Any, data: EvaluationData) -> dict[str, float]:
    """recall10@10, mAP of the 1,000 nearest, and whether SiGAH's codes are the learned ones."""
    queries = np.asarray(data.queries[:N_QUERIES])
    codes = hasher.transform(data.base), hasher.transform(queries)
    counts = rank_counts(*codes, data.truth[: len(queries)], ks=KS)
    return {
        "recall10@10": float(recall_at(counts[10], 10).mean()),
        "map": float(average_precision(counts[1000]).mean()),
        "learned": float(getattr(hasher, "training_", {}).get("kept") == "learned"),
    }


if __name__ == "__main__":
    run(
        measure,
        description=__doc__,
        methods="itq,sigah",
        json_path="benchmarks/results/long_codes.json",
        settings={"n_bits": LENGTHS, "n_queries": N_QUERIES},
    )
