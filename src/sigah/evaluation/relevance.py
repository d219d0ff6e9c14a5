"""Relevance judgements: how well a ranking finds what people judged to be relevant.

The true neighbours of a vector say how well codes replace vectors. Judgements say how well the
whole search serves its users, the encoder of the texts included.

Gains and discounts are those of trec_eval: the gain of a result is its grade, the discount is the
binary logarithm of its rank plus one (Jarvelin and Kekalainen, "Cumulated gain-based evaluation of
IR techniques", ACM TOIS 2002).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_whole
from sigah.shares import share_interval

__all__ = ["Grades", "QueryScores", "check_grades", "mrr", "ndcg", "recall"]

LARGEST_GRADE = 10**9  # sums of grades stay exact

#: The grades of one query: results by id. Whole numbers; above 0 is relevant.
Grades = Mapping[Any, int]


@dataclass(frozen=True, eq=False)
class QueryScores:
    """A metric of every query, and its mean.

    Attributes
    ----------
    values : ndarray of float64, shape (q,)
        NaN for queries without a relevant result: no ranking can be right or wrong there.
    """

    values: NDArray[np.float64]

    @property
    def judged(self) -> NDArray[np.float64]:
        """The values of the queries that have a relevant result."""
        return self.values[~np.isnan(self.values)]

    @property
    def mean(self) -> float:
        """The mean over the queries that have a relevant result."""
        return float(self.judged.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean; it has a width even if all values are 1."""
        return share_interval(self.judged)


def ndcg(ranked_ids: ArrayLike, judgements: Sequence[Grades], k: int) -> QueryScores:
    """Normalised discounted cumulated gain of the first ``k`` results of each query.

    The sum of the grades, each divided by ``log2(1 + rank)``, as a share of the same sum of the
    best possible ranking.

    Parameters
    ----------
    ranked_ids : array-like of int or str, shape (q, at least k)
        Results of each query, best first. Missing results at the end are -1, None or "".
    judgements : sequence of mappings, length q
        The grades of each query: an empty mapping for a query without judgements. Ids are compared
        as text, so that 7 is the same as "7". Results without a grade have grade 0; negative grades
        count as 0.
    k : int
        At least 1.

    Returns
    -------
    QueryScores
        ``values``, ``mean`` and ``interval``. Queries without a relevant result are left out of the
        mean.

    Raises
    ------
    ValueError
        If the shapes do not fit, an id is repeated for one query, a grade is not a whole number, or
        no query has a relevant result.

    See Also
    --------
    sigah.evaluation.qrels.read_qrels : reads judgements from files.

    Examples
    --------
    >>> from sigah.evaluation import ndcg
    >>> scores = ndcg([[7, 3, 5], [1, 2, 3]], [{3: 1, 9: 1}, {"1": 2}], k=3)
    >>> scores.values.round(3), round(scores.mean, 3)
    (array([0.387, 1.   ]), 0.693)
    """
    grades, ideal = _graded(ranked_ids, judgements, k)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = np.zeros((len(ideal), k))
    for row, relevant in enumerate(ideal):
        best[row, : len(relevant)] = relevant[:k]
    return _scores(grades @ discounts, best @ discounts)


def mrr(ranked_ids: ArrayLike, judgements: Sequence[Grades], k: int) -> QueryScores:
    """Reciprocal rank of the first relevant result of each query; 0 if none is among the first k.

    Parameters, results and errors are the same as for :func:`ndcg`; every grade above 0 is the
    same here.

    Examples
    --------
    >>> from sigah.evaluation import mrr
    >>> mrr([["a", "b"], ["c", "d"]], [{"b": 1}, {"z": 1}], k=2).values
    array([0.5, 0. ])
    """
    grades, ideal = _graded(ranked_ids, judgements, k)
    relevant = grades > 0
    first = np.where(relevant.any(axis=1), 1 / (1 + relevant.argmax(axis=1)), 0.0)
    return _scores(first, np.array([min(1, len(one)) for one in ideal]))


def recall(ranked_ids: ArrayLike, judgements: Sequence[Grades], k: int) -> QueryScores:
    """Share of the relevant results of each query that are among its first ``k``.

    Parameters, results and errors are the same as for :func:`ndcg`; every grade above 0 is the
    same here.

    Examples
    --------
    >>> from sigah.evaluation import recall
    >>> recall([[7, 3, 5]], [{3: 1, 9: 1}], k=3).values
    array([0.5])
    """
    grades, ideal = _graded(ranked_ids, judgements, k)
    return _scores((grades > 0).sum(axis=1), np.array([len(one) for one in ideal]))


def check_grades(judgements: Sequence[Grades]) -> None:
    """Raise a ValueError if a grade is not a whole number."""
    for row, judged in enumerate(judgements):
        for grade in judged.values():
            _check_grade(grade, row)


def _graded(
    ranked_ids: ArrayLike, judgements: Sequence[Grades], k: int
) -> tuple[NDArray[np.float64], list[list[int]]]:
    """Grades of the first k results (q, k), and all grades above 0 of each query, descending."""
    k = check_whole(k, "k", least=1)
    ranked = np.asarray(ranked_ids)
    if ranked.ndim != 2 or ranked.shape[1] < k or ranked.dtype.kind not in "iuUTO":
        raise ValueError(
            f"ranked_ids must be ids of shape (q, at least k = {k}), got {ranked.dtype} of shape"
            f" {ranked.shape}"
        )
    if len(judgements) != len(ranked):
        raise ValueError(
            f"judgements must have one mapping for each query: there are {len(ranked)} rankings and"
            f" {len(judgements)} mappings"
        )
    grades, ideal = np.zeros((len(ranked), k)), []
    for row, (ids, judged) in enumerate(zip(ranked[:, :k].tolist(), judgements, strict=True)):
        by_text = {str(id_): _check_grade(grade, row) for id_, grade in judged.items()}
        found = [str(id_) for id_ in ids if id_ is not None and id_ not in ("", -1)]
        if len(set(found)) < len(found):
            twice = next(id_ for id_ in found if found.count(id_) > 1)
            raise ValueError(f"ranked_ids: query {row} has the id {twice} twice")
        grades[row, : len(found)] = [max(0, by_text.get(id_, 0)) for id_ in found]
        ideal.append(sorted((grade for grade in by_text.values() if grade > 0), reverse=True))
    return grades, ideal


def _check_grade(grade: object, row: int) -> int:
    if isinstance(grade, (bool, np.bool_)) or not isinstance(grade, (int, np.integer)):
        raise ValueError(f"judgements: a grade of query {row} is {grade!r}, not a whole number")
    if abs(int(grade)) >= LARGEST_GRADE:
        raise ValueError(f"judgements: a grade of query {row} is not below {LARGEST_GRADE:,}")
    return int(grade)


def _scores(achieved: NDArray[Any], best: NDArray[Any]) -> QueryScores:
    """Shares of the best; NaN where there is no best."""
    has_relevant = best > 0
    if not has_relevant.any():
        raise ValueError("judgements: no query has a relevant result, so there is no mean")
    values = np.full(len(best), np.nan)
    values[has_relevant] = achieved[has_relevant] / best[has_relevant]
    return QueryScores(values)
