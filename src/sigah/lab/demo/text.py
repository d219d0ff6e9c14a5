"""Text: what a hundred sentences lose by short codes, as one page to be tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.advice.measurement import places, time_floats, time_query
from sigah.evaluation import exact_neighbors
from sigah.evaluation.provenance import environment
from sigah.files import atomic_write
from sigah.hashers import SignHashing
from sigah.lab import datasets
from sigah.lab.experiments.panels import Plot, Series
from sigah.lab.report.plots import as_data, draw
from sigah.lab.report.templates import templates
from sigah.refinement import VectorIndex
from sigah.search import HammingIndex

__all__ = ["SET", "Answers", "Sample", "compare", "drawn", "page", "write_text"]

SET = "wordnet-text"
N_BASE, N_QUERIES, N_SHOWN = 20_000, 1000, 100
READABLE = range(30, 81)  # letters of a query that is shown
BUDGETS = (8, 16, 32, 64)  # bytes of a vector
K, DEPTH = 10, 100  # true neighbours; true places that are told
METRIC, SEED = "cosine", 0

Vectors = NDArray[np.float32]
Search = Callable[[Vectors, int], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class Sample:
    """Sentences and their vectors: those to search in, and those to search with.

    Attributes
    ----------
    base : ndarray of float32, shape (n, d)
    base_texts : list of str, length n
    queries : ndarray of float32, shape (q, d)
    query_texts : list of str, length q
        The first are short enough to be shown.
    """

    base: Vectors
    base_texts: list[str]
    queries: Vectors
    query_texts: list[str]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a search finds at a number of bytes, and what it costs.

    Attributes
    ----------
    n_bytes : int
        Of a vector.
    ids, places : ndarray of int, shape (q, K)
        Rows that were found, best first, and how many rows are truly nearer than each; ``DEPTH`` if
        that many or more.
    seconds : float
        Of learning from the base and encoding it.
    model_bytes : int
        Of what is learned, once for all vectors.
    microseconds : float
        Of one query, from its floats to the ids.
    """

    n_bytes: int
    ids: NDArray[Any]
    places: NDArray[np.int32]
    seconds: float = 0.0
    model_bytes: int = 0
    microseconds: float = 0.0

    @property
    def recall(self) -> float:
        """The mean share of the true neighbours that is found."""
        return float((self.places < K).mean())


def write_text(out: Path, *, announce: Callable[[str], None]) -> Path:
    """Measure, and write ``text.html`` into a folder; returns its path.

    Raises
    ------
    OSError
        If the vectors or their texts are not in the cache and cannot be fetched.
    """
    sample = drawn(datasets.load(SET), datasets.texts(SET))
    sizes = ", ".join(map(str, BUDGETS))
    announce(f"{SET}: {len(sample.base):,} of its sentences in codes of {sizes} bytes")
    found = compare(sample, BUDGETS, announce=announce)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "text.html") as file:
        file.write(page(sample, found).encode())
    return out / "text.html"


def drawn(
    split: datasets.Split,
    texts: datasets.Texts,
    *,
    n_base: int = N_BASE,
    n_queries: int = N_QUERIES,
) -> Sample:
    """Draw sentences by a fixed seed; queries of a readable length come first."""
    rng = np.random.RandomState(SEED)
    rows = np.sort(rng.permutation(len(split.base))[:n_base])
    queries = rng.permutation(len(split.queries))[:n_queries].tolist()
    queries.sort(key=lambda row: len(texts.queries[row]) not in READABLE)
    return Sample(
        split.base[rows],
        [texts.base[row] for row in rows],
        split.queries[queries],
        [texts.queries[row] for row in queries],
    )


def compare(
    sample: Sample,
    budgets: Sequence[int],
    *,
    announce: Callable[[str], None],
) -> dict[str, list[Answers]]:
    """Search by full vectors, by signs and by sigah.

    Parameters
    ----------
    sample : Sample
    budgets : sequence of int
        Bytes of a vector; at most an eighth of the dimensions, for the signs.
    announce : callable
        Told each result.

    Returns
    -------
    dict of str to list of Answers
        For ``"sign"`` and ``"sigah"`` one for each budget; for ``"full"`` one, the truth.
    """
    base, queries = sample.base, sample.queries
    truth = exact_neighbors(base, queries, min(DEPTH, len(base)), METRIC).ids
    found: dict[str, list[Answers]] = {"full": [], "sign": [], "sigah": []}
    searches: dict[str, list[Search]] = {"sign": [], "sigah": []}
    for n_bytes in budgets:
        for name, build in (("sign", search_of_signs), ("sigah", search_of_sigah)):
            began = perf_counter()
            search, model_bytes = build(base, n_bytes)
            seconds = perf_counter() - began
            ids = search(queries, K)[1]
            answers = Answers(n_bytes, ids, places(truth, ids), seconds, model_bytes)
            announce(f"{name:>7} {n_bytes:2} bytes: {answers.recall:.3f} of the true {K}")
            found[name].append(answers)
            searches[name].append(search)
    # timed one right after the other, so that the machine is the same to all
    for name, some in searches.items():
        found[name] = [
            replace(answers, microseconds=1e6 * time_query(search, queries, K))
            for answers, search in zip(found[name], some, strict=True)
        ]
    exact = truth[:, :K]
    microseconds = 1e6 * time_floats(base, queries, K, METRIC)[len(base)]
    n_bytes = base.itemsize * base.shape[1]
    found["full"].append(Answers(n_bytes, exact, places(truth, exact), microseconds=microseconds))
    return found


def search_of_signs(base: Vectors, n_bytes: int) -> tuple[Search, int]:
    """Hamming search of the signs of as many of the first dimensions as there are bits."""
    hasher = SignHashing(8 * n_bytes, metric=METRIC).fit(base)
    index = HammingIndex.of(hasher)
    index.add(hasher.transform(base))
    return lambda queries, k: index.search(hasher.transform(queries), k), 0


def search_of_sigah(base: Vectors, n_bytes: int) -> tuple[Search, int]:
    """Search of an index that keeps these bytes of each vector; and the bytes of its model."""
    index = VectorIndex.build(base, n_bytes, metric=METRIC, random_state=SEED, verbose=True)
    _, arrays = index.refined.content()
    model_bytes = sum(array.nbytes for array in arrays.values())
    return lambda queries, k: index.search(queries, k), model_bytes


def page(sample: Sample, found: dict[str, list[Answers]]) -> str:
    """The page: the answers as data, and what is needed to show them."""
    entry = datasets.CATALOG[SET]
    return (
        templates()
        .get_template("demo/text.html")
        .render(
            data=shown(sample, found),
            found=found,
            n_base=len(sample.base),
            n_queries=len(sample.queries),
            dim=sample.base.shape[1],
            k=K,
            readable=READABLE,
            curve=as_data(draw(curve(found)), "svg"),
            source=entry,
            environment=environment(),
        )
    )


def shown(
    sample: Sample, found: dict[str, list[Answers]], n_shown: int = N_SHOWN
) -> dict[str, Any]:
    """What the script of the page needs; each text that is found is there once."""
    numbers: dict[int, int] = {}

    def row(answers: Answers, query: int) -> list[list[int]]:
        return [
            [numbers.setdefault(base_row, len(numbers)), place]
            for base_row, place in zip(
                answers.ids[query].tolist(), answers.places[query].tolist(), strict=True
            )
        ]

    queries = [
        {
            "text": sample.query_texts[query],
            **{
                name: {answers.n_bytes: row(answers, query) for answers in some}
                for name, some in found.items()
            },
        }
        for query in range(min(n_shown, len(sample.queries)))
    ]
    costs = {
        name: {
            answers.n_bytes: {
                "mean": f"{K * answers.recall:.1f}",
                "microseconds": round(answers.microseconds),
            }
            for answers in some
        }
        for name, some in found.items()
    }
    texts = [sample.base_texts[base_row] for base_row in numbers]
    return {"queries": queries, "texts": texts, "costs": costs, "k": K, "depth": DEPTH}


def curve(found: dict[str, list[Answers]]) -> Plot:
    """Recall against bytes."""
    series = [
        Series(
            label,
            tuple(answers.n_bytes for answers in found[name]),
            tuple(answers.recall for answers in found[name]),
        )
        for name, label in (("sigah", "sigah"), ("sign", "signs"))
    ]
    return Plot(
        "Recall per byte",
        "bytes of a vector",
        f"share of the true {K} that is found",
        tuple(series),
        scale="sizes",
        unit=True,
    )
