"""A sample as base and queries, and the true neighbours among its first rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.advice.judgements import Judged, grades_of_rows, judged_queries
from sigah.advice.orders import Vectors
from sigah.evaluation.relevance import Grades
from sigah.evaluation.truth import exact_neighbors
from sigah.rows.blocks import Rows, finite
from sigah.rows.dtypes import check_rows
from sigah.rows.sampling import sample, sample_rows
from sigah.rows.sources import as_rows

__all__ = ["FIRST", "Trial", "Trials", "draw_sample", "nested_truth", "sizes_of"]

FIRST = 10_000  # rows on which every contender is measured
STEPS = (16, 8, 4, 2, 1)  # sizes of the base, as parts of the sample
LEAST_SIZE = 500
SPARE = 160  # neighbours beyond the expected ones, so that few queries are searched again
MOST_QUERIES = 1000
MOST_QUERY_SHARE = 10  # at most a tenth of the sample is held out


@dataclass(frozen=True, eq=False)
class Trial:
    """A base, queries, and the true neighbours among its first rows, for several sizes.

    Attributes
    ----------
    base : ndarray of float32, shape (n, d)
        In random order.
    queries : ndarray of float32, shape (q, d)
    truth : dict of int to ndarray of int, shape (q, k)
        By size of the base, ascending.
    metric : str
    spare : ndarray of float32, shape (m, d)
        Rows of the sample that are not in the base; there may be none.
    n_full : int
        Vectors that the base stands for.
    judged : Judged or None
        Relevance judgements of the queries, among the whole base.
    """

    base: Vectors
    queries: Vectors
    truth: Mapping[int, NDArray[Any]]
    metric: str
    spare: Vectors
    n_full: int
    judged: Judged | None = None
    _of_spare: dict[int, NDArray[Any]] = field(default_factory=dict, repr=False)

    def half(self) -> Trial:
        """A trial on the first half of the base; the other half is spare."""
        *smaller, _ = sorted(self.truth)
        truth = {size: self.truth[size] for size in smaller}
        base, spare = self.base[: smaller[-1]], self.base[smaller[-1] :]
        return Trial(base, self.queries, truth, self.metric, spare, self.n_full)

    def of_spare(self, n: int) -> NDArray[Any]:
        """The true neighbours among the first ``n`` spare rows; ``n`` is a size of the base."""
        if n not in self._of_spare:
            k = self.truth[n].shape[1]
            self._of_spare[n] = exact_neighbors(self.spare[:n], self.queries, k, self.metric).ids
        return self._of_spare[n]


class Trials:
    """The sample as base and queries, and its true neighbours."""

    def __init__(
        self,
        drawn: NDArray[np.float32],
        n_vectors: int,
        queries: ArrayLike | None,
        truth: ArrayLike | None,
        metric: str,
        k: int,
        seed: int,
        grades: Sequence[Grades] | None = None,
        ids: ArrayLike | None = None,
    ) -> None:
        self.metric, self.k = metric, k
        self.n_indexed = n_vectors
        self.truth: NDArray[Any] | None = None
        self.grades: list[Grades] | None = None
        self.n_judged = self.n_unknown = 0
        if grades is None and ids is not None:
            raise ValueError("ids are needed for grades only, which name vectors: leave them out")
        order = np.random.default_rng(seed).permutation(len(drawn))
        if queries is None:
            if truth is not None:
                raise ValueError("truth needs queries, the vectors whose neighbours it names")
            if grades is not None:
                raise ValueError("grades need queries, the vectors whose results they judge")
            held_out = min(MOST_QUERIES, len(drawn) // MOST_QUERY_SHARE)
            self.n_indexed -= held_out
            self.queries = drawn[order[:held_out]]
            self.base = drawn[order[held_out:]]
            return
        rows = check_rows(queries, "queries")
        if rows.shape[1] != drawn.shape[1]:
            raise ValueError(
                f"queries have {rows.shape[1]} dimensions, but the vectors have {drawn.shape[1]}"
            )
        self.base = drawn[order]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        if grades is not None:
            if truth is not None:
                raise ValueError("grades and truth both say what is right: leave one of them out")
            _check_all_sampled("grades judge results", len(drawn), n_vectors)
            some = judged_queries(grades, rows.shape[0], MOST_QUERIES, seed)
            by_row, self.n_unknown = grades_of_rows([grades[row] for row in some], ids, n_vectors)
            self.grades = [
                {place[row] if isinstance(row, int) else row: grade for row, grade in one.items()}
                for one in by_row
            ]
            self.n_judged = len({row for one in self.grades for row in one})
            self.queries = finite(np.asarray(rows[:]), 0, name="queries")[some]
            return
        if truth is None:
            self.queries = sample_rows(Rows(rows, name="queries"), MOST_QUERIES, seed)
        else:
            self.queries = finite(np.asarray(rows[:]), 0, name="queries")
            self.truth = place[_check_truth(truth, len(self.queries), len(drawn), n_vectors, k)]

    def first(self) -> Trial:
        """The trial of every contender: few rows; all of them if these are few or judged."""
        n = len(self.base)
        first = FIRST if n >= 2 * FIRST and self.grades is None else n
        if self.k > first:
            raise ValueError(
                f"k can be at most {first:,}, the number of vectors that methods are compared on,"
                f" got {self.k:,}"
            )
        return self.of(first)

    def of(self, n: int) -> Trial:
        """A trial on the first rows."""
        base = self.base[:n]
        truth = nested_truth(base, self.queries, self.k, self.metric)
        judged = None
        if len(base) == len(self.base):
            if self.truth is not None:
                truth[len(base)] = self.truth
            if self.grades is not None:
                judged = Judged.of(self.grades, truth[len(base)])
        return Trial(base, self.queries, truth, self.metric, self.base[n:], self.n_indexed, judged)


def draw_sample(vectors: Any, size: int, seed: int) -> tuple[NDArray[np.float32], int]:
    """A sample, and the number of all vectors."""
    rows = as_rows(vectors)
    if rows is not None:
        return sample(rows, size, seed), int(rows.shape[0])
    counted = 0

    def counting() -> Iterator[Any]:
        nonlocal counted
        for batch in vectors() if callable(vectors) else vectors:
            counted += len(batch)
            yield batch

    return sample(counting(), size, seed), counted


def _check_truth(
    truth: ArrayLike, n_queries: int, n_sampled: int, n_vectors: int, k: int
) -> NDArray[Any]:
    array = np.asarray(truth)
    if array.ndim != 2 or len(array) != n_queries or array.shape[1] < k:
        raise ValueError(
            f"truth must have shape ({n_queries}, {k} or more), one row of ids for each query, got"
            f" {array.shape}"
        )
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= n_vectors:
        raise ValueError(f"truth must be row numbers from 0 to {n_vectors - 1:,}")
    _check_all_sampled("truth names neighbours", n_sampled, n_vectors)
    return array[:, :k]


def _check_all_sampled(what: str, n_sampled: int, n_vectors: int) -> None:
    if n_sampled < n_vectors:
        name = what.split()[0]
        raise ValueError(
            f"{what} among all {n_vectors:,} vectors, but only {n_sampled:,} are sampled: sample"
            f" all of them, or leave the {name} out"
        )


def sizes_of(n: int, k: int) -> list[int]:
    """The sizes at which a base of ``n`` rows is measured, ascending."""
    return [n // step for step in STEPS if step == 1 or n // step >= max(LEAST_SIZE, 10 * k)]


def nested_truth(base: Vectors, queries: Vectors, k: int, metric: str) -> dict[int, Any]:
    """The ``k`` true neighbours among the first rows of a base, for each of :func:`sizes_of`.

    The nearest among all rows, as far down as needed, contain the nearest among some of them.
    """
    sizes = sizes_of(len(base), k)
    deep = min(len(base), k * (len(base) // sizes[0]) + (SPARE if len(sizes) > 1 else 0))
    nearest = exact_neighbors(base, queries, deep, metric).ids
    truth = {}
    for size in sizes:
        order = np.argsort(nearest >= size, axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(nearest, order, axis=1)
        again = np.flatnonzero((found >= size).any(axis=1))
        if len(again):
            found[again] = exact_neighbors(base[:size], queries[again], k, metric).ids
        truth[size] = found
    return truth
