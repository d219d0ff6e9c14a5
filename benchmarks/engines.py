"""Engines on real codes: time to export and to search, and the recall of approximate kinds.

The 60,000 training images of MNIST as codes of SiGAH, 64 bits, looked up by 1,000 test images; the
first row is our own index. A neighbour counts as found if it is as near as the tenth nearest code,
so the recall of an exact search is 1 however ties are cut. Filtered searches may find one code in a
hundred, drawn at random. Only the rows of the engines named are measured again.
``docs/engines.md`` shows the results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reports import write_report
from rescoring import local_postgres
from sigah import HammingIndex, load
from sigah.engines import connect, export, make_engine
from sigah.hashers.registry import make_hasher
from sigah.lab import datasets

K, N_BITS, N_QUERIES, REPEATS = 10, 64, 1000, 3
N_LABELS = 100

# what is built, and what it is then searched with
CASES: dict[str, list[tuple[dict[str, Any], list[dict[str, Any]]]]] = {
    "faiss": [
        ({"kind": "flat"}, [{}]),
        ({"kind": "ivf"}, [{"probes": probes} for probes in (1, 4, 16, 64)]),
        ({"kind": "hnsw"}, [{"expansion": expansion} for expansion in (16, 64, 256)]),
    ],
    "usearch": [
        ({}, [{"expansion": expansion} for expansion in (16, 64, 256)] + [{"exact": True}])
    ],
    "lancedb": [
        ({"kind": "flat"}, [{}]),
        ({"kind": "ivf"}, [{"probes": probes} for probes in (1, 4, 16, 64)]),
    ],
    "pgvector": [
        ({"kind": "flat"}, [{}]),
        ({"kind": "hnsw"}, [{"expansion": expansion} for expansion in (16, 64, 256)]),
    ],
    "milvus": [({}, [{}])],
    "clickhouse": [({}, [{}])],
}


@contextmanager
def empty_target(name: str) -> Iterator[str]:
    """Where an engine may put its codes."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "pgvector":
            with local_postgres(folder) as address:
                yield address
        else:
            yield str(Path(folder) / ("target.db" if name == "milvus" else "target"))


def time_search(search: Callable[..., Any], queries: Any) -> tuple[float, Any]:
    """Seconds a query, the median of a few runs, and the distances found."""
    search(queries[:10], K)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        distances, _ = search(queries, K)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)) / len(queries), distances


def measure_own(codes: Any, queries: Any) -> dict[str, Any]:
    """The row of our own index."""
    started = time.perf_counter()
    index = HammingIndex(N_BITS, n_threads=1)
    index.add(codes)
    row = {
        "engine": "sigah",
        "kind": "HammingIndex",
        "settings": {},
        "export_seconds": time.perf_counter() - started,
        "recall": 1.0,
        "filtered_recall": 1.0,
    }
    return row | {"query_seconds": time_search(index.search, queries)[0]}


def measure(
    name: str,
    target: str,
    built: dict[str, Any],
    searched: list[dict[str, Any]],
    codes: Any,
    queries: Any,
) -> list[dict[str, Any]]:
    """Export once, then search in each way."""
    labels = np.random.default_rng(0).integers(0, N_LABELS, len(codes))
    index = HammingIndex(N_BITS)
    index.add(codes)
    radius = index.search(queries, K)[0][:, -1:]
    few = index.search(queries, K, filter=np.flatnonzero(labels == 0))[0][:, -1:]
    with make_engine(name, target) as engine:
        engine.read_about()  # loads the library
    started = time.perf_counter()
    export(name, target, codes, fingerprint="benchmark", labels=labels, **built)
    export_seconds = time.perf_counter() - started
    rows = []
    for settings in searched:
        with connect(name, target, **settings) as engine:
            seconds, distances = time_search(engine.search, queries)
            filtered = None
            if engine.filter_refusal is None:
                filtered = float((engine.search(queries, K, filter=0)[0] <= few).mean())
            assert engine.about is not None
            rows.append(
                {
                    "engine": name,
                    "kind": engine.about.kind,
                    "settings": settings,
                    "export_seconds": export_seconds,
                    "query_seconds": seconds,
                    "recall": float((distances <= radius).mean()),
                    "filtered_recall": filtered,
                }
            )
            print(rows[-1])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", default=",".join(CASES))
    parser.add_argument("--model", type=Path, help="a model of MNIST, if one is at hand")
    parser.add_argument("--target", help="where the engine is; by default a folder of its own")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/engines.json"))
    arguments = parser.parse_args()
    split = datasets.load("mnist")
    if arguments.model is None:
        hasher = make_hasher("sigah", N_BITS, 0).fit(split.base)
    else:
        hasher = load(arguments.model)
    codes, queries = hasher.transform(split.base), hasher.transform(split.queries[:N_QUERIES])
    names = arguments.engines.split(",")
    kept = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    rows = [row for row in kept if row["engine"] not in [*names, "sigah"]]
    rows.append(measure_own(codes, queries))
    for name in names:
        for built, searched in CASES[name]:
            with empty_target(name) as target:
                target = arguments.target or target
                rows += measure(name, target, built, searched, codes, queries)
    rows.sort(key=lambda row: ["sigah", *CASES].index(row["engine"]))
    report = {
        "n": len(codes),
        "n_bits": N_BITS,
        "queries": N_QUERIES,
        "k": K,
        "rows": rows,
    }
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
