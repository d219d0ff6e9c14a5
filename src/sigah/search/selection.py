"""Filters, which say which codes a search may find, prepared for one search or for many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.search.checks import check_ids
from sigah.search.compiled import kernels
from sigah.search.segment import (
    Segment,
    as_bits,
    as_positions,
    ids_at,
    living,
    make_segment,
    rows_of,
)

__all__ = ["MASK_REFUSED", "Candidates", "Filter", "Selection", "every_code", "is_mask"]

Predicate = Callable[[NDArray[np.int64]], ArrayLike]  # ids to a boolean for each of them
Filter = ArrayLike | Predicate

MASK_REFUSED = (
    "filter: a boolean mask belongs to one state of the index, which may have changed since the"
    " mask was made; give ids, or a function of ids"
)

# A filtered search uses a copy of the chosen codes if that is cheaper than scanning all codes.
COPY_COST = 500  # comparisons of a query with a code that take as long as copying one code
LARGEST_COPY = 4  # copy at most 1 / this of a segment; a larger copy is no faster to scan
LARGEST_COPY_BESIDE_TABLES = 64  # for a larger share, tables are faster than a copy


@dataclass(frozen=True, eq=False)
class Candidates:
    """Codes of a segment that a search may find."""

    segment: Segment
    bits: NDArray[np.uint64]  # a bit for each code that may be found

    @property
    def are_all(self) -> bool:
        """Whether these are all codes of the segment that are not removed."""
        return self.bits is self.segment.alive


def is_mask(filter: Filter) -> bool:
    """Whether a filter is a boolean for each code, rather than ids or a function of ids."""
    return not callable(filter) and np.asarray(filter).dtype == np.bool_


def every_code(segments: Sequence[Segment]) -> list[Candidates]:
    """The candidates of a search without a filter."""
    return [Candidates(segment, segment.alive) for segment in segments]


class Selection:
    """A filter prepared for many searches; made by ``select`` of an index or a snapshot.

    A selection refers to ids, not to positions in the index, so it stays correct after additions,
    removals and updates: a search finds those of the chosen ids that the index holds when the
    search begins. Only segments that changed since the last search are prepared again. Any number
    of threads may use one selection. A selection holds copies of up to a quarter of the codes, and
    keeps the codes of its last search in memory.

    Parameters
    ----------
    filter : array-like of int, or callable
        The ids that may be found, or a function from an array of ids to a boolean for each. The
        function must always give the same answer for the same id.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import HammingIndex
    >>> index = HammingIndex(n_bits=8)
    >>> index.add(np.array([[0], [1], [3], [255]], np.uint8))
    >>> even = index.select(lambda ids: ids % 2 == 0)
    >>> index.search(np.array([[1]], np.uint8), k=1, filter=even)
    (array([[1]], dtype=int32), array([[0]]))
    >>> index.add(np.array([[1]], np.uint8), ids=[8])
    >>> index.search(np.array([[1]], np.uint8), k=1, filter=even)
    (array([[0]], dtype=int32), array([[8]]))
    """

    def __init__(self, filter: Filter) -> None:
        self._chosen = filter if callable(filter) else ascending(check_ids(filter, name="filter"))
        self._prepared: dict[Segment, Candidates | None] = {}

    def candidates(self, segments: Sequence[Segment]) -> list[Candidates]:
        """The chosen codes of segments, kept for the next search."""
        before = self._prepared
        now = {
            segment: before[segment] if segment in before else _candidates(segment, self._chosen)
            for segment in segments
        }
        self._prepared = now  # another thread may still read the old dictionary
        return [some for some in now.values() if some is not None]

    def candidates_once(self, segments: Sequence[Segment], n_queries: int) -> list[Candidates]:
        """The chosen codes of segments, for one search."""
        found = [_candidates(segment, self._chosen, n_queries) for segment in segments]
        return [some for some in found if some is not None]


def ascending(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids in ascending order."""
    return ids if (ids[1:] >= ids[:-1]).all() else np.sort(ids)


def _candidates(
    segment: Segment, chosen: NDArray[np.int64] | Predicate, n_queries: float = math.inf
) -> Candidates | None:
    """The chosen codes of one segment; None if there are none."""
    if callable(chosen):
        bits, count = _bits_of_predicate(segment, chosen)
    else:
        bits, count = _bits_of_ids(segment, chosen)
    return candidates_of_bits(segment, bits, count, n_queries)


def candidates_of_bits(
    segment: Segment, bits: NDArray[np.uint64], count: int, n_queries: float
) -> Candidates | None:
    """Candidates for ``count`` set bits: a copy of the codes if they are few, else the segment."""
    if not count:
        return None
    largest = LARGEST_COPY if segment.tables is None else LARGEST_COPY_BESIDE_TABLES
    if count * max(COPY_COST / max(n_queries, 1), largest) > len(segment):
        return Candidates(segment, bits)
    positions = as_positions(bits)
    n_extra = segment.extra.shape[2]
    copied = make_segment(rows_of(segment, positions), ids_at(segment, positions), n_extra)
    return Candidates(copied, copied.alive)


def _bits_of_ids(segment: Segment, ids: NDArray[np.int64]) -> tuple[NDArray[np.uint64], int]:
    bits = np.zeros_like(segment.alive)
    if isinstance(segment.ids, range):
        first = segment.ids.start
        return bits, kernels().mark_consecutive(first, len(segment), ids, segment.alive, bits)
    return bits, kernels().mark_listed(segment.ids, ids, segment.alive, bits)


def _bits_of_predicate(segment: Segment, chosen: Predicate) -> tuple[NDArray[np.uint64], int]:
    ids = ids_at(segment, living(segment))
    answer = np.asarray(chosen(ids))
    if answer.dtype != np.bool_ or answer.shape != ids.shape:
        raise ValueError(
            f"filter must return a boolean for each of the {len(ids)} ids given to it, but it"
            f" returned {answer.dtype} of shape {answer.shape}"
        )
    return bits_of_mask(segment, answer)


def bits_of_mask(segment: Segment, mask: NDArray[np.bool_]) -> tuple[NDArray[np.uint64], int]:
    """A bit for each code chosen by a mask over the living codes of a segment; and their number."""
    count = int(np.count_nonzero(mask))
    n_words = len(segment.alive)
    if segment.n_alive < len(segment):
        return as_bits(living(segment)[mask], n_words), count
    packed = np.packbits(mask, bitorder="little")
    bits = np.zeros(n_words, np.uint64)
    bits.view(np.uint8)[: len(packed)] = packed
    return bits, count
