"""The Hamming kernels: the only hand-tuned code of the project.

Codes lie in *groups* of 256, byte by byte: all first bytes of the group, then all second bytes, and
so on (``planes``: ``uint8 (n_groups, n_bytes, 256)``). One vector instruction then compares the
same byte of 64 codes with that of a query. The distances of 64 codes end up side by side, one byte
each, so one instruction compares all of them with a limit. Most groups hold no code below the limit
and need no further work.

Queries may be narrower than the codes: only as many leading bytes as a query has are compared, and
only those are read.

The inner loop is written with LLVM vectors, which LLVM compiles for the machine's instructions:
VPOPCNTB with AVX-512, table lookups with AVX2, ``cnt`` with NEON. All kernels release the GIL.

:mod:`sigah.search.compiled` imports this module when a kernel is first called.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sigah.search.kernel_cache import compiled
from sigah.search.layout import (
    GROUP,
    LANES,
    MISSING_DISTANCE,
    MISSING_ID,
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
    "prefetch",
    "prefetch_line",
    "sample_of",
    "scan_nearest",
    "scan_within",
    "splat",
]

VECTORS = GROUP // LANES
BYTES_PER_RUN = 31  # the sum of their popcounts, at most 248, fits in a byte
STRIDE = 16  # ids that a search for one id skips at a time
SAMPLED = 16  # groups that are read first if k is large
SAMPLED_SHARE = 64  # 1 / this of the groups, if that is more
FEWEST_STEPS = 4  # a larger sample would cost more than it saves
SAMPLE_HOLDS = 4  # of the k nearest at least, or it would say too little
TILE_BYTES = 1 << 14  # codes that all queries are compared with while the L1 cache holds them


def splat(builder: Any, value: Any, kind: Any) -> Any:
    """A vector with one value in all lanes."""
    undefined, i32 = ir.Constant(kind, ir.Undefined), ir.IntType(32)
    vector = builder.insert_element(undefined, value, i32(0))
    lanes = ir.Constant(ir.VectorType(i32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(vector, undefined, lanes)


def prefetch_line(builder: Any, address: Any) -> None:
    """Have the cache line at an address brought close; harmless if nothing is there."""
    i32 = ir.IntType(32)
    prefetch = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [address.type, i32, i32, i32]),
        "llvm.prefetch.p0i8",
    )
    reading, keeping, data = i32(0), i32(3), i32(1)
    builder.call(prefetch, [address, reading, keeping, data])


def _group_distances(lane_bits: int) -> Any:
    """Make the kernel of one group, with distances of 8 or 16 bits."""
    lane = ir.IntType(lane_bits)
    byte, word = ir.IntType(8), ir.IntType(64)
    bytes_vector, lanes_vector = ir.VectorType(byte, LANES), ir.VectorType(lane, LANES)

    @intrinsic
    def group_distances(
        typing: Any,
        group: Any,
        ahead: Any,
        query: Any,
        n_bytes: Any,
        limit: Any,
        distances: Any,
        below: Any,
    ) -> Any:
        """Compare the 256 codes at address ``group`` with the code at address ``query``.

        The group at address ``ahead`` will be compared next. If codes are wider than queries, the
        processor cannot guess this from the addresses before.

        Returns whether any code is nearer than ``limit``. Only then are the distances written to
        ``distances`` (uint16), and a bit for each nearer code to ``below`` (uint64).
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            group, ahead, query, n_bytes, limit, distances, below = arguments
            ctpop = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(bytes_vector, [bytes_vector]),
                f"llvm.ctpop.v{LANES}i8",
            )
            group = builder.inttoptr(group, byte.as_pointer())
            ahead = builder.inttoptr(ahead, byte.as_pointer())
            query = builder.inttoptr(query, byte.as_pointer())
            zero, one = word(0), word(1)

            # sums[v] += popcount(plane[b][v] ^ query[b]), for bytes b from first to last: LLVM
            # keeps each vector in a register, in spite of alloca and store
            def accumulate(first: Any, last: Any, sums: list[Any]) -> None:
                with cgutils.for_range_slice(builder, first, last, one, word) as (b, _):
                    q = splat(builder, builder.load(builder.gep(query, [b])), bytes_vector)
                    plane = builder.gep(group, [builder.mul(b, word(GROUP))])
                    next_plane = builder.gep(ahead, [builder.mul(b, word(GROUP))])
                    for v in range(VECTORS):
                        prefetch_line(builder, builder.gep(next_plane, [word(v * LANES)]))
                    for v, total in enumerate(sums):
                        where = builder.bitcast(
                            builder.gep(plane, [word(v * LANES)]), bytes_vector.as_pointer()
                        )
                        differing = builder.xor(builder.load(where, align=64), q)
                        count = builder.call(ctpop, [differing])
                        builder.store(builder.add(builder.load(total), count), total)

            zeros = ir.Constant(bytes_vector, [0] * LANES)
            sums = [cgutils.alloca_once(builder, bytes_vector) for _ in range(VECTORS)]
            if lane_bits == 8:
                for total in sums:
                    builder.store(zeros, total)
                accumulate(zero, n_bytes, sums)
                totals = sums
            else:
                totals = [cgutils.alloca_once(builder, lanes_vector) for _ in range(VECTORS)]
                for total in totals:
                    builder.store(ir.Constant(lanes_vector, [0] * LANES), total)
                run = word(BYTES_PER_RUN)
                with cgutils.for_range_slice(builder, zero, n_bytes, run, word) as (first, _):
                    for total in sums:
                        builder.store(zeros, total)
                    last = builder.add(first, run)
                    last = builder.select(builder.icmp_signed("<", last, n_bytes), last, n_bytes)
                    accumulate(first, last, sums)
                    for some, total in zip(sums, totals, strict=True):
                        wide = builder.zext(builder.load(some), lanes_vector)
                        builder.store(builder.add(builder.load(total), wide), total)
            bound = splat(builder, builder.trunc(limit, lane), lanes_vector)
            masks = []
            for total in totals:
                nearer = builder.icmp_unsigned("<", builder.load(total), bound)
                masks.append(builder.bitcast(nearer, word))
            either = builder.or_(builder.or_(masks[0], masks[1]), builder.or_(masks[2], masks[3]))
            found = builder.icmp_unsigned("!=", either, zero)
            with builder.if_then(found, likely=False):
                wide = ir.VectorType(ir.IntType(16), LANES)
                distances = builder.inttoptr(distances, wide.as_pointer())
                below = builder.inttoptr(below, word.as_pointer())
                for v, (total, mask) in enumerate(zip(totals, masks, strict=True)):
                    value = builder.load(total)
                    value = builder.zext(value, wide) if lane_bits == 8 else value
                    builder.store(value, builder.gep(distances, [word(v)]), align=2)
                    builder.store(mask, builder.gep(below, [word(v)]))
            return found

        address = types.uintp
        numbers = (types.int64, types.int64)
        return types.boolean(address, address, address, *numbers, address, address), generate

    return group_distances


_group_distances_8 = _group_distances(8)
_group_distances_16 = _group_distances(16)


@intrinsic
def trailing_zeros(typing: Any, value: Any) -> Any:
    """Position of the lowest set bit of a uint64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Have the cache line at an address brought close; harmless if nothing is there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        prefetch_line(builder, builder.inttoptr(arguments[0], ir.IntType(8).as_pointer()))

    return types.void(types.uintp), generate


@intrinsic
def ones(typing: Any, value: Any) -> Any:
    """How many bits of a uint64 are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@compiled
def _compare(
    planes: Any, group: int, query_at: int, n_bytes: int, limit: int, distances: Any, below: Any
) -> bool:
    """Whether a group holds codes below the limit; if so, its distances and their bits."""
    stride = planes.shape[1] * GROUP
    group_at = planes.ctypes.data + group * stride
    ahead = group_at + stride
    if n_bytes <= BYTES_PER_RUN:
        return _group_distances_8(
            group_at, ahead, query_at, n_bytes, limit, distances.ctypes.data, below.ctypes.data
        )
    return _group_distances_16(
        group_at, ahead, query_at, n_bytes, limit, distances.ctypes.data, below.ctypes.data
    )


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
    candidates, held, seen, _, _ = collect_nearest(planes, selected, first, last, queries, k)
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
    planes: Any, selected: Any, first: int, last: int, queries: Any, k: int
) -> tuple[Any, Any, Any, Any, Any]:
    """Candidates that contain the ``k`` nearest of each query, by position.

    Returns the candidates, their number, how many were accepted at each distance, the k-th smallest
    distance, and how many of the candidates are no farther.

    If ``k`` is large, most candidates would be accepted before the limit is near its final value.
    So a sample of the groups is read first, and the scan begins with a limit that the sample makes
    likely to be sufficient. A query for which it was not is scanned again without.
    """
    n_queries, n_bytes = queries.shape
    n_groups = last - first
    k = min(k, n_groups * GROUP)
    farthest = 8 * n_bytes + 1
    candidates = np.empty((n_queries, capacity(k)), np.int64)
    held = np.zeros(n_queries, np.int64)
    limits = np.full(n_queries, farthest, np.int64)  # the k-th smallest distance so far
    seen = np.zeros((n_queries, farthest + 1), np.int64)  # accepted codes at each distance
    near = np.zeros(n_queries, np.int64)  # accepted codes no farther than the limit
    step, enough = sample_of(n_groups, k)
    if enough:
        _collect(
            planes, selected, first, last, step, queries, enough,
            candidates, held, limits, seen, near,
        )  # fmt: skip
        for q in range(n_queries):
            limits[q] = min(limits[q] + 1, farthest)
        held[:], near[:], seen[:] = 0, 0, 0
    guesses = limits.copy()
    _collect(planes, selected, first, last, 1, queries, k, candidates, held, limits, seen, near)
    if enough:
        for q in range(n_queries):
            if near[q] < k and guesses[q] < farthest:
                one = slice(q, q + 1)
                limits[q], held[q], near[q], seen[q] = farthest, 0, 0, 0
                _collect(
                    planes, selected, first, last, 1, queries[one], k,
                    candidates[one], held[one], limits[one], seen[one], near[one],
                )  # fmt: skip
    return candidates, held, seen, limits, near


@compiled
def _collect(
    planes: Any,
    selected: Any,
    first: int,
    last: int,
    step: int,
    queries: Any,
    k: int,
    candidates: Any,
    held: Any,
    limits: Any,
    seen: Any,
    near: Any,
) -> None:
    """Collect candidates from every ``step``-th group.

    A query accepts only codes nearer than its k-th nearest so far. Codes are read in order of
    position, so a later code at that same distance loses the tie.
    """
    n_queries, n_bytes = queries.shape
    group_distances = np.empty(GROUP, np.uint16)
    below = np.empty(VECTORS, np.uint64)
    room = candidates.shape[1] - GROUP
    tile = step * max(1, TILE_BYTES // (n_bytes * GROUP))
    for start in range(first, last, tile):
        stop = min(start + tile, last)
        for q in range(n_queries):
            query_at = queries.ctypes.data + q * n_bytes
            own, counts = candidates[q], seen[q]
            limit, count, closer = limits[q], held[q], near[q]
            for group in range(start, stop, step):
                if not _compare(planes, group, query_at, n_bytes, limit, group_distances, below):
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
                        count += 1
                        closer += 1
                        counts[d] += 1
                        while closer - counts[limit] >= k:
                            closer -= counts[limit]
                            limit -= 1
                if count > room:
                    count = drop_far(own, count, limit, k - (closer - counts[limit]))
            limits[q], held[q], near[q] = limit, count, closer


@compiled
def drop_far(candidates: Any, held: int, limit: int, room: int) -> int:
    """Keep candidates below the limit, and the first ``room`` of those at it."""
    kept = 0
    for i in range(held):
        d = candidates[i] >> POSITION_BITS
        if d < limit or (d == limit and room > 0):
            candidates[kept] = candidates[i]
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
            query_at = queries.ctypes.data + q * n_bytes
            for group in range(start, min(start + tile, len(planes))):
                if _compare(planes, group, query_at, n_bytes, radius + 1, group_distances, below):
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
            query_at = queries.ctypes.data + q * n_bytes
            apart[:] = 0
            for group in range(start, min(start + tile, len(planes))):
                # every distance is below this limit, so all are written
                limit = 8 * n_bytes + 1
                _compare(planes, group, query_at, n_bytes, limit, group_distances, below)
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
    n_bytes = queries.shape[1]
    for q in range(len(queries)):
        query_at = queries.ctypes.data + q * n_bytes
        found = np.empty(lasts[q] - firsts[q], np.int64)
        seen = np.zeros(radius + 1, np.int64)
        count = 0
        for group in range(len(planes)):
            if count == len(found):
                break
            if not _compare(planes, group, query_at, n_bytes, radius + 1, group_distances, below):
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
def from_planes(planes: Any, positions: Any) -> Any:
    """Undo :func:`sigah.search.layout.to_planes` for the codes at some positions."""
    n_bytes = planes.shape[1]
    codes = np.empty((len(positions), n_bytes), np.uint8)
    for i in range(len(positions)):
        group, lane = positions[i] // GROUP, positions[i] % GROUP
        for b in range(n_bytes):
            codes[i, b] = planes[group, b, lane]
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
