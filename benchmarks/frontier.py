"""Recall, bytes and time of searches for vectors: ours beside FAISS's at equal bytes.

``make bench-frontier`` runs this. From the base of each set, 500 queries are drawn by the seed and
held out; their exact ten nearest by the set's metric are the truth. Bytes are all that is kept of a
vector, side data too. Every contestant learns from the whole rest of the base (FAISS's own limits
on training rows hold). Where a row says ``cosine``, FAISS's decoded vectors were scaled to unit
length before they were ranked, which its index does not do by itself: such rows have no time.

Times are medians of calls taken in turn: all queries at once, and one by one, in microseconds a
query, with one thread and with two. Each result is written as soon as it is measured, and a
repeated call goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from sigah import HammingIndex, SignHashing, VectorIndex
from sigah.evaluation import exact_neighbors
from sigah.evaluation.provenance import environment
from sigah.files.atomic import atomic_write
from sigah.lab import datasets
from sigah.metric import normalized

RESULTS = Path(__file__).parent / "results" / "frontier.json"
SETS = {  # and their metrics
    "wordnet-text": "cosine", "glove-50": "cosine", "photo-gist-960": "l2", "photo-sift": "l2",
    "mnist": "l2",
}  # fmt: skip
BUDGETS = (8, 16, 32, 64, 128)
N_QUERIES, K, WIDE = 500, 10, 100
THREADS = (1, 2)
Search = Callable[[np.ndarray, int], np.ndarray]
Wanted = Callable[[str], bool]  # whether a method is asked for and not measured yet


class Contest:
    """Base, queries and truth of one set and seed."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed, self.metric = name, seed, SETS[name]
        every = np.asarray(datasets.load(name).base, np.float32)
        if self.metric == "cosine":
            every = normalized(every)
        drawn = np.random.default_rng(seed).permutation(len(every))
        self.queries = every[drawn[:N_QUERIES]]
        self.base = every[np.sort(drawn[N_QUERIES:])]
        self.truth = exact_neighbors(self.base, self.queries, K, metric=self.metric).ids

    def recall(self, ids: np.ndarray) -> float:
        return float((ids[:, :, None] == self.truth[:, None, :]).any(axis=1).mean())


def ours(
    contest: Contest, budget: int, wanted: Wanted
) -> Iterator[tuple[str, float, float, Search | None, Any]]:
    if not wanted("sigah"):
        return
    began = time.perf_counter()
    index = VectorIndex.build(
        contest.base, budget, metric=contest.metric, random_state=contest.seed
    )
    seconds = time.perf_counter() - began
    shortest = index.shortlist

    def search(queries: np.ndarray, k: int) -> np.ndarray:
        return index.search(queries, k)[1]

    yield "sigah", index.bytes_per_vector, seconds, search, {"shortlist": shortest}
    index.shortlist = max(2 * WIDE, shortest // 4)
    yield (
        "sigah, short list",
        index.bytes_per_vector,
        seconds,
        search,
        {"shortlist": index.shortlist},
    )


def sign(
    contest: Contest, budget: int, wanted: Wanted
) -> Iterator[tuple[str, float, float, Search | None, Any]]:
    if 8 * budget > contest.base.shape[1] or not wanted("sign"):
        return
    hasher = SignHashing(8 * budget, metric=contest.metric).fit(contest.base)
    codes = HammingIndex.of(hasher)
    codes.add(hasher.transform(contest.base))
    yield (
        "sign", float(budget), 0.0,
        lambda queries, k: codes.search(hasher.transform(queries), k)[1], {},
    )  # fmt: skip


def of_faiss(
    contest: Contest, budget: int, wanted: Wanted
) -> Iterator[tuple[str, float, float, Search | None, Any]]:
    """FAISS's contestants at a budget of bytes."""
    d = contest.base.shape[1]
    factories = {}
    if budget <= d:
        factories |= {
            "PQ": f"PQ{budget}x8",
            "OPQ": f"OPQ{budget}_{d // budget * budget},PQ{budget}x8",
        }
        if d % budget:
            factories["PQ"] = f"PCA{d // budget * budget},PQ{budget}x8"
    nibbles = 2 * budget
    if nibbles <= d:
        kept = d // nibbles * nibbles
        factories |= {
            "PQ fast scan": f"PCA{kept},PQ{nibbles}x4fs" if kept < d else f"PQ{nibbles}x4fs",
            "OPQ fast scan": f"OPQ{nibbles}_{kept},PQ{nibbles}x4fs",
        }
    bits = 8 * (budget - 8)
    if 0 < bits <= d:
        factories |= {
            "RaBitQ": f"PCAR{bits},RaBitQ" if bits < d else "RR,RaBitQ",
            "RaBitQ fast scan": f"PCAR{bits},RaBitQfs" if bits < d else "RR,RaBitQfs",
        }
    for n_bits, name in ((4, "SQ4"), (8, "SQ8")):
        if (kept := 8 * budget // n_bits) <= d:
            factories[name] = f"PCAR{kept},{name}"
    if budget <= 16:
        factories["RQ"] = f"RQ{budget}x8"
    metric = faiss.METRIC_INNER_PRODUCT if contest.metric == "ip" else faiss.METRIC_L2
    for name, factory in factories.items():
        if not wanted(name):
            continue
        began = time.perf_counter()
        index = faiss.index_factory(d, factory, metric)
        index.train(contest.base)
        index.add(contest.base)
        seconds = time.perf_counter() - began
        size = sized(index)

        def search(queries: np.ndarray, k: int, index: Any = index) -> np.ndarray:
            return index.search(queries, k)[1]

        yield name, size, seconds, search, {"factory": factory}
        if contest.metric == "cosine" and name in ("PQ", "OPQ", "RQ"):
            decoded = normalized(index.reconstruct_n(0, index.ntotal))

            def by_cosine(queries: np.ndarray, k: int, decoded: Any = decoded) -> np.ndarray:
                return np.argsort(-(queries @ decoded.T), axis=1, kind="stable")[:, :k]

            yield f"{name}, cosine", size, seconds, by_cosine, {"factory": factory, "timed": False}


def sized(index: Any) -> float:
    """Bytes of a vector, without padding of the last block."""
    inner = faiss.downcast_index(index)
    while isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    return float(inner.sa_code_size())


def times(search: Search, queries: np.ndarray) -> dict[str, float]:
    """Microseconds a query: all at once and one by one."""
    search(queries, K)
    batch, single = [], []
    for _ in range(5):
        began = time.perf_counter()
        search(queries, K)
        batch.append((time.perf_counter() - began) / len(queries))
    for query in queries[:200]:
        began = time.perf_counter()
        search(query[np.newaxis], K)
        single.append(time.perf_counter() - began)
    return {
        "batch_us": round(1e6 * statistics.median(batch), 2),
        "single_us": round(1e6 * statistics.median(single), 2),
    }


def measure(contest: Contest, search: Search, *, timed: bool) -> dict[str, Any]:
    wide = search(contest.queries, WIDE)
    row: dict[str, Any] = {
        "recall10@10": round(contest.recall(search(contest.queries, K)), 4),
        "recall10@100": round(contest.recall(wide), 4),
    }
    if timed:
        for n_threads in THREADS:
            faiss.omp_set_num_threads(n_threads)
            with threadpool_limits(n_threads):
                row[f"{n_threads} threads"] = times(search, contest.queries)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default="", help="separated by commas; default: all")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    asked = set(filter(None, arguments.methods.split(",")))
    content: dict[str, Any] = {"rows": []}
    if arguments.json.is_file():
        content = json.loads(arguments.json.read_text())
    done = {(row["set"], row["seed"], row["budget"], row["method"]) for row in content["rows"]}
    for name in arguments.sets.split(","):
        for seed in range(arguments.seeds):
            contest = Contest(name, seed)
            for budget in map(int, arguments.budgets.split(",")):

                def wanted(method: str, key: tuple[Any, ...] = (name, seed, budget)) -> bool:
                    return (not asked or method in asked) and (*key, method) not in done

                for family in (ours, sign, of_faiss):
                    for method, size, seconds, search, about in family(contest, budget, wanted):
                        found = measure(contest, search, timed=about.pop("timed", True))
                        content["rows"].append({
                            "set": name, "metric": contest.metric, "seed": seed, "budget": budget,
                            "method": method, "bytes": size, "fit_seconds": round(seconds, 1),
                            **about, **found,
                        })  # fmt: skip
                        print(content["rows"][-1], flush=True)
                        content |= {"k": K, "n_queries": N_QUERIES, **environment()}
                        with atomic_write(arguments.json) as file:
                            file.write((json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
