"""Single instructions, and short runs of them, that kernels are built from; written for LLVM.

LLVM compiles most of them for any machine. For two, the instruction is chosen by name: a look-up in
a register, and products of neighbouring whole numbers added up in pairs.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sigah.search.layout import LANES

__all__ = [
    "add_halves",
    "instruction_for",
    "load_halves",
    "look_up",
    "multiply_pairs",
    "ones",
    "prefetch",
    "prefetch_line",
    "shuffle",
    "splat",
    "trailing_zeros",
]

FEATURES = {"avx512": "+avx512bw", "avx2": "+avx2", "ssse3": "+ssse3", "neon": "+neon"}
FORCED: str | None = None  # chosen by tests instead of the machine


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


def instruction_for(features: str) -> str:
    """The instructions to choose from, for LLVM's names of CPU features."""
    if FORCED is not None:
        return FORCED
    has = set(features.split(","))
    return next((name for name, feature in FEATURES.items() if feature in has), "none")


def look_up(builder: Any, instruction: str, table: Any, indices: Any) -> Any:
    """Entries ``<64 x i8>`` of a table ``<16 x i8>`` at indices below 16."""
    byte, i32 = ir.IntType(8), ir.IntType(32)
    if instruction == "none":
        place = cgutils.alloca_once(builder, table.type)
        builder.store(table, place)
        entries = builder.bitcast(place, byte.as_pointer())
        found = ir.Constant(indices.type, ir.Undefined)
        for lane in range(LANES):
            index = builder.zext(builder.extract_element(indices, i32(lane)), i32)
            entry = builder.load(builder.gep(entries, [index]))
            found = builder.insert_element(found, entry, i32(lane))
        return found
    name, width = {
        "avx512": ("llvm.x86.avx2.pshuf.b", 32),  # wider ones are not faster
        "avx2": ("llvm.x86.avx2.pshuf.b", 32),
        "ssse3": ("llvm.x86.ssse3.pshuf.b.128", 16),
        "neon": ("llvm.aarch64.neon.tbl1.v16i8", 16),
    }[instruction]
    kind = ir.VectorType(byte, width)
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind, kind]), name
    )
    parts = []
    repeated = shuffle(builder, table, table, [lane % 16 for lane in range(width)])
    for first in range(0, LANES, width):
        some = shuffle(builder, indices, indices, list(range(first, first + width)))
        parts.append(builder.call(function, [repeated, some]))
    while len(parts) > 1:
        wide = list(range(2 * parts[0].type.count))
        parts = [
            shuffle(builder, *pair, wide) for pair in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


def load_halves(builder: Any, tables: Any, b: Any) -> tuple[Any, Any]:
    """The tables ``<16 x i8>`` of the low and of the high four bits of byte number ``b``."""
    word, table = ir.IntType(64), ir.VectorType(ir.IntType(8), 16)
    places = (builder.add(builder.mul(b, word(32)), word(half)) for half in (0, 16))
    low, high = (
        builder.load(builder.bitcast(builder.gep(tables, [place]), table.as_pointer()), align=1)
        for place in places
    )
    return low, high


def add_halves(builder: Any, instruction: str, halves: tuple[Any, Any], values: Any) -> Any:
    """For bytes ``<64 x i8>``: the entry of the low four bits plus that of the high ones."""
    low, high = halves
    mask, four = (ir.Constant(values.type, [number] * LANES) for number in (15, 4))
    return builder.add(
        look_up(builder, instruction, low, builder.and_(values, mask)),
        look_up(builder, instruction, high, builder.lshr(values, four)),
    )


def shuffle(builder: Any, first: Any, second: Any, lanes: list[int]) -> Any:
    """Lanes of two vectors, by number."""
    kind = ir.VectorType(ir.IntType(32), len(lanes))
    return builder.shuffle_vector(first, second, ir.Constant(kind, lanes))


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


def multiply_pairs(builder: Any, instruction: str, first: Any, second: Any) -> Any:
    """``<n/2 x i32>``: products of ``<n x i16>``, each with that of its neighbour added."""
    i32, n = ir.IntType(32), first.type.count
    named = {("avx512", 32): "llvm.x86.avx512.pmaddw.d.512", ("avx2", 16): "llvm.x86.avx2.pmadd.wd"}
    if name := named.get((instruction, n)):
        sums = ir.VectorType(i32, n // 2)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(sums, [first.type, first.type]), name
        )
        return builder.call(function, [first, second])
    wide = ir.VectorType(i32, n)
    products = builder.mul(builder.sext(first, wide), builder.sext(second, wide))
    even = shuffle(builder, products, products, list(range(0, n, 2)))
    odd = shuffle(builder, products, products, list(range(1, n, 2)))
    return builder.add(even, odd)
