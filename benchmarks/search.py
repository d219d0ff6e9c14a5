"""Exact Hamming search side by side with its peers: ``make bench-search`` runs this.

Every cell runs the contestants in turn, several times, and reports the median of the ratios of
their times; distances must agree. Codes are uniform bits, for which a scan has to look at the most
candidates; ``--real`` times real codes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from sigah import HammingIndex
from sigah.evaluation.protocol import environment

BITS, KS, QUERIES = (32, 64, 128, 256, 512, 1024), (1, 10, 100, 1000), (1, 10, 100, 1000)
SIZES = (10_000, 1_000_000, 10_000_000)
RESULTS = Path(__file__).parent / "results"


def seconds_in_turn(
    first: Callable[[], Any], second: Callable[[], Any], budget: float = 3.0
) -> tuple[list[float], list[float]]:
    """Times of two calls, taken in turn: 3 to 31 of each, fewer where they take long."""
    first(), second()  # warm up
    times: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    while len(times[0]) < 31 and (len(times[0]) < 3 or time.perf_counter() - began < budget):
        for call, seconds in zip((first, second), times, strict=True):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return times


def compare(
    index: HammingIndex, reference: Any, queries: Any, k: int, n: int, n_bits: int
) -> dict[str, Any]:
    """One cell: our index against FAISS's, same distances."""
    distances, _ = index.search(queries, k)
    expected, _ = reference.search(queries, k)
    np.testing.assert_array_equal(distances, expected)
    ours, theirs = seconds_in_turn(
        lambda: index.search(queries, k), lambda: reference.search(queries, k)
    )
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    pairs = n * len(queries)
    row = {
        "n_bits": n_bits,
        "n": n,
        "queries": len(queries),
        "k": k,
        "sigah_seconds": statistics.median(ours),
        "faiss_seconds": statistics.median(theirs),
        "ratio": ratio,
        "sigah_pairs_per_second": pairs / statistics.median(ours),
        "repeats": len(ours),
    }
    print(
        f"{n:>10,} x {n_bits:4} bits, {len(queries):4} queries, k = {k:4}: {ratio:6.2f}x FAISS,"
        f" {row['sigah_pairs_per_second'] / 1e9:5.1f} G/s",
        flush=True,
    )
    return row


def grid(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every cell of the grid, on uniform bits."""
    random = np.random.default_rng(0)
    for n, n_bits in itertools.product(arguments.sizes, arguments.bits):
        base = random.integers(0, 256, (n, n_bits // 8), dtype=np.uint8)
        queries = random.integers(0, 256, (max(arguments.queries), n_bits // 8), dtype=np.uint8)
        index, reference = HammingIndex(n_bits), faiss.IndexBinaryFlat(n_bits)
        index.add(base)
        reference.add(base)
        for n_queries, k in itertools.product(arguments.queries, arguments.k):
            yield compare(index, reference, queries[:n_queries], k, n, n_bits)


def numbers(text: str) -> tuple[int, ...]:
    """Comma-separated whole numbers."""
    return tuple(int(float(part)) for part in text.split(","))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=numbers, default=SIZES)
    parser.add_argument("--bits", type=numbers, default=BITS)
    parser.add_argument("--queries", type=numbers, default=QUERIES)
    parser.add_argument("--k", type=numbers, default=KS)
    parser.add_argument("--json", type=Path, default=RESULTS / "search.json")
    arguments = parser.parse_args()
    rows = list(grid(arguments))
    report = {"environment": environment(), "rows": rows}
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
