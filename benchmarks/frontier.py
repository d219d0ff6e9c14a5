"""Recall, bytes and time of searches for vectors: ours beside FAISS's at equal bytes.

``make bench-frontier`` runs this. From the base of each set, 500 queries are drawn by the seed and
held out; their exact ten nearest by the set's metric are the truth. Bytes are all that is kept of a
vector, side data too. Where a row says ``cosine``, FAISS's decoded vectors were scaled to unit
length before they were ranked, which its index does not do by itself: such rows have no time.

FAISS learns from 32,768 rows of the base, drawn by the seed, and OPQ alternates 20 times: more
changes little, and takes hours. Ours learns from the whole base.

There are two passes. The first one builds every index once, keeps it in a folder, and measures
recall. ``--times`` opens the kept indexes of the first seed and measures times, so that machines
need to be idle for minutes only. Times are medians, in microseconds a query: all queries at once,
and one by one; contestants of one budget take turns. A repeated call goes on where the last one
stopped.
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
TRAINING_ROWS, ROUNDS = 1 << 15, 20  # of FAISS; of OPQ
SHORTLISTS = (250, 500, 1000, 2000)
BUDGETS = (8, 16, 32, 64, 128)
N_QUERIES, K, WIDE = 500, 10, 100
THREADS = (1, 2)
TURNS, MOST_SECONDS = 5, 4  # most turns, and the time after which a contestant has no more
Search = Callable[[np.ndarray, int], np.ndarray]
Wanted = Callable[[str], bool]  # whether a method is asked for and not measured yet


def vectors_of(name: str) -> np.ndarray:
    every = np.asarray(datasets.load(name).base, np.float32)
    return normalized(every) if SETS[name] == "cosine" else every


class Contest:
    """Base, queries and truth of one set and seed."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed, self.metric = name, seed, SETS[name]
        every = vectors_of(name)
        random = np.random.default_rng(seed)
        drawn = random.permutation(len(every))
        self.queries = every[drawn[:N_QUERIES]]
        self.base = every[np.sort(drawn[N_QUERIES:])]
        self.sample = self.base[random.permutation(len(self.base))[:TRAINING_ROWS]]
        self.truth = exact_neighbors(self.base, self.queries, K, metric=self.metric).ids

    def recall(self, ids: np.ndarray) -> float:
        return float((ids[:, :, None] == self.truth[:, None, :]).any(axis=1).mean())


def ours(
    contest: Contest, budget: int, wanted: Wanted, kept: Path
) -> Iterator[tuple[str, float, float, Search | None, Any]]:
    if not wanted("sigah"):
        return
    began = time.perf_counter()
    index = VectorIndex.build(
        contest.base, budget, metric=contest.metric, random_state=contest.seed
    )
    seconds = time.perf_counter() - began
    index.save(kept)
    chosen, wide = index.shortlist, index.wide_shortlist
    found = index.search(contest.queries, K, vectors=contest.base, n_ranked=WIDE)[1]
    best = contest.recall(found)
    for shortlist in sorted({*SHORTLISTS, chosen}):
        index.shortlist = shortlist
        name = "sigah" if shortlist == chosen else f"sigah, {shortlist} candidates"
        about: dict[str, Any] = {"shortlist": shortlist}
        if shortlist == chosen:
            about |= {"wide_shortlist": wide, "with_vectors": round(best, 4)}
        yield name, index.bytes_per_vector, seconds, lambda q, k: index.search(q, k)[1], about


def sign(
    contest: Contest, budget: int, wanted: Wanted, kept: Path
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


def factories(d: int, budget: int, metric: str) -> dict[str, str]:
    """FAISS's contestants at a budget of bytes, and how its ``index_factory`` makes them."""
    found = {}
    if budget <= d:
        found |= {
            "PQ": f"PQ{budget}x8",
            "OPQ": f"OPQ{budget}_{d // budget * budget},PQ{budget}x8",
        }
        if d % budget:
            found["PQ"] = f"PCA{d // budget * budget},PQ{budget}x8"
    nibbles = 2 * budget
    if nibbles <= d:
        kept = d // nibbles * nibbles
        found |= {
            "PQ fast scan": f"PCA{kept},PQ{nibbles}x4fs" if kept < d else f"PQ{nibbles}x4fs",
            "OPQ fast scan": f"OPQ{nibbles}_{kept},PQ{nibbles}x4fs",
        }
    bits = 8 * (budget - 8)
    if 0 < bits <= d:
        found |= {
            "RaBitQ": f"PCAR{bits},RaBitQ" if bits < d else "RR,RaBitQ",
            "RaBitQ fast scan": f"PCAR{bits},RaBitQfs" if bits < d else "RR,RaBitQfs",
        }
    for n_bits, name in ((4, "SQ4"), (8, "SQ8")):
        if (kept := 8 * budget // n_bits) <= d:
            found[name] = f"PCAR{kept},{name}"
    if metric == "cosine":  # TurboQuant is for vectors of length 1
        for n_bits, name in ((1, "1 bit"), (2, "2 bits"), (4, "4 bits")):
            if (kept := 8 * budget // n_bits) <= d:
                rotated = f"PCAR{kept}" if kept < d else "RR"
                found[f"TurboQuant {name}"] = f"{rotated},SQtqmse{n_bits}"
    if budget <= 16:
        found["RQ"] = f"RQ{budget}x8"
    return found


def trained(factory: str, sample: np.ndarray, metric: str) -> Any:
    """An empty index of FAISS that learned from a sample."""
    of = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
    index = faiss.index_factory(sample.shape[1], factory, of)
    if "OPQ" in factory:
        faiss.downcast_VectorTransform(index.chain.at(0)).niter = ROUNDS
    index.train(sample)
    return index


def of_faiss(
    contest: Contest, budget: int, wanted: Wanted, place: Path
) -> Iterator[tuple[str, float, float, Search | None, Any]]:
    """FAISS's contestants at a budget of bytes."""
    for name, factory in factories(contest.base.shape[1], budget, contest.metric).items():
        if not wanted(name):
            continue
        began = time.perf_counter()
        index = trained(factory, contest.sample, contest.metric)
        index.add(contest.base)
        seconds = time.perf_counter() - began
        faiss.write_index(index, str(place.with_name(f"{place.name} {name}")))
        size = sized(index)

        def search(queries: np.ndarray, k: int, index: Any = index) -> np.ndarray:
            return index.search(queries, k)[1]

        yield name, size, seconds, search, {"factory": factory}
        if contest.metric == "cosine" and name in ("PQ", "OPQ", "RQ"):
            decoded = normalized(index.reconstruct_n(0, index.ntotal))

            def by_cosine(queries: np.ndarray, k: int, decoded: Any = decoded) -> np.ndarray:
                scores = queries @ decoded.T
                some = np.argpartition(-scores, k, axis=1)[:, :k]
                order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1)
                return np.take_along_axis(some, order, axis=1)

            yield f"{name}, cosine", size, seconds, by_cosine, {"factory": factory}


def sized(index: Any) -> float:
    """Bytes of a vector, without padding of the last block."""
    inner = faiss.downcast_index(index)
    while isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    return float(inner.sa_code_size())


def measure(contest: Contest, search: Search) -> dict[str, Any]:
    return {
        "recall10@10": round(contest.recall(search(contest.queries, K)), 4),
        "recall10@100": round(contest.recall(search(contest.queries, WIDE)), 4),
    }


def opened(row: dict[str, Any], folder: Path, n_threads: int) -> Search | None:
    """The search of a row's kept index; None if there is none."""
    kept = folder / name_of(row["set"], row["seed"], row["budget"])
    if row["method"].startswith("sigah") and kept.is_file():
        index = VectorIndex.load(kept, n_threads=n_threads)
        index.shortlist = row["shortlist"]
        return lambda queries, k: index.search(queries, k)[1]
    kept = kept.with_name(f"{kept.name} {row['method']}")
    if not kept.is_file():
        return None
    other = faiss.read_index(str(kept))
    return lambda queries, k: other.search(queries, k)[1]


def take_times(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write the times of rows that belong to one set, seed and budget; contestants take turns."""
    every = vectors_of(rows[0]["set"])
    queries = every[np.random.default_rng(rows[0]["seed"]).permutation(len(every))[:N_QUERIES]]
    for n_threads in THREADS:
        faiss.omp_set_num_threads(n_threads)
        found = [(row, opened(row, folder, n_threads)) for row in rows]
        searches = [(row, search) for row, search in found if search is not None]
        batch: list[list[float]] = [[] for _ in searches]
        single: list[list[float]] = [[] for _ in searches]
        for turn in range(TURNS + 1):
            for i, (_, search) in enumerate(searches):
                if sum(batch[i]) * len(queries) > MOST_SECONDS:
                    continue
                began = time.perf_counter()
                search(queries, K)
                batch[i].append((time.perf_counter() - began) / len(queries))
                for query in queries[40 * turn : 40 * turn + 40]:
                    began = time.perf_counter()
                    search(query[np.newaxis], K)
                    single[i].append(time.perf_counter() - began)
                if not turn:  # to warm up
                    batch[i].clear(), single[i].clear()
        for (row, _), some, alone in zip(searches, batch, single, strict=True):
            row[f"{n_threads} threads"] = {
                "batch_us": round(1e6 * statistics.median(some), 1),
                "single_us": round(1e6 * statistics.median(alone), 1),
            }
            print(row, flush=True)


def name_of(name: str, seed: int, budget: int) -> str:
    return f"{name}-{seed}-{budget}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--methods", default="", help="separated by commas; default: all")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--kept", type=Path, default=Path("build/frontier"), help="built indexes")
    parser.add_argument("--times", action="store_true", help="measure times of kept indexes")
    arguments = parser.parse_args()
    arguments.kept.mkdir(parents=True, exist_ok=True)
    asked = set(filter(None, arguments.methods.split(",")))
    content: dict[str, Any] = {"rows": []}
    if arguments.json.is_file():
        content = json.loads(arguments.json.read_text())
    done = {(row["set"], row["seed"], row["budget"], row["method"]) for row in content["rows"]}

    def save() -> None:
        content.update(k=K, n_queries=N_QUERIES, **environment())
        with atomic_write(arguments.json) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())

    cases = [
        (name, seed, budget)
        for name in arguments.sets.split(",")
        for seed in map(int, arguments.seeds.split(","))
        for budget in map(int, arguments.budgets.split(","))
    ]
    if arguments.times:
        for case in cases:
            rows = [
                row
                for row in content["rows"]
                if (row["set"], row["seed"], row["budget"]) == case
                and (not asked or row["method"].split(",")[0] in asked)
            ]
            take_times(rows, arguments.kept)
            save()
        return
    contest = None
    for name, seed, budget in cases:
        if contest is None or (contest.name, contest.seed) != (name, seed):
            contest = Contest(name, seed)

        def wanted(method: str, key: tuple[Any, ...] = (name, seed, budget)) -> bool:
            return (not asked or method in asked) and (*key, method) not in done

        kept = arguments.kept / name_of(name, seed, budget)
        for family in (ours, sign, of_faiss):
            for method, size, seconds, search, about in family(contest, budget, wanted, kept):
                content["rows"].append({
                    "set": name, "metric": contest.metric, "seed": seed, "budget": budget,
                    "method": method, "bytes": size, "fit_seconds": round(seconds, 1),
                    **about, **measure(contest, search),
                })  # fmt: skip
                print(content["rows"][-1], flush=True)
                save()


if __name__ == "__main__":
    main()
