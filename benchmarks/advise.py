"""How far `sigah advise` can be trusted: a sample predicts the full set, which is then measured.

``make bench-advise`` runs this. From each set, 1,000 queries are set aside for the measurement of
the full set. A part of the rest is given to the advisor's own functions, which hold out queries of
their own (sets whose queries are of another kind than their vectors: other queries of the set are
given), fit the methods to the part, and predict the recall of every candidate among all vectors.
Then the same methods are fitted to all vectors and measured.

Reported: how often the interval contains what was measured, and what the recommendation from the
part costs beside the recommendation from the full set. The deviations of the interval come from the
sets of ``TUNED``; the other sets are for the report. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from sigah.advice import prediction
from sigah.advice.candidates import FullSize, candidates_of
from sigah.advice.choice import Candidate, Wishes, choose
from sigah.advice.contenders import Contender
from sigah.advice.measurement import Measured, measure
from sigah.advice.trials import Trial, Trials
from sigah.evaluation.provenance import environment
from sigah.evaluation.truth import exact_neighbors
from sigah.files.atomic import atomic_write
from sigah.lab import datasets

RESULTS = Path(__file__).parent / "results" / "advise.json"
SETS = {  # and their metrics
    "mnist": "l2", "glove-50": "cosine", "wordnet-text": "cosine", "photo-gist-384": "l2",
    "fashion-mnist": "l2", "photo-sift": "l2", "photo-gist-960": "l2",
}  # fmt: skip
TUNED = ("mnist", "glove-50")
GIVEN = ("photo-",)  # sets whose queries come from other photographs than their vectors
MOST_ROWS = 110_000
PARTS = (4, 8)
LADDER = (("sign", None), ("itq", 16), ("itq", 32), ("vectors", 16), ("vectors", 32))
K, N_QUERIES, DEPTH, SEED = 10, 1000, 200, 0
RECALLS, BUDGETS, READS = (0.8, 0.9, 0.95), (16, 32, 64, 128), (0, 50, 200)


def contenders(dim: int) -> list[Contender]:
    made = []
    for family, n_bytes in LADDER:
        size = n_bytes or dim // 8
        bits = 8 * (min(size // 2, dim // 8) if family == "vectors" else size)
        if family == "vectors" or bits <= dim:
            made.append(Contender(family, size, bits))
    return list(dict.fromkeys(made))


def split(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """All vectors to search, the queries that measure, and queries to give to the advisor."""
    held = datasets.load(name)
    rng = np.random.default_rng(SEED)
    rows = rng.permutation(len(held.base))
    others = rng.permutation(len(held.queries))
    if name.startswith(GIVEN):
        half = min(N_QUERIES, len(others) // 2)
        queries = np.asarray(held.queries, np.float32)[others[: 2 * half]]
        base = np.asarray(held.base[np.sort(rows[:MOST_ROWS])], np.float32)
        return base, queries[:half], queries[half:]
    base = np.asarray(held.base[np.sort(rows[: MOST_ROWS + N_QUERIES])], np.float32)
    base = base[rng.permutation(len(base))]
    return base[N_QUERIES:], base[:N_QUERIES], None


def full_size(base: np.ndarray, queries: np.ndarray, metric: str) -> list[Measured]:
    truth = exact_neighbors(base, queries, K, metric).ids
    trial = Trial(base, queries, {len(base): truth}, metric)
    return [
        one
        for contender in contenders(base.shape[1])
        for one in measure(contender, trial, DEPTH, SEED, whole=True, timed=False)
    ]


def from_part(
    base: np.ndarray, part: int, queries: np.ndarray | None, metric: str
) -> list[Measured]:
    drawn = base[np.random.default_rng(part).permutation(len(base))[: len(base) // part]]
    trials = Trials(drawn, len(base), queries, None, metric, K, SEED)
    trial = trials.of(len(drawn))
    return [
        one
        for contender in contenders(base.shape[1])
        for one in measure(contender, trial, DEPTH, SEED, timed=False)
    ]


def as_json(measured: list[Measured]) -> list[dict[str, Any]]:
    """Shares found of thinned neighbours and shortlists: what predictions are made from."""
    return [
        {
            "family": one.contender.family, "bytes": one.contender.bytes,
            "bits": one.contender.bits, "ranking": one.ranking,
            "recall": {
                str(shortlist): float(
                    prediction.share_found(one.places[max(one.places)], K, shortlist).mean()
                )
                for shortlist in (10, 20, 50, 100, 200)
            },
        }
        for one in measured
    ]  # fmt: skip


def key(one: Candidate) -> tuple[str, str, int, int]:
    return one.method, one.ranking, one.bytes, one.reads


def compared(
    name: str, part: int, predicted: list[Measured], true: list[Measured], full: FullSize
) -> list[dict[str, Any]]:
    """One row for each candidate: predicted and measured."""
    wishes = Wishes(reads=DEPTH)
    measured = {key(one): one for found in true for one in candidates_of([found], full, wishes)}
    rows = []
    for found in predicted:
        for one in candidates_of([found], full, wishes):
            told = measured[key(one)].measured_recall
            rows.append(
                {
                    "set": name, "part": part, "method": one.method, "ranking": one.ranking,
                    "bytes": one.bytes, "reads": one.reads, "rows": one.measured_rows,
                    "sample": one.measured_recall, "predicted": one.recall.expected,
                    "low": one.recall.low, "high": one.recall.high, "measured": told,
                }
            )  # fmt: skip
    return rows


def decisions(
    predicted: list[Measured], true: list[Measured], full: FullSize
) -> list[dict[str, Any]]:
    """What is recommended from the part, and from the full set, for many wishes."""
    every = [Wishes(recall=r, reads=n) for r in RECALLS for n in READS]
    every += [Wishes(recall=None, bytes=b, reads=n) for b in BUDGETS for n in READS]
    made = []
    for wishes in every:
        known = [c for found in true for c in candidates_of([found], full, wishes)]
        guessed = [c for found in predicted for c in candidates_of([found], full, wishes)]
        if all(one.bytes > wishes.bytes for one in known):
            continue
        best, taken = choose(known, wishes), choose(guessed, wishes)
        really = next(one for one in known if key(one) == key(taken.recommended))
        made.append(
            {
                "recall": wishes.recall,
                "bytes": None if wishes.bytes == math.inf else wishes.bytes,
                "reads": wishes.reads,
                "taken": [*key(taken.recommended), really.measured_recall, list(taken.unmet)],
                "best": [
                    *key(best.recommended), best.recommended.measured_recall, list(best.unmet)
                ],
            }
        )  # fmt: skip
    return made


def is_good(decision: dict[str, Any]) -> bool:
    """Within two points of recall, or a tenth of the bytes, of the best in hindsight."""
    taken, best = decision["taken"], decision["best"]
    same_side = bool(taken[5]) == bool(best[5])
    close = taken[4] >= best[4] - 0.02
    if decision["recall"] is None or not same_side or taken[5]:
        return close
    return taken[2] <= 1.1 * best[2] and (close or taken[4] >= decision["recall"] - 0.02)


def logit(p: float) -> float:
    p = min(max(p, 0.0005), 0.9995)
    return math.log(p) - math.log1p(-p)


def summary(rows: list[dict[str, Any]], made: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for group, sets in (
        ("tuned", [n for n in SETS if n in TUNED]),
        ("held out", [n for n in SETS if n not in TUNED]),
    ):
        some = [row for row in rows if row["set"] in sets]
        picked = [d for one, ds in made.items() if one.split("/")[0] in sets for d in ds]
        if not some:
            continue
        inside = [row["low"] <= row["measured"] <= row["high"] for row in some]
        told[group] = {
            "sets": [name for name in sets if any(row["set"] == name for row in some)],
            "candidates": len(some),
            "coverage": float(np.mean(inside)),
            "mean_error": float(np.mean([r["predicted"] - r["measured"] for r in some])),
            "mean_absolute_error": float(
                np.mean([abs(r["predicted"] - r["measured"]) for r in some])
            ),
            "mean_width": float(np.mean([r["high"] - r["low"] for r in some])),
            "decisions": len(picked),
            "good_decisions": float(np.mean([is_good(d) for d in picked])),
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--keep", type=Path, help="Keep places of true neighbours in this folder.")
    parser.add_argument("--json", type=Path, default=RESULTS)
    given = parser.parse_args()
    results: dict[str, Any] = {"rows": [], "decisions": {}}
    for name in given.sets:
        try:
            datasets.path(name)
        except FileNotFoundError:
            print(f"{name}: not here, left out")
            continue
        base, queries, others = split(name)
        metric, dim = SETS[name], base.shape[1]
        full = FullSize(len(base), len(base), dim, K, SEED)
        true = kept(given.keep, f"{name}-1", lambda: full_size(base, queries, metric))
        for part in PARTS:
            predicted = kept(
                given.keep, f"{name}-{part}", lambda: from_part(base, part, others, metric)
            )
            rows = compared(name, part, predicted, true, full)
            results["rows"] += rows
            results["decisions"][f"{name}/{part}"] = decisions(predicted, true, full)
            inside = np.mean([row["low"] <= row["measured"] <= row["high"] for row in rows])
            print(f"{name} 1/{part}: coverage {inside:.3f}", flush=True)
        results |= {
            "k": K, "ladder": LADDER, "parts": PARTS, "environment": environment(),
            "deviations": {
                "per_doubling": prediction.PER_DOUBLING, "of_learning": prediction.OF_LEARNING,
            },
            "summary": summary(results["rows"], results["decisions"]),
        }  # fmt: skip
        with atomic_write(given.json) as file:
            file.write(json.dumps(results, indent=1).encode())
    print(json.dumps(results["summary"], indent=1))


def kept(folder: Path | None, name: str, make: Any) -> list[Measured]:
    """Measurements, from a folder if they are there: predictions are tuned without fitting anew."""
    if folder is None:
        return make()
    import pickle

    path = folder / f"{name}.pickle"
    if not path.exists():
        found = make()
        path.write_bytes(pickle.dumps(found))
    return pickle.loads(path.read_bytes())


if __name__ == "__main__":
    main()
