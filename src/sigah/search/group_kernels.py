"""The comparison of a query with a group of 256 codes: the inner loop of every scan.

Codes lie in *groups* of 256, byte by byte: all first bytes of the group, then all second bytes, and
so on (``planes``: ``uint8 (n_groups, n_bytes, 256)``). One vector instruction then compares the
same byte of 64 codes with that of a query. The distances of 64 codes end up side by side, one byte
each, so one instruction compares all of them with a limit. Most groups hold no code below the limit
and need no further work.

Queries may be narrower than the codes: only as many leading bytes as a query has are compared, and
only those are read. A query is one of two arrays of ``uint8``:

- a *code* ``(n_bytes,)``: the distance is Hamming's;
- *small tables* ``(n_bytes, 32)``: what each value of the low and the high half of each byte adds
  to the distance, which must stay below 255. A register holds the table of a half
  (:mod:`sigah.search.asymmetric_kernels` names the source).

The loops are written with LLVM vectors, which LLVM compiles for the machine's instructions:
VPOPCNTB with AVX-512, table look-ups with AVX2, ``cnt`` with NEON.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sigah.search.instructions import (
    add_halves,
    instruction_for,
    load_halves,
    prefetch_line,
    splat,
)
from sigah.search.kernel_cache import compiled
from sigah.search.layout import GROUP, LANES

__all__ = ["VECTORS", "compare"]

VECTORS = GROUP // LANES
BYTES_PER_RUN = 31  # the sum of their popcounts, at most 248, fits in a byte


def _write_nearer(
    builder: Any, totals: Any, lanes: Any, limit: Any, distances: Any, below: Any
) -> Any:
    """Whether any total is below the limit; if so, write the totals and the bits of those below."""
    word = ir.IntType(64)
    bound = splat(builder, builder.trunc(limit, lanes.element), lanes)
    masks = []
    for total in totals:
        nearer = builder.icmp_unsigned("<", builder.load(total), bound)
        masks.append(builder.bitcast(nearer, word))
    either = builder.or_(builder.or_(masks[0], masks[1]), builder.or_(masks[2], masks[3]))
    found = builder.icmp_unsigned("!=", either, word(0))
    with builder.if_then(found, likely=False):
        wide = ir.VectorType(ir.IntType(16), LANES)
        distances = builder.inttoptr(distances, wide.as_pointer())
        below = builder.inttoptr(below, word.as_pointer())
        for v, (total, mask) in enumerate(zip(totals, masks, strict=True)):
            value = builder.load(total)
            value = builder.zext(value, wide) if lanes.element.width == 8 else value
            builder.store(value, builder.gep(distances, [word(v)]), align=2)
            builder.store(mask, builder.gep(below, [word(v)]))
    return found


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
            return _write_nearer(builder, totals, lanes_vector, limit, distances, below)

        address = types.uintp
        numbers = (types.int64, types.int64)
        return types.boolean(address, address, address, *numbers, address, address), generate

    return group_distances


_group_distances_8 = _group_distances(8)
_group_distances_16 = _group_distances(16)


@intrinsic
def _group_sums(
    typing: Any,
    group: Any,
    ahead: Any,
    tables: Any,
    n_bytes: Any,
    limit: Any,
    distances: Any,
    below: Any,
) -> Any:
    """As the kernels of Hamming distances, for the small tables at address ``tables``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        group, ahead, tables, n_bytes, limit, distances, below = arguments
        instruction = instruction_for(context.codegen().magic_tuple()[2])
        byte, word = ir.IntType(8), ir.IntType(64)
        codes = ir.VectorType(byte, LANES)
        group, ahead, tables = (
            builder.inttoptr(address, byte.as_pointer()) for address in (group, ahead, tables)
        )
        totals = [cgutils.alloca_once(builder, codes) for _ in range(VECTORS)]
        for total in totals:
            builder.store(ir.Constant(codes, [0] * LANES), total)
        with cgutils.for_range_slice(builder, word(0), n_bytes, word(1), word) as (b, _):
            offset = builder.mul(b, word(GROUP))
            plane, next_plane = builder.gep(group, [offset]), builder.gep(ahead, [offset])
            halves = load_halves(builder, tables, b)
            for v, total in enumerate(totals):
                prefetch_line(builder, builder.gep(next_plane, [word(v * LANES)]))
                where = builder.gep(plane, [word(v * LANES)])
                values = builder.load(builder.bitcast(where, codes.as_pointer()), align=64)
                entries = add_halves(builder, instruction, halves, values)
                builder.store(builder.add(builder.load(total), entries), total)
        return _write_nearer(builder, totals, codes, limit, distances, below)

    address = types.uintp
    numbers = (types.int64, types.int64)
    return types.boolean(address, address, address, *numbers, address, address), generate


@compiled
def compare(planes: Any, group: int, query: Any, limit: int, distances: Any, below: Any) -> bool:
    """Whether a group holds codes below the limit; if so, its distances and their bits."""
    n_bytes = len(query)
    stride = planes.shape[1] * GROUP
    group_at = planes.ctypes.data + group * stride
    ahead, query_at = group_at + stride, query.ctypes.data
    if query.ndim == 2:
        return _group_sums(
            group_at, ahead, query_at, n_bytes, limit, distances.ctypes.data, below.ctypes.data
        )
    if n_bytes <= BYTES_PER_RUN:
        return _group_distances_8(
            group_at, ahead, query_at, n_bytes, limit, distances.ctypes.data, below.ctypes.data
        )
    return _group_distances_16(
        group_at, ahead, query_at, n_bytes, limit, distances.ctypes.data, below.ctypes.data
    )
