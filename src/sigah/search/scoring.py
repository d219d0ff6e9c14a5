"""Distances of float queries from codes, and of queries from their candidates.

A Hamming distance has ``n_bits + 1`` values and ignores how far a query lies from the borders of
its own code. The distances here use more: the projections of the query, vectors decoded from the
codes, or the original vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.codes import check_codes
from sigah.metric import METRICS, unit_rows
from sigah.rows.dtypes import as_numbers
from sigah.search.compiled import score_kernels
from sigah.search.layout import MISSING_ID
from sigah.search.snapshot import IndexSnapshot

__all__ = [
    "Scorer",
    "asymmetric_distances",
    "check_scoring",
    "check_vectors",
    "compared",
    "make_scorer",
    "vector_distances",
]

ITEMS_PER_BLOCK = 8192  # candidates held in memory as vectors at a time

# the hasher's method that each distance needs, besides transform
NEEDS = {"asymmetric": "project", "spherical": None, "decoded": "reconstruct", "raw": None}


def asymmetric_distances(codes: ArrayLike, projections: ArrayLike) -> NDArray[np.float32]:
    """Distances of real-valued queries from binary codes.

    The sum of ``|projection|`` over the bits in which a code differs from the signs of the query:
    a Hamming distance in which each differing bit costs as much as the query would have to move to
    flip it. It is half of ``-projections @ signs(codes).T``, shifted to be 0 for the query's own
    code, so both rank alike. Compare Gordo, Perronnin, Gong and Lazebnik, "Asymmetric distances for
    binary embeddings", IEEE TPAMI 2014.

    Parameters
    ----------
    codes : array-like of uint8, shape (n, n_bits // 8)
    projections : array-like of float, shape (q, n_bits)
        Queries, as ``hasher.project`` returns them; a bit is 1 where its projection is >= 0.

    Returns
    -------
    distances : ndarray of float32, shape (q, n)
        At least 0, in units of the projections. Equal codes have equal distances.

    Raises
    ------
    ValueError
        If the codes are not packed codes, or the projections are not finite or do not have one
        column per bit.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import asymmetric_distances
    >>> query = np.array([[-3.0, -3.0, -3.0, -3.0, -3.0, -3.0, 2.0, 0.5]])
    >>> asymmetric_distances(np.array([[0b11], [0b10], [0b01]], np.uint8), query)
    array([[0. , 0.5, 2. ]], dtype=float32)
    """
    packed = check_codes(codes)
    scores = check_vectors(projections, "projections").astype(np.float32, copy=False)
    if scores.shape[1] != packed.shape[1] * 8:
        raise ValueError(
            f"projections have {scores.shape[1]} columns, but the codes {packed.shape[1] * 8} bits;"
            " both must come from the same hasher"
        )
    distances = np.empty((len(scores), len(packed)), np.float32)
    score_kernels().asymmetric_of_all(packed, np.ascontiguousarray(scores), distances)
    return distances


@dataclass(frozen=True)
class Scorer:
    """Distances of queries from candidates of an index.

    Attributes
    ----------
    codes : ndarray of uint8, shape (q, n_bytes)
        Codes of the queries, used to find candidates.
    views : ndarray, shape (q, ...)
        The queries in the form that the distance takes.
    measure : callable
        Maps some views and the ids of their candidates, shapes (m, ...) and (m, c), to distances
        (m, c); where an id is -1, the distance means nothing.
    """

    codes: NDArray[np.uint8]
    views: NDArray[Any]
    measure: Callable[[NDArray[Any], NDArray[np.int64]], NDArray[Any]]

    def distances_of(self, rows: slice, candidates: NDArray[np.int64]) -> NDArray[Any]:
        """Distances ``(m, c)`` of some queries from their candidates ``(m, c)``."""
        return self.measure(self.views[rows], candidates)


def make_scorer(
    hasher: Any, by: str, index: IndexSnapshot, queries: ArrayLike, vectors: Any = None
) -> Scorer:
    """Prepare queries for the distance ``by``, a key of ``NEEDS``; only "raw" uses ``vectors``.

    Vectors are compared by the hasher's metric.
    """
    array = check_vectors(queries, "queries")
    metric = getattr(hasher, "metric", "l2")
    codes = hasher.transform(queries)  # not the array: data frames have feature names

    def asymmetric(scores: NDArray[Any], candidates: NDArray[np.int64]) -> NDArray[Any]:
        ids, where = _distinct(candidates)
        distances = np.empty(candidates.shape, np.float32)
        score_kernels().asymmetric_of_rows(index.get(ids), where, scores, distances)
        return distances

    def spherical(codes: NDArray[Any], candidates: NDArray[np.int64]) -> NDArray[Any]:
        ids, where = _distinct(candidates)
        distances = np.empty(candidates.shape, np.float32)
        score_kernels().spherical_of_rows(index.get(ids), where, codes, distances)
        return distances

    def decoded(views: NDArray[Any], candidates: NDArray[np.int64]) -> NDArray[Any]:
        ids, where = _distinct(candidates)
        distinct, code_of = np.unique(index.get(ids), axis=0, return_inverse=True)
        code_of = np.append(code_of, MISSING_ID)  # for candidates that are missing

        def decode(some: slice) -> NDArray[Any]:
            return check_vectors(hasher.reconstruct(distinct[some]), "decoded vectors")

        return _distances(views, len(distinct), decode, code_of[where], metric)

    def raw(views: NDArray[Any], candidates: NDArray[np.int64]) -> NDArray[Any]:
        return vector_distances(views, candidates, vectors, metric)

    if by == "asymmetric":
        scores = check_vectors(hasher.project(queries), "projections of queries")
        return Scorer(codes, np.ascontiguousarray(scores, np.float32), asymmetric)
    if by == "spherical":
        return Scorer(codes, codes, spherical)
    return Scorer(codes, compared(array, metric), decoded if by == "decoded" else raw)


def compared(queries: NDArray[Any], metric: str) -> NDArray[np.float64]:
    """Queries in the form that :func:`vector_distances` compares with vectors."""
    return unit_rows(queries) if metric == "cosine" else np.ascontiguousarray(queries, np.float64)


def vector_distances(
    views: NDArray[np.float64], candidates: NDArray[np.int64], vectors: Any, metric: str
) -> NDArray[np.float64]:
    """Distances ``(q, c)`` of queries, as :func:`compared` returns them, from vectors by id.

    ``vectors`` are rows whose numbers are the ids, or a function from ascending ids to vectors.
    Where a candidate is -1, the distance means nothing.
    """
    if not callable(vectors):
        if len(candidates) and candidates.max() >= vectors.shape[0]:
            raise ValueError(
                f"the index holds the id {candidates.max()}, but vectors have {vectors.shape[0]}"
                " rows; ids must be row numbers of vectors"
            )
        if _is_plain(vectors):
            _check_dimensions(views, vectors.shape[1])
            distances = np.empty(candidates.shape)
            held, number = np.asarray(vectors), METRICS.index(metric)
            if score_kernels().distances_of_rows(held, candidates, views, number, distances):
                return distances
    ids, where = _distinct(candidates)

    def look_up(some: slice) -> NDArray[Any]:  # ids ascend, so files are read in order
        wanted = ids[some]
        found = vectors(wanted) if callable(vectors) else vectors[wanted]
        if np.shape(found)[:1] != wanted.shape:
            raise ValueError(
                f"vectors must give a vector for each of the {len(wanted)} ids that it is asked"
                f" for, but gave {type(found).__name__} of shape {np.shape(found)}"
            )
        return check_vectors(found, "vectors", numbers=wanted)

    return _distances(views, len(ids), look_up, where, metric)


def _distinct(candidates: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct ids of candidates, and where in them each candidate is; -1: no candidate."""
    ids, where = np.unique(candidates, return_inverse=True)
    where = where.reshape(candidates.shape)
    if len(ids) and ids[0] == MISSING_ID:
        return ids[1:], where - 1
    return ids, where


def _is_plain(vectors: Any) -> bool:
    """Whether a kernel can read the rows where they are."""
    return (
        isinstance(vectors, np.ndarray)
        and vectors.dtype == np.float32  # in the machine's byte order
        and vectors.flags.c_contiguous
        and vectors.flags.aligned
    )


def check_scoring(hasher: Any, by: str) -> None:
    """Refuse a distance that is unknown or that the hasher cannot serve."""
    able = [name for name, method in NEEDS.items() if method is None or hasattr(hasher, method)]
    if by not in NEEDS:
        raise ValueError(f"by must be one of {', '.join(NEEDS)}; got {by!r}")
    if by not in able:
        raise ValueError(
            f"by={by!r} needs a hasher with the method {NEEDS[by]}, which"
            f" {type(hasher).__name__} lacks; choose one of {', '.join(able)}"
        )


def check_vectors(
    vectors: ArrayLike, name: str, *, numbers: NDArray[np.int64] | None = None
) -> NDArray[Any]:
    """Return rows of numbers that float32 can hold, in their own dtype, or raise an error.

    ``numbers`` are the row numbers for the message, if they do not count from 0.
    """
    array = as_numbers(vectors, name=name)
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (rows, dimensions), got {array.shape}")
    # squares of the greatest float32 fit in float64
    with np.errstate(over="ignore"):
        usable = np.isfinite(array.astype(np.float32, copy=False)).all(axis=1)
    if not usable.all():
        bad = int(np.argmin(usable))
        raise ValueError(
            f"{name} contain NaN, infinity or a value too large for float32 (first in row"
            f" {bad if numbers is None else numbers[bad]}); remove or repair such rows"
        )
    return array


def _distances(
    queries: NDArray[np.float64],
    n_vectors: int,
    read: Callable[[slice], NDArray[Any]],
    where: NDArray[np.int64],
    metric: str,
) -> NDArray[np.float64]:
    """Distances of queries from their candidates, which are read block by block."""
    distances = np.full(where.shape, np.inf)
    for start in range(0, n_vectors, ITEMS_PER_BLOCK):
        vectors = read(slice(start, start + ITEMS_PER_BLOCK))
        _check_dimensions(queries, vectors.shape[1])
        inside = (where >= start) & (where < start + len(vectors))
        rows = np.where(inside, where - start, MISSING_ID)
        wide = np.float32 if np.can_cast(vectors.dtype, np.float32) else np.float64
        block = np.require(vectors, wide, ["C", "W"])
        score_kernels().distances_of_rows(block, rows, queries, METRICS.index(metric), distances)
    return distances


def _check_dimensions(queries: NDArray[Any], n_dimensions: int) -> None:
    if queries.shape[1] != n_dimensions:
        raise ValueError(
            f"queries have {queries.shape[1]} dimensions, but the vectors to compare with have"
            f" {n_dimensions}"
        )
