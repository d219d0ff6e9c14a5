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
from sigah.rows.dtypes import as_numbers
from sigah.search.distances import spherical_distances
from sigah.search.snapshot import IndexSnapshot

__all__ = ["Scorer", "asymmetric_distances", "check_scoring", "check_vectors", "make_scorer"]

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
    for query, projection in enumerate(scores):
        distances[query] = _weighted_differences(projection, packed)
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
    items : callable
        Maps distinct ids to the distinct items behind them, and each id to its item.
    read : callable
        Maps items to the rows that the distance compares with a query.
    between : callable
        Maps one view and some rows to a distance for each row.
    """

    codes: NDArray[np.uint8]
    views: NDArray[Any]
    items: Callable[[NDArray[np.int64]], tuple[NDArray[Any], NDArray[np.intp]]]
    read: Callable[[NDArray[Any]], NDArray[Any]]
    between: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]

    def distances_of(self, rows: slice, candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distances ``(q, c)`` of some queries from their candidates ``(q, c)``.

        Each distinct candidate is read once for all of these queries.
        """
        ids, where = np.unique(candidates, return_inverse=True)
        items, item_of = self.items(ids)
        where = item_of[where]
        distances = np.empty(candidates.shape)
        for start in range(0, len(items), ITEMS_PER_BLOCK):
            read = self.read(items[start : start + ITEMS_PER_BLOCK])
            inside = (where >= start) & (where < start + len(read))
            for query, view in enumerate(self.views[rows]):
                here = np.flatnonzero(inside[query])
                if len(here):
                    distances[query, here] = self.between(view, read[where[query, here] - start])
        return distances


def make_scorer(
    hasher: Any, by: str, index: IndexSnapshot, queries: ArrayLike, vectors: Any = None
) -> Scorer:
    """Prepare queries for the distance ``by``, a key of ``NEEDS``; only "raw" uses ``vectors``."""
    array = check_vectors(queries, "queries")
    codes = hasher.transform(queries)  # not the array: data frames have feature names

    def codes_of(ids: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        return np.unique(index.get(ids), axis=0, return_inverse=True)  # many ids may share a code

    def ids_themselves(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        return ids, np.arange(len(ids))

    def as_they_are(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return codes

    def decode(codes: NDArray[np.uint8]) -> NDArray[Any]:
        return check_vectors(hasher.reconstruct(codes), "decoded vectors")

    def look_up(ids: NDArray[np.int64]) -> NDArray[Any]:
        if ids[-1] >= vectors.shape[0]:  # ids ascend, so files are read in order
            raise ValueError(
                f"the index holds the id {ids[-1]}, but vectors have {vectors.shape[0]} rows; ids"
                " must be row numbers of vectors"
            )
        return check_vectors(vectors[ids], "vectors", numbers=ids)

    if by == "asymmetric":
        scores = check_vectors(hasher.project(queries), "projections").astype(np.float32)
        return Scorer(codes, scores, codes_of, as_they_are, _weighted_differences)
    if by == "spherical":
        return Scorer(codes, codes, codes_of, as_they_are, _spherical_distances)
    if by == "decoded":
        return Scorer(codes, array, codes_of, decode, _squared_distances)
    return Scorer(codes, array, ids_themselves, look_up, _squared_distances)


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


def _weighted_differences(
    projection: NDArray[np.float32], codes: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Asymmetric distances ``(n,)`` of one query, by table lookup for each byte."""
    if_unset, if_set = np.maximum(projection, 0), np.maximum(-projection, 0)
    charges = np.stack([if_unset, if_set], axis=1).reshape(-1, 8, 1, 2)
    table = np.zeros((len(charges), 1), np.float32)  # cost of each value of each byte
    for bit in range(8):
        table = (table[:, :, None] + charges[:, bit]).reshape(len(charges), -1)
    distances = np.zeros(len(codes), np.float32)
    for costs, values in zip(table, codes.T, strict=True):
        distances += costs[values]
    return distances


def _spherical_distances(query: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    return spherical_distances(codes, query[None])[0]


def _squared_distances(query: NDArray[Any], vectors: NDArray[Any]) -> NDArray[np.float64]:
    if len(query) != vectors.shape[1]:
        raise ValueError(
            f"queries have {len(query)} dimensions, but the vectors to compare with have"
            f" {vectors.shape[1]}"
        )
    difference = np.subtract(vectors, query, dtype=np.float64)
    # Ties must stay ties: einsum and BLAS may add up equal rows in different orders.
    return np.square(difference, out=difference).sum(axis=1)
