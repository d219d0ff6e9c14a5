"""Exact Hamming search by scanning every code, and the distances themselves.

The scan is the reference of every faster path: its answer depends on nothing but codes and ``k``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.codes import check_codes
from sigah.search import kernels
from sigah.search.threads import available_threads, run_together

__all__ = [
    "distance_counts",
    "hamming_distances",
    "nearest",
    "scan_costs",
    "spherical_distances",
    "within",
]

Found = tuple[NDArray[np.int32], NDArray[np.int64]]

# A second thread takes some 50 us to wake, in which one core compares so many bytes of codes.
SMALL_BYTES = 1 << 23
STATE_BYTES = 1 << 25  # of the candidates that one call of a kernel collects
CALL_BYTES = 1 << 36  # of codes that one call compares, in about a second: nothing interrupts it

PAIRS_PER_BLOCK = 1 << 17  # their 64-bit words fill 1 MiB, which stays in a core's own cache
MAX_BITS = 65528  # the widest codes whose distances fit in uint16


def nearest(
    planes: NDArray[np.uint8],
    selected: NDArray[np.uint64],
    queries: NDArray[np.uint8],
    k: int,
    n_threads: int,
) -> Found:
    """The ``k`` nearest of the selected codes, by distance and then by position.

    Parameters
    ----------
    planes : ndarray of uint8, shape (n_groups, n_bytes, 256)
        As made by :func:`sigah.search.kernels.to_planes`.
    selected : ndarray of uint64, shape (n_groups * 4,)
        A bit for each code that may be found.
    queries : ndarray of uint8, shape (q, n_bytes)
    k : int
    n_threads : int

    Returns
    -------
    distances : ndarray of int32, shape (q, k)
        2147483647 where fewer than ``k`` codes are selected.
    positions : ndarray of int64, shape (q, k)
        -1 there.
    """
    n_queries, n_groups = len(queries), len(planes)
    distances = np.empty((n_queries, k), np.int32)
    positions = np.empty((n_queries, k), np.int64)
    n_parts = _parts(planes, n_queries, n_threads)
    room = STATE_BYTES // (8 * kernels.capacity(min(k, n_groups * kernels.GROUP)))
    if n_queries * planes.nbytes < SMALL_BYTES and n_queries <= room:  # the usual single query
        kernels.scan_nearest(planes, selected, 0, n_groups, queries, k, distances, positions)
        return distances, positions
    if n_parts == 1 or n_queries >= 4 * n_parts:  # threads share the queries
        run_together(
            lambda some: kernels.scan_nearest(
                planes, selected, 0, n_groups, queries[some], k, distances[some], positions[some]
            ),
            _shares(planes, n_queries, n_parts, room),
            n_parts,
        )
        return distances, positions
    part_distances = np.empty((n_parts, n_queries, k), np.int32)
    part_positions = np.empty((n_parts, n_queries, k), np.int64)
    run_together(  # threads share the codes
        lambda part: kernels.scan_nearest(
            planes, selected, n_groups * part // n_parts, n_groups * (part + 1) // n_parts,
            queries, k, part_distances[part], part_positions[part],
        ),
        [(part,) for part in range(n_parts)],
        n_parts,
    )  # fmt: skip
    kernels.merge_nearest(part_distances, part_positions, distances, positions)
    return distances, positions


def _parts(planes: NDArray[np.uint8], n_queries: int, n_threads: int) -> int:
    """How many threads the work is worth."""
    return max(1, min(n_threads, n_queries * planes.nbytes // SMALL_BYTES))


def _shares(
    planes: NDArray[np.uint8], n_queries: int, n_parts: int, room: int
) -> list[tuple[slice]]:
    """Cut queries into slices that one call of a kernel can take."""
    longest = max(1, min(room, CALL_BYTES // max(1, planes.nbytes)))
    n_shares = max(n_parts, -(-n_queries // longest))
    n_shares = -(-n_shares // n_parts) * n_parts  # no thread waits for the others at the end
    cuts = [n_queries * share // n_shares for share in range(n_shares + 1)]
    return [(slice(first, last),) for first, last in itertools.pairwise(cuts) if first < last]


def within(
    planes: NDArray[np.uint8],
    selected: NDArray[np.uint64],
    queries: NDArray[np.uint8],
    radius: int,
    n_threads: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The selected codes no farther than ``radius``, by distance and then by position.

    Parameters are those of :func:`nearest`.

    Returns
    -------
    lims : ndarray of int64, shape (q + 1,)
    distances : ndarray of int32, shape (lims[-1],)
    positions : ndarray of int64, shape (lims[-1],)
    """
    n_parts = _parts(planes, len(queries), n_threads)
    shares = _shares(planes, len(queries), n_parts, len(queries))
    lims = np.zeros(len(queries) + 1, np.int64)
    run_together(
        lambda some: kernels.count_within(planes, selected, queries[some], radius, lims[1:][some]),
        shares,
        n_parts,
    )
    np.cumsum(lims, out=lims)
    distances = np.empty(lims[-1], np.int32)
    positions = np.empty(lims[-1], np.int64)
    run_together(
        lambda some: kernels.scan_within(
            planes, selected, queries[some], radius, lims[:-1][some], lims[1:][some],
            distances, positions,
        ),
        shares,
        n_parts,
    )  # fmt: skip
    return lims, distances, positions


def scan_costs(planes: NDArray[np.uint8], selected: NDArray[np.uint64]) -> tuple[float, float]:
    """Nanoseconds that a scan takes on one thread: for each query, and once for a batch.

    Measured with the codes at hand. A batch reads them from memory once, whatever its size.
    """
    queries = np.random.default_rng(0).integers(0, 256, (8, planes.shape[1]), np.uint8)
    seconds = []
    for n_queries in (1, 1, len(queries)):  # the first one warms up
        began = time.perf_counter_ns()
        nearest(planes, selected, queries[:n_queries], 10, n_threads=1)
        seconds.append(time.perf_counter_ns() - began)
    _, alone, together = seconds
    each = max(0.0, (together - alone) / (len(queries) - 1))
    return each, max(0.0, alone - each)


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


def distance_counts(queries: ArrayLike, base: ArrayLike) -> NDArray[np.int64]:
    """Count the base codes at each Hamming distance from every query.

    Parameters
    ----------
    queries : array-like of uint8, shape (q, n_bytes)
    base : array-like of uint8, shape (n, n_bytes)

    Returns
    -------
    counts : ndarray of int64, shape (q, 8 * n_bytes + 1)

    Raises
    ------
    ValueError
        If either is not packed codes, the widths differ or exceed 65,528 bits.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import distance_counts
    >>> base = np.array([[0b1010], [0b1100], [0b0011]], np.uint8)
    >>> distance_counts(np.array([[0b1100]], np.uint8), base)
    array([[1, 0, 1, 0, 1, 0, 0, 0, 0]])
    """
    query_codes = np.ascontiguousarray(check_codes(queries, name="queries"))
    n_bits = query_codes.shape[1] * 8
    base_codes = check_codes(base, n_bits=n_bits, name="base codes")
    if n_bits > MAX_BITS:
        raise ValueError(f"codes can have at most {MAX_BITS} bits, got {n_bits}")
    planes = kernels.to_planes(base_codes)
    counts = np.zeros((len(query_codes), n_bits + 1), np.int64)
    n_parts = _parts(planes, len(query_codes), available_threads())
    run_together(
        lambda some: kernels.count_at_distances(
            planes, len(base_codes), query_codes[some], counts[some]
        ),
        _shares(planes, len(query_codes), n_parts, len(query_codes)),
        n_parts,
    )
    return counts


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
