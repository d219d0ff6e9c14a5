"""The true neighbours: exact search by any metric, and a cache of its results.

A float32 matrix product proposes candidates and float64 differences rank them. The rounding error
of every float32 score is bounded, and a query is done only when the bounds prove that no true
neighbour was missed. Otherwise the query is repeated with more candidates, in the end with all
rows.

The bound. After centring, a base row has length a and a query has length b; u = 2^-24, and d is the
dimension. Rounding the centred vectors to float32 changes their squared distance by about 4 u (a^2
+ b^2) at most, and a product of length d has an error of at most ((1 + u)^(d + 2) - 1) ab in any
order of summation (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). As
2ab <= a^2 + b^2, all roundings together stay below ``error * (a^2 + b^2)`` with ``error = exp((d +
16) u) - 1``, and all underflow below ``64 d 2^-126``.

Cosine. Half of the squared distance of unit vectors is 1 - cos, so rows of unit length, in float64,
are searched in the same way. A row of zeros gets a coordinate of its own of length 1, which no
query has: its distance is then that of a right angle.

Inner products. Rows keep their lengths a and are not centred, because a sum around another centre
loses digits in float64. Queries have unit length in the products, so that roundings stay below
``error * a``.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.files import atomic_write
from sigah.metric import check_metric, distances_from, unit_rows
from sigah.rows.dtypes import as_array, as_numbers, check_rows, is_row_source
from sigah.threads import available_threads

__all__ = ["Neighbors", "cached_neighbors", "content_hash", "exact_neighbors"]


class Neighbors(NamedTuple):
    """The nearest rows of the base, for each query.

    Attributes
    ----------
    distances : ndarray of float64, shape (q, k)
        By the metric (:mod:`sigah.metric`), ascending.
    ids : ndarray of int32, shape (q, k)
        Rows of the base; if distances tie, ids ascend.
    """

    distances: NDArray[np.float64]
    ids: NDArray[np.int32]


SCORES_PER_STEP = 1 << 25  # 128 MiB of float32
QUERIES_PER_TASK = 32
BYTES_PER_READ = 1 << 24  # while hashing
LARGEST_VALUE = 1e150  # sums of its squares are finite
CACHE_FORMAT = "sigah truth 1: indices <i4, squared distances <f8"


def exact_neighbors(
    base: Any, queries: Any, k: int, metric: str = "l2", *, block: int = 8192
) -> Neighbors:
    """Find the exact ``k`` nearest neighbours of each query.

    Exact means: as if every distance were summed in float64, and all rows were sorted by distance
    and then by index. The sums are of squared differences of the coordinates; for ``"cosine"``,
    half of that, after rows are scaled to unit length in float64; for ``"ip"``, of products.

    Parameters
    ----------
    base : array-like, shape (n, d)
        Real numbers of any dtype in an array, a memory map or anything with ``shape``, ``dtype``
        and row slicing. It is read in blocks, several times, and never copied as a whole.
    queries : array-like, shape (q, d)
    k : int
        Neighbours wanted, from 1 to ``n``.
    metric : {"l2", "cosine", "ip"}
        The distance: the squared Euclidean one, 1 - cosine, or minus the inner product. The cosine
        of a vector of zeros is 0.
    block : int, default=8192
        Rows read at a time; memory grows with ``block * d``.

    Returns
    -------
    Neighbors
        ``distances`` (q, k), float64; and ``ids`` (q, k), rows of the base, nearest first, int32.
        Where distances tie, ids ascend.

    Raises
    ------
    ValueError
        If the shapes do not fit, ``k`` is out of range, the metric is unknown, or a value is not
        finite or its square does not fit in float64.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import exact_neighbors
    >>> base = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [1.0, 0.0]])
    >>> distances, ids = exact_neighbors(base, np.array([[3.0, 3.0]]), k=3)
    >>> distances, ids
    (array([[ 1.,  1., 13.]]), array([[1, 2, 3]], dtype=int32))
    >>> exact_neighbors(base, np.array([[3.0, 3.0]]), k=3, metric="ip")
    Neighbors(distances=array([[-21., -21.,  -3.]]), ids=array([[1, 2, 3]], dtype=int32))
    """
    check_metric(metric)
    base, queries = check_rows(base, "base"), check_rows(queries, "queries")
    n, d = base.shape
    if queries.shape[1] != d:
        raise ValueError(f"queries have {queries.shape[1]} dimensions, but the base has {d}")
    if n > np.iinfo(np.int32).max:
        raise ValueError(f"the base has {n} rows, more than int32 indices can count")
    k, block = _check_k(k, n), check_whole(block, "block")
    if metric == "cosine":
        base, queries = _UnitRows(base, of_zeros=1), _UnitRows(queries, of_zeros=0)
    total, peak = _survey(base, "base", block)
    _, query_peak = _survey(queries, "queries", block)
    if metric != "ip":  # an inner product has no use for queries and rows in one unit
        peak = max(peak, query_peak)
    # A power of two that scales the largest value to about 1, so that nothing overflows. The scale
    # is limited, so that underflow is smaller in the float64 distances than in the scores.
    scale = 2.0 ** -max(math.frexp(peak)[1], -400)
    found = _empty(len(queries), k)
    with ThreadPoolExecutor(available_threads()) as pool:
        kind = _InnerProductSearch if metric == "ip" else _Search
        search = kind(base, block, metric, total / n, scale, pool)
        for rows, vectors in _blocks(queries, block):
            settled = search.nearest(vectors.astype(np.float64), k, width=k + k // 8 + 32)
            found.distances[rows], found.ids[rows] = settled
    return found


def cached_neighbors(
    base: Any,
    queries: Any,
    k: int,
    metric: str = "l2",
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Neighbors:
    """Find exact neighbours as :func:`exact_neighbors` does, or read them from the cache.

    Results are stored in the folder ``truth`` of the cache, under a name that depends on the
    contents of both arrays, ``k`` and the metric. Neighbours in a damaged or truncated file are
    computed again.

    Parameters
    ----------
    base, queries, k, metric
        As in :func:`exact_neighbors`.
    cache_dir : path-like, optional
        The cache. By default ``$SIGAH_CACHE`` or the user's cache directory; if that cannot be
        written, nothing is stored.

    Returns
    -------
    Neighbors
        As from :func:`exact_neighbors`.

    Raises
    ------
    ValueError
        As in :func:`exact_neighbors`.
    OSError
        If ``cache_dir`` is given and cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah.evaluation import cached_neighbors
    >>> base = np.random.default_rng(0).normal(size=(100, 8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = cached_neighbors(base, base[:3], k=2, cache_dir=folder)
    ...     again = cached_neighbors(base, base[:3], k=2, cache_dir=folder)
    >>> again.ids[:, 0], bool((first.ids == again.ids).all())
    (array([0, 1, 2], dtype=int32), True)
    """
    check_metric(metric)
    base, queries = check_rows(base, "base"), check_rows(queries, "queries")
    k = _check_k(k, len(base))
    name = " ".join([CACHE_FORMAT, content_hash(base), content_hash(queries), str(k)])
    if metric != "l2":  # names of before there were metrics remain
        name += f" {metric}"
    key = hashlib.sha256(name.encode()).digest()
    cache = cache_dir or os.environ.get("SIGAH_CACHE")
    folder = Path(cache or platformdirs.user_cache_dir("sigah", appauthor=False)) / "truth"
    # only a cache that the caller names must work; it fails before the search, not after it
    optional: Any = nullcontext() if cache_dir else suppress(OSError)
    with optional:
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / key.hex()
    with suppress(OSError):
        found = _unseal(path.read_bytes(), key, (len(queries), k))
        if found is not None:
            return found
    exact = exact_neighbors(base, queries, k, metric)
    content = exact.ids.astype("<i4").tobytes() + exact.distances.astype("<f8").tobytes()
    with optional, atomic_write(path) as file:
        file.write(hashlib.sha256(key + content).digest())
        file.write(content)
    return exact


def content_hash(array: Any) -> str:
    """SHA-256 of an array's dtype, shape and values in row order, read in blocks.

    Parameters
    ----------
    array : array-like
        An array, a memory map or anything with ``shape``, ``dtype`` and row slicing; no objects.

    Returns
    -------
    str
        64 hexadecimal digits. Equal values of another dtype or byte order give another hash; the
        layout in memory (strides, order) does not matter.

    Raises
    ------
    ValueError
        If the array holds Python objects, which cannot be hashed by their bytes.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import content_hash
    >>> content_hash(np.zeros((2, 3)))[:16]
    '333e4a3522cee7f7'
    """
    if not is_row_source(array):
        array = np.atleast_1d(array)
    dtype, shape = as_array(array[:1]).dtype, tuple(map(int, array.shape))
    if dtype.hasobject:
        raise ValueError(f"an array of dtype {dtype} has no bytes to hash; use a numeric dtype")
    digest = hashlib.sha256(f"{dtype.str} {shape}".encode())
    step = max(1, BYTES_PER_READ // max(1, dtype.itemsize * math.prod(shape[1:])))
    for start in range(0, shape[0], step):
        digest.update(as_array(array[start : start + step]).tobytes())
    return digest.hexdigest()


class _UnitRows:
    """Rows scaled to unit length as they are read; one more column marks rows of zeros."""

    def __init__(self, source: Any, of_zeros: float) -> None:
        self.source, self.of_zeros = source, of_zeros
        self.shape, self.dtype = (len(source), source.shape[1] + 1), np.dtype(np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float64]:
        block = as_numbers(self.source[rows], rows.start)
        with np.errstate(invalid="ignore"):  # of infinity; the survey reports it
            units = unit_rows(block)
        return np.column_stack([units, np.where(units.any(axis=1), 0, self.of_zeros)])


@dataclass(frozen=True)
class _Search:
    base: Any
    block: int
    metric: str
    centre: NDArray[np.float64]
    scale: float
    pool: ThreadPoolExecutor

    def nearest(self, queries: NDArray[np.float64], k: int, width: int) -> Neighbors:
        """Neighbours from at least ``width`` candidates, and more if the proof needs them."""
        width = min(width, len(self.base))
        found = _empty(len(queries), k)
        step = max(1, SCORES_PER_STEP // (self.block + width))
        for start in range(0, len(queries), step):
            some = queries[start : start + step]
            candidates, proven = self.propose(some, k, width)
            rows = np.arange(start, start + len(some))
            if proven.any():
                settled = self.rank(some[proven], candidates[proven], k)
                found.distances[rows[proven]], found.ids[rows[proven]] = settled
            if not proven.all():
                settled = self.nearest(some[~proven], k, 8 * width)
                found.distances[rows[~proven]], found.ids[rows[~proven]] = settled
        return found

    def propose(
        self, queries: NDArray[np.float64], k: int, width: int
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Candidates ``(q, width)`` in order of index, padded with n, and whether they are enough.

        A score is a distance, apart from a term of the query that is the same for all rows, minus
        the row's part of the error: a lower bound, apart from the query's part.
        """
        n, d = self.base.shape
        query_factors, query_slack = self.of_queries(queries)
        slack = np.empty(n)  # how far a row's distance can exceed its score
        scores = np.empty((len(queries), 0), np.float32)
        candidates = np.empty((len(queries), 0), np.int32)
        for rows, vectors in _blocks(self.base, self.block):
            base_vectors, terms, errors = self.of_rows(vectors)
            slack[rows] = 2 * errors
            new_scores = query_factors @ base_vectors.T
            new_scores += (terms - errors).astype(np.float32)
            kept = self.pool.map(
                _keep_smallest,
                _tasks(scores),
                _tasks(candidates),
                _tasks(new_scores),
                repeat(rows.start),
                repeat(width),
            )
            scores, candidates = map(np.concatenate, zip(*kept, strict=True))
        upper = np.partition(scores + slack[candidates], k - 1, axis=1)[:, k - 1]
        limit = upper + query_slack + 2 * 64 * d * 2.0**-126
        proven = (scores.max(axis=1) > limit) | (width == n)
        candidates[scores > limit[:, None]] = n
        return np.sort(candidates, axis=1), proven

    def rank(
        self, queries: NDArray[np.float64], candidates: NDArray[np.int32], k: int
    ) -> Neighbors:
        """The ``k`` nearest of candidates, which must be in order of index."""
        distances = np.where(candidates < len(self.base), 0, np.inf)
        for rows, vectors in _blocks(self.base, self.block):
            parts = self.pool.map(
                self.measure, _tasks(queries), _tasks(candidates), repeat(vectors), repeat(rows)
            )
            distances += np.concatenate(list(parts))
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return Neighbors(
            np.take_along_axis(distances, order, axis=1),
            np.take_along_axis(candidates, order, axis=1),
        )

    def measure(
        self,
        queries: NDArray[np.float64],
        candidates: NDArray[np.int32],
        vectors: NDArray[Any],
        rows: slice,
    ) -> NDArray[np.float64]:
        """Distances ``(q, width)`` of the candidates among ``rows``; 0 for all others."""
        distances = np.zeros(candidates.shape)
        first = (candidates < rows.start).sum(axis=1)
        last = (candidates < rows.stop).sum(axis=1)
        if self.metric == "cosine":  # without the column that marks zeros
            queries, vectors = queries[:, :-1], vectors[:, :-1]
        for query, (left, right) in enumerate(zip(first, last, strict=True)):
            some = vectors[candidates[query, left:right] - rows.start].astype(np.float64)
            distances[query, left:right] = distances_from(queries[query], some, self.metric)
        return distances

    def of_queries(
        self, queries: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Factors of the products ``(q, d)``, and twice the queries' part of the error ``(q,)``."""
        vectors = self._float32(queries)
        return -2 * vectors, 2 * self.error * _squared_lengths(vectors)

    def of_rows(
        self, vectors: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        """Factors of the products ``(m, d)``, other terms of the scores, and errors ``(m,)``."""
        factors = self._float32(vectors)
        lengths = _squared_lengths(factors)
        return factors, lengths, self.error * lengths

    @property
    def error(self) -> float:
        return math.expm1((self.base.shape[1] + 16) * 2.0**-24)

    def _float32(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        centred = np.subtract(vectors, self.centre, dtype=np.float64)
        return (centred * self.scale).astype(np.float32)


class _InnerProductSearch(_Search):
    """The same search by ``-<x, q>``, with lengths as errors instead of squared lengths."""

    def nearest(self, queries: NDArray[np.float64], k: int, width: int) -> Neighbors:
        # powers of two, so that products of small numbers do not underflow
        exponents = np.frexp(np.abs(queries).max(axis=1, keepdims=True))[1]
        found = super().nearest(np.ldexp(queries, -exponents), k, width)
        return Neighbors(np.ldexp(found.distances, exponents), found.ids)

    def of_queries(
        self, queries: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        return -unit_rows(queries).astype(np.float32), np.zeros(len(queries))

    def of_rows(
        self, vectors: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        factors = (vectors.astype(np.float64) * self.scale).astype(np.float32)
        return factors, np.zeros(len(factors)), self.error * np.sqrt(_squared_lengths(factors))


def _keep_smallest(
    scores: NDArray[np.float32],
    rows: NDArray[np.int32],
    new_scores: NDArray[np.float32],
    first_row: int,
    count: int,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Merge scores of the rows from ``first_row`` on into the smallest scores so far."""
    new_rows = np.arange(first_row, first_row + new_scores.shape[1], dtype=np.int32)
    scores = np.concatenate([scores, new_scores], axis=1)
    rows = np.concatenate([rows, np.broadcast_to(new_rows, new_scores.shape)], axis=1)
    if scores.shape[1] <= count:
        return scores, rows
    smallest = np.argpartition(scores, count - 1, axis=1)[:, :count]
    return (
        np.take_along_axis(scores, smallest, axis=1),
        np.take_along_axis(rows, smallest, axis=1),
    )


def _squared_lengths(vectors: NDArray[Any]) -> NDArray[np.float64]:
    # Ties must stay ties: einsum and BLAS may add up equal rows in different orders.
    return np.square(vectors, dtype=np.float64).sum(axis=1)


def _tasks(rows: NDArray[Any]) -> list[NDArray[Any]]:
    return [
        rows[start : start + QUERIES_PER_TASK] for start in range(0, len(rows), QUERIES_PER_TASK)
    ]


def _blocks(source: Any, size: int) -> Iterator[tuple[slice, NDArray[Any]]]:
    n_rows = int(source.shape[0])
    for start in range(0, n_rows, size):
        rows = slice(start, min(start + size, n_rows))
        yield rows, as_numbers(source[rows], start)


def _check_k(k: object, n_base: int) -> int:
    k = check_whole(k, "k")
    if k > n_base:
        raise ValueError(f"k = {k} neighbours were asked for, but the base has {n_base}")
    return k


def _survey(source: Any, name: str, block: int) -> tuple[NDArray[np.float64], float]:
    """Column sums and the largest magnitude; this pass also checks every value."""
    total, peak = np.zeros(source.shape[1]), 0.0
    for rows, vectors in _blocks(source, block):
        # in float64, because the magnitude of the least integer does not fit in its dtype
        largest = np.maximum(vectors.max(axis=1).astype(float), -vectors.min(axis=1).astype(float))
        if not (usable := largest <= LARGEST_VALUE).all():
            raise ValueError(
                f"{name} contains NaN, infinity or a value beyond {LARGEST_VALUE:g} (first in row"
                f" {rows.start + int(np.argmin(usable))}); remove or repair such rows"
            )
        total += vectors.sum(axis=0, dtype=np.float64)
        peak = max(peak, float(largest.max()))
    return total, peak


def _unseal(sealed: bytes, key: bytes, shape: tuple[int, int]) -> Neighbors | None:
    """The neighbours in a cache file, if its checksum and its ``key`` are right."""
    checksum, content = sealed[:32], sealed[32:]
    if hashlib.sha256(key + content).digest() != checksum:
        return None
    count = math.prod(shape)
    ids = np.frombuffer(content, "<i4", count).reshape(shape)
    distances = np.frombuffer(content, "<f8", count, offset=4 * count).reshape(shape)
    return Neighbors(distances.astype(np.float64), ids.astype(np.int32))


def _empty(n_queries: int, k: int) -> Neighbors:
    return Neighbors(np.empty((n_queries, k)), np.empty((n_queries, k), np.int32))
