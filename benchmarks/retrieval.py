"""How good the results of a search for texts stay, by bytes a vector: ours beside FAISS's.

``python benchmarks/retrieval.py COLLECTIONS`` runs this on the seven Glasgow test collections, a
folder each. Their texts and queries are embedded by the packaged sentence encoder (512
dimensions), and people have judged which texts serve which query: the measures are nDCG@10, and the
share of the ten texts nearest by full vectors that is found.

The collections are small. Codebooks learned from a thousand texts would hold the texts themselves.
So every method learns from the vectors of ``wordnet-text``, made by the same encoder: ours from all
of them, FAISS's from 32,768 of them. Where a row says ``cosine``, FAISS's decoded vectors were
ranked by cosine, which its index does not do by itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from frontier import TRAINING_ROWS, Search, factories, sized, trained, vectors_of
from sigah import HammingIndex, SignHashing, VectorIndex
from sigah.evaluation import exact_neighbors, ndcg
from sigah.evaluation.provenance import environment
from sigah.files.atomic import atomic_write
from sigah.lab.collections import EmbeddedCollection, embed, read_collection

RESULTS = Path(__file__).parent / "results" / "retrieval.json"
COLLECTIONS = ("adi", "cisi", "cran", "lisa", "med", "npl", "time")
LEARNED, METRIC = "wordnet-text", "cosine"
BUDGETS = (8, 16, 32, 64)
K = 10
OURS = "sigah"
LEFT_OUT = ("RaBitQ", "RQ")  # found alike by the fast scan; slow to learn


def ours(base: np.ndarray, budget: int, seed: int, texts: list[np.ndarray]) -> Iterator[Search]:
    """A search of each collection."""
    refined = VectorIndex.build(base, budget, metric=METRIC, random_state=seed).refined
    for some in texts:
        index = VectorIndex(refined)
        index.add(some)
        yield lambda queries, k, index=index: index.search(queries, k)[1]


def sign(base: np.ndarray, budget: int, texts: list[np.ndarray]) -> Iterator[Search]:
    hasher = SignHashing(8 * budget, metric=METRIC).fit(base)
    for some in texts:
        index = HammingIndex.of(hasher)
        index.add(hasher.transform(some))
        yield lambda queries, k, index=index: index.search(hasher.transform(queries), k)[1]


def of_faiss(index: Any, texts: list[np.ndarray]) -> Iterator[Search]:
    for some in texts:
        index.reset()
        index.add(some)
        yield lambda queries, k: index.search(queries, k)[1]


def by_cosine(index: Any, texts: list[np.ndarray]) -> Iterator[Search]:
    for some in texts:
        index.reset()
        index.add(some)
        decoded = index.reconstruct_n(0, len(some))
        yield lambda queries, k, decoded=decoded: exact_neighbors(decoded, queries, k, METRIC).ids


def measured(collection: EmbeddedCollection, ids: np.ndarray) -> dict[str, float]:
    """nDCG@10 of ranked rows, and the share of the ten nearest among them."""
    truth = exact_neighbors(collection.base, collection.queries, K, metric=METRIC).ids
    found = np.where(ids >= 0, collection.ids[ids], "")
    return {
        "ndcg10": round(float(ndcg(found, collection.grades, K).mean), 4),
        "recall10@10": round(float((ids[:, :, None] == truth[:, None]).any(axis=1).mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collections", type=Path, help="folder of the collections' folders")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    parser.add_argument("--methods", default="", help="separated by commas; default: all")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    asked = set(filter(None, arguments.methods.split(",")))
    content: dict[str, Any] = {"rows": []}
    if arguments.json.is_file():
        content = json.loads(arguments.json.read_text())
    done = {(row["seed"], row["budget"], row["method"]) for row in content["rows"]}
    collections = [embed(read_collection(arguments.collections / name)) for name in COLLECTIONS]
    texts = [one.base for one in collections]
    base = vectors_of(LEARNED)

    def keep(seed: int, budget: int, method: str, size: float, searches: Iterator[Search]) -> None:
        for name, one, search in zip(COLLECTIONS, collections, searches, strict=True):
            content["rows"].append({
                "collection": name, "texts": len(one.base), "queries": len(one.queries),
                "seed": seed, "budget": budget, "method": method, "bytes": size,
                **measured(one, search(one.queries, K)),
            })  # fmt: skip
        print(content["rows"][-1], flush=True)
        content.update(k=K, learned_from=LEARNED, **environment())
        with atomic_write(arguments.json) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())

    if (0, 0, "full vectors") not in done:
        exact = (
            lambda queries, k, some=some: exact_neighbors(some, queries, k, metric=METRIC).ids
            for some in texts
        )
        keep(0, 0, "full vectors", float(base[0].nbytes), exact)
    for seed in map(int, arguments.seeds.split(",")):
        sample = base[np.random.default_rng(seed).permutation(len(base))[:TRAINING_ROWS]]
        for budget in map(int, arguments.budgets.split(",")):
            if (seed, budget, OURS) not in done and (not asked or OURS in asked):
                keep(seed, budget, OURS, budget, ours(base, budget, seed, texts))
            if (seed, budget, "sign") not in done and not seed and (not asked or "sign" in asked):
                keep(seed, budget, "sign", budget, sign(base, budget, texts))
            for method, factory in factories(base.shape[1], budget, METRIC).items():
                variants = {method: of_faiss}
                if method in ("PQ", "OPQ"):
                    variants[f"{method}, cosine"] = by_cosine
                wanted = {v: way for v, way in variants.items() if (seed, budget, v) not in done}
                if method in LEFT_OUT or not wanted or (asked and method not in asked):
                    continue
                index = trained(factory, sample, METRIC)
                for variant, way in wanted.items():
                    keep(seed, budget, variant, sized(index), way(index, texts))


if __name__ == "__main__":
    main()
