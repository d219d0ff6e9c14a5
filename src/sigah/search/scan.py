"""Exact Hamming search by scanning every code.

The scan is the reference for every faster method: its answer depends only on the codes and ``k``.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
from numpy.typing import NDArray

from sigah.search.compiled import kernels
from sigah.search.layout import GROUP
from sigah.search.plain_scan import nearest_in_numpy, worth_no_kernels
from sigah.threads import run_together

__all__ = [
    "most_queries",
    "nearest_by_scan",
    "scan_costs",
    "share_queries",
    "useful_threads",
    "within_by_scan",
]

# A second thread takes about 50 us to wake; one core compares this many bytes in that time.
SMALL_BYTES = 1 << 23
STATE_BYTES = 1 << 25  # most bytes of candidates that one kernel call collects
CACHED_STATE_BYTES = 1 << 18  # of candidates that stay in a core's own cache
FEWEST_QUERIES = 8  # that share the reading of codes from memory, even if that cache overflows
CALL_BYTES = 1 << 36  # bytes that one call compares, in about 1 s: it cannot be interrupted


def nearest_by_scan(
    planes: NDArray[np.uint8],
    selected: NDArray[np.uint64],
    queries: NDArray[np.uint8],
    k: int,
    n_threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The ``k`` nearest of the selected codes, by distance and then by position.

    Parameters
    ----------
    planes : ndarray of uint8, shape (n_groups, n_bytes, 256)
        As made by :func:`sigah.search.layout.to_planes`.
    selected : ndarray of uint64, shape (n_groups * 4,)
        A bit for each code that may be found.
    queries : ndarray of uint8, shape (q, m) or (q, m, 32)
        Codes or small tables, compared with the first ``m`` bytes of each code.
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
    n_bytes = n_groups * GROUP * queries.shape[1]  # that a query is compared with
    if queries.ndim == 2 and worth_no_kernels(n_queries * n_bytes):
        return nearest_in_numpy(planes, selected, queries, k)
    distances = np.empty((n_queries, k), np.int32)
    positions = np.empty((n_queries, k), np.int64)
    n_parts = useful_threads(n_bytes, n_queries, n_threads)
    room = most_queries(k, n_groups)
    if n_queries * n_bytes < SMALL_BYTES and n_queries <= room:  # the usual single query
        kernels().scan_nearest(planes, selected, 0, n_groups, queries, k, distances, positions)
        return distances, positions
    if n_parts == 1 or n_queries >= 4 * n_parts:  # threads share the queries
        run_together(
            lambda some: kernels().scan_nearest(
                planes, selected, 0, n_groups, queries[some], k, distances[some], positions[some]
            ),
            share_queries(n_bytes, n_queries, n_parts, room),
            n_parts,
        )
        return distances, positions
    part_distances = np.empty((n_parts, n_queries, k), np.int32)
    part_positions = np.empty((n_parts, n_queries, k), np.int64)
    run_together(  # threads share the codes
        lambda part: kernels().scan_nearest(
            planes, selected, n_groups * part // n_parts, n_groups * (part + 1) // n_parts,
            queries, k, part_distances[part], part_positions[part],
        ),
        [(part,) for part in range(n_parts)],
        n_parts,
    )  # fmt: skip
    kernels().merge_nearest(part_distances, part_positions, distances, positions)
    return distances, positions


def most_queries(k: int, n_groups: int) -> int:
    """For how many queries one kernel call should collect candidates."""
    state = 8 * kernels().capacity.py_func(min(k, n_groups * GROUP))  # bytes for each
    wanted = max(FEWEST_QUERIES, CACHED_STATE_BYTES // state)
    return max(1, min(wanted, STATE_BYTES // state))


def useful_threads(n_bytes: int, n_queries: int, n_threads: int) -> int:
    """How many threads the work is worth, if each query is compared with ``n_bytes``."""
    return max(1, min(n_threads, n_queries * n_bytes // SMALL_BYTES))


def share_queries(n_bytes: int, n_queries: int, n_parts: int, room: int) -> list[tuple[slice]]:
    """Cut queries, each compared with ``n_bytes``, into slices that one kernel call can take."""
    longest = max(1, min(room, CALL_BYTES // max(1, n_bytes)))
    n_shares = max(n_parts, -(-n_queries // longest))
    n_shares = -(-n_shares // n_parts) * n_parts  # no thread waits for others at the end
    cuts = [n_queries * share // n_shares for share in range(n_shares + 1)]
    return [(slice(first, last),) for first, last in itertools.pairwise(cuts) if first < last]


def within_by_scan(
    planes: NDArray[np.uint8],
    selected: NDArray[np.uint64],
    queries: NDArray[np.uint8],
    radius: int,
    n_threads: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The selected codes no farther than ``radius``, by distance and then by position.

    Parameters are the same as for :func:`nearest_by_scan`.

    Returns
    -------
    lims : ndarray of int64, shape (q + 1,)
    distances : ndarray of int32, shape (lims[-1],)
    positions : ndarray of int64, shape (lims[-1],)
    """
    n_bytes = len(planes) * GROUP * queries.shape[1]
    n_parts = useful_threads(n_bytes, len(queries), n_threads)
    shares = share_queries(n_bytes, len(queries), n_parts, len(queries))
    lims = np.zeros(len(queries) + 1, np.int64)
    run_together(
        lambda some: kernels().count_within(
            planes, selected, queries[some], radius, lims[1:][some]
        ),
        shares,
        n_parts,
    )
    np.cumsum(lims, out=lims)
    distances = np.empty(lims[-1], np.int32)
    positions = np.empty(lims[-1], np.int64)
    run_together(
        lambda some: kernels().scan_within(
            planes, selected, queries[some], radius, lims[:-1][some], lims[1:][some],
            distances, positions,
        ),
        shares,
        n_parts,
    )  # fmt: skip
    return lims, distances, positions


def scan_costs(planes: NDArray[np.uint8], selected: NDArray[np.uint64]) -> tuple[float, float]:
    """Nanoseconds that a scan takes on one thread: for each query, and once for a batch.

    Measured with these codes. A batch of any size reads them from memory once.
    """
    kernels()  # loaded first, so that the scan by kernels is measured
    queries = np.random.default_rng(0).integers(0, 256, (8, planes.shape[1]), np.uint8)
    seconds = []
    for n_queries in (1, 1, len(queries)):  # the first one warms up
        began = time.perf_counter_ns()
        nearest_by_scan(planes, selected, queries[:n_queries], 10, n_threads=1)
        seconds.append(time.perf_counter_ns() - began)
    _, alone, together = seconds
    each = max(0.0, (together - alone) / (len(queries) - 1))
    return each, max(0.0, alone - each)
