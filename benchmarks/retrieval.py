"""How good the results of a search for texts stay, by bytes a vector: ours beside FAISS's.

``python benchmarks/retrieval.py COLLECTIONS`` runs this on the Glasgow test collections, a folder
each. Their texts and queries are embedded by the packaged sentence encoder (512 dimensions), and
people have judged which texts serve which query: the measure is nDCG@10. Collections of fewer than
1,000 texts are left out: FAISS's codebooks of 256 vectors would hold most of their texts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from frontier import TRAINING_ROWS, Contest, of_faiss, ours, sign
from sigah.evaluation import exact_neighbors, ndcg
from sigah.evaluation.provenance import environment
from sigah.files.atomic import atomic_write
from sigah.lab.collections import EmbeddedCollection, embed, read_collection

RESULTS = Path(__file__).parent / "results" / "retrieval.json"
COLLECTIONS = ("cisi", "cran", "lisa", "med", "npl")
BUDGETS = (8, 16, 32, 64)
K = 10
METHODS = {
    "sigah", "sign", "PQ", "OPQ", "PQ fast scan", "OPQ fast scan", "RaBitQ fast scan", "SQ4", "SQ8",
    "TurboQuant, 1 bit", "TurboQuant, 2 bits", "TurboQuant, 4 bits",
}  # fmt: skip


class Judged(Contest):
    """The vectors of a collection as a contest that is judged by people."""

    def __init__(self, collection: EmbeddedCollection, seed: int) -> None:
        self.name, self.seed, self.metric = collection.name, seed, "cosine"
        self.base, self.queries = collection.base, collection.queries
        drawn = np.random.default_rng(seed).permutation(len(self.base))
        self.sample = self.base[drawn[:TRAINING_ROWS]]
        self.collection = collection
        self.truth = exact_neighbors(self.base, self.queries, K, metric=self.metric).ids

    def gain(self, ids: np.ndarray) -> float:
        """Mean nDCG@10 of ranked rows."""
        found = np.where(ids >= 0, self.collection.ids[ids], "")
        return round(float(ndcg(found, self.collection.grades, K).mean), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collections", type=Path, help="folder of the collections' folders")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    content: dict[str, Any] = {"rows": []}
    if arguments.json.is_file():
        content = json.loads(arguments.json.read_text())
    done = {tuple(row[key] for key in ("collection", "seed", "budget", "method"))
            for row in content["rows"]}  # fmt: skip

    def keep(row: dict[str, Any]) -> None:
        content["rows"].append(row)
        print(row, flush=True)
        content.update(k=K, **environment())
        with atomic_write(arguments.json) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())

    for name in COLLECTIONS:
        collection = embed(read_collection(arguments.collections / name))
        for seed in map(int, arguments.seeds.split(",")):
            contest = Judged(collection, seed)
            about = {"collection": name, "texts": len(contest.base), "seed": seed}
            if not seed and (name, 0, 0, "full vectors") not in done:
                full = {"budget": 0, "method": "full vectors", "bytes": contest.base[0].nbytes}
                keep({**about, **full, "ndcg10": contest.gain(contest.truth), "recall10@10": 1.0})
            for budget in BUDGETS:

                def wanted(method: str, key: tuple[Any, ...] = (name, seed, budget)) -> bool:
                    return method in METHODS and (*key, method) not in done

                with tempfile.TemporaryDirectory() as folder:
                    for family in (ours, sign, of_faiss):
                        for method, size, _, search, _ in family(
                            contest, budget, wanted, Path(folder) / "kept"
                        ):
                            if method in METHODS:
                                ids = search(contest.queries, K)
                                keep({
                                    **about, "budget": budget, "method": method, "bytes": size,
                                    "ndcg10": contest.gain(ids),
                                    "recall10@10": round(contest.recall(ids), 4),
                                })  # fmt: skip


if __name__ == "__main__":
    main()
