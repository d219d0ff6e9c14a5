"""Two-stage search: candidates by Hamming distance, ranked by a better one."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.search.checks import check_k
from sigah.search.compiled import score_kernels
from sigah.search.layout import MISSING_ID
from sigah.search.scoring import Scorer, check_scoring, check_vectors, make_scorer
from sigah.search.selection import Filter, Selection
from sigah.search.snapshot import CodeSearch, IndexSnapshot

__all__ = ["Calibration", "TwoStageSearch"]

PAIRS_PER_BLOCK = (
    1 << 20
)  # queries times candidates; in larger blocks, more queries share a decoding


@dataclass(frozen=True)
class Calibration:
    """The result of :meth:`TwoStageSearch.calibrate`.

    Attributes
    ----------
    oversampling : float
        The smallest that reaches the target; if none does, the smallest with the best recall.
    recall : float
        Recall of the ``k`` true neighbours among the ``k`` returned, at that oversampling.
    reached : bool
        Whether ``recall`` is at least ``target_recall``.
    target_recall : float
    curve : tuple of (float, float)
        Oversampling, and recall at it, for 1, 2, 4, ... candidates per neighbour. If the target was
        not reached, the last point is the whole index: there, only the distance limits the recall.

    Examples
    --------
    >>> from sigah.search import Calibration
    >>> found = Calibration(4.0, 0.7, False, 0.9, ((1.0, 0.5), (2.0, 0.6), (4.0, 0.7), (8.0, 0.65)))
    >>> print(found)
    recall 0.9 is out of reach: 0.7 at best, at oversampling 4; 0.65 with all codes as candidates
    """

    oversampling: float
    recall: float
    reached: bool
    target_recall: float
    curve: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        if self.reached:
            return f"recall {self.recall:.3g} at oversampling {self.oversampling:.4g}"
        return (
            f"recall {self.target_recall:.3g} is out of reach: {self.recall:.3g} at best, at"
            f" oversampling {self.oversampling:.4g}; {self.curve[-1][1]:.3g} with all codes as"
            " candidates"
        )


class TwoStageSearch:
    """Nearest neighbours among Hamming candidates, ranked by a better distance.

    Neighbours are ordered by that distance and, where distances tie, by ascending id. Compare
    Jegou, Tavenard, Douze and Amsaleg, "Searching in one billion vectors: re-rank with source
    coding", ICASSP 2011.

    Parameters
    ----------
    index : HammingIndex or IndexSnapshot
        Holds the codes that ``hasher`` made. It may change at any time: a search answers from the
        codes that the index held when the search began.
    hasher : object
        Any fitted object with ``transform`` and the method that ``by`` needs. If the index and the
        hasher both have a fingerprint, the fingerprints must be the same. Its ``metric`` is "l2" if
        it has none.
    by : {"asymmetric", "spherical", "decoded", "raw"}
        The distance of the second stage: :func:`asymmetric_distances` (needs ``project``);
        :func:`spherical_distances`; the distance by the hasher's metric from the query to the
        vector that the code decodes to (needs ``reconstruct``), or to the vector itself
        (``vectors``): squared Euclidean, 1 - cosine, or minus the inner product.
    oversampling : float, default=10
        Candidates for each of the ``k`` neighbours, at least 1; ``math.inf``: all codes.
    vectors : array-like, shape (n, d), optional
        Only for "raw": a NumPy array or memory map, fastest as float32 in C order. The ids of the
        index are its row numbers. Only rows of candidates are read.

    Raises
    ------
    ValueError
        If the hasher did not make the codes of the index, ``by`` is unknown or needs a method that
        the hasher lacks, ``oversampling`` is below 1, or ``vectors`` are missing or not used.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import ITQ, HammingIndex, TwoStageSearch
    >>> vectors = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    >>> hasher = ITQ(n_bits=16, random_state=0).fit(vectors)
    >>> index = HammingIndex.of(hasher)
    >>> index.add(hasher.transform(vectors))
    >>> search = TwoStageSearch(index, hasher, by="raw", vectors=vectors, oversampling=20)
    >>> distances, ids = search.search(vectors[:3], k=5)
    >>> ids[:, 0], distances[:, 0]
    (array([0, 1, 2]), array([0., 0., 0.], dtype=float32))
    """

    def __init__(
        self,
        index: CodeSearch,
        hasher: Any,
        by: str,
        *,
        oversampling: float = 10,
        vectors: Any = None,
    ) -> None:
        index.check_model(hasher)
        n_bits = getattr(hasher, "n_bits", index.n_bits)
        if n_bits != index.n_bits:
            raise ValueError(
                f"the index holds codes of {index.n_bits} bits, the hasher makes {n_bits}"
            )
        check_scoring(hasher, by)
        if by == "raw" and vectors is None:
            raise ValueError(
                "by='raw' needs vectors=, an array whose row numbers are the ids of the index"
            )
        if by != "raw" and vectors is not None:
            raise ValueError(f"by={by!r} reads no vectors; leave them out or choose by='raw'")
        if by == "raw" and len(getattr(vectors, "shape", ())) != 2:
            vectors = check_vectors(vectors, "vectors")
        self.index = index
        self.hasher = hasher
        self.by = by
        self.oversampling = _check_oversampling(oversampling)
        self.vectors = vectors

    def search(
        self, queries: ArrayLike, k: int, *, filter: Filter | Selection | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the ``k`` nearest among each query's candidates.

        Parameters
        ----------
        queries : array-like, shape (q, d)
            Vectors, not codes.
        k : int
            Neighbours wanted, at least 1; it may exceed the number of codes, up to 65,536. The
            candidates are the nearest ``oversampling * k`` codes in Hamming distance.
        filter : array-like, callable or Selection, optional
            Which codes may be candidates, as in :meth:`HammingIndex.search`.

        Returns
        -------
        distances : ndarray of float32, shape (q, k)
            Ascending. Where fewer than ``k`` codes may be found, the rest is infinity.
        ids : ndarray of int64, shape (q, k)
            The rest is -1.

        Raises
        ------
        ValueError
            If the queries are not finite vectors of the hasher's dimension, ``k`` is not a whole
            number in its range, the index does not accept the filter, or an id is not a row of
            ``vectors``.
        """
        if filter is not None and not isinstance(filter, Selection):
            filter = self.index.ids_of_mask(filter)  # an index refuses masks, a snapshot does not
        index = self.index.snapshot()
        k = check_k(k, index)
        scorer = self._scorer(index, queries)
        # an oversampling stored as c / k must give c again, not c + 1 from a rounding error
        width = max(k, math.ceil(round(min(self.oversampling * k, len(index)), 6)))
        if self.by == "asymmetric":  # both stages in one kernel
            if width >= len(index):
                return index.search_asymmetric(scorer.views, k, filter=filter)
            return index.search_asymmetric(
                scorer.views, k, codes=scorer.codes, shortlist=width, filter=filter
            )
        nearest = np.full((len(scorer.codes), k), np.inf)
        ids = np.full((len(scorer.codes), k), MISSING_ID)
        if filter is not None and not isinstance(filter, Selection):
            filter = index.select(filter)  # once for all blocks
        for rows, candidates, measured in _measured(index, scorer, width, filter):
            score_kernels().select_nearest(measured, candidates, nearest[rows], ids[rows])
        with np.errstate(over="ignore"):  # beyond float32 is infinitely far
            return nearest.astype(np.float32), ids

    def calibrate(
        self, queries: ArrayLike, truth: ArrayLike, *, target_recall: float = 0.9
    ) -> Calibration:
        """Find and set the smallest oversampling whose recall reaches the target.

        Recall is the share of the ``k`` true neighbours that are among the ``k`` returned. If the
        target cannot be reached, ``oversampling`` does not change. Every number of candidates is
        considered, because more candidates may lower recall: a lossy distance can prefer a wrong
        one. If the target is out of reach, every query is compared with the whole index, so use a
        few hundred queries.

        Parameters
        ----------
        queries : array-like, shape (q, d)
            Held-out queries, typical of later queries and not among the vectors of the index.
        truth : array-like of int, shape (q, k)
            Ids of the true neighbours of each query by the hasher's metric, for example from
            :func:`sigah.evaluation.exact_neighbors`.
        target_recall : float, default=0.9
            Above 0, at most 1.

        Returns
        -------
        Calibration

        Raises
        ------
        ValueError
            If the truth is not ``k`` different ids of the index for each query, or the target is
            out of range.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah import ITQ, HammingIndex, TwoStageSearch
        >>> from sigah.evaluation import exact_neighbors
        >>> vectors = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
        >>> base, held_out = vectors[:500], vectors[500:]
        >>> hasher = ITQ(n_bits=16, random_state=0).fit(base)
        >>> index = HammingIndex.of(hasher)
        >>> index.add(hasher.transform(base))
        >>> search = TwoStageSearch(index, hasher, by="raw", vectors=base)
        >>> truth = exact_neighbors(base, held_out, k=10).ids
        >>> found = search.calibrate(held_out, truth, target_recall=0.9)
        >>> found.reached, found.recall >= 0.9, search.oversampling == found.oversampling
        (True, True, True)
        """
        check_target(target_recall)
        index = self.index.snapshot()
        scorer = self._scorer(index, queries)
        neighbors = check_truth(truth, len(scorer.codes), index.ids)
        k = neighbors.shape[1]
        width, recalls = 8 * k, np.empty(0)
        while True:  # wider and wider: a target reached early costs little
            recalls = _recalls(index, scorer, neighbors, width)
            if recalls.max() >= target_recall or k + len(recalls) > len(index):
                break
            width *= 8
        reached = bool(recalls.max() >= target_recall)
        best = int(np.argmax(recalls >= min(target_recall, recalls.max())))
        doubled = [k << power for power in range(64) if k << power < k + len(recalls)]
        counts = sorted({*doubled, k + best, k + len(recalls) - 1})
        found = Calibration(
            oversampling=(k + best) / k,
            recall=float(recalls[best]),
            reached=reached,
            target_recall=float(target_recall),
            curve=tuple((count / k, float(recalls[count - k])) for count in counts),
        )
        if reached:
            self.oversampling = found.oversampling
        return found

    def _scorer(self, index: IndexSnapshot, queries: ArrayLike) -> Scorer:
        return make_scorer(self.hasher, self.by, index, queries, self.vectors)


def _measured(
    index: IndexSnapshot, scorer: Scorer, width: int, filter: Selection | None = None
) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[Any]]]:
    """Yield blocks of queries with their candidates, nearest codes first, and distances."""
    width, n_queries = min(width, len(index)), len(scorer.codes)
    if not width:
        return
    step = max(1, PAIRS_PER_BLOCK // width)
    for start in range(0, n_queries, step):
        rows = slice(start, min(start + step, n_queries))
        _, candidates = index.search(scorer.codes[rows], width, filter=filter)
        yield rows, candidates, scorer.distances_of(rows, candidates)


def _recalls(
    index: IndexSnapshot, scorer: Scorer, truth: NDArray[np.int64], width: int
) -> NDArray[np.float64]:
    """Recall with the first k, k + 1, ..., ``width`` candidates (or as many as there are)."""
    hits = np.zeros(min(width, len(index)), np.int64)
    for rows, candidates, measured in _measured(index, scorer, width):
        for ids, distances, neighbors in zip(candidates, measured, truth[rows], strict=True):
            hits += _hits(ids, distances, neighbors)
    return hits[truth.shape[1] - 1 :] / truth.size


def _hits(
    ids: NDArray[np.int64], distances: NDArray[np.float64], truth: NDArray[np.int64]
) -> NDArray[np.int64]:
    """True neighbours found with the first 1, 2, ... candidates.

    A true neighbour counts as found from its own rank on, until nearer candidates push it out of
    the first k.
    """
    hits = np.zeros(len(ids), np.int64)
    for neighbor in truth:
        for place in np.flatnonzero(ids == neighbor):  # one or none
            own = distances[place]
            nearer = (distances < own) | ((distances == own) & (ids < neighbor))
            hits[place:] += np.cumsum(nearer)[place:] < len(truth)
    return hits


def _check_oversampling(oversampling: float) -> float:
    if not _is_number(oversampling) or not oversampling >= 1:
        raise ValueError(f"oversampling must be a number of at least 1, got {oversampling!r}")
    return math.inf if oversampling > sys.maxsize else float(oversampling)  # more there are not


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def check_target(target_recall: object) -> None:
    """Refuse a target that is no share above 0."""
    if not _is_number(target_recall) or not 0 < target_recall <= 1:  # type: ignore[operator]
        raise ValueError(f"target_recall must be above 0 and at most 1, got {target_recall!r}")


def check_truth(truth: ArrayLike, n_queries: int, held: NDArray[np.int64]) -> NDArray[np.int64]:
    """True neighbours ``(q, k)``: different ids that the index holds, or an error."""
    array = np.asarray(truth)
    if array.ndim != 2 or len(array) != n_queries or not array.size or array.dtype.kind not in "iu":
        raise ValueError(
            f"truth must be ids of shape ({n_queries}, k), one row for each query, both at least 1,"
            f" got {array.dtype} of shape {array.shape}"
        )
    if array.shape[1] > len(held):
        raise ValueError(
            f"truth has {array.shape[1]} ids per query, but the index holds {len(held)}"
        )
    if not np.diff(np.sort(array, axis=1), axis=1).all():
        raise ValueError("truth must not repeat an id for one query")
    query, rank = np.nonzero(~np.isin(array, held))
    if len(query):
        raise ValueError(
            f"truth names id {array[query[0], rank[0]]} for query {query[0]}, which is not in the"
            " index; compute the truth among the vectors of the index"
        )
    return array.astype(np.int64)
