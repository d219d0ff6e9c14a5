"""The kernels of multi-index hashing: filling the tables, and searching one query's buckets."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sigah.search.instructions import ones
from sigah.search.kernel_cache import compiled
from sigah.search.layout import MISSING_DISTANCE, MISSING_ID, POSITION_BITS, POSITION_MASK

__all__ = ["collect", "fill_table", "nearest_of_queries"]

BATCH = 32  # buckets that are being fetched from memory at the same time


@intrinsic
def _prefetch(typing: Any, array: Any, place: Any) -> Any:
    """Prefetch the element at a flat index of a C-contiguous array, without waiting."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from numba.core import cgutils
        from numba.np import arrayobj

        array = arrayobj.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(
            builder.gep(array.data, [arguments[1]]), ir.IntType(8).as_pointer()
        )
        number = ir.IntType(32)
        prefetch = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number]),
            "llvm.prefetch.p0",
        )
        builder.call(prefetch, [pointer, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@compiled
def _substring(word_of: Any, row: int, offset: int, width: int) -> Any:
    """Bits ``offset`` to ``offset + width`` of a row of words."""
    w, shift = offset // 64, np.uint64(offset % 64)
    value = word_of[row, w] >> shift
    if offset % 64 + width > 64:
        value |= word_of[row, w + 1] << (np.uint64(64) - shift)
    return np.int64(value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1)))


@compiled
def fill_table(
    words: Any, offset: int, width: int, starts: Any, positions: Any, sorted_words: Any
) -> None:
    """List codes by their substring: a counting sort."""
    starts[:] = 0
    for i in range(len(words)):
        starts[_substring(words, i, offset, width) + 1] += 1
    for value in range(1, len(starts)):
        starts[value] += starts[value - 1]
    # from here on: the slot of the next code of each bucket, stored one bucket too early
    nexts = starts[:-1].copy()
    for i in range(len(words)):
        value = _substring(words, i, offset, width)
        place = nexts[value]
        nexts[value] += 1
        positions[place] = i
        for w in range(words.shape[1]):
            sorted_words[place, w] = words[i, w]


@compiled
def collect(
    starts: Any,
    firsts: Any,
    offsets: Any,
    widths: Any,
    positions: Any,
    words: Any,
    selected: Any,
    query: Any,
    k: int,
    radius: int,
    bucket_cost: float,
    code_cost: float,
    budget: float,
) -> Any:
    """The ``k`` nearest codes within ``radius``, as sorted keys of distance and position.

    Returns the keys, whether they are complete, and how many buckets and codes were read.
    """
    n_tables, n, n_words = words.shape
    n_bits = offsets[-1] + widths[-1]
    own = np.empty(n_tables, np.int64)
    differing = np.empty((1, n_words), np.uint64)
    differing[0] = query
    for j in range(n_tables):
        own[j] = _substring(differing, 0, offsets[j], widths[j])
    keys = np.empty(min(2 * k, 1024), np.int64)
    held: Any = 0
    worst = (radius + 1) << POSITION_BITS  # keys from here on are too far
    near = 0  # codes within the radius that is complete, counted in ``seen``
    seen = np.zeros(n_bits + 1, np.int64)
    batch = np.empty(BATCH, np.int64)
    n_buckets: Any = 0
    n_met: Any = 0
    for r in range(min(radius, n_bits) + 1):
        j, level = r % n_tables, r // n_tables
        width, last = widths[j], np.int64(1) << widths[j]
        if level <= width:
            expected = 1.0
            for i in range(level):
                expected = expected * (width - i) / (i + 1)
            cost = bucket_cost * (n_buckets + expected)
            cost += code_cost * (n_met + expected * n / last)
            if cost > budget:
                return keys[:0], False, n_buckets, n_met
            flips = (np.int64(1) << level) - 1
            more = True
            while more:
                size = 0
                while more and size < BATCH:
                    batch[size] = firsts[j] + (own[j] ^ flips)
                    _prefetch(starts, batch[size])
                    size += 1
                    if level == 0:
                        more = False
                    else:  # the next larger number with as many bits set (Gosper)
                        lowest = flips & -flips
                        ripple = flips + lowest
                        flips = (((ripple ^ flips) >> 2) // lowest) | ripple
                        more = flips < last
                for b in range(size):
                    _prefetch(words, (j * n + np.int64(starts[batch[b]])) * n_words)
                for b in range(size):
                    begin, end = np.int64(starts[batch[b]]), np.int64(starts[batch[b] + 1])
                    n_met += end - begin
                    for e in range(begin, end):
                        d: Any = 0
                        for w in range(n_words):
                            d += np.int64(ones(words[j, e, w] ^ query[w]))
                        if (d << POSITION_BITS) > worst:
                            continue
                        for w in range(n_words):
                            differing[0, w] = words[j, e, w] ^ query[w]
                        if _met_before(differing, offsets, widths, j, level):
                            continue
                        place = np.int64(positions[j, e])
                        key = d << POSITION_BITS | place
                        bit = selected[place // 64] >> np.uint64(place % 64) & np.uint64(1)
                        if key >= worst or bit == 0:
                            continue
                        if held == len(keys):
                            if held < 2 * k:
                                larger = np.empty(min(2 * k, 2 * held), np.int64)
                                larger[:held] = keys
                                keys = larger
                            else:
                                keys.sort()
                                held, worst = k, keys[k - 1]
                                if key >= worst:
                                    continue
                        keys[held] = key
                        held += 1
                        seen[d] += 1
                n_buckets += size
                if bucket_cost * n_buckets + code_cost * n_met > budget:
                    return keys[:0], False, n_buckets, n_met
        near += seen[r]
        if near >= k:
            break
    keys = keys[:held]
    keys.sort()
    return keys[:k], True, n_buckets, n_met


@compiled
def _met_before(differing: Any, offsets: Any, widths: Any, j: int, level: int) -> bool:
    """Whether an earlier step saw the code: in a table before ``j``, or at a smaller radius."""
    for i in range(len(widths)):
        apart = ones(np.uint64(_substring(differing, 0, offsets[i], widths[i])))
        if i != j and np.int64(apart) <= (level if i < j else level - 1):
            return True
    return False


@compiled
def nearest_of_queries(
    starts: Any,
    firsts: Any,
    offsets: Any,
    widths: Any,
    positions: Any,
    words: Any,
    selected: Any,
    queries: Any,
    k: int,
    bucket_cost: float,
    code_cost: float,
    budget: float,
    distances: Any,
    found: Any,
    done: Any,
) -> None:
    """The ``k`` nearest codes of queries, and whether each was ``done`` within its budget."""
    n_bits = offsets[-1] + widths[-1]
    for q in range(len(queries)):
        keys, complete, _, _ = collect(
            starts, firsts, offsets, widths, positions, words, selected, queries[q],
            k, n_bits, bucket_cost, code_cost, budget,
        )  # fmt: skip
        done[q] = complete
        for place in range(len(keys)):
            distances[q, place] = keys[place] >> POSITION_BITS
            found[q, place] = keys[place] & POSITION_MASK
        for place in range(len(keys), k):
            distances[q, place] = MISSING_DISTANCE
            found[q, place] = MISSING_ID
