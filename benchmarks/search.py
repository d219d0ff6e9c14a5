"""Exact Hamming search side by side with its peers: ``make bench-search`` runs this.

- ``grid``: the index against FAISS's ``IndexBinaryFlat``, uniform bits, every cell of the grid.
- ``peers``: other exact searches, one cell of each width.
- ``tables``: multi-index tables and the scan on ten million real codes: SiGAH's codes of MNIST and
  Fashion-MNIST images, each in its 169 shifts by up to six pixels; queries are the test images.
- ``limits``: what the machine could do: bandwidth, the kernel without selection.
- ``compilation``: the first search of a process, with and without the cache of compiled kernels.

Contestants run in turn, several times; ratios are medians of the ratios of such turns, and
distances must agree. A section's results replace its earlier ones in the JSON file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from sigah import HammingIndex, SiGAH
from sigah.evaluation.provenance import environment
from sigah.lab import datasets
from sigah.search import kernels
from sigah.search.layout import to_planes
from sigah.search.scan import nearest_by_scan

BITS, KS, QUERIES = (32, 64, 128, 256, 512, 1024), (1, 10, 100, 1000), (1, 10, 100, 1000)
SIZES = (10_000, 1_000_000, 10_000_000)
RESULTS = Path(__file__).parent / "results"


def seconds_in_turn(
    first: Callable[[], Any], second: Callable[[], Any], budget: float = 3.0
) -> tuple[list[float], list[float]]:
    """Times of two calls that ran before, taken in turn: up to 15 of each within the budget.

    Before each turn, the threads of the other are given time to fall asleep (those of OpenMP wait
    by spinning for some 10 ms). A short call has seven times a turn, of which the median counts.
    """
    times: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    while not times[0] or (len(times[0]) < 15 and time.perf_counter() - began < budget):
        for call, seconds in zip((first, second), times, strict=True):
            turn: list[float] = []
            rest = time.perf_counter() + 0.02
            while time.perf_counter() < rest:
                pass  # this core stays awake
            while not turn or (len(turn) < 7 and sum(turn) < 0.1):
                turn.append(timed(call))
            seconds.append(statistics.median(turn))
    return times


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


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


def peers(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Other exact searches: a million codes, a hundred queries, ten neighbours; two threads."""
    import numkong
    from usearch.compiled import MetricKind
    from usearch.index import search as usearch_search

    random = np.random.default_rng(0)
    n, n_queries, k = 1_000_000, 100, 10
    for n_bits in (64, 256):
        base = random.integers(0, 256, (n, n_bits // 8), dtype=np.uint8)
        queries = random.integers(0, 256, (n_queries, n_bits // 8), dtype=np.uint8)
        words, packed = base.view(np.uint64).T.copy(), numkong.hammings_pack(base, "uint1")
        index, reference = HammingIndex(n_bits), faiss.IndexBinaryFlat(n_bits)
        index.add(base)
        reference.add(base)

        def nearest_of(rows: Any) -> Any:
            some = np.argpartition(rows, k - 1, axis=1)[:, :k]
            return np.sort(np.take_along_axis(rows, some, axis=1), axis=1)

        def with_numpy(query: Any, words: Any = words) -> Any:
            distances = np.zeros((1, words.shape[1]), np.uint16)
            for word, column in zip(query.view(np.uint64), words, strict=True):
                distances[0] += np.bitwise_count(word ^ column)
            return nearest_of(distances)

        def with_numkong(query: Any, packed: Any = packed) -> Any:
            return nearest_of(np.asarray(numkong.hammings_packed(query[None], packed)))

        def in_threads(search: Callable[[Any], Any], queries: Any = queries) -> Any:
            with ThreadPoolExecutor(2) as pool:
                return np.concatenate(list(pool.map(search, queries)))

        contestants: dict[str, Callable[[], Any]] = {
            "FAISS IndexBinaryFlat": lambda: reference.search(queries, k)[0],
            "USearch exact": lambda: (
                usearch_search(
                    base, queries, k, MetricKind.Hamming, exact=True, threads=2
                ).distances
            ),
            "NumKong, NumPy selection": lambda: in_threads(with_numkong),
            "NumPy": lambda: in_threads(with_numpy),
        }
        for name, contestant in contestants.items():
            np.testing.assert_array_equal(index.search(queries, k)[0], contestant())
            ours, theirs = seconds_in_turn(lambda: index.search(queries, k), contestant)
            ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
            rate = n * n_queries / statistics.median(theirs)
            print(f"{name:26} {n_bits:4} bits: {ratio:7.1f}x, {rate / 1e9:6.3f} G/s", flush=True)
            yield {"peer": name, "n_bits": n_bits, "ratio": ratio, "pairs_per_second": rate}


def shifted_codes(name: str, reach: int = 6) -> tuple[Any, Any]:
    """Codes of all shifts of the base images by up to ``reach`` pixels, and of the test images."""
    split = datasets.load(name)
    hasher = SiGAH(64, random_state=0).fit(split.base)
    images = split.base.reshape(-1, 28, 28)
    codes = []
    for down, right in itertools.product(range(-reach, reach + 1), repeat=2):
        shifted = np.zeros_like(images)
        target = tuple(slice(max(s, 0), 28 + min(s, 0)) for s in (down, right))
        source = tuple(slice(max(-s, 0), 28 + min(-s, 0)) for s in (down, right))
        shifted[:, *target] = images[:, *source]
        codes.append(hasher.transform(shifted.reshape(len(images), -1)))
    return np.concatenate(codes), hasher.transform(split.queries)


def tables(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Multi-index tables, scan and FAISS on real codes."""
    for name in ("mnist", "fashion-mnist"):
        base, queries = shifted_codes(name)
        scan, index, reference = HammingIndex(64), HammingIndex(64), faiss.IndexBinaryFlat(64)
        for some in (scan, index, reference):
            some.add(base)
        index.build_tables()  # once to compile, or to load what is compiled
        index = HammingIndex(64)
        index.add(base)
        began = time.perf_counter()
        index.build_tables()
        build_seconds = time.perf_counter() - began
        for n_queries, k in itertools.product((1, 200), (1, 10, 100, 1000)):
            some = queries[:n_queries]
            row = {
                **compare(index, reference, some, k, len(base), 64),
                "data": name,
                "answered_by": dict(index.last_search),
                "build_seconds": build_seconds,
                **{key: index.stats()[key] for key in ("table_bytes", "tables")},
            }
            found, expected = index.search(some, k), scan.search(some, k)
            np.testing.assert_array_equal(found, expected)
            ours, scanned = seconds_in_turn(
                lambda some=some, k=k: index.search(some, k),
                lambda some=some, k=k: scan.search(some, k),
            )
            row["over_scan"] = statistics.median(b / a for a, b in zip(ours, scanned, strict=True))
            print(
                f"  {name}: {row['over_scan']:.1f}x our scan, by {row['answered_by']}", flush=True
            )
            yield row


def limits(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What the machine could do, and how close the searches come to it."""
    much = np.ones(1 << 28, np.uint64)  # 2 GiB, read by both cores

    def read(part: Any) -> Any:
        return np.bitwise_or.reduce(part)

    with ThreadPoolExecutor(2) as pool:
        halves = np.split(much, 2)
        fastest = min(timed(lambda: list(pool.map(read, halves))) for _ in range(20))
        bandwidth = much.nbytes / fastest
    del much
    random = np.random.default_rng(0)
    for n_bits in BITS:
        n_bytes = n_bits // 8
        codes = random.integers(0, 256, (2048, n_bytes), dtype=np.uint8)
        queries = random.integers(0, 256, (1000, n_bytes), dtype=np.uint8)
        planes = to_planes(codes)
        selected = np.full(len(planes) * 4, ~np.uint64(0))
        counts = np.zeros(len(queries), np.int64)

        base = to_planes(random.integers(0, 256, (n := 4_000_000, n_bytes), dtype=np.uint8))
        everything = np.full(len(base) * 4, ~np.uint64(0))

        def compare_only() -> None:
            for _ in range(20):  # nothing is at a negative distance: comparison, no selection
                kernels.count_within(planes, selected, queries, -1, counts)

        def search(n_queries: int) -> None:
            nearest_by_scan(base, everything, queries[:n_queries], 10, 2)

        turns = [
            (timed(compare_only), timed(lambda: search(1000)), timed(lambda: search(1)))
            for _ in range(9)
        ]
        peaks, batches, singles = zip(*turns[1:], strict=True)
        comparisons = 2 * 20 * len(codes) * len(queries)  # two cores, each as fast
        row = {
            "n_bits": n_bits,
            "bandwidth_bytes_per_second": bandwidth,
            "peak_pairs_per_second": comparisons / min(peaks),
            "pairs_per_second": 1000 * n / min(batches),
            "of_peak": statistics.median(
                1000 * n / batch / (comparisons / peak)
                for batch, peak in zip(batches, peaks, strict=True)
            ),
            "single_query_bytes_per_second": n * n_bytes / min(singles),
            "of_bandwidth": n * n_bytes / min(singles) / bandwidth,
        }
        print(
            f"{n_bits:4} bits: kernel {row['peak_pairs_per_second'] / 1e9:5.1f} G/s,"
            f" search {row['of_peak']:.0%} of it;"
            f" single query {row['of_bandwidth']:.0%} of {bandwidth / 1e9:.0f} GB/s",
            flush=True,
        )
        yield row


def compilation(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Seconds of the first search of a process."""
    program = (
        "import time; start = time.perf_counter(); import sigah; began = time.perf_counter();"
        "from sigah import HammingIndex; import numpy as np;"
        "imported = time.perf_counter(); index = HammingIndex(64);"
        "index.add(np.zeros((1, 8), np.uint8)); index.search(np.zeros((1, 8), np.uint8), 1);"
        "print(began - start, imported - began, time.perf_counter() - imported)"
    )
    with tempfile.TemporaryDirectory() as cache:
        for label in ("compiled", "from the cache", "from the cache"):
            output = subprocess.run(
                [sys.executable, "-c", program],
                env=os.environ | {"NUMBA_CACHE_DIR": cache},
                check=True,
                capture_output=True,
            ).stdout
            library, index, searched = map(float, output.split())
            print(f"index {index:.2f} s, first search {searched:.2f} s ({label})", flush=True)
            yield {
                "kernels": label,
                "import_sigah_seconds": library,
                "import_index_seconds": index,
                "first_search_seconds": searched,
            }


SECTIONS = {section.__name__: section for section in (grid, peers, tables, limits, compilation)}


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
    parser.add_argument("--sections", default=",".join(SECTIONS))
    arguments = parser.parse_args()
    report = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    for section in arguments.sections.split(","):
        rows = list(SECTIONS[section](arguments))
        report[section] = {"environment": environment(), "rows": rows}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
