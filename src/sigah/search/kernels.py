"""The kernels that scan codes: the nearest ones, those within a radius, and how many there are.

:mod:`sigah.search.group_kernels` compares a query with a group of codes, and says what queries may
be. All kernels release the GIL.

:mod:`sigah.search.compiled` imports this module when a kernel is first called.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sigah.search.group_kernels import VECTORS, compare
from sigah.search.instructions import ones, trailing_zeros
from sigah.search.kernel_cache import compiled
from sigah.search.layout import (
    GROUP,
    LANES,
    MISSING_DISTANCE,
    MISSING_ID,
    MOST_OF_TABLES,
    POSITION_BITS,
    POSITION_MASK,
)

__all__ = [
    "capacity",
    "collect_nearest",
    "count_at_distances",
    "count_within",
    "drop_far",
    "from_planes",
    "mark_consecutive",
    "mark_listed",
    "merge_nearest",
    "positions_of_bits",
    "sample_of",
    "scan_nearest",
    "scan_within",
]

STRIDE = 16  # ids that a search for one id skips at a time
SAMPLED = 16  # groups that are read first if k is large
SAMPLED_SHARE = 64  # 1 / this of the groups, if that is more
FEWEST_STEPS = 4  # a larger sample would cost more than it saves
SAMPLE_HOLDS = 4  # of the k nearest at least, or it would say too little
TILE_BYTES = 1 << 14  # codes that all queries are compared with while the L1 cache holds them


@compiled
def capacity(k: int) -> int:
    """The most candidates that a query keeps while it looks for ``k`` neighbours."""
    return 2 * k + 2 * GROUP


@compiled
def scan_nearest(
    planes: Any,
    selected: Any,
    first: int,
    last: int,
    queries: Any,
    k: int,
    distances: Any,
    positions: Any,
) -> None:
    """The ``k`` nearest of the selected codes of groups ``first`` to ``last``, of each query."""
    candidates, _, held, seen, _, _ = collect_nearest(
        planes, selected, first, last, queries, k, None
    )
    for q in range(len(queries)):
        _sort(candidates[q], held[q], seen[q], k, distances[q], positions[q])


@compiled
def sample_of(n_groups: int, k: int) -> tuple[int, int]:
    """Every how manieth group is a sample, and which of its neighbours is farther than the k-th.

    That is likely, not certain. The latter is 0 where a sample says too little or costs too much.
    """
    step = max(1, n_groups // max(SAMPLED, n_groups // SAMPLED_SHARE))
    expected = k / step  # of the k nearest, in the sample
    if step < FEWEST_STEPS or expected < SAMPLE_HOLDS:
        return step, 0
    return step, int(expected + 3 * np.sqrt(expected)) + 1


@compiled
def collect_nearest(
    planes: Any, selected: Any, first: int, last: int, queries: Any, k: int, tables: Any
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Candidates that contain the ``k`` nearest of each query, by position.

    Returns the candidates, sums of their entries in ``tables`` (unless these are None), their
    number, how many were accepted at each distance, the k-th smallest distance, and how many of the
    candidates are no farther. The sums are made while the bytes of a code are in the nearest cache.

    If ``k`` is large, most candidates would be accepted before the limit is near its final value.
    So a sample of the groups is read first, and the scan begins with a limit that the sample makes
    likely to be sufficient. A query for which it was not is scanned again without.
    """
    n_queries, n_bytes = queries.shape[:2]
    n_groups = last - first
    k = min(k, n_groups * GROUP)
    farthest = 8 * n_bytes + 1 if queries.ndim == 2 else MOST_OF_TABLES
    candidates = np.empty((n_queries, capacity(k)), np.int64)
    sums = np.empty((n_queries, 0 if tables is None else capacity(k)), np.float32)
    held = np.zeros(n_queries, np.int64)
    limits = np.full(n_queries, farthest, np.int64)  # the k-th smallest distance so far
    seen = np.zeros((n_queries, farthest + 1), np.int64)  # accepted codes at each distance
    near = np.zeros(n_queries, np.int64)  # accepted codes no farther than the limit
    step, enough = sample_of(n_groups, k)
    if enough:
        _collect(
            planes, selected, first, last, step, queries, enough, None,
            candidates, sums, held, limits, seen, near,
        )  # fmt: skip
        for q in range(n_queries):
            limits[q] = min(limits[q] + 1, farthest)
        held[:], near[:], seen[:] = 0, 0, 0
    guesses = limits.copy()
    _collect(
        planes, selected, first, last, 1, queries, k, tables,
        candidates, sums, held, limits, seen, near,
    )  # fmt: skip
    if enough:
        for q in range(n_queries):
            if near[q] < k and guesses[q] < farthest:
                one = slice(q, q + 1)
                limits[q], held[q], near[q], seen[q] = farthest, 0, 0, 0
                some = tables if tables is None else tables[one]
                _collect(
                    planes, selected, first, last, 1, queries[one], k, some,
                    candidates[one], sums[one], held[one], limits[one], seen[one], near[one],
                )  # fmt: skip
    return candidates, sums, held, seen, limits, near


@compiled
def _collect(
    planes: Any,
    selected: Any,
    first: int,
    last: int,
    step: int,
    queries: Any,
    k: int,
    tables: Any,
    candidates: Any,
    sums: Any,
    held: Any,
    limits: Any,
    seen: Any,
    near: Any,
) -> None:
    """Collect candidates from every ``step``-th group.

    A query accepts only codes nearer than its k-th nearest so far. Codes are read in order of
    position, so a later code at that same distance loses the tie.
    """
    n_queries, n_bytes = queries.shape[:2]
    group_distances = np.empty(GROUP, np.uint16)
    below = np.empty(VECTORS, np.uint64)
    room = candidates.shape[1] - GROUP
    tile = step * max(1, TILE_BYTES // (n_bytes * GROUP))
    for start in range(first, last, tile):
        stop = min(start + tile, last)
        for q in range(n_queries):
            query, own, counts = queries[q], candidates[q], seen[q]
            limit, count, closer = limits[q], held[q], near[q]
            for group in range(start, stop, step):
                if not compare(planes, group, query, limit, group_distances, below):
                    continue
                for v in range(VECTORS):
                    bits = below[v] & selected[group * VECTORS + v]
                    while bits != 0:
                        lane = v * LANES + np.int64(trailing_zeros(bits))
                        bits &= bits - np.uint64(1)
                        d = np.int64(group_distances[lane])
                        if d >= limit:
                            continue
                        own[count] = d << POSITION_BITS | (group * GROUP + lane)
                        if tables is not None:
                            total = np.float32(0)
                            for j in range(n_bytes):
                                total += tables[q, j, planes[group, j, lane]]
                            sums[q, count] = total
                        count += 1
                        closer += 1
                        counts[d] += 1
                        while closer - counts[limit] >= k:
                            closer -= counts[limit]
                            limit -= 1
                if count > room:
                    count = drop_far(own, sums[q], count, limit, k - (closer - counts[limit]))
            limits[q], held[q], near[q] = limit, count, closer


@compiled
def drop_far(candidates: Any, sums: Any, held: int, limit: int, room: int) -> int:
    """Keep candidates below the limit, and the first ``room`` of those at it.

    Sums, if there are any, are kept with their candidates.
    """
    kept = 0
    for i in range(held):
        d = candidates[i] >> POSITION_BITS
        if d < limit or (d == limit and room > 0):
            candidates[kept] = candidates[i]
            if len(sums):
                sums[kept] = sums[i]
            kept += 1
            if d == limit:
                room -= 1
    return kept


@compiled
def _sort(candidates: Any, held: int, seen: Any, k: int, distances: Any, positions: Any) -> None:
    """Counting sort of candidates by distance; those of equal distance are already in order."""
    place = 0
    for d in range(len(seen)):  # from here on: the slot of the next code at each distance
        seen[d], place = place, place + seen[d]
    for i in range(held):
        d = candidates[i] >> POSITION_BITS
        place = seen[d]
        seen[d] += 1
        if place < k:
            distances[place] = d
            positions[place] = candidates[i] & POSITION_MASK
    for place in range(min(held, k), len(distances)):
        distances[place] = MISSING_DISTANCE
        positions[place] = MISSING_ID


@compiled
def merge_nearest(part_distances: Any, part_ids: Any, distances: Any, ids: Any) -> None:
    """Merge sorted lists ``(parts, q, k)`` into their first ``k`` by distance, then by id.

    What stands for a missing distance is taken from the lists.
    """
    n_parts, n_queries, k = part_ids.shape
    for q in range(n_queries):
        heads = np.zeros(n_parts, np.int64)
        for place in range(k):
            best, best_distance, best_id = -1, part_distances[0, q, 0], MISSING_ID
            for part in range(n_parts):
                head = heads[part]
                if part_ids[part, q, head] == MISSING_ID:
                    continue
                d, i = part_distances[part, q, head], part_ids[part, q, head]
                if best < 0 or d < best_distance or (d == best_distance and i < best_id):
                    best, best_distance, best_id = part, d, i
            if best < 0:
                distances[q, place:] = part_distances[0, q, heads[0]]
                ids[q, place:] = MISSING_ID
                break
            distances[q, place], ids[q, place] = best_distance, best_id
            heads[best] += 1


@compiled
def count_within(planes: Any, selected: Any, queries: Any, radius: int, counts: Any) -> None:
    """How many of the selected codes are no farther than ``radius`` from each query."""
    group_distances = np.empty(GROUP, np.uint16)
    below = np.empty(VECTORS, np.uint64)
    n_bytes = queries.shape[1]
    tile = max(1, TILE_BYTES // (n_bytes * GROUP))
    for start in range(0, len(planes), tile):
        for q in range(len(queries)):
            query = queries[q]
            for group in range(start, min(start + tile, len(planes))):
                if compare(planes, group, query, radius + 1, group_distances, below):
                    for v in range(VECTORS):
                        counts[q] += np.int64(ones(below[v] & selected[group * VECTORS + v]))


@compiled
def count_at_distances(planes: Any, n: int, queries: Any, counts: Any) -> None:
    """How many of the first ``n`` codes are at each distance from each query."""
    n_bytes = queries.shape[1]
    group_distances = np.empty(GROUP, np.uint16)
    below = np.empty(VECTORS, np.uint64)
    # adding up the counts of a tile costs as much as comparing some codes, so tiles are larger
    tile = max(1, TILE_BYTES // (n_bytes * GROUP), 64 * n_bytes // GROUP)
    # neighbouring codes often have one distance; with one counter, each would wait for the last
    apart = np.empty((2, 8 * n_bytes + 1), np.int32)
    for start in range(0, len(planes), tile):
        for q in range(len(queries)):
            query = queries[q]
            apart[:] = 0
            for group in range(start, min(start + tile, len(planes))):
                # every distance is below this limit, so all are written
                limit = 8 * n_bytes + 1
                compare(planes, group, query, limit, group_distances, below)
                for lane in range(0, min(GROUP, n - group * GROUP) - 1, 2):
                    apart[0, group_distances[lane]] += 1
                    apart[1, group_distances[lane + 1]] += 1
                if n - group * GROUP < GROUP and n % 2:
                    apart[0, group_distances[n - group * GROUP - 1]] += 1
            for d in range(apart.shape[1]):
                counts[q, d] += apart[0, d] + apart[1, d]


@compiled
def scan_within(
    planes: Any,
    selected: Any,
    queries: Any,
    radius: int,
    firsts: Any,
    lasts: Any,
    distances: Any,
    positions: Any,
) -> None:
    """The codes that :func:`count_within` counted, by distance and then by position."""
    group_distances = np.empty(GROUP, np.uint16)
    below = np.empty(VECTORS, np.uint64)
    for q in range(len(queries)):
        query = queries[q]
        found = np.empty(lasts[q] - firsts[q], np.int64)
        seen = np.zeros(radius + 1, np.int64)
        count = 0
        for group in range(len(planes)):
            if count == len(found):
                break
            if not compare(planes, group, query, radius + 1, group_distances, below):
                continue
            for v in range(VECTORS):
                bits = below[v] & selected[group * VECTORS + v]
                while bits != 0:
                    lane = v * LANES + np.int64(trailing_zeros(bits))
                    bits &= bits - np.uint64(1)
                    d = np.int64(group_distances[lane])
                    found[count] = d << POSITION_BITS | (group * GROUP + lane)
                    count += 1
                    seen[d] += 1
        where = slice(firsts[q], lasts[q])
        _sort(found, count, seen, count, distances[where], positions[where])


@compiled
def from_planes(planes: Any, extra: Any, positions: Any) -> Any:
    """Undo :func:`sigah.search.layout.to_planes` for the codes at some positions."""
    n_bytes, n_extra = planes.shape[1], extra.shape[2]
    codes = np.empty((len(positions), n_bytes + n_extra), np.uint8)
    for i in range(len(positions)):
        group, lane = positions[i] // GROUP, positions[i] % GROUP
        for b in range(n_bytes):
            codes[i, b] = planes[group, b, lane]
        for b in range(n_extra):
            codes[i, n_bytes + b] = extra[group, lane, b]
    return codes


@compiled
def mark_consecutive(first: int, n: int, ids: Any, alive: Any, bits: Any) -> int:
    """Set the bits of ``ids`` among the living codes, whose ids are ``first`` to ``first + n``.

    Returns how many bits are set.
    """
    count = 0
    for i in range(len(ids)):
        position = ids[i] - first
        if 0 <= position < n:
            count += _mark(position, alive, bits)
    return count


@compiled
def mark_listed(held: Any, ids: Any, alive: Any, bits: Any) -> int:
    """Set the bits of ``ids`` among the living codes, whose ids are ``held``; both are sorted.

    Returns how many bits are set. Most of the codes between two ids are skipped.
    """
    count, place, n = 0, 0, len(held)
    for i in range(len(ids)):
        while place + STRIDE < n and held[place + STRIDE] <= ids[i]:
            place += STRIDE
        while place + 1 < n and held[place + 1] <= ids[i]:
            place += 1
        if n and held[place] == ids[i]:
            count += _mark(place, alive, bits)
    return count


@compiled
def _mark(position: int, alive: Any, bits: Any) -> int:
    """Set the bit of a position if its code is alive; return 1 if it was not set before, else 0."""
    word, bit = position // LANES, np.uint64(1) << np.uint64(position % LANES)
    if alive[word] & bit == 0 or bits[word] & bit != 0:
        return 0
    bits[word] |= bit
    return 1


@compiled
def positions_of_bits(bits: Any, positions: Any) -> None:
    """Write the positions of set bits to ``positions``, ascending; the array is large enough."""
    count = 0
    for word in range(len(bits)):
        left = bits[word]
        while left != 0:
            positions[count] = word * LANES + np.int64(trailing_zeros(left))
            left &= left - np.uint64(1)
            count += 1
