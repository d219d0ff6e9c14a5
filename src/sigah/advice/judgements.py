"""Relevance judgements: how much of the nDCG of the full vectors a search keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.advice.orders import Ids, Vectors
from sigah.advice.prediction import Interval, resampled
from sigah.evaluation.relevance import Grades, QueryScores, check_grades, ndcg
from sigah.search.scoring import compared, vector_distances
from sigah.shares import ENDS

__all__ = ["LEAST_JUDGED", "Found", "Judged", "grades_of_rows", "judged_queries"]

LEAST_JUDGED = 10
QUERIES_PER_BLOCK = 100


@dataclass(frozen=True, eq=False)
class Judged:
    """Judged queries among all vectors.

    Attributes
    ----------
    grades : sequence of mappings, length q
        By row of the base. Each query has a relevant result.
    k : int
    full : QueryScores
        The nDCG of an exact search by the full vectors.
    """

    grades: Sequence[Grades]
    k: int
    full: QueryScores

    @classmethod
    def of(cls, grades: Sequence[Grades], truth: Ids) -> Judged:
        """From grades, and the true neighbours of each query."""
        k = truth.shape[1]
        full = ndcg(truth, grades, k)
        if not full.mean:
            raise ValueError(
                f"grades: an exact search finds no relevant result among the {k} nearest of any"
                " query, so there is nothing to keep: do ids, queries and judgements belong"
                " together?"
            )
        return cls(grades, k, full)

    def ndcg(self) -> Interval:
        """Of the full vectors."""
        return _interval(self.full)

    def scores(self, ids: Ids) -> tuple[Interval, Interval]:
        """The nDCG of results, and its share of the nDCG of the full vectors.

        The interval of the share is that of a ratio of means over the same queries, resampled.
        """
        reached, full = ndcg(ids, self.grades, self.k), self.full
        share = reached.mean / full.mean
        weights = resampled(len(full.values), seed=0)[1:]
        kept = weights @ np.append(reached.values, (full.mean, 0))
        low, high = np.quantile(kept / (weights @ np.append(full.values, [full.mean] * 2)), ENDS)
        return _interval(reached), Interval(min(float(low), share), share, max(float(high), share))


@dataclass(frozen=True, eq=False)
class Found:
    """What an order puts first for judged queries.

    Attributes
    ----------
    judged : Judged
    ids : ndarray of int, shape (q, depth)
    distances : ndarray of float, shape (q, depth)
        From the original vectors.
    """

    judged: Judged
    ids: Ids
    distances: NDArray[np.float64]

    @classmethod
    def of(cls, judged: Judged, ids: Ids, base: Vectors, queries: Vectors, metric: str) -> Found:
        """With distances from the vectors of a base."""
        views = compared(queries, metric)
        distances = np.empty(ids.shape)
        for first in range(0, len(ids), QUERIES_PER_BLOCK):
            some = slice(first, first + QUERIES_PER_BLOCK)
            distances[some] = vector_distances(views[some], ids[some], base, metric)
        distances[ids < 0] = np.inf  # missing
        return cls(judged, ids, distances)

    def scores(self, reads: int) -> tuple[Interval, Interval]:
        """:meth:`Judged.scores` of the first ones; with reads, ranked by the original vectors."""
        ids = self.ids
        if reads:
            order = np.argsort(self.distances[:, :reads], axis=1, kind="stable")
            ids = np.take_along_axis(ids, order, axis=1)
        return self.judged.scores(ids[:, : self.judged.k])


def judged_queries(grades: Sequence[Grades], n_queries: int, most: int, seed: int) -> Ids:
    """The numbers of the queries that have a relevant result; at most so many, drawn uniformly."""
    if len(grades) != n_queries:
        raise ValueError(
            f"grades must have one mapping for each query: there are {n_queries} queries and"
            f" {len(grades)} mappings"
        )
    check_grades(grades)
    rows = np.flatnonzero([any(grade > 0 for grade in one.values()) for one in grades])
    if len(rows) < LEAST_JUDGED:
        raise ValueError(
            f"grades: {len(rows)} of {n_queries} queries have a relevant result, too few to judge"
            f" by: at least {LEAST_JUDGED} are needed; judge more, or leave the judgements out"
        )
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return rows


def grades_of_rows(
    grades: Sequence[Grades], ids: ArrayLike | None, n_vectors: int
) -> tuple[list[Grades], int]:
    """Grades by number of the row, and how many judged results are no row.

    These keep their names: a ranking that lacks them is not the best one.
    """
    names: Any = range(n_vectors) if ids is None else np.asarray(ids, object)
    if np.shape(names) != (n_vectors,):
        raise ValueError(
            f"ids must have shape ({n_vectors},), one for each vector, got {np.shape(names)}"
        )
    row_of = {str(name): row for row, name in enumerate(names)}
    if len(row_of) < n_vectors:
        twice = next(name for row, name in enumerate(names) if row_of[str(name)] != row)
        raise ValueError(f"ids: {twice!r} is given twice, so a judgement of it has no one vector")
    judged = {str(name) for one in grades for name in one}
    unknown = judged - row_of.keys()
    if len(unknown) == len(judged):
        raise ValueError(
            f"grades: none of the judged results is among the vectors: they begin with"
            f" {list(next(filter(None, grades)))[:3]}, the ids of the vectors with"
            f" {[str(name) for name in names[:3]]}"
        )
    by_row: list[Grades] = [
        {row_of.get(str(name), f"unknown {name}"): grade for name, grade in one.items()}
        for one in grades
    ]
    return by_row, len(unknown)


def _interval(scores: QueryScores) -> Interval:
    low, high = scores.interval
    return Interval(low, scores.mean, high)
