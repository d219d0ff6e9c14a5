"""Exact Hamming search by scanning every code.

The reference that every faster search must agree with: its answer depends on nothing but the
codes, the ids and ``k``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.codes import check_codes, check_n_bits

__all__ = [
    "MISSING_DISTANCE",
    "MISSING_ID",
    "HammingIndex",
    "hamming_distances",
    "spherical_distances",
]

MISSING_DISTANCE = np.iinfo(np.int32).max  # fills rows with fewer than k neighbours, as in FAISS
MISSING_ID = -1
MAX_BITS = 65528  # the widest codes whose distances fit in uint16

PAIRS_PER_BLOCK = 1 << 17  # their 64-bit words fill 1 MiB, which stays in a core's own cache


class HammingIndex:
    """Exact nearest neighbours of packed codes under the Hamming distance.

    Neighbours are ordered by distance and, where distances tie, by ascending id. The order in
    which codes were added does not matter.

    Parameters
    ----------
    n_bits : int
        Width of the codes, a multiple of 8 and at most 65,528.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import HammingIndex
    >>> index = HammingIndex(n_bits=8)
    >>> index.add(np.array([[0b0000], [0b0111], [0b0001]], np.uint8), ids=[10, 20, 30])
    >>> distances, ids = index.search(np.array([[0b0011]], np.uint8), k=2)
    >>> distances, ids
    (array([[1, 1]], dtype=int32), array([[20, 30]]))
    """

    def __init__(self, n_bits: int = 64) -> None:
        self.n_bits = check_n_bits(n_bits)
        # Rows are kept in ascending order of id, so that a tie broken by position is broken by id.
        self._words = _as_words(np.empty((0, self.n_bits // 8), np.uint8))
        self._ids = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, codes: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Add codes; either all of them are added or, on an error, none.

        Every call copies the index, so add codes in large batches.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, n_bits // 8)
        ids : array-like of int, shape (n,), optional
            Identifiers, unique in the index and not negative. By default they count on from the
            largest id held (0, 1, 2, ... in an empty index).

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, or an id is negative, not a whole
            number or already taken.
        """
        new_words = _as_words(check_codes(codes, n_bits=self.n_bits))
        n_new = new_words.shape[1]
        if ids is None:
            first = int(self._ids[-1]) + 1 if len(self) else 0
            ids = np.arange(first, first + n_new, dtype=np.uint64)
        merged = np.concatenate([self._ids, _check_ids(ids, n_new)])
        order = np.argsort(merged, kind="stable")
        merged = merged[order]
        repeated = merged[1:][merged[1:] == merged[:-1]]
        if len(repeated):
            raise ValueError(f"ids must be unique in the index, but {repeated[0]} is repeated")
        words = np.concatenate([self._words, new_words], axis=1)
        self._words, self._ids = np.take(words, order, axis=1), merged

    def search(
        self, codes: ArrayLike, k: int, *, metric: str = "hamming"
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Find the ``k`` nearest codes of each query.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Queries.
        k : int
            Neighbours wanted, at least 1.
        metric : {"hamming", "spherical"}, default="hamming"
            "spherical" is :func:`spherical_distances`, made for the codes of spherical hashing.

        Returns
        -------
        distances : ndarray of int32, shape (q, k); float32 for the spherical metric
            Ascending. Places beyond the size of the index hold 2147483647, as in FAISS; infinity
            for the spherical metric.
        ids : ndarray of int64, shape (q, k)
            Places beyond the size of the index hold -1.

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, ``k`` is not a positive whole
            number, or the metric is unknown.
        """
        if metric not in ("hamming", "spherical"):
            raise ValueError(f"metric must be 'hamming' or 'spherical', got {metric!r}")
        queries = _as_words(check_codes(codes, n_bits=self.n_bits))
        k = _check_count("k", k, at_least=1)
        if metric == "spherical":
            return self._spherical_search(queries, k)
        distances = np.full((queries.shape[1], k), MISSING_DISTANCE, np.int32)
        ids = np.full((queries.shape[1], k), MISSING_ID, np.int64)
        for query, row in _scan(queries, self._words):
            # the smallest ball around the query that holds k codes (or all there are)
            radius = int(np.searchsorted(np.cumsum(np.bincount(row)), k))
            nearest = _within(row, radius)[:k]
            distances[query, : len(nearest)] = row[nearest]
            ids[query, : len(nearest)] = self._ids[nearest]
        return distances, ids

    def _spherical_search(
        self, queries: NDArray[np.uint64], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        distances = np.full((queries.shape[1], k), np.inf, np.float32)
        ids = np.full((queries.shape[1], k), MISSING_ID, np.int64)
        if not len(self):
            return distances, ids
        last = min(k, len(self)) - 1  # rank of the farthest neighbour
        for query, differing, shared in _scan_shared(queries, self._words):
            row = _ratios(differing, shared)
            nearest = _within(row, np.partition(row, last)[last])[:k]
            distances[query, : len(nearest)] = row[nearest]
            ids[query, : len(nearest)] = self._ids[nearest]
        return distances, ids

    def range_search(
        self, codes: ArrayLike, radius: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """Find all codes in the Hamming ball of each query.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Queries.
        radius : int
            The greatest distance accepted, at least 0. (FAISS's own ``range_search`` of binary
            codes leaves out the codes at the radius itself.)

        Returns
        -------
        lims : ndarray of int64, shape (q + 1,)
            The neighbours of query ``i`` are those from ``lims[i]`` up to ``lims[i + 1]``.
        distances : ndarray of int32, shape (lims[-1],)
            Ascending within a query.
        ids : ndarray of int64, shape (lims[-1],)

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, or ``radius`` is not a whole
            number of at least 0.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah.search import HammingIndex
        >>> index = HammingIndex(n_bits=8)
        >>> index.add(np.array([[0], [1], [3], [255]], np.uint8))
        >>> index.range_search(np.array([[0], [254]], np.uint8), radius=1)
        (array([0, 2, 3]), array([0, 1, 1], dtype=int32), array([0, 1, 3]))
        """
        queries = _as_words(check_codes(codes, n_bits=self.n_bits))
        radius = _check_count("radius", radius, at_least=0)
        lims = np.zeros(queries.shape[1] + 1, np.int64)
        distances, ids = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
        for query, row in _scan(queries, self._words):
            near = _within(row, radius)
            lims[query + 1] = lims[query] + len(near)
            distances.append(row[near].astype(np.int32))
            ids.append(self._ids[near])
        return lims, np.concatenate(distances), np.concatenate(ids)


def hamming_distances(queries: ArrayLike, base: ArrayLike) -> NDArray[np.uint16]:
    """Count the differing bits of every query and every base code.

    Parameters
    ----------
    queries : array-like of uint8, shape (q, n_bytes)
    base : array-like of uint8, shape (n, n_bytes)

    Returns
    -------
    distances : ndarray of uint16, shape (q, n)

    Raises
    ------
    ValueError
        If either is not packed codes, the widths differ or exceed 65,528 bits.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import hamming_distances
    >>> hamming_distances(np.array([[0b1100]], np.uint8), np.array([[0b1010], [0b1100]], np.uint8))
    array([[2, 0]], dtype=uint16)
    """
    query_codes = check_codes(queries, name="queries")
    base_codes = check_codes(base, n_bits=query_codes.shape[1] * 8, name="base codes")
    distances = np.empty((len(query_codes), len(base_codes)), np.uint16)
    for query, row in _scan(_as_words(query_codes), _as_words(base_codes)):
        distances[query] = row
    return distances


def spherical_distances(queries: ArrayLike, base: ArrayLike) -> NDArray[np.float32]:
    """Divide the differing bits by the shared ones, for every query and every base code.

    The spherical Hamming distance of Heo et al., "Spherical hashing", CVPR 2012, section 3:
    ``|a xor b| / |a and b|``. The more spheres hold both vectors, the smaller the region they lie
    in. As in the authors' code, 0.1 is added to the number of shared ones, which keeps the
    distance finite.

    Parameters
    ----------
    queries : array-like of uint8, shape (q, n_bytes)
    base : array-like of uint8, shape (n, n_bytes)

    Returns
    -------
    distances : ndarray of float32, shape (q, n)
        The nearest float32 to the ratio: pairs of equal ratios have equal distances.

    Raises
    ------
    ValueError
        If either is not packed codes, the widths differ or exceed 65,528 bits.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import spherical_distances
    >>> query = np.array([[0b0111]], np.uint8)
    >>> spherical_distances(query, np.array([[0b0011], [0b1000]], np.uint8)).round(2)
    array([[ 0.48, 40.  ]], dtype=float32)
    """
    query_codes = check_codes(queries, name="queries")
    base_codes = check_codes(base, n_bits=query_codes.shape[1] * 8, name="base codes")
    distances = np.empty((len(query_codes), len(base_codes)), np.float32)
    for query, differing, shared in _scan_shared(_as_words(query_codes), _as_words(base_codes)):
        distances[query] = _ratios(differing, shared)
    return distances


def _ratios(differing: NDArray[np.uint16], shared: NDArray[np.uint16]) -> NDArray[np.float32]:
    # d / (s + 0.1) = 10 d / (10 s + 1), of whole numbers that float32 holds exactly
    ten = np.float32(10)
    return ten * differing / (ten * shared + np.float32(1))


def _scan_shared(
    queries: NDArray[np.uint64], base: NDArray[np.uint64]
) -> Iterator[tuple[int, NDArray[np.uint16], NDArray[np.uint16]]]:
    """Yield each query's number, and how many bits differ from and ones are shared with each."""
    ones = np.bitwise_count(base).sum(axis=0, dtype=np.int32)
    for query, differing in _scan(queries, base):
        # |a and b| = (|a| + |b| - |a xor b|) / 2
        both = np.bitwise_count(queries[:, query]).sum(dtype=np.int32) + ones - differing
        yield query, differing, (both // 2).astype(np.uint16)


def _as_words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Codes ``(n, n_bytes)`` as 64-bit words ``(n_words, n)``, the last padded with zeros."""
    n, n_bytes = codes.shape
    if n_bytes * 8 > MAX_BITS:
        raise ValueError(f"codes can have at most {MAX_BITS} bits, got {n_bytes * 8}")
    padded = np.zeros((n, -(-n_bytes // 8) * 8), np.uint8)
    padded[:, :n_bytes] = codes
    return np.ascontiguousarray(padded.view(np.uint64).T)


def _scan(
    queries: NDArray[np.uint64], base: NDArray[np.uint64]
) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """Yield each query's number and its distances to all base codes, ``uint16 (n,)``."""
    n_queries, n = queries.shape[1], base.shape[1]
    step = max(1, PAIRS_PER_BLOCK // max(1, n))  # queries that share a block
    for start in range(0, n_queries, step):
        some = queries[:, start : start + step, None]
        rows = np.zeros((some.shape[1], n), np.uint16)
        for left in range(0, n, PAIRS_PER_BLOCK):
            where = slice(left, left + PAIRS_PER_BLOCK)
            for query_word, base_word in zip(some, base[:, where], strict=True):
                rows[:, where] += np.bitwise_count(query_word ^ base_word)
        yield from enumerate(rows, start)


def _within(distances: NDArray[Any], radius: float) -> NDArray[np.intp]:
    """Positions no farther than ``radius``, in order of distance and then of position."""
    near = np.flatnonzero(distances <= radius)
    return near[np.argsort(distances[near], kind="stable")]


def _check_count(name: str, value: object, *, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ValueError(f"{name} must be a whole number of at least {at_least}, got {value!r}")
    return int(value)


def _check_ids(ids: ArrayLike, n: int) -> NDArray[np.int64]:
    array = np.asarray(ids)
    if array.shape != (n,):
        raise ValueError(f"ids must have shape ({n},), one for each code, got {array.shape}")
    if n and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 2**63 - 1):
        raise ValueError("ids must be whole numbers from 0 to 2**63 - 1 (int64)")
    return array.astype(np.int64)
