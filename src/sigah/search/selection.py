"""Which codes a search may find: all that live, or those that a filter names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.search.checks import check_ids
from sigah.search.segment import (
    Segment,
    as_bits,
    as_positions,
    ids_at,
    ids_of,
    make_segment,
    positions_of,
    rows_of,
)

__all__ = ["Part", "selected"]

Part = tuple[Segment, NDArray[np.uint64]]  # with a bit for each code that may be found

# A filter that leaves less than one code in so many is answered from a copy of those few.
FEW = 64


def selected(segments: Sequence[Segment], filter: ArrayLike | None) -> list[Part]:
    """Segments to look into, and a bit for each code that may be found."""
    if filter is None:
        return [(segment, segment.alive) for segment in segments]
    chosen = np.asarray(filter)
    if chosen.dtype == np.bool_:
        held = ids_of(segments)
        if chosen.shape != held.shape:
            raise ValueError(
                f"a mask must have shape {held.shape}, one for each of index.ids, got"
                f" {chosen.shape}"
            )
        chosen = held[chosen]
    wanted = check_ids(chosen, name="filter")
    parts = []
    for segment in segments:
        positions = positions_of(segment, wanted)
        bits = as_bits(positions[positions >= 0], len(segment.alive))
        n_chosen = int(np.bitwise_count(bits).sum())
        if n_chosen * FEW >= len(segment):
            parts.append((segment, bits))
        elif n_chosen:
            positions = as_positions(bits)
            few = make_segment(rows_of(segment, positions), ids_at(segment, positions))
            parts.append((few, few.alive))
    return parts
