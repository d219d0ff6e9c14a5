"""Kernels that rank codes by a score for each query: the smallest scores are the nearest.

A query comes as one of two arrays of float32:

- *tables* ``(n_bytes, 256)``: the score of a row is ``factors[row[-1]] * sum_j tables[j, row[j]]``,
  added up from the first byte to the last. A row is a code and the bytes kept beside it (``extra``:
  ``uint8 (n_groups, 256, m)``);
- *projections* ``(n_bits,)``: the score is their asymmetric distance, the sum of ``|projection|``
  over the bits in which the code differs from the signs of the projections.

Every kernel adds up in the same order, so equal codes have equal scores. Ties go to the lower
position.

:mod:`sigah.search.compiled` imports this module when a kernel is first called.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from sigah.metric import METRICS
from sigah.search.group_kernels import VECTORS
from sigah.search.instructions import ones, prefetch, trailing_zeros
from sigah.search.kernel_cache import compiled
from sigah.search.kernels import collect_nearest, drop_far
from sigah.search.layout import GROUP, LANES, MISSING_ID, MOST_OF_TABLES, POSITION_MASK

__all__ = [
    "asymmetric_of_all",
    "asymmetric_of_rows",
    "distance_of",
    "distances_of_rows",
    "offer",
    "rank_codes",
    "rank_nearest",
    "round_tables",
    "scan_scores",
    "score_of",
    "select_nearest",
    "sort_heap",
    "spherical_of_rows",
]

AHEAD = 4  # candidates that are prefetched before they are scored
SUMS_AHEAD = 8  # the same where only what is kept beside the codes is read
ROWS_AHEAD = 1  # the same for vectors, which lie in memory farther away
CACHE_LINE = 64
L2, COSINE = METRICS.index("l2"), METRICS.index("cosine")
NEAR = 1e-3  # smaller cosine distances have lost too many digits as differences from 1
_GROUP, _LANE = np.uint64(GROUP), np.uint64(GROUP - 1)


@intrinsic
def _asymmetric_distance(typing: Any, code: Any, stride: Any, projection: Any, n_bytes: Any) -> Any:
    """The asymmetric distance of one code, whose bytes lie ``stride`` bytes apart.

    ``code`` and ``projection`` are addresses. The projections of set bits change their sign; those
    that are positive then are added. A vector holds the projections of one byte's bits; four sums,
    of every fourth byte, do not wait for each other.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code, stride, projection, n_bytes = arguments
        byte, i32, word = ir.IntType(8), ir.IntType(32), ir.IntType(64)
        integers, floats = ir.VectorType(i32, 8), ir.VectorType(ir.FloatType(), 8)
        code = builder.inttoptr(code, byte.as_pointer())
        projection = builder.inttoptr(projection, integers.as_pointer())
        zeros = ir.Constant(floats, [0.0] * 8)
        of_byte = [[(byte_ >> (7 - bit) & 1) << 31 for bit in range(8)] for byte_ in range(256)]
        rows = ir.ArrayType(integers, 256)
        signs = cgutils.global_constant(
            builder, "signs_of_bits", ir.Constant(rows, [ir.Constant(integers, r) for r in of_byte])
        )
        sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(4)]

        def add(b: Any, total: Any) -> None:
            value = builder.load(builder.gep(code, [builder.mul(b, stride)]))
            flips = builder.load(builder.gep(signs, [i32(0), builder.zext(value, word)]))
            scores = builder.load(builder.gep(projection, [b]), align=4)
            charge = builder.bitcast(builder.xor(scores, flips), floats)
            charge = builder.select(builder.fcmp_ordered(">", charge, zeros), charge, zeros)
            builder.store(builder.fadd(builder.load(total), charge), total)

        whole = builder.and_(n_bytes, word(-4))
        with cgutils.for_range_slice(builder, word(0), whole, word(4), word) as (b, _):
            for i, total in enumerate(sums):
                add(builder.add(b, word(i)), total)
        with cgutils.for_range_slice(builder, whole, n_bytes, word(1), word) as (b, _):
            add(b, sums[0])
        first, second, third, fourth = map(builder.load, sums)
        total = builder.fadd(builder.fadd(first, second), builder.fadd(third, fourth))
        lanes = [builder.extract_element(total, i32(lane)) for lane in range(8)]
        while len(lanes) > 1:
            lanes = [builder.fadd(*pair) for pair in zip(lanes[::2], lanes[1::2], strict=True)]
        return lanes[0]

    address = types.uintp
    return types.float32(address, types.int64, address, types.int64), generate


@compiled
def _place(stride: Any, position: int) -> Any:
    """Where the first byte of a code lies in the flat planes, which have ``stride`` bytes a group.

    The kernels look bytes up by such unsigned places: a negative index would cost a comparison.
    """
    return (np.uint64(position) // _GROUP) * stride + (np.uint64(position) & _LANE)


@compiled
def distance_of(flat: Any, stride: Any, position: int, projection: Any) -> Any:
    """The asymmetric distance of the code at a position."""
    code, query = np.uint64(flat.ctypes.data) + _place(stride, position), projection.ctypes.data
    return _asymmetric_distance(code, GROUP, np.uint64(query), len(projection) // 8)


@compiled
def score_of(flat: Any, stride: Any, extra: Any, position: int, table: Any, factors: Any) -> Any:
    """The score of the row at a position."""
    if table.ndim == 1:
        return distance_of(flat, stride, position, table)
    place = _place(stride, position)
    total, value = np.float32(0), np.uint8(0)
    n_bytes = stride // _GROUP
    for j in range(n_bytes):
        value = flat[place + j * _GROUP]
        total += table[j, value]
    for j in range(extra.shape[1]):
        value = extra[np.uint64(position), j]
        total += table[n_bytes + np.uint64(j), value]
    return factors[value] * total


@njit(nogil=True, fastmath={"reassoc"})
def _sum(numbers: Any) -> Any:
    total = np.float32(0)
    for j in range(16):
        total += numbers[j]
    return total


@compiled
def round_tables(tables: Any, small: Any) -> None:
    """Small tables ``(q, n_bytes, 32)`` that say about what tables ``(q, n, 256)`` say.

    What a byte adds is split into parts of its low and of its high half, with the least squared
    error. Whole numbers stand for the parts; no sum of them exceeds 254.
    """
    parts = np.empty((small.shape[1], 2, 16), np.float32)
    for q in range(len(small)):
        widest = 0.0
        for j in range(small.shape[1]):
            own = parts[j]
            own[0] = 0
            for high in range(16):
                row = tables[q, j, 16 * high : 16 * high + 16]
                own[1, high] = _sum(row)
                for low in range(16):
                    own[0, low] += row[low]
            for half in range(2):
                least, most = own[half, 0], own[half, 0]
                for value in range(16):
                    least, most = min(least, own[half, value]), max(most, own[half, value])
                for value in range(16):
                    own[half, value] -= least
                widest += np.float64(most - least)
        scale = (MOST_OF_TABLES - 1) / widest if 0 < widest < np.inf else 0.0
        for j in range(small.shape[1]):
            for half in range(2):
                for value in range(16):
                    small[q, j, 16 * half + value] = np.uint8(scale * parts[j, half, value])


@compiled
def asymmetric_of_all(codes: Any, projections: Any, distances: Any) -> None:
    """Asymmetric distances of queries from codes in rows."""
    n, n_bytes = codes.shape
    for q in range(len(projections)):
        query = projections[q].ctypes.data
        for i in range(n):
            code = codes.ctypes.data + i * n_bytes
            distances[q, i] = _asymmetric_distance(code, 1, query, n_bytes)


@compiled
def asymmetric_of_rows(codes: Any, rows: Any, projections: Any, distances: Any) -> None:
    """Asymmetric distances of each query from its own rows ``(q, c)`` of codes; -1: none."""
    n_bytes = codes.shape[1]
    for q in range(rows.shape[0]):
        query = projections[q].ctypes.data
        for c in range(rows.shape[1]):
            if rows[q, c] >= 0:
                code = codes.ctypes.data + rows[q, c] * n_bytes
                distances[q, c] = _asymmetric_distance(code, 1, query, n_bytes)


@compiled
def spherical_of_rows(codes: Any, rows: Any, queries: Any, distances: Any) -> None:
    """Spherical distances of each query from its own rows ``(q, c)`` of codes; -1: none."""
    for q in range(rows.shape[0]):
        query = queries[q]
        for c in range(rows.shape[1]):
            if rows[q, c] < 0:
                continue
            code = codes[rows[q, c]]
            differing, shared = np.uint64(0), np.uint64(0)
            for j in range(len(query)):
                differing += ones(np.uint64(code[j] ^ query[j]))
                shared += ones(np.uint64(code[j] & query[j]))
            # d / (s + 0.1) = 10 d / (10 s + 1), of whole numbers that float32 holds exactly
            above, under = np.float32(10 * differing), np.float32(10 * shared + np.uint64(1))
            distances[q, c] = above / under


@njit(nogil=True, fastmath={"reassoc"})
def _squared_distance(query: Any, vector: Any) -> Any:
    """In float64, added up in an order that depends on the number of dimensions alone."""
    total = 0.0
    for j in range(len(query)):
        difference = query[j] - np.float64(vector[j])
        total += difference * difference
    return total


@njit(nogil=True, fastmath={"reassoc"})
def _product(query: Any, vector: Any) -> Any:
    total = 0.0
    for j in range(len(query)):
        total += query[j] * np.float64(vector[j])
    return total


@njit(nogil=True, fastmath={"reassoc"})
def _cosine_distance(query: Any, vector: Any) -> Any:
    """1 - cosine; the query has unit length or is zero."""
    product = square = 0.0
    for j in range(len(query)):
        value = np.float64(vector[j])
        product += query[j] * value
        square += value * value
    if square == 0.0:
        return 1.0
    inverse = 1 / np.sqrt(square)
    distance = 1 - inverse * product
    if distance < NEAR:  # half of the squared distance of unit vectors keeps all digits
        distance = 0.0
        for j in range(len(query)):
            difference = query[j] - inverse * np.float64(vector[j])
            distance += difference * difference
        distance /= 2
    return distance


@compiled
def distances_of_rows(vectors: Any, rows: Any, queries: Any, metric: int, distances: Any) -> bool:
    """Distances of each query from its own rows ``(q, c)``; -1: none.

    ``metric`` is its place in :data:`sigah.metric.METRICS`; by cosine, queries have unit length.
    Returns whether all distances are finite.
    """
    finite = True
    row_bytes = vectors.shape[1] * vectors.itemsize
    for q in range(rows.shape[0]):
        query = queries[q]
        for c in range(rows.shape[1]):
            if c + ROWS_AHEAD < rows.shape[1] and rows[q, c + ROWS_AHEAD] >= 0:
                start = vectors.ctypes.data + rows[q, c + ROWS_AHEAD] * row_bytes
                for offset in range(0, row_bytes, CACHE_LINE):
                    prefetch(start + offset)
            if rows[q, c] >= 0:
                vector = vectors[rows[q, c]]
                if metric == L2:
                    distance = _squared_distance(query, vector)
                elif metric == COSINE:
                    distance = _cosine_distance(query, vector)
                else:
                    distance = 0 - _product(query, vector)
                distances[q, c] = distance
                finite &= -np.inf < distance < np.inf
    return finite


@compiled
def select_nearest(distances: Any, ids: Any, nearest: Any, nearest_ids: Any) -> None:
    """The nearest of each query's candidates ``(q, c)`` by distance, then by id; -1: none."""
    k = nearest.shape[1]
    for q in range(len(ids)):
        held = 0
        for c in range(ids.shape[1]):
            d, i = distances[q, c], ids[q, c]
            if i != MISSING_ID and (held < k or d <= nearest[q, 0]):
                held = offer(nearest[q], nearest_ids[q], held, d, i)
        sort_heap(nearest[q], nearest_ids[q], held)


@compiled
def rank_codes(
    planes: Any,
    extra: Any,
    candidates: Any,
    tables: Any,
    factors: Any,
    scores: Any,
    positions: Any,
) -> bool:
    """The nearest by score among each query's candidates ``(q, c)``, which are positions.

    Returns whether every score is a number.
    """
    sound = True
    for q in range(len(candidates)):
        count = 0
        while count < candidates.shape[1] and candidates[q, count] != MISSING_ID:
            count += 1
        some = candidates[q, :count]
        sound &= _rank(planes, extra, some, tables[q], factors, scores[q], positions[q])
    return sound


@compiled
def rank_nearest(
    planes: Any,
    extra: Any,
    selected: Any,
    queries: Any,
    shortlist: int,
    tables: Any,
    factors: Any,
    scores: Any,
    positions: Any,
) -> bool:
    """The nearest by score among the ``shortlist`` nearest codes of each query.

    ``queries`` are codes or small tables, as :mod:`sigah.search.group_kernels` takes them.

    Returns whether every score is a number.
    """
    candidates, sums, held, seen, limits, near = collect_nearest(
        planes, selected, 0, len(planes), queries, shortlist, tables if queries.ndim == 3 else None
    )
    shortlist = min(shortlist, len(planes) * GROUP)
    sound = True
    for q in range(len(queries)):
        room = shortlist - (near[q] - seen[q, limits[q]])
        count = drop_far(candidates[q], sums[q], held[q], limits[q], room)
        some = candidates[q, :count]
        if queries.ndim == 3:
            sound &= _rank_sums(
                planes, extra, some, sums[q], tables[q], factors, scores[q], positions[q]
            )
        else:
            sound &= _rank(planes, extra, some, tables[q], factors, scores[q], positions[q])
    return sound


@compiled
def _rank(
    planes: Any,
    extra: Any,
    candidates: Any,
    table: Any,
    factors: Any,
    scores: Any,
    positions: Any,
) -> bool:
    """The nearest by score of some codes; above their positions, candidates may hold more bits."""
    flat, stride = planes.reshape(planes.size), np.uint64(planes.shape[1]) * _GROUP
    start, beside, n_extra = np.uint64(planes.ctypes.data), extra.ctypes.data, extra.shape[2]
    rows = extra.reshape(len(extra) * GROUP, n_extra)
    sound, held, k = True, 0, len(scores)
    for c in range(len(candidates)):
        if c + AHEAD < len(candidates):  # each byte of a code lies in a cache line of its own
            position = candidates[c + AHEAD] & POSITION_MASK
            place = start + _place(stride, position)
            for j in range(planes.shape[1]):
                prefetch(place + np.uint64(j) * _GROUP)
            for j in range(0, n_extra, CACHE_LINE):
                prefetch(beside + position * n_extra + j)
        position = candidates[c] & POSITION_MASK
        score = score_of(flat, stride, rows, position, table, factors)
        sound &= score == score
        if held < k or score <= scores[0]:
            held = offer(scores, positions, held, score, position)
    sort_heap(scores, positions, held)
    return sound


@compiled
def _rank_sums(
    planes: Any,
    extra: Any,
    candidates: Any,
    sums: Any,
    table: Any,
    factors: Any,
    scores: Any,
    positions: Any,
) -> bool:
    """The nearest by score of some codes, if the sums over the bytes of the codes are known."""
    n_bytes, n_extra = planes.shape[1], extra.shape[2]
    rows, beside = extra.reshape(len(extra) * GROUP, n_extra), extra.ctypes.data
    sound, held, k = True, 0, len(scores)
    for c in range(len(candidates)):
        if c + SUMS_AHEAD < len(candidates):
            place = beside + (candidates[c + SUMS_AHEAD] & POSITION_MASK) * n_extra
            prefetch(place)
            prefetch(place + n_extra - 1)
        position = candidates[c] & POSITION_MASK
        total, value = sums[c], np.uint8(0)
        for j in range(n_extra):
            value = rows[position, j]
            total += table[n_bytes + j, value]
        if not n_extra:
            value = planes[position // GROUP, n_bytes - 1, position % GROUP]
        score = factors[value] * total
        sound &= score == score
        if held < k or score <= scores[0]:
            held = offer(scores, positions, held, score, position)
    sort_heap(scores, positions, held)
    return sound


@compiled
def scan_scores(
    planes: Any,
    extra: Any,
    selected: Any,
    first: int,
    last: int,
    tables: Any,
    factors: Any,
    scores: Any,
    positions: Any,
) -> bool:
    """The nearest by tables among the selected codes of groups ``first`` to ``last``.

    Returns whether every score is a number.
    """
    totals = np.empty(GROUP, np.float32)
    n_bytes, n_extra, sound, k = planes.shape[1], extra.shape[2], True, scores.shape[1]
    for q in range(len(tables)):
        nearest, places = scores[q], positions[q]
        held = 0
        for group in range(first, last):
            totals[:] = 0
            for j in range(n_bytes):
                for lane in range(GROUP):
                    totals[lane] += tables[q, j, planes[group, j, lane]]
            for lane in range(GROUP if n_extra else 0):
                for j in range(n_extra):
                    totals[lane] += tables[q, n_bytes + j, extra[group, lane, j]]
            for v in range(VECTORS):
                bits = selected[group * VECTORS + v]
                while bits != 0:
                    nth = v * LANES + np.int64(trailing_zeros(bits))
                    bits &= bits - np.uint64(1)
                    value = planes[group, n_bytes - 1, nth]
                    if n_extra:
                        value = extra[group, nth, n_extra - 1]
                    score = factors[value] * totals[nth]
                    sound &= score == score
                    if held < k or score <= nearest[0]:
                        held = offer(nearest, places, held, score, group * GROUP + nth)
        sort_heap(nearest, places, held)
    return sound


@compiled
def offer(scores: Any, positions: Any, held: int, score: Any, position: int) -> int:
    """Keep a code if it is among the nearest so far; the farthest kept code is at the top.

    ``scores`` and ``positions`` are a heap of ``held`` codes; returns how many it holds afterwards.
    """
    if held == len(scores):
        if not (score < scores[0] or (score == scores[0] and position < positions[0])):
            return held
        _sink(scores, positions, held, score, position)
        return held
    place = held
    while place > 0:
        above = (place - 1) // 2
        if score < scores[above] or (score == scores[above] and position < positions[above]):
            break
        scores[place], positions[place] = scores[above], positions[above]
        place = above
    scores[place], positions[place] = score, position
    return held + 1


@compiled
def _sink(scores: Any, positions: Any, held: int, score: Any, position: int) -> None:
    """Replace the top of a heap of ``held`` codes."""
    place = 0
    while 2 * place + 1 < held:
        child = 2 * place + 1
        other = child + 1
        if other < held and (
            scores[other] > scores[child]
            or (scores[other] == scores[child] and positions[other] > positions[child])
        ):
            child = other
        if score > scores[child] or (score == scores[child] and position > positions[child]):
            break
        scores[place], positions[place] = scores[child], positions[child]
        place = child
    scores[place], positions[place] = score, position


@compiled
def sort_heap(scores: Any, positions: Any, held: int) -> None:
    """Sort a heap by score and position; what it does not fill is missing."""
    scores[held:], positions[held:] = np.inf, MISSING_ID
    for end in range(held - 1, 0, -1):
        score, position = scores[end], positions[end]
        scores[end], positions[end] = scores[0], positions[0]
        _sink(scores, positions, end, score, position)
