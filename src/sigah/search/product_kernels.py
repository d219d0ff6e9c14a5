"""Products of many vectors with few queries in whole numbers: the tables of queries.

A single query reads every codeword once, so the time is that of reading them: one byte for a number
instead of four. Sums of whole numbers are exact. So a query has the same tables whether it comes
alone or among others.

Weights lie in blocks of 32 outputs, ``int8`` or ``int16 (n_blocks, n_pairs, 32, 2)``: the first two
numbers of all 32, then the next two, and so on; zeros fill up the last ``TERMS``. One instruction
multiplies and adds eight pairs, or sixteen with AVX-512. It takes some cycles, so that several sums
are made in turn.

:mod:`sigah.search.compiled` imports this module when a kernel is first called.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sigah.search.instructions import instruction_for, multiply_pairs, splat
from sigah.search.kernel_cache import compiled
from sigah.search.layout import OUTPUTS, TERMS

__all__ = ["products", "query_tables"]

CHAINS = TERMS // 2  # sums that do not wait for each other
AT_ONCE = 2  # queries that share a block's numbers while these are in registers


def _block_products(bits: int, n_queries: int) -> Any:
    """Make the kernel of one block, with weights of 8 or 16 bits, for some queries at once."""

    @intrinsic
    def block_products(
        typing: Any, block: Any, n_pairs: Any, queries: Any, sums: Any, stride: Any
    ) -> Any:
        """Products of the block at an address with the queries (int16) at an address.

        They are written to the address ``sums`` (int32), 32 of each query, ``stride`` bytes apart.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            block, n_pairs, queries, sums, stride = arguments
            instruction = instruction_for(context.codegen().magic_tuple()[2])
            i16, i32, word = ir.IntType(16), ir.IntType(32), ir.IntType(64)
            width = 16 if instruction == "avx512" else 8  # outputs in a register
            n_parts = OUTPUTS // width
            n_chains = CHAINS // n_queries if instruction == "avx512" else 1  # as registers allow
            weight = ir.VectorType(ir.IntType(bits), 2 * width)
            pairs, outputs = ir.VectorType(i16, 2 * width), ir.VectorType(i32, width)
            block = builder.inttoptr(block, weight.as_pointer())
            queries = builder.inttoptr(queries, i32.as_pointer())
            zeros = ir.Constant(outputs, [0] * width)
            totals = [
                [
                    [cgutils.alloca_once_value(builder, zeros) for _ in range(n_chains)]
                    for _ in range(n_parts)
                ]
                for _ in range(n_queries)
            ]
            step = word(n_chains)
            with cgutils.for_range_slice(builder, word(0), n_pairs, step, word) as (i, _):
                for chain in range(n_chains):
                    nth = builder.add(i, word(chain))
                    everywhere = []
                    for q in range(n_queries):
                        where = builder.add(builder.mul(n_pairs, word(q)), nth)
                        pair = builder.load(builder.gep(queries, [where]), align=2)
                        everywhere.append(builder.bitcast(splat(builder, pair, outputs), pairs))
                    start = builder.mul(nth, word(n_parts))
                    for part in range(n_parts):
                        where = builder.gep(block, [builder.add(start, word(part))])
                        weights = builder.load(where, align=bits // 8)
                        weights = builder.sext(weights, pairs) if bits == 8 else weights
                        for query, own in zip(everywhere, totals, strict=True):
                            found = multiply_pairs(builder, instruction, weights, query)
                            total = own[part][chain]
                            builder.store(builder.add(builder.load(total), found), total)
            for q, own in enumerate(totals):
                place = builder.add(sums, builder.mul(stride, word(q)))
                target = builder.inttoptr(place, outputs.as_pointer())
                for part, chains in enumerate(own):
                    total = reduce(builder.add, map(builder.load, chains))
                    builder.store(total, builder.gep(target, [word(part)]), align=4)
            return context.get_dummy_value()

        address, number = types.uintp, types.int64
        return types.void(address, number, address, address, number), generate

    return block_products


_one_8, _some_8 = _block_products(8, 1), _block_products(8, AT_ONCE)
_one_16, _some_16 = _block_products(16, 1), _block_products(16, AT_ONCE)


@compiled
def products(blocks: Any, queries: Any, sums: Any) -> None:
    """Products ``int32 (q, 32 n_blocks)`` of all outputs with queries ``int16 (q, 2 n_pairs)``."""
    n_pairs, stride = blocks.shape[1], 4 * sums.shape[1]
    block_bytes = n_pairs * OUTPUTS * 2 * blocks.itemsize
    n_together = len(queries) // AT_ONCE * AT_ONCE
    for b in range(len(blocks)):
        block = blocks.ctypes.data + b * block_bytes
        first, out = queries.ctypes.data, sums.ctypes.data + 4 * OUTPUTS * b
        for q in range(0, n_together, AT_ONCE):
            some, to = first + q * 4 * n_pairs, out + q * stride
            if blocks.itemsize == 1:
                _some_8(block, n_pairs, some, to, stride)
            else:
                _some_16(block, n_pairs, some, to, stride)
        for q in range(n_together, len(queries)):
            some, to = first + q * 4 * n_pairs, out + q * stride
            if blocks.itemsize == 1:
                _one_8(block, n_pairs, some, to, stride)
            else:
                _one_16(block, n_pairs, some, to, stride)


@compiled
def _to_whole(numbers: Any, most: int, whole: Any) -> float:
    """Round numbers to whole ones from ``-most`` to ``most``; returns the unit."""
    largest = np.float32(0)
    for j in range(len(numbers)):
        largest = max(largest, abs(numbers[j]))
    if largest == 0:
        whole[:] = 0
        return 0.0
    scale = most / np.float64(largest)
    for j in range(len(numbers)):
        whole[j] = np.int16(np.rint(scale * numbers[j]))
    return 1 / scale


@compiled
def query_tables(
    vectors: Any,
    unit: bool,
    origin: Any,
    factor: float,
    axes: Any,
    axis_units: Any,
    most: int,
    codewords: Any,
    codeword_units: Any,
    most_of_views: int,
    offsets: Any,
    tables: Any,
    squares: Any,
) -> None:
    """Tables ``(q, n_bytes, 256)`` of queries ``(q, d)``, and squared distances from the origin.

    An entry is ``factor`` times the product of the query, from the origin on, with the codeword,
    and an offset of its own. The last one of ``axis_units`` is of the mean, whose product the first
    byte adds. If ``unit``, queries are scaled to unit length first, and one of zeros, which has no
    direction, has tables of zeros.
    """
    n, d = vectors.shape
    n_bytes, n_axes = tables.shape[1], len(axis_units) - 1
    whole = np.zeros((n, 2 * axes.shape[1]), np.int16)
    units = np.empty(n)
    centred = np.empty(d, np.float32)
    for q in range(n):
        scale = 1.0
        if unit:
            square = 0.0
            for j in range(d):
                square += np.float64(vectors[q, j]) * np.float64(vectors[q, j])
            scale = 1 / np.sqrt(square) if square > 0 else 0.0
        square = 0.0
        for j in range(d):
            centred[j] = scale * vectors[q, j] - origin[j]
            square += np.float64(centred[j]) * np.float64(centred[j])
        units[q] = _to_whole(centred, most, whole[q]) if scale else 0.0
        squares[q] = square
    sums = np.empty((n, OUTPUTS * len(axes)), np.int32)
    products(axes, whole, sums)
    views = np.empty(n_axes, np.float32)
    whole = np.zeros((n, 2 * codewords.shape[1]), np.int16)
    of_mean = np.empty(n, np.float32)
    for q in range(n):
        for j in range(n_axes):
            views[j] = units[q] * axis_units[j] * sums[q, j]
        of_mean[q] = factor * units[q] * axis_units[n_axes] * sums[q, n_axes]
        units[q] = factor * _to_whole(views, most_of_views, whole[q])
    sums = np.empty((n, OUTPUTS * len(codewords)), np.int32)
    products(codewords, whole, sums)
    for q in range(n):
        if unit and not vectors[q].any():
            tables[q] = 0
            continue
        unit_of_view = np.float32(units[q])
        for j in range(n_bytes):
            shift = of_mean[q] if j == 0 else np.float32(0)
            for value in range(256):
                scale = unit_of_view * codeword_units[j, value]
                entry = scale * np.float32(sums[q, 256 * j + value])
                tables[q, j, value] = entry + (shift + offsets[j, value])
