"""Products of many vectors with few queries in whole numbers: the tables of queries.

A single query reads every codeword once, so the time is that of reading them: one byte for a number
instead of four. Sums of whole numbers are exact. So a query has the same tables whether it comes
alone or among others.

Weights lie in blocks of 32 outputs, ``int8`` or ``int16 (n_blocks, n_pairs, 32, 2)``: the first two
numbers of all 32, then the next two, and so on. One instruction multiplies and adds eight pairs.

:mod:`sigah.search.compiled` imports this module when a kernel is first called.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sigah.search.instructions import instruction_for, multiply_pairs, splat
from sigah.search.kernel_cache import compiled
from sigah.search.layout import OUTPUTS

__all__ = ["products", "query_tables"]

AT_ONCE = 2  # queries that share a block's numbers while these are in registers


def _block_products(bits: int) -> Any:
    """Make the kernel of one block, with weights of 8 or 16 bits."""

    @intrinsic
    def block_products(
        typing: Any, block: Any, n_pairs: Any, first: Any, second: Any, sums: Any, others: Any
    ) -> Any:
        """Products of the block at an address with the two queries (int16) at addresses.

        They are written to the addresses ``sums`` and ``others`` (int32), 32 each.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            block, n_pairs, first, second, sums, others = arguments
            instruction = instruction_for(context.codegen().magic_tuple()[2])
            i16, i32, word = ir.IntType(16), ir.IntType(32), ir.IntType(64)
            some = ir.VectorType(ir.IntType(bits), 16)
            pairs, eight = ir.VectorType(i16, 16), ir.VectorType(i32, 8)
            n_parts = OUTPUTS // 8
            block = builder.inttoptr(block, some.as_pointer())
            queries = [builder.inttoptr(query, i32.as_pointer()) for query in (first, second)]
            zeros = ir.Constant(eight, [0] * 8)
            totals = [
                [cgutils.alloca_once_value(builder, zeros) for _ in range(n_parts)] for _ in queries
            ]
            with cgutils.for_range_slice(builder, word(0), n_pairs, word(1), word) as (i, _):
                both = [
                    builder.bitcast(
                        splat(builder, builder.load(builder.gep(query, [i]), align=2), eight), pairs
                    )
                    for query in queries
                ]
                start = builder.mul(i, word(n_parts))
                for part in range(n_parts):
                    where = builder.gep(block, [builder.add(start, word(part))])
                    weights = builder.load(where, align=bits // 8)
                    weights = builder.sext(weights, pairs) if bits == 8 else weights
                    for query, own in zip(both, totals, strict=True):
                        found = multiply_pairs(builder, instruction, weights, query)
                        builder.store(builder.add(builder.load(own[part]), found), own[part])
            for own, address in zip(totals, (sums, others), strict=True):
                target = builder.inttoptr(address, eight.as_pointer())
                for part, total in enumerate(own):
                    builder.store(builder.load(total), builder.gep(target, [word(part)]), align=4)
            return context.get_dummy_value()

        address = types.uintp
        arguments = (address, types.int64, address, address, address, address)
        return types.void(*arguments), generate

    return block_products


_block_products_8 = _block_products(8)
_block_products_16 = _block_products(16)


@compiled
def products(blocks: Any, queries: Any, sums: Any) -> None:
    """Products ``int32 (q, 32 n_blocks)`` of all outputs with queries ``int16 (q, 2 n_pairs)``."""
    n_pairs = blocks.shape[1]
    block_bytes = n_pairs * OUTPUTS * 2 * blocks.itemsize
    for b in range(len(blocks)):
        block = blocks.ctypes.data + b * block_bytes
        for q in range(0, len(queries), AT_ONCE):
            other = min(q + 1, len(queries) - 1)
            first, second = queries.ctypes.data, queries.ctypes.data
            first += q * 4 * n_pairs
            second += other * 4 * n_pairs
            out = sums.ctypes.data + 4 * OUTPUTS * b
            one, two = out + q * 4 * sums.shape[1], out + other * 4 * sums.shape[1]
            if blocks.itemsize == 1:
                _block_products_8(block, n_pairs, first, second, one, two)
            else:
                _block_products_16(block, n_pairs, first, second, one, two)


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
