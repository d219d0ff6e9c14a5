"""Metrics of codes from one statistic: the codes at each Hamming distance from each query.

Codes at equal distance are tied, and their order depends only on storage. So every ranking metric
is the expectation over random orders of the ties, in closed form, unless its name says otherwise
(McSherry and Najork, Computing Information Retrieval Performance Measures Efficiently in the
Presence of Tied Scores, ECIR 2008). Definitions: ``docs/protocol.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_whole
from sigah.codes import check_codes, unpack
from sigah.rows.dtypes import as_numbers
from sigah.search import distance_counts, hamming_distances

__all__ = [
    "RankCounts",
    "average_precision",
    "average_precision_stable",
    "bit_balance",
    "bit_statistics",
    "pr_area",
    "pr_curve",
    "precision_at",
    "rank_counts",
    "recall_at",
    "reconstruction_error",
]

PAIRS_PER_BLOCK = 1 << 22  # distances in memory at a time
ROWS_PER_BLOCK = 8192
SUMMED = 64  # harmonic numbers below this are summed; the others use a series

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class RankCounts:
    """The numbers of codes and of relevant codes at each Hamming distance from each query.

    Attributes
    ----------
    total : ndarray of int64, shape (q, n_bits + 1)
        Base codes at distance 0, 1, ..., n_bits.
    relevant : ndarray of int64, shape (q, n_bits + 1)
        Those that are true neighbours of the query; each row sums to ``k``.

    Raises
    ------
    ValueError
        If the shapes differ, more codes are relevant than there are, or queries differ in ``k``.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import RankCounts
    >>> counts = RankCounts(total=np.array([[1, 2, 0]]), relevant=np.array([[1, 1, 0]]))
    >>> counts.k, counts.n_base
    (2, 3)
    """

    total: Int
    relevant: Int

    def __post_init__(self) -> None:
        if self.total.ndim != 2 or self.total.shape != self.relevant.shape or not self.total.size:
            raise ValueError(
                "total and relevant must have one shape (q, n_bits + 1) with q at least 1, got"
                f" {self.total.shape} and {self.relevant.shape}"
            )
        if ((self.relevant < 0) | (self.relevant > self.total)).any():
            raise ValueError("relevant must lie between 0 and total at every distance")
        if self.k < 1 or np.ptp(self.total.sum(axis=1)) or np.ptp(self.relevant.sum(axis=1)):
            raise ValueError(
                "every query must have the same base size and the same number of relevant codes"
            )

    @property
    def k(self) -> int:
        """Relevant codes of each query."""
        return int(self.relevant[0].sum())

    @property
    def n_base(self) -> int:
        """Codes in the base."""
        return int(self.total[0].sum())


def rank_counts(
    base_codes: ArrayLike, query_codes: ArrayLike, truth: ArrayLike, *, ks: Iterable[int]
) -> dict[int, RankCounts]:
    """Count the base codes, and the nearest ``k`` true neighbours, at each Hamming distance.

    Parameters
    ----------
    base_codes, query_codes : array-like of uint8, shapes (n, n_bytes) and (q, n_bytes)
    truth : array-like of int, shape (q, K)
        True neighbours of each query in the base, nearest first.
    ks : iterable of int
        How many of them count as relevant: one or several numbers from 1 to ``K``. All are counted
        in one pass.

    Returns
    -------
    dict of int to RankCounts
        One entry for each ``k``.

    Raises
    ------
    ValueError
        If the codes do not fit, the truth is not unique rows of the base, or a ``k`` exceeds the
        columns of the truth.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import rank_counts
    >>> base = np.array([[0b00], [0b01], [0b11]], np.uint8)
    >>> counts = rank_counts(base, base[:1], np.array([[0, 2]]), ks=[1, 2])
    >>> counts[2].total[0, :3], counts[2].relevant[0, :3], counts[1].relevant[0, :3]
    (array([1, 1, 1]), array([1, 0, 1]), array([1, 0, 0]))
    """
    base, queries = _check_both(base_codes, query_codes)
    neighbors = _check_truth(truth, len(queries), len(base))
    ks = [check_whole(k, "each of ks") for k in ks]
    if wrong := [k for k in ks if k > neighbors.shape[1]]:
        raise ValueError(
            f"ks must be from 1 to {neighbors.shape[1]}, the columns of truth; got {wrong}"
        )
    total = distance_counts(base, queries)
    relevant = {k: np.empty_like(total) for k in ks}
    for query, (code, nearest) in enumerate(zip(queries, neighbors, strict=True)):
        distances = np.bitwise_count(base[nearest] ^ code).sum(axis=1, dtype=np.intp)
        for k, counts in relevant.items():
            counts[query] = np.bincount(distances[:k], minlength=total.shape[1])
    return {k: RankCounts(total, counts) for k, counts in relevant.items()}


def pr_curve(counts: RankCounts) -> tuple[Float, Float]:
    """Recall and precision of all queries together, one point for each Hamming radius.

    Within a radius, precision is the share of relevant pairs among all pairs of a query and a code,
    and recall their share of all relevant pairs. Nothing depends on ties.

    Parameters
    ----------
    counts : RankCounts

    Returns
    -------
    recall, precision : ndarray of float64, shape (n_bits + 1,)
        At radius 0, 1, ..., n_bits. Where nothing is retrieved, precision is that of the first
        radius that retrieves something.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import RankCounts, pr_curve
    >>> pr_curve(RankCounts(np.array([[0, 2, 2]]), np.array([[0, 1, 1]])))
    (array([0. , 0.5, 1. ]), array([0.5, 0.5, 0.5]))
    """
    return pooled_curve(counts.relevant.sum(axis=0).cumsum(), counts.total.sum(axis=0).cumsum())


def pr_area(counts: RankCounts) -> float:
    """Area under :func:`pr_curve` by the trapezoid rule, which many hashing papers call mAP.

    From recall 0 to the recall at radius 0, precision is that at radius 0.

    Parameters
    ----------
    counts : RankCounts

    Returns
    -------
    float
        In [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import RankCounts, pr_area
    >>> pr_area(RankCounts(np.array([[1, 0, 3]]), np.array([[1, 0, 0]])))
    1.0
    """
    return area(*pr_curve(counts))


def average_precision(
    counts: RankCounts, ties: Literal["expected", "best", "worst", "block_end"] = "expected"
) -> Float:
    """Average precision of each query over the whole Hamming ranking.

    Parameters
    ----------
    counts : RankCounts
    ties : {"expected", "best", "worst", "block_end"}
        The mean over all orders of tied codes; relevant codes first, or last, among tied codes; or,
        for every relevant code, the precision at the end of its block of ties.

    Returns
    -------
    ndarray of float64, shape (q,)
        In [0, 1].

    Raises
    ------
    ValueError
        If ``ties`` is unknown. Ties in the order of the base need the codes: see
        :func:`average_precision_stable`.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import RankCounts, average_precision
    >>> counts = RankCounts(np.array([[0, 2, 0]]), np.array([[0, 1, 0]]))
    >>> [float(average_precision(counts, ties)[0]) for ties in ("best", "expected", "worst")]
    [1.0, 0.75, 0.5]
    """
    size, hits = counts.total, counts.relevant
    seen, found = before(size), before(hits)
    if ties == "expected":
        sums = expected_sums(seen, found, size, hits)
    elif ties == "best":  # ranks seen + 1 ... seen + hits, precisions (found + j) / (seen + j)
        sums = hits + (found - seen) * _harmonic(seen, hits)
    elif ties == "worst":
        misses = size - hits
        sums = hits + (found - seen - misses) * _harmonic(seen + misses, hits)
    elif ties == "block_end":
        sums = hits * (found + hits) / np.maximum(seen + size, 1)
    else:
        raise ValueError(f"ties must be expected, best, worst or block_end, got {ties!r}")
    return sums.sum(axis=1) / counts.k


def average_precision_stable(
    base_codes: ArrayLike, query_codes: ArrayLike, truth: ArrayLike
) -> Float:
    """Average precision of each query, with ties in the order of the base, as by stable sorts.

    Parameters
    ----------
    base_codes, query_codes, truth
        As in :func:`rank_counts`; all of the truth is relevant.

    Returns
    -------
    ndarray of float64, shape (q,)

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import average_precision_stable
    >>> base = np.array([[7], [7]], np.uint8)
    >>> average_precision_stable(base, base, np.array([[0], [1]]))
    array([1. , 0.5])
    """
    base, queries = _check_both(base_codes, query_codes)
    neighbors = _check_truth(truth, len(queries), len(base))
    found = np.arange(1, neighbors.shape[1] + 1)
    scores = np.empty(len(queries))
    rank = np.empty(len(base), np.intp)
    for rows, distances in _distances(queries, base):
        for query, row in enumerate(distances, rows.start):
            rank[np.argsort(row, kind="stable")] = np.arange(1, len(base) + 1)
            scores[query] = (found / np.sort(rank[neighbors[query]])).mean()
    return scores


def precision_at(counts: RankCounts, n: int) -> Float:
    """Share of relevant codes among the first ``n``, expected over ties.

    Parameters
    ----------
    counts : RankCounts
    n : int
        From 1 to the size of the base.

    Returns
    -------
    ndarray of float64, shape (q,)

    Raises
    ------
    ValueError
        If ``n`` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import RankCounts, precision_at
    >>> precision_at(RankCounts(np.array([[1, 2, 0]]), np.array([[1, 1, 0]])), 2)
    array([0.75])
    """
    return _expected_found(counts, n) / n


def recall_at(counts: RankCounts, n: int) -> Float:
    """Share of the relevant codes that are among the first ``n``, expected over ties.

    Parameters
    ----------
    counts : RankCounts
    n : int
        From 1 to the size of the base.

    Returns
    -------
    ndarray of float64, shape (q,)

    Raises
    ------
    ValueError
        If ``n`` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import RankCounts, recall_at
    >>> recall_at(RankCounts(np.array([[1, 2, 0]]), np.array([[1, 1, 0]])), 2)
    array([0.75])
    """
    return _expected_found(counts, n) / counts.k


def reconstruction_error(original: ArrayLike, decoded: ArrayLike) -> tuple[float, float]:
    """Mean squared error of decoded codes.

    Parameters
    ----------
    original, decoded : array-like, shape (n, d)

    Returns
    -------
    error : float
        Mean squared distance between a vector and its decoded vector, in squared units of the data.
    relative : float
        ``error`` divided by the total variance of the original, which is the error of decoding
        everything to the mean.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, or the original vectors are all the same.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import reconstruction_error
    >>> reconstruction_error(np.array([[0.0, 0.0], [2.0, 4.0]]), np.array([[0.0, 1.0], [2.0, 4.0]]))
    (0.5, 0.1)
    """
    truth, guess = as_numbers(original, name="original"), as_numbers(decoded, name="decoded")
    if truth.ndim != 2 or truth.shape != guess.shape:
        raise ValueError(
            f"original and decoded must have one shape (n, d), got {truth.shape} and {guess.shape}"
        )
    if (truth == truth[:1]).all():
        raise ValueError("the original vectors are all the same: their variance is 0")
    error = variance = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        centre = truth.mean(axis=0, dtype=np.float64)
        for start in range(0, len(truth), ROWS_PER_BLOCK):
            rows = slice(start, start + ROWS_PER_BLOCK)
            error += np.square(np.subtract(truth[rows], guess[rows], dtype=np.float64)).sum()
            variance += np.square(truth[rows] - centre).sum()
    if not np.isfinite(error + variance):
        raise ValueError(
            "original and decoded must be finite, and their squares must fit in float64"
        )
    return float(error / len(truth)), float(error / variance)


def bit_balance(codes: ArrayLike) -> Float:
    """Share of ones in each bit, float64 of shape (n_bits,); 0.5 is balanced.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import bit_balance
    >>> bit_balance(np.array([[0b11], [0b01]], np.uint8))[-3:]
    array([0. , 0.5, 1. ])
    """
    return np.diagonal(_joint_shares(_check_some(codes, "codes"))).copy()


def bit_statistics(codes: ArrayLike) -> dict[str, float]:
    """How well codes use their bits.

    Parameters
    ----------
    codes : array-like of uint8, shape (n, n_bits // 8)

    Returns
    -------
    dict of str to float
        ``bit_imbalance``: mean of ``|2 p - 1|`` over bits, p the share of ones; 0 to 1.
        ``bit_correlation``: mean absolute correlation over pairs of bits that both vary; 0 if there
        is no such pair.
        ``code_entropy``: Shannon entropy of the empirical distribution of whole codes, in bits; at
        most ``log2(n)``.
        ``distinct_codes``: the number of distinct codes.

    Raises
    ------
    ValueError
        If ``codes`` are not packed codes or there are none.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import bit_statistics
    >>> bit_statistics(np.array([[0b00], [0b01], [0b10], [0b11]], np.uint8))
    {'bit_imbalance': 0.75, 'bit_correlation': 0.0, 'code_entropy': 2.0, 'distinct_codes': 4.0}
    """
    array = _check_some(codes, "codes")
    joint = _joint_shares(array)
    ones = np.diagonal(joint)
    varies = (ones > 0) & (ones < 1)
    spread = np.sqrt(ones * (1 - ones))[varies]
    covariance = (joint - np.outer(ones, ones))[np.ix_(varies, varies)]
    correlation = np.abs(covariance / np.outer(spread, spread))
    pairs = len(spread) * (len(spread) - 1)
    repeats = np.unique(array, axis=0, return_counts=True)[1]
    return {
        "bit_imbalance": float(np.abs(2 * ones - 1).mean()),
        "bit_correlation": float((correlation.sum() - np.trace(correlation)) / max(pairs, 1)),
        "code_entropy": float(repeats @ np.log2(len(array) / repeats) / len(array)),
        "distinct_codes": float(len(repeats)),
    }


def pooled_curve(found: NDArray[Any], retrieved: NDArray[Any]) -> tuple[Float, Float]:
    """Recall and precision from cumulative counts over radii: relevant pairs, and all pairs."""
    first = int(np.argmax(retrieved > 0))
    precision = found / np.maximum(retrieved, 1)
    precision[:first] = precision[first]
    return found / found[-1], precision


def area(recall: Float, precision: Float) -> float:
    """The area under a curve by trapezoids; constant to the left of its first point."""
    return float(recall[0] * precision[0] + np.trapezoid(precision, recall))


def _check_some(codes: ArrayLike, name: str, n_bits: int | None = None) -> NDArray[np.uint8]:
    array = check_codes(codes, n_bits=n_bits, name=name)
    if not len(array):
        raise ValueError(f"{name} must hold at least one code")
    return array


def _check_both(
    base_codes: ArrayLike, query_codes: ArrayLike
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    base = _check_some(base_codes, "base_codes")
    return base, _check_some(query_codes, "query_codes", base.shape[1] * 8)


def _check_truth(truth: ArrayLike, n_queries: int, n_base: int) -> NDArray[np.intp]:
    array = np.asarray(truth)
    if array.dtype.kind not in "iu" or array.ndim != 2 or not array.size:
        raise ValueError(
            f"truth must be row numbers of shape (q, K), got {array.dtype} of shape {array.shape}"
        )
    if len(array) != n_queries:
        raise ValueError(f"truth has {len(array)} rows, but there are {n_queries} queries")
    if array.min() < 0 or array.max() >= n_base:
        raise ValueError(
            f"truth must be rows of the base, 0 to {n_base - 1}, got {array.min()} to {array.max()}"
        )
    ordered = np.sort(array, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ValueError("truth has a row of the base twice for one query")
    return array.astype(np.intp, copy=False)


def _distances(
    queries: NDArray[np.uint8], base: NDArray[np.uint8]
) -> Iterator[tuple[slice, NDArray[np.uint16]]]:
    """Hamming distances of blocks of queries to the whole base."""
    step = max(1, PAIRS_PER_BLOCK // len(base))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        yield rows, hamming_distances(base, queries[rows])


def before(counts: Int) -> Int:
    """The number at smaller distances."""
    return counts.cumsum(axis=1) - counts


def _expected_found(counts: RankCounts, n: int) -> Float:
    """Expected relevant codes among the first ``n``; of the block that rank ``n`` cuts, a share."""
    n = check_whole(n, "n")
    if n > counts.n_base:
        raise ValueError(f"n must be from 1 to the {counts.n_base} codes of the base, got {n}")
    taken = np.clip(n - before(counts.total), 0, counts.total)
    return (taken * counts.relevant / np.maximum(counts.total, 1)).sum(axis=1)


def _harmonic(start: Int, count: Int) -> Float:
    """Sum of ``1 / rank`` over the ``count`` ranks that follow ``start``."""
    return harmonic_numbers(start + count) - harmonic_numbers(start)


def harmonic_numbers(n: Int) -> Float:
    """Sum of ``1 / i`` for ``i`` from 1 to each of ``n``, to the last bits of float64.

    Small ``n`` are summed directly. For larger ``n``, the Euler-Maclaurin series has an error below
    ``1 / (240 n^8)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation.metrics import harmonic_numbers
    >>> harmonic_numbers(np.array([0, 1, 2, 4])).round(3)
    array([0.   , 1.   , 1.5  , 2.083])
    """
    first = np.cumsum(np.concatenate([[0.0], 1 / np.arange(1.0, SUMMED)]))
    large = np.maximum(n, SUMMED).astype(np.float64)
    square = 1 / (large * large)
    small = 0.5 / large - square * (1 / 12 - square * (1 / 120 - square / 252))
    series = np.log(large) + np.euler_gamma + small
    return np.where(n < SUMMED, first[np.minimum(n, SUMMED - 1)], series)


def expected_sums(seen: Int, found: Int, size: Int, hits: Int, taken: Int | None = None) -> Float:
    """Expected sum of the precisions at the relevant ranks of each block of ties.

    ``size`` codes, ``hits`` of them relevant, follow ``seen`` codes, ``found`` of them relevant.
    The j-th is relevant with probability hits / size; then, on average, (j - 1) slope relevant
    codes of its block are before it (McSherry and Najork 2008). The sum over j of (found + 1 + (j -
    1) slope) / (seen + j) is split into a constant and a harmonic part. Only the first ``taken``
    ranks of a block count; by default all.
    """
    ranks = size if taken is None else taken
    slope = (hits - 1) / np.maximum(size - 1, 1)
    sums = ranks * slope + (found + 1 - slope * (seen + 1)) * _harmonic(seen, ranks)
    return hits / np.maximum(size, 1) * sums


def _joint_shares(codes: NDArray[np.uint8]) -> Float:
    """For each pair of bits, the share of codes in which both are one, (n_bits, n_bits)."""
    joint = np.zeros((codes.shape[1] * 8, codes.shape[1] * 8))
    for start in range(0, len(codes), ROWS_PER_BLOCK):
        bits = unpack(codes[start : start + ROWS_PER_BLOCK]).astype(np.float32)
        joint += bits.T @ bits  # whole numbers below 2^24, exact in float32
    return joint / len(codes)
