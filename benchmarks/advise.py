"""How far `sigah advise` can be trusted: a sample predicts the full set, which is then measured.

``make bench-advise`` runs this. From each set, 1,000 queries are set aside for the measurement of
the full set. A part of the rest is given to the advisor's own functions, which hold out queries of
their own (sets whose queries are of another kind than their vectors: other queries of the set are
given), fit the methods to the part, and predict the recall of every candidate among all vectors.
Then the same methods are fitted to all vectors and measured.

Reported: how often the interval contains what was measured, and what the recommendation from the
part costs beside the recommendation from the full set. Everything about the prediction was chosen
on the sets of TUNED, and the constants of the library are fitted to the residuals of these three.
The other sets test them. Each of the three is predicted with constants fitted to the other two.
Nothing is timed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sigah.advice import prediction
from sigah.advice.candidates import FullSize, candidates_of
from sigah.advice.choice import Candidate, Wishes, choose
from sigah.advice.contenders import Contender
from sigah.advice.contenders import contenders as advised
from sigah.advice.measurement import Measured, measure
from sigah.advice.prediction import Constants, predict, towards_known
from sigah.advice.trials import Trial, Trials
from sigah.evaluation.provenance import environment
from sigah.evaluation.truth import exact_neighbors
from sigah.files.atomic import atomic_write
from sigah.lab import datasets

RESULTS = Path(__file__).parent / "results" / "advise.json"
SETS = {  # and their metrics
    "glove-50": "cosine", "photo-sift": "l2", "wordnet-text": "cosine", "fashion-mnist": "l2",
    "photo-gist-384": "l2", "mnist": "l2",
}  # fmt: skip
TUNED = ("glove-50", "wordnet-text", "mnist")
GIVEN = ("photo-",)  # sets whose queries come from other photographs than their vectors
MOST_ROWS = 60_000
PARTS = (4, 8)
LADDER = (
    ("sign", None), ("itq", 8), ("itq", 16), ("itq", 32), ("vectors", 8), ("vectors", 16),
    ("pq", 16), ("sq8", None), ("rabitq", None),
)  # fmt: skip
K, N_QUERIES, DEPTH, SEED = 10, 1000, 200, 0
MOST_RECALL, MOST_OF_BOOKS = 0.998, 0.96  # beyond, a logit is a matter of single queries
LEAST_PER_DOUBLING = 0.05  # few sets say less: with it, those tuned on cover each other
RECALLS, BUDGETS, READS = (0.8, 0.9, 0.95), (16, 32, 64, 128), (0, 50, 200)


def contenders(dim: int) -> list[Contender]:
    here = advised(dim, MOST_ROWS, list(dict.fromkeys(family for family, _ in LADDER)))
    return [
        one for one in here if (one.family, one.bytes) in LADDER or (one.family, None) in LADDER
    ]


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
    trial = Trial(base, queries, {len(base): truth}, metric, base[:0], len(base))
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


def residuals(predicted: list[Measured], true: list[Measured], n: int) -> list[dict[str, float]]:
    """What the prediction adds up, and what was measured, in logits."""
    measured = {(one.contender, one.ranking, one.for_vectors): one for one in true}
    plain, all_back = Constants(0, 0, 0, 0), Constants(1, 0, 0, 0)
    rows = []
    for one in predicted:
        towards = towards_known(one.learned, n, n)
        deep = () if one.for_vectors is False else (2 * K, 5 * K, 10 * K, 20 * K)
        for shortlist in deep if one.for_vectors else (K, *deep):
            truth = measured[one.contender, one.ranking, one.for_vectors].places[n]
            recall = float(prediction.share_found(truth, K, shortlist).mean())
            if recall > MOST_RECALL:
                continue
            told = partial(predict, one.places, shortlist, n, known=one.known)
            found = told(towards=towards, constants=plain)
            back = told(towards=towards, constants=all_back)
            most, least = (told(towards=end, constants=plain) for end in (1, 0))
            rows.append(
                {
                    "thinned": logit(found.expected),
                    "lost": logit(found.expected) - logit(back.expected),
                    "of_queries": (logit(found.high) - logit(found.low)) / (2 * prediction.NORMAL),
                    "known": logit(most.expected) - logit(least.expected),
                    "doublings": math.log2(n / max(one.places)),
                    "true": logit(recall),
                }
            )
    return rows


def fit(rows: list[dict[str, float]]) -> Constants:
    """Constants from residuals: least squares, then deviations by their likelihood.

    That of codebooks is the least one that covers 98 % of their residuals below a recall of .96:
    few sets say less, and above it a deviation in logits would be much too wide for all others.
    """

    def of(name: str, some: list[dict[str, float]]) -> np.ndarray:
        return np.array([row[name] for row in some])

    codes = [row for row in rows if not row["known"]]
    lost = of("lost", codes)
    missed = of("true", codes) - of("thinned", codes)
    back = float(-(lost @ missed) / (lost @ lost))

    def variance(some: list[dict[str, float]], per_doubling: float, of_lost: float) -> np.ndarray:
        return (
            of("of_queries", some) ** 2
            + (per_doubling * of("doublings", some)) ** 2
            + (of_lost * of("lost", some)) ** 2
        )

    best = None
    for one in itertools.product(LEAST_PER_DOUBLING + np.arange(11) / 50, np.arange(11) / 20):
        spread = variance(codes, *one)
        cost = float(np.sum(np.log(spread) + (missed + back * lost) ** 2 / spread))
        if best is None or cost < best[0]:
            best = cost, float(one[0]), float(one[1])
    _, per_doubling, of_lost = best
    books = [row for row in rows if row["known"] and row["true"] < logit(MOST_OF_BOOKS)]
    left = of("true", books) - of("thinned", books) + back * of("lost", books)
    beyond = (left / prediction.NORMAL) ** 2 - variance(books, per_doubling, of_lost)
    needed = np.sqrt(np.maximum(beyond, 0)) / of("known", books)
    return Constants(back, per_doubling, of_lost, float(np.quantile(needed, 0.98)))


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
    most = Wishes(reads=DEPTH)
    all_known, all_guessed = candidates_of(true, full, most), candidates_of(predicted, full, most)
    made = []
    for wishes in every:
        known = [one for one in all_known if one.reads <= wishes.reads]
        guessed = [one for one in all_guessed if one.reads <= wishes.reads]
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


def is_covered(row: dict[str, Any]) -> bool:
    """To the three digits that the advice is told with."""
    return round(row["low"], 3) <= round(row["measured"], 3) <= round(row["high"], 3)


def logit(p: float) -> float:
    p = min(max(p, 0.0005), 0.9995)
    return math.log(p) - math.log1p(-p)


def summary(rows: list[dict[str, Any]], made: dict[str, Any]) -> dict[str, Any]:
    """Of the sets that were tuned on and of the others, by set, and of the others by method."""
    told = {}
    sets = {"tuned": TUNED, "tested": [name for name in SETS if name not in TUNED]}
    groups = {name: lambda row, some=some: row["set"] in some for name, some in sets.items()}
    groups |= {name: lambda row, name=name: row["set"] == name for name in SETS}
    groups |= {
        f"tested/{name}": lambda row, name=name: (
            row["method"] == name and row["set"] in sets["tested"]
        )
        for name in dict.fromkeys(row["method"] for row in rows)
    }
    for group, belongs in groups.items():
        some = [row for row in rows if belongs(row)]
        if not some:
            continue
        errors = np.array([row["predicted"] - row["measured"] for row in some])
        told[group] = {
            "candidates": len(some),
            "coverage": float(np.mean([is_covered(row) for row in some])),
            "mean_error": float(errors.mean()),
            "mean_absolute_error": float(np.abs(errors).mean()),
            "mean_width": float(np.mean([row["high"] - row["low"] for row in some])),
        }
        of_group = sets.get(group, [group])
        picked = [d for one, ds in made.items() if one.split("/")[0] in of_group for d in ds]
        if picked:
            told[group] |= {
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
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    held: dict[str, Any] = {}
    for name in given.sets:
        try:
            datasets.path(name)
        except FileNotFoundError:
            print(f"{name}: not here, left out")
            continue
        base, queries, others = split(name)
        metric, n = SETS[name], len(base)
        true = kept(given.keep, f"{name}-1", lambda: full_size(base, queries, metric))
        parts = {
            part: kept(given.keep, f"{name}-{part}", lambda: from_part(base, part, others, metric))
            for part in PARTS
        }
        missed = [row for found in parts.values() for row in residuals(found, true, n)]
        held[name] = base.shape[1], n, true, parts, missed
        print(f"{name}: measured", flush=True)
    rows, made = [], {}

    def fitted(left_out: str = "") -> Constants:
        names = [one for one in TUNED if one in held and one != left_out]
        return fit([row for one in names for row in held[one][-1]])

    for name, (dim, n, true, parts, _) in held.items():
        constants = fitted(name)
        full = FullSize(n, n, dim, K, SEED, constants)
        for part, predicted in parts.items():
            rows += compared(name, part, predicted, true, full)
            made[f"{name}/{part}"] = decisions(predicted, true, full)
    results = {
        "k": K, "ladder": LADDER, "parts": PARTS, "sets": list(held), "tuned": TUNED,
        "environment": environment(), "constants": asdict(fitted()),
        "summary": summary(rows, made), "rows": rows, "decisions": made,
    }  # fmt: skip
    with atomic_write(given.json) as file:
        file.write(json.dumps(results, indent=1).encode())
    print(json.dumps({name: results[name] for name in ("constants", "summary")}, indent=1))


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
