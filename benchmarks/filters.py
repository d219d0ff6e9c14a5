"""What filters cost, beside the same search without one.

A million codes of 64 uniform bits, on all threads; ids are consecutive or given. A filter leaves a
random share of the codes, as a list of ids, as a mask beside the ids of a snapshot, or prepared by
``select``. Each is searched in turn with the plain search, ten neighbours; ratios are medians of
the turns.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from search import seconds_in_turn
from sigah import HammingIndex
from sigah.evaluation.provenance import environment

N, N_BITS, K = 1_000_000, 64, 10
SHARES = (0.0001, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9)
RESULTS = Path(__file__).parent / "results" / "filters.json"


def measure() -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (N, N_BITS // 8), dtype=np.uint8)
    rows = []
    for ids in ("consecutive", "given"):
        index = HammingIndex(N_BITS)
        index.add(codes, None if ids == "consecutive" else np.arange(N) * 3)
        snapshot = index.snapshot()
        for n_queries in (1, 100):
            queries = random.integers(0, 256, (n_queries, N_BITS // 8), dtype=np.uint8)
            for share in SHARES:
                mask = random.random(N) < share
                chosen = snapshot.ids[mask]
                prepared = index.select(chosen)
                filters = {"ids": chosen, "mask": mask, "prepared": prepared}
                row = {"ids": ids, "queries": n_queries, "share": share, "ratios": {}}
                for name, filter in filters.items():
                    search = snapshot.search if name == "mask" else index.search
                    expected = index.search(queries, K, filter=chosen)
                    np.testing.assert_array_equal(search(queries, K, filter=filter), expected)
                    plain, filtered = seconds_in_turn(
                        lambda: index.search(queries, K),
                        lambda: search(queries, K, filter=filter),
                        budget=1.0,
                    )
                    pairs = zip(plain, filtered, strict=True)
                    row["ratios"][name] = statistics.median(b / a for a, b in pairs)
                    row["plain_seconds"] = statistics.median(plain)
                print(row, flush=True)
                rows.append(row)
    return rows


def main() -> None:
    report = {"environment": environment(), "n": N, "n_bits": N_BITS, "k": K, "rows": measure()}
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
