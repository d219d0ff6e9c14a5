"""Search each segment of an index by its tables or by a scan, and merge the answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sigah.search.distances import spherical_distances
from sigah.search.layout import MISSING_ID
from sigah.search.merging import Nearest, WithinRadius, merge_nearest, merge_within_radius
from sigah.search.scan import nearest_by_scan, within_by_scan
from sigah.search.segment import Segment, as_positions, ids_at, rows_of
from sigah.search.selection import Candidates

__all__ = [
    "Counts",
    "ids_found",
    "nearest_in_segments",
    "nearest_positions",
    "spherical_nearest_in_segments",
    "within_in_segments",
]

Counts = dict[str, int]  # queries answered by each method


def nearest_in_segments(
    candidates: Sequence[Candidates], queries: NDArray[np.uint8], k: int, n_threads: int
) -> tuple[Nearest, Counts]:
    """Distances and ids of the ``k`` nearest candidates, and how they were found."""
    counts = {"tables": 0, "scan": 0}
    answers = []
    for some in candidates:
        distances, positions = nearest_positions(some, queries, k, n_threads, counts)
        answers.append((distances, ids_found(some.segment, positions)))
    return merge_nearest(answers, len(queries), k), counts


def within_in_segments(
    candidates: Sequence[Candidates], queries: NDArray[np.uint8], radius: int, n_threads: int
) -> tuple[WithinRadius, Counts]:
    """Limits, distances and ids of all candidates within a radius, and how they were found."""
    counts = {"tables": 0, "scan": 0}
    answers = [_within_in_segment(some, queries, radius, n_threads, counts) for some in candidates]
    return merge_within_radius(answers, len(queries)), counts


def spherical_nearest_in_segments(
    candidates: Sequence[Candidates], queries: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``k`` nearest candidates by their spherical distances."""
    distances = np.full((len(queries), k), np.inf, np.float32)
    ids = np.full((len(queries), k), MISSING_ID, np.int64)
    places = [(some.segment, as_positions(some.bits)) for some in candidates]
    held = np.concatenate([np.empty(0, np.int64), *(ids_at(*place) for place in places)])
    if not len(held):
        return distances, ids
    base = np.concatenate([rows_of(*place)[:, : queries.shape[1]] for place in places])
    order = np.argsort(held)
    held, base = held[order], base[order]
    last = min(k, len(held)) - 1  # rank of the farthest neighbour
    for query in range(len(queries)):
        row = spherical_distances(base, queries[query : query + 1])[0]
        near = np.flatnonzero(row <= np.partition(row, last)[last])
        near = near[np.argsort(row[near], kind="stable")][:k]
        distances[query, : len(near)] = row[near]
        ids[query, : len(near)] = held[near]
    return distances, ids


def nearest_positions(
    candidates: Candidates, queries: NDArray[np.uint8], k: int, n_threads: int, counts: Counts
) -> Nearest:
    """Distances and positions of the ``k`` nearest candidates of one segment.

    Queries may be narrower than the codes; they are compared with the first bytes. They may also be
    small tables ``(q, m, 32)``.
    """
    segment, bits = candidates.segment, candidates.bits
    tables = segment.tables
    if tables is None or queries.shape[1:] != segment.planes.shape[1:2]:
        counts["scan"] += len(queries)
        distances, positions = nearest_by_scan(segment.planes, bits, queries, k, n_threads)
    else:
        distances, positions, done = tables.nearest_by_tables(
            queries,
            bits,
            k,
            budget=tables.scan_cost(len(queries), n_threads),
            n_threads=n_threads,
        )
        rest = np.flatnonzero(~done)
        if len(rest):
            distances[rest], positions[rest] = nearest_by_scan(
                segment.planes, bits, queries[rest], k, n_threads
            )
        counts["tables"] += len(queries) - len(rest)
        counts["scan"] += len(rest)
    return distances, positions


def ids_found(segment: Segment, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids of the codes at positions ``(q, k)``, of which the last ones may be missing."""
    ids = ids_at(segment, positions)
    if len(positions) == 1 and positions[0, -1:] >= 0:  # the usual single query
        return ids
    ids[positions < 0] = MISSING_ID
    return ids


def _within_in_segment(
    candidates: Candidates, queries: NDArray[np.uint8], radius: int, n_threads: int, counts: Counts
) -> WithinRadius:
    segment, bits = candidates.segment, candidates.bits
    tables = segment.tables
    if tables is not None:
        budget = tables.scan_cost(len(queries), n_threads)
        answer = tables.within_by_tables(queries, bits, radius, budget=budget)
        if answer is not None:
            counts["tables"] += len(queries)
            lims, distances, positions = answer
            return lims, distances, ids_at(segment, positions)
    counts["scan"] += len(queries)
    lims, distances, positions = within_by_scan(segment.planes, bits, queries, radius, n_threads)
    return lims, distances, ids_at(segment, positions)
