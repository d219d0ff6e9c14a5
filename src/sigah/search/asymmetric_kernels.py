"""The exhaustive scan by asymmetric distances: exact, at about the speed of a Hamming scan.

Most codes are refused by a lower bound of their distance. The projections of each four bits of a
code become a table of 16 whole numbers of one byte, rounded down. One vector instruction looks up
the entries of 16 or 32 codes in a register (Andre, Kermarrec and Le Scouarnec, "Cache locality is
not enough: high-performance nearest neighbor search with product quantization fast scan", VLDB
2015). Codes whose sum does not exceed that of the k-th nearest so far get their exact distance.

:mod:`sigah.search.compiled` imports this module when a kernel is first called.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sigah.search.group_kernels import VECTORS
from sigah.search.instructions import (
    add_halves,
    instruction_for,
    load_halves,
    prefetch_line,
    splat,
    trailing_zeros,
)
from sigah.search.kernel_cache import compiled
from sigah.search.kernels import TILE_BYTES, sample_of
from sigah.search.layout import GROUP, LANES
from sigah.search.score_kernels import distance_of, offer, sort_heap

__all__ = ["scan_asymmetric"]

LARGEST = 2**16 - 1  # sum of table entries
FINENESS = 2.5  # times 127: the units of the most expensive byte


@intrinsic
def _group_bounds(
    typing: Any, group: Any, ahead: Any, tables: Any, n_bytes: Any, limit: Any, below: Any
) -> Any:
    """Add up the table entries of the 256 codes at address ``group``.

    Returns whether any sum is at most ``limit``. Only then, a bit for each such code is written to
    ``below`` (uint64). The group at address ``ahead`` will be next. ``tables`` is the address of
    two tables for each byte, of its low and its high four bits.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        group, ahead, tables, n_bytes, limit, below = arguments
        instruction = instruction_for(context.codegen().magic_tuple()[2])
        byte, i16, word = ir.IntType(8), ir.IntType(16), ir.IntType(64)
        codes, pairs = ir.VectorType(byte, LANES), ir.VectorType(i16, LANES // 2)
        group = builder.inttoptr(group, byte.as_pointer())
        ahead = builder.inttoptr(ahead, byte.as_pointer())
        tables = builder.inttoptr(tables, byte.as_pointer())
        eight = ir.Constant(pairs, [8] * (LANES // 2))
        zeros = ir.Constant(pairs, [0] * (LANES // 2))
        bound = splat(builder, builder.trunc(limit, i16), pairs)
        both = [cgutils.alloca_once(builder, pairs) for _ in range(VECTORS // 2)]
        odds = [cgutils.alloca_once(builder, pairs) for _ in range(VECTORS // 2)]
        masks = []
        # Half of the codes at a time: their sums fit in the registers. A sum has 16 bits. `both`
        # adds up neighbouring bytes as one number, `odds` the upper one alone.
        for half in range(2):
            for total in (*both, *odds):
                builder.store(zeros, total)
            with cgutils.for_range_slice(builder, word(0), n_bytes, word(1), word) as (b, _):
                offset = builder.mul(b, word(GROUP))
                plane = builder.gep(group, [builder.add(offset, word(half * GROUP // 2))])
                next_plane = builder.gep(ahead, [builder.add(offset, word(half * GROUP // 2))])
                halves = load_halves(builder, tables, b)
                for v in range(VECTORS // 2):
                    prefetch_line(builder, builder.gep(next_plane, [word(v * LANES)]))
                    where = builder.gep(plane, [word(v * LANES)])
                    values = builder.load(builder.bitcast(where, codes.as_pointer()), align=64)
                    entries = add_halves(builder, instruction, halves, values)
                    entries = builder.bitcast(entries, pairs)
                    upper = builder.lshr(entries, eight)
                    builder.store(builder.add(builder.load(both[v]), entries), both[v])
                    builder.store(builder.add(builder.load(odds[v]), upper), odds[v])
            for v in range(VECTORS // 2):
                odd = builder.load(odds[v])
                even = builder.sub(builder.load(both[v]), builder.shl(odd, eight))
                bits = [
                    builder.sext(builder.icmp_unsigned("<=", some, bound), pairs)
                    for some in (even, odd)
                ]
                lower = builder.and_(bits[0], splat(builder, i16(0x00FF), pairs))
                upper = builder.and_(bits[1], splat(builder, i16(0xFF00), pairs))
                found = builder.bitcast(builder.or_(lower, upper), codes)
                nonzero = builder.icmp_signed("<", found, ir.Constant(codes, [0] * LANES))
                masks.append(builder.bitcast(nonzero, word))
        either = builder.or_(builder.or_(masks[0], masks[1]), builder.or_(masks[2], masks[3]))
        any_ = builder.icmp_unsigned("!=", either, word(0))
        with builder.if_then(any_, likely=False):
            below = builder.inttoptr(below, word.as_pointer())
            for v, mask in enumerate(masks):
                builder.store(mask, builder.gep(below, [word(v)]))
        return any_

    address = types.uintp
    return types.boolean(address, address, address, types.int64, types.int64, address), generate


@compiled
def _quantise(projection: Any, tables: Any) -> float:
    """Write the tables ``(n_bytes, 2, 16)`` of one query; returns the units of its sums.

    A sum never exceeds the distance in these units: entries are rounded down, and cut off at a
    value that no code reaches which is near in most of its bits. The two entries of a byte add up
    to at most 255, and all entries of a code to at most 65,535.
    """
    n_bytes = len(tables)
    greatest = 0.0
    for b in range(n_bytes):
        total = 0.0
        for bit in range(8):
            total += abs(np.float64(projection[8 * b + bit]))
        greatest = max(greatest, total)
    most = min(127, LARGEST // n_bytes // 2)
    scale = min(FINENESS * most / greatest, 1e300) if greatest > 0 else 0.0
    costs = np.empty(16)
    for b in range(n_bytes):
        for half in range(2):
            costs[0] = 0.0
            for bit in range(4):  # from the lowest one
                score = np.float64(projection[8 * b + 4 * (1 - half) + 3 - bit])
                if_unset, if_set = max(score, 0.0), max(-score, 0.0)
                for value in range(1 << bit):
                    costs[value + (1 << bit)] = costs[value] + if_set
                    costs[value] += if_unset
            for value in range(16):
                tables[b, half, value] = np.uint8(min(np.floor(scale * costs[value]), most))
    return scale


@compiled
def scan_asymmetric(
    planes: Any,
    selected: Any,
    first: int,
    last: int,
    projections: Any,
    scores: Any,
    positions: Any,
) -> None:
    """The nearest by asymmetric distance among the selected codes of groups ``first`` to ``last``.

    ``projections`` are ``(q, n_bits)``; ``scores`` and ``positions``, both ``(q, k)``, are written.
    """
    n_queries, k = scores.shape
    n_bytes = planes.shape[1]
    tables = np.empty((n_queries, n_bytes, 2, 16), np.uint8)
    scales = np.empty(n_queries)
    for q in range(n_queries):
        scales[q] = _quantise(projections[q], tables[q])
    # the exact distances are sums of rounded numbers
    scales *= 1 + projections.shape[1] * 2.0**-23
    held = np.zeros(n_queries, np.int64)
    guesses = np.full(n_queries, np.inf, np.float32)
    step, enough = sample_of(last - first, k)
    if enough:  # an estimate of the k-th smallest distance refuses most codes from the beginning
        some, places = (
            np.empty((n_queries, enough), np.float32),
            np.empty((n_queries, enough), np.int64),
        )
        _scan(
            planes, selected, first, last, step, projections, tables, scales, guesses,
            held, some, places,
        )  # fmt: skip
        for q in range(n_queries):
            if held[q] == enough:
                guesses[q] = some[q, 0]
        held[:] = 0
    _scan(
        planes, selected, first, last, 1, projections, tables, scales, guesses,
        held, scores, positions,
    )  # fmt: skip
    for q in range(n_queries):
        if held[q] < k and guesses[q] < np.inf:  # it was too small
            one = slice(q, q + 1)
            guesses[q], held[q] = np.inf, 0
            _scan(
                planes, selected, first, last, 1, projections[one], tables[one], scales[one],
                guesses[one], held[one], scores[one], positions[one],
            )  # fmt: skip
        sort_heap(scores[q], positions[q], held[q])


@compiled
def _scan(
    planes: Any,
    selected: Any,
    first: int,
    last: int,
    step: int,
    projections: Any,
    tables: Any,
    scales: Any,
    guesses: Any,
    held: Any,
    scores: Any,
    positions: Any,
) -> None:
    """Collect the nearest codes of every ``step``-th group in heaps, ``held`` codes each.

    Until a heap is full, codes farther than the query's guess are refused.
    """
    n_queries, k = scores.shape
    n_bytes = planes.shape[1]
    flat, stride = planes.reshape(planes.size), np.uint64(n_bytes * GROUP)
    below = np.empty(VECTORS, np.uint64)
    tile = step * max(1, TILE_BYTES // (n_bytes * GROUP))
    for start in range(first, last, tile):
        for q in range(n_queries):
            projection, nearest, places = projections[q], scores[q], positions[q]
            table_at = tables.ctypes.data + q * n_bytes * 32
            for group in range(start, min(start + tile, last), step):
                worst = nearest[0] if held[q] == k else guesses[q]
                limit = LARGEST
                if worst < np.inf:
                    limit = int(min(scales[q] * worst + 1, LARGEST))
                group_at = planes.ctypes.data + group * n_bytes * GROUP
                ahead = group_at + step * n_bytes * GROUP
                if not _group_bounds(group_at, ahead, table_at, n_bytes, limit, below.ctypes.data):
                    continue
                for v in range(VECTORS):
                    bits = below[v] & selected[group * VECTORS + v]
                    while bits != 0:
                        lane = v * LANES + np.int64(trailing_zeros(bits))
                        bits &= bits - np.uint64(1)
                        position = group * GROUP + lane
                        d = distance_of(flat, stride, position, projection)
                        if (held[q] < k and d <= guesses[q]) or (held[q] == k and d < nearest[0]):
                            held[q] = offer(nearest, places, held[q], d, position)
