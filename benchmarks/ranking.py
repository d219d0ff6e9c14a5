"""Ranking by better distances than Hamming's, one thread: ``make bench-ranking`` runs this.

- ``exhaustive``: all codes by their asymmetric distances, against FAISS's fast scan of product
  quantisers (``PQ..x4fs``) of as many bytes.
- ``shortlist``: a single query; the nearest by Hamming distance on 8 bytes, ranked by tables over
  8 + 8 bytes.
- ``second_stage``: ranking 100 candidates of 512 bits or floats, beside the search for them.
- ``encoding``: a single vector.

Contestants run in turn, several times; ratios are medians of the ratios of such turns. A section's
results replace its earlier ones in the JSON file.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np

from search import RESULTS, seconds_in_turn
from sigah import LSH, HammingIndex
from sigah.codes import pack
from sigah.evaluation.provenance import environment
from sigah.search.compiled import score_kernels
from sigah.search.score_search import check_factors
from sigah.search.scoring import make_scorer

N, K, DIM = 100_000, 10, 512


def row(name: str, seconds: list[float], n_queries: int, **more: Any) -> dict[str, Any]:
    """Microseconds a query; the least is what other work on the machine disturbs least."""
    found = {
        "name": name,
        "queries": n_queries,
        "median_us": 1e6 * statistics.median(seconds) / n_queries,
        "least_us": 1e6 * min(seconds) / n_queries,
        "repeats": len(seconds),
        **more,
    }
    print({key: round(v, 2) if isinstance(v, float) else v for key, v in found.items()}, flush=True)
    return found


def exhaustive(random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Asymmetric scans and fast scans of codes of equal size; uniform bits, normal vectors."""
    for n_bits in (64, 128, 256):
        index = HammingIndex(n_bits, n_threads=1)
        index.add(random.integers(0, 256, (N, n_bits // 8), np.uint8))
        vectors = random.normal(size=(N, n_bits)).astype(np.float32)
        fast_scan = faiss.IndexPQFastScan(n_bits, n_bits // 4, 4)
        fast_scan.train(vectors[:5000])
        fast_scan.add(vectors)
        for n_queries, k in ((1, 10), (100, 10), (100, 100)):
            queries = random.normal(size=(n_queries, n_bits)).astype(np.float32)

            def ours(index: Any = index, queries: Any = queries, k: int = k) -> Any:
                return index.search_asymmetric(queries, k)

            def theirs(index: Any = fast_scan, queries: Any = queries, k: int = k) -> Any:
                return index.search(queries, k)

            ours(), theirs()
            seconds, faiss_seconds = seconds_in_turn(ours, theirs)
            ratios = [b / a for a, b in zip(seconds, faiss_seconds, strict=True)]
            yield row(
                "exhaustive",
                seconds,
                n_queries,
                n_bits=n_bits,
                k=k,
                faiss=f"PQ{n_bits // 4}x4fs",
                faiss_median_us=1e6 * statistics.median(faiss_seconds) / n_queries,
                faiss_least_us=1e6 * min(faiss_seconds) / n_queries,
                ratio=statistics.median(ratios),
            )


def shortlist(random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """A single query, all of Python's work included."""
    index = HammingIndex(128, n_threads=1)
    index.add(random.integers(0, 256, (N, 16), np.uint8))
    codes = random.integers(0, 256, (1, 8), np.uint8)
    tables = random.normal(size=(1, 16, 256)).astype(np.float32)
    plain = HammingIndex(64, n_threads=1)
    plain.add(index.get(index.ids)[:, :8].copy())
    for length in (100, 500, 2000):

        def ranked(length: int = length) -> Any:
            return index.search_tables(tables, K, codes=codes, shortlist=length)

        ranked(), plain.search(codes, K)
        seconds, hamming = seconds_in_turn(ranked, lambda: plain.search(codes, K))
        yield row(
            "shortlist",
            seconds,
            1,
            shortlist=length,
            hamming_least_us=1e6 * min(hamming),
            hamming_median_us=1e6 * statistics.median(hamming),
        )


def second_stage(random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """The ranking of a hundred queries' candidates, beside the search that finds them."""
    vectors = random.normal(size=(N, DIM)).astype(np.float32)
    queries = random.normal(size=(100, DIM)).astype(np.float32)
    index = HammingIndex(DIM, n_threads=1)
    index.add(pack(vectors >= 0))
    codes = pack(queries >= 0)
    hasher = SimpleNamespace(transform=lambda rows: codes, project=lambda rows: rows)
    (candidates,) = index.snapshot()._candidates(None, 1)
    _, ids = index.search(codes, 10 * K)  # of one segment with ids 0, 1, ...: positions, too
    scores, nearest = np.empty((100, K), np.float32), np.empty((100, K), np.int64)
    scorer = make_scorer(hasher, "raw", index.snapshot(), queries, vectors)

    segment, factors = candidates.segment, check_factors(None)

    def asymmetric() -> None:
        score_kernels().rank_codes(
            segment.planes, segment.extra, ids, queries, factors, scores, nearest
        )

    def raw() -> None:
        measured = scorer.distances_of(slice(None), ids)
        score_kernels().select_nearest(measured, ids, measured[:, :K].copy(), nearest)

    for stage in (asymmetric, raw):
        stage()
        seconds, hamming = seconds_in_turn(stage, lambda: index.search(codes, 10 * K))
        yield row(
            "second_stage",
            seconds,
            len(queries),
            by=stage.__name__,
            n_bits=DIM,
            candidates=10 * K,
            hamming_least_us=1e6 * min(hamming) / len(queries),
        )


def encoding(random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """One vector, and the matrix product alone."""
    vectors = random.normal(size=(2000, DIM)).astype(np.float32)
    for n_bits in (64, 128, 512):
        hasher = LSH(n_bits, random_state=0).fit(vectors)
        one = vectors[:1]

        def encode(hasher: Any = hasher, one: Any = one) -> Any:
            return hasher.transform(one)

        def product(hasher: Any = hasher, one: Any = one) -> Any:
            return one @ hasher.weights_

        encode(), product()
        seconds, alone = seconds_in_turn(encode, product)
        yield row("encoding", seconds, 1, n_bits=n_bits, product_least_us=1e6 * min(alone))


SECTIONS = {
    section.__name__: section for section in (exhaustive, shortlist, second_stage, encoding)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS / "ranking.json")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    report = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    for section in arguments.sections.split(","):
        rows = list(SECTIONS[section](np.random.default_rng(0)))
        report[section] = {"environment": environment(), "rows": rows}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
