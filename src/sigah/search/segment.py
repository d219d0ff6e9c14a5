"""Segments: immutable runs of codes with their ids, of which a :class:`HammingIndex` consists.

Because a segment never changes, readers need no lock: a search works on the segments that the index
had when the search began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.search.compiled import kernels
from sigah.search.layout import GROUP, LANES, empty_planes, to_groups, to_planes
from sigah.search.multi_index import MultiIndex

__all__ = [
    "Ids",
    "Segment",
    "all_alive",
    "as_bits",
    "as_positions",
    "ids_at",
    "ids_of",
    "largest_id",
    "living",
    "make_segment",
    "merge",
    "positions_of",
    "rows_of",
    "without",
]

Ids = range | NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segment:
    """Codes in ascending order of their ids: breaking a tie by position breaks it by id."""

    planes: NDArray[np.uint8]  # (n_groups, n_bytes, GROUP), the codes byte by byte: see kernels
    ids: Ids  # ascending; a range if they are consecutive, which takes no memory
    alive: NDArray[np.uint64]  # (n_groups * GROUP // LANES,), a bit for each code; 0: removed
    n_alive: int
    extra: NDArray[np.uint8]  # (n_groups, GROUP, m), bytes kept beside each code, row by row
    tables: MultiIndex | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __deepcopy__(self, memo: object) -> Segment:
        return self  # it never changes

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (
            self.planes, self.ids, self.alive, self.n_alive, self.extra, self.tables
        )  # fmt: skip


def _rebuilt(planes: NDArray[np.uint8], *fields: Any) -> Segment:
    """A segment from a pickle; its planes are aligned again, because kernels need that."""
    if planes.ctypes.data % LANES:
        aligned = empty_planes(*planes.shape[:2])
        aligned[:] = planes
        planes = aligned
    return Segment(planes, *fields)


def make_segment(codes: NDArray[np.uint8], ids: Ids, n_extra: int = 0) -> Segment:
    """A segment of these codes; ids must be ascending.

    The last ``n_extra`` bytes of a row are not part of its code; they are kept beside it.
    """
    if not isinstance(ids, range) and (not len(ids) or ids[-1] - ids[0] == len(ids) - 1):
        ids = range(int(ids[0]), int(ids[-1]) + 1) if len(ids) else range(0)
    n_bytes = codes.shape[1] - n_extra
    planes, extra = to_planes(codes[:, :n_bytes]), to_groups(codes[:, n_bytes:])
    return Segment(planes, ids, all_alive(len(codes)), len(codes), extra)


def all_alive(n: int) -> NDArray[np.uint64]:
    """The bits of ``n`` codes, and zeros up to the end of their last group."""
    bits = np.zeros(-(-n // GROUP) * GROUP // LANES, np.uint64)
    bits[: n // LANES] = ~np.uint64(0)
    if n % LANES:
        bits[n // LANES] = (np.uint64(1) << np.uint64(n % LANES)) - np.uint64(1)
    return bits


def as_bits(positions: NDArray[np.int64], n_words: int) -> NDArray[np.uint64]:
    """Positions as set bits of 64-bit words."""
    flags = np.zeros(n_words * LANES, np.bool_)
    flags[positions] = True
    return np.packbits(flags, bitorder="little").view(np.uint64)


def as_positions(bits: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Undo :func:`as_bits`."""
    positions = np.empty(int(np.bitwise_count(bits).sum()), np.int64)
    kernels().positions_of_bits(bits, positions)
    return positions


def ids_at(segment: Segment, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids of the codes at some positions."""
    if isinstance(segment.ids, range):
        return positions + segment.ids.start if segment.ids.start else positions
    return np.take(segment.ids, positions)


def positions_of(segment: Segment, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of living codes by id, -1 for ids that the segment does not hold."""
    if isinstance(segment.ids, range):
        positions = ids - segment.ids.start
        held = (ids >= segment.ids.start) & (ids < segment.ids.stop)
    else:
        positions = np.searchsorted(segment.ids, ids)
        positions[positions == len(segment)] = 0
        held = segment.ids[positions] == ids
    positions[~held] = 0
    word = segment.alive[positions // LANES] >> (positions % LANES).astype(np.uint64)
    return np.where(held & (word & np.uint64(1)).astype(np.bool_), positions, -1)


def living(segment: Segment) -> NDArray[np.int64]:
    """Positions of the codes that are not removed."""
    if segment.n_alive == len(segment):
        return np.arange(len(segment))
    return as_positions(segment.alive)


def ids_of(segments: Sequence[Segment]) -> NDArray[np.int64]:
    """Ids of the codes of several segments that are not removed, ascending."""
    parts = [ids_at(segment, living(segment)) for segment in segments]
    if len(parts) == 1:
        return parts[0]
    return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))


def largest_id(segment: Segment) -> int:
    """The largest id of the codes that are not removed; the segment must have one."""
    word = int(np.flatnonzero(segment.alive)[-1])
    last = word * LANES + int(segment.alive[word]).bit_length() - 1
    return int(ids_at(segment, np.array([last]))[0])


def rows_of(segment: Segment, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Codes at some positions, one row each, with the bytes beside them."""
    return kernels().from_planes(segment.planes, segment.extra, positions)


def without(segment: Segment, positions: NDArray[np.int64]) -> Segment:
    """The segment with the codes at some positions removed; the arrays of codes are shared."""
    dead = as_bits(positions, len(segment.alive))
    return replace(segment, alive=segment.alive & ~dead, n_alive=segment.n_alive - len(positions))


def merge(segments: Sequence[Segment], n_bytes: int, n_extra: int = 0) -> Segment:
    """One segment with the living codes of several."""
    if len(segments) == 1 and segments[0].n_alive == len(segments[0]):
        return segments[0]
    parts = [living(segment) for segment in segments]
    ids = np.concatenate(
        [ids_at(segment, part) for segment, part in zip(segments, parts, strict=True)]
        or [np.empty(0, np.int64)]
    )
    codes = np.empty((len(ids), n_bytes + n_extra), np.uint8)
    start = 0
    for segment, part in zip(segments, parts, strict=True):
        codes[start : start + len(part)] = rows_of(segment, part)
        start += len(part)
    order: Any = slice(None)
    if (ids[1:] < ids[:-1]).any():
        order = np.argsort(ids)
    return make_segment(codes[order], ids[order], n_extra)
