"""Kernels that rank codes by a sum of table entries, one entry for each byte of a code.

A *score* of a code is ``factors[code[-1]] * sum_j tables[j, code[j]]``, in float32. In every kernel
the sum runs from the first byte to the last, so equal codes have equal scores and the kernels agree
bit by bit. The smallest scores are the nearest; ties go to the lower position.

:mod:`sigah.search.compiled` imports this module when a kernel is first called.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sigah.search.kernel_cache import compiled
from sigah.search.kernels import collect_nearest, drop_far, prefetch, trailing_zeros
from sigah.search.layout import GROUP, LANES, MISSING_ID, POSITION_MASK

__all__ = ["rank_codes", "rank_nearest", "scan_scores", "score_codes"]

AHEAD = 3  # candidates that are prefetched before they are scored
VECTORS = GROUP // LANES
_GROUP, _LANE = np.uint64(GROUP), np.uint64(GROUP - 1)


@compiled
def _place(stride: Any, position: int) -> Any:
    """Where the first byte of a code lies in the flat planes, which have ``stride`` bytes a group.

    The kernels look bytes up by such unsigned places: a negative index would cost a comparison.
    """
    return (np.uint64(position) // _GROUP) * stride + (np.uint64(position) & _LANE)


@compiled
def _score(flat: Any, stride: Any, position: int, table: Any, factors: Any) -> Any:
    """The score of the code at a position."""
    place = _place(stride, position)
    total = np.float32(0)
    for j in range(len(table)):
        total += table[j, flat[place + np.uint64(j) * _GROUP]]
    return factors[flat[place + stride - _GROUP]] * total


@compiled
def score_codes(planes: Any, positions: Any, tables: Any, factors: Any, scores: Any) -> None:
    """Scores of the codes at some positions ``(q, c)``; infinity where a position is missing."""
    flat, stride = planes.reshape(planes.size), np.uint64(planes.shape[1]) * _GROUP
    for q in range(positions.shape[0]):
        for c in range(positions.shape[1]):
            if positions[q, c] == MISSING_ID:
                scores[q, c] = np.inf
            else:
                scores[q, c] = _score(flat, stride, positions[q, c], tables[q], factors)


@compiled
def rank_codes(
    planes: Any, candidates: Any, tables: Any, factors: Any, scores: Any, positions: Any
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
        sound &= _rank(planes, some, tables[q], factors, scores[q], positions[q])
    return sound


@compiled
def rank_nearest(
    planes: Any,
    selected: Any,
    queries: Any,
    shortlist: int,
    tables: Any,
    factors: Any,
    scores: Any,
    positions: Any,
) -> bool:
    """The nearest by score among the ``shortlist`` nearest of each query by Hamming distance.

    Returns whether every score is a number.
    """
    candidates, held, seen, limits, near = collect_nearest(
        planes, selected, 0, len(planes), queries, shortlist
    )
    shortlist = min(shortlist, len(planes) * GROUP)
    sound = True
    for q in range(len(queries)):
        room = shortlist - (near[q] - seen[q, limits[q]])
        count = drop_far(candidates[q], held[q], limits[q], room)
        some = candidates[q, :count]
        sound &= _rank(planes, some, tables[q], factors, scores[q], positions[q])
    return sound


@compiled
def _rank(
    planes: Any, candidates: Any, table: Any, factors: Any, scores: Any, positions: Any
) -> bool:
    """The nearest by score of some codes; above their positions, candidates may hold more bits."""
    flat, stride = planes.reshape(planes.size), np.uint64(planes.shape[1]) * _GROUP
    start = np.uint64(planes.ctypes.data)
    sound, held, k = True, 0, len(scores)
    for c in range(len(candidates)):
        if c + AHEAD < len(candidates):  # each byte of a code lies in a cache line of its own
            place = start + _place(stride, candidates[c + AHEAD] & POSITION_MASK)
            for j in range(planes.shape[1]):
                prefetch(place + np.uint64(j) * _GROUP)
        position = candidates[c] & POSITION_MASK
        score = _score(flat, stride, position, table, factors)
        sound &= score == score
        if held < k or score <= scores[0]:
            held = _offer(scores, positions, held, score, position)
    _sort_heap(scores, positions, held)
    return sound


@compiled
def scan_scores(
    planes: Any,
    selected: Any,
    first: int,
    last: int,
    tables: Any,
    factors: Any,
    scores: Any,
    positions: Any,
) -> bool:
    """The nearest by score among the selected codes of groups ``first`` to ``last``.

    Returns whether every score is a number.
    """
    totals = np.empty(GROUP, np.float32)
    n_bytes = tables.shape[1]
    sound, k = True, scores.shape[1]
    for q in range(tables.shape[0]):
        nearest, places = scores[q], positions[q]
        held = 0
        for group in range(first, last):
            totals[:] = 0
            for j in range(n_bytes):
                for lane in range(GROUP):
                    totals[lane] += tables[q, j, planes[group, j, lane]]
            for v in range(VECTORS):
                bits = selected[group * VECTORS + v]
                while bits != 0:
                    nth = v * LANES + np.int64(trailing_zeros(bits))
                    bits &= bits - np.uint64(1)
                    score = factors[planes[group, planes.shape[1] - 1, nth]] * totals[nth]
                    sound &= score == score
                    if held < k or score <= nearest[0]:
                        held = _offer(nearest, places, held, score, group * GROUP + nth)
        _sort_heap(nearest, places, held)
    return sound


@compiled
def _offer(scores: Any, positions: Any, held: int, score: Any, position: int) -> int:
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
def _sort_heap(scores: Any, positions: Any, held: int) -> None:
    """Sort a heap by score and position; what it does not fill is missing."""
    scores[held:], positions[held:] = np.inf, MISSING_ID
    for end in range(held - 1, 0, -1):
        score, position = scores[end], positions[end]
        scores[end], positions[end] = scores[0], positions[0]
        _sink(scores, positions, end, score, position)
