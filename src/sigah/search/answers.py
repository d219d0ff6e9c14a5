"""The answer of an index, from its parts: each by its tables or by a scan, then merged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sigah.search import flat, kernels
from sigah.search.kernels import MISSING_DISTANCE, MISSING_ID
from sigah.search.segment import as_positions, ids_at, rows_of
from sigah.search.selection import Part

__all__ = ["nearest", "spherical_nearest", "within"]

Balls = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]  # limits, distances, ids
Counts = dict[str, int]  # of the queries that each way answered


def nearest(
    parts: Sequence[Part], queries: NDArray[np.uint8], k: int, n_threads: int
) -> tuple[flat.Found, Counts]:
    """Distances and ids of the ``k`` nearest codes of all parts, and how they were found."""
    counts = {"tables": 0, "scan": 0}
    found = [_nearest_in(part, queries, k, n_threads, counts) for part in parts]
    if len(found) == 1:
        return found[0], counts
    distances = np.full((len(queries), k), MISSING_DISTANCE, np.int32)
    ids = np.full((len(queries), k), MISSING_ID, np.int64)
    if found:
        stacked = [np.stack(arrays) for arrays in zip(*found, strict=True)]
        kernels.merge_nearest(*stacked, distances, ids)
    return (distances, ids), counts


def within(
    parts: Sequence[Part], queries: NDArray[np.uint8], radius: int, n_threads: int
) -> tuple[Balls, Counts]:
    """Limits, distances and ids of all codes within a radius, and how they were found."""
    counts = {"tables": 0, "scan": 0}
    balls = [_ball_in(part, queries, radius, n_threads, counts) for part in parts]
    if len(balls) == 1:
        return balls[0], counts
    sizes = sum((np.diff(lims) for lims, _, _ in balls), np.zeros(len(queries), np.int64))
    distances = np.concatenate([np.empty(0, np.int32), *(ball[1] for ball in balls)])
    ids = np.concatenate([np.empty(0, np.int64), *(ball[2] for ball in balls)])
    owners = [np.repeat(np.arange(len(queries)), np.diff(lims)) for lims, _, _ in balls]
    order = np.lexsort((ids, distances, np.concatenate([np.empty(0, np.int64), *owners])))
    lims = np.concatenate([[0], np.cumsum(sizes)])
    return (lims, distances[order], ids[order]), counts


def spherical_nearest(
    parts: Sequence[Part], queries: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``k`` nearest of the codes of all parts by their spherical distances."""
    distances = np.full((len(queries), k), np.inf, np.float32)
    ids = np.full((len(queries), k), MISSING_ID, np.int64)
    places = [as_positions(bits) for _, bits in parts]
    pairs = [(segment, place) for (segment, _), place in zip(parts, places, strict=True)]
    held = np.concatenate([np.empty(0, np.int64), *(ids_at(*pair) for pair in pairs)])
    if not len(held):
        return distances, ids
    base = np.concatenate([rows_of(*pair) for pair in pairs])
    order = np.argsort(held)
    held, base = held[order], base[order]
    last = min(k, len(held)) - 1  # rank of the farthest neighbour
    for query in range(len(queries)):
        row = flat.spherical_distances(queries[query : query + 1], base)[0]
        near = np.flatnonzero(row <= np.partition(row, last)[last])
        near = near[np.argsort(row[near], kind="stable")][:k]
        distances[query, : len(near)] = row[near]
        ids[query, : len(near)] = held[near]
    return distances, ids


def _nearest_in(
    part: Part, queries: NDArray[np.uint8], k: int, n_threads: int, counts: Counts
) -> flat.Found:
    segment, bits = part
    tables = segment.tables
    if tables is None:
        counts["scan"] += len(queries)
        distances, positions = flat.nearest(segment.planes, bits, queries, k, n_threads)
    else:
        distances, positions, done = tables.nearest(
            queries,
            bits,
            k,
            budget=tables.scan_cost(len(queries), n_threads),
            n_threads=n_threads,
        )
        rest = np.flatnonzero(~done)
        if len(rest):
            distances[rest], positions[rest] = flat.nearest(
                segment.planes, bits, queries[rest], k, n_threads
            )
        counts["tables"] += len(queries) - len(rest)
        counts["scan"] += len(rest)
    ids = ids_at(segment, positions)
    if segment.n_alive < k or bits is not segment.alive:
        ids[positions < 0] = MISSING_ID
    return distances, ids


def _ball_in(
    part: Part, queries: NDArray[np.uint8], radius: int, n_threads: int, counts: Counts
) -> Balls:
    segment, bits = part
    tables = segment.tables
    if tables is not None:
        budget = tables.scan_cost(len(queries), n_threads)
        balls = tables.within(queries, bits, radius, budget=budget)
        if balls is not None:
            counts["tables"] += len(queries)
            return balls[0], balls[1], ids_at(segment, balls[2])
    counts["scan"] += len(queries)
    lims, distances, positions = flat.within(segment.planes, bits, queries, radius, n_threads)
    return lims, distances, ids_at(segment, positions)
