"""Rank the codes of an index by scores: all of them, or those nearest by Hamming distance.

Queries are tables or projections, the two forms that :mod:`sigah.search.score_kernels` describes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.search.compiled import asymmetric_kernels, kernels, score_kernels
from sigah.search.layout import GROUP, MISSING_ID
from sigah.search.merging import Nearest, merge_nearest
from sigah.search.scan import most_queries, share_queries, useful_threads
from sigah.search.segment import Segment
from sigah.search.segment_search import Counts, ids_found, nearest_positions
from sigah.search.selection import Candidates
from sigah.threads import run_together

__all__ = [
    "Scores",
    "check_factors",
    "check_projections",
    "check_tables",
    "nearest_by_scores",
    "rank_shortlist",
    "small_tables",
]

Scores = tuple[NDArray[np.float32], NDArray[np.int64]]  # scores and ids, both (q, k)

PAIRS_PER_BLOCK = 1 << 20  # queries times codes of a shortlist that are held at a time
LOOKUP_BYTES = 8  # a look-up in memory takes about as long as comparing so many bytes of codes
REGISTER_BYTES = 2  # a look-up in registers
_NO_FACTORS = np.ones(256, np.float32)


def check_tables(tables: ArrayLike, n_bytes: int) -> NDArray[np.float32]:
    """Tables as kernels take them, one entry for each value of each byte of a code."""
    array = np.asarray(tables)
    if array.shape[1:] != (n_bytes, 256) or array.dtype.kind not in "fiu":
        raise ValueError(
            f"tables must be numbers of shape (q, {n_bytes}, 256), an entry for each value of each"
            f" byte of a code, got {array.dtype} of shape {array.shape}"
        )
    return _as_float32(array)


def check_projections(projections: ArrayLike, n_bits: int) -> NDArray[np.float32]:
    """Projections as kernels take them, one for each bit of a code."""
    array = np.asarray(projections)
    if array.shape[1:] != (n_bits,) or array.dtype.kind not in "fiu":
        raise ValueError(
            f"projections must be numbers of shape (q, {n_bits}), one for each bit of a code, got"
            f" {array.dtype} of shape {array.shape}"
        )
    with np.errstate(over="ignore"):
        scores = _as_float32(array)
    if not np.isfinite(scores).all():
        raise ValueError("projections contain NaN, infinity or a value too large for float32")
    return scores


def check_factors(factors: ArrayLike | None) -> NDArray[np.float32]:
    """Factors as kernels take them; without any, ones."""
    if factors is None:
        return _NO_FACTORS
    array = np.asarray(factors)
    if array.shape != (256,) or array.dtype.kind not in "fiu":
        raise ValueError(
            "factors must be 256 numbers, one for each value of a code's last byte, got"
            f" {array.dtype} of shape {array.shape}"
        )
    return _as_float32(array)


def small_tables(tables: NDArray[np.float32], n_bytes: int) -> NDArray[np.uint8]:
    """A coarse copy of tables for the bytes of codes, which kernels take in place of codes."""
    small = np.empty((len(tables), n_bytes, 32), np.uint8)
    score_kernels().round_tables(tables, small)
    return small


def _as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """An array as kernels are compiled for: also writeable, which costs a copy at worst."""
    if array.dtype == np.float32 and array.flags.c_contiguous and array.flags.writeable:
        return array
    return np.require(array, np.float32, ["C", "W"])


def nearest_by_scores(
    candidates: Sequence[Candidates],
    views: NDArray[np.float32],
    factors: NDArray[np.float32],
    k: int,
    n_threads: int,
) -> Scores:
    """The ``k`` nearest of all candidates by their scores, then by id."""
    answers = [_scan(some, views, factors, k, n_threads) for some in candidates]
    return _merge(candidates, answers, len(views), k)


def _scan(
    candidates: Candidates,
    views: NDArray[np.float32],
    factors: NDArray[np.float32],
    k: int,
    n_threads: int,
) -> Scores:
    planes, extra = candidates.segment.planes, candidates.segment.extra
    selected, n_groups, n_queries = candidates.bits, len(planes), len(views)

    def scan(first: int, last: int, some: Any, scores: Any, positions: Any) -> bool:
        if views.ndim == 2:
            asymmetric_kernels().scan_asymmetric(
                planes, selected, first, last, some, scores, positions
            )
            return True
        sound: bool = score_kernels().scan_scores(
            planes, extra, selected, first, last, some, factors, scores, positions
        )
        return sound

    cost = REGISTER_BYTES if views.ndim == 2 else LOOKUP_BYTES
    n_bytes = n_groups * GROUP * _n_bytes(views) * cost
    n_parts = useful_threads(n_bytes, n_queries, n_threads)
    if n_parts == 1 or n_queries >= 4 * n_parts:  # threads share the queries
        scores = np.empty((n_queries, k), np.float32)
        positions = np.empty((n_queries, k), np.int64)
        if n_queries == 1:  # without the time that sharing takes
            _check(scan(0, n_groups, views, scores, positions))
            return scores, positions
        _call(
            lambda q: scan(0, n_groups, views[q], scores[q], positions[q]),
            share_queries(n_bytes, n_queries, n_parts, n_queries),
            n_parts,
        )
        return scores, positions
    part_scores = np.empty((n_parts, n_queries, k), np.float32)
    part_positions = np.empty((n_parts, n_queries, k), np.int64)
    cuts = [n_groups * part // n_parts for part in range(n_parts + 1)]
    _call(  # threads share the codes
        lambda part: scan(
            cuts[part], cuts[part + 1], views, part_scores[part], part_positions[part]
        ),
        [(part,) for part in range(n_parts)],
        n_parts,
    )
    scores, positions = np.empty_like(part_scores[0]), np.empty_like(part_positions[0])
    kernels().merge_nearest(part_scores, part_positions, scores, positions)
    return scores, positions


def rank_shortlist(
    candidates: Sequence[Candidates],
    codes: NDArray[np.uint8],
    shortlist: int,
    views: NDArray[np.float32],
    factors: NDArray[np.float32],
    k: int,
    n_threads: int,
) -> tuple[Scores, Counts]:
    """The ``k`` nearest by score among the ``shortlist`` nearest codes.

    The shortlist is of those nearest by the Hamming distance of the first ``codes.shape[1]`` bytes,
    or by small tables ``(q, n_bytes, 32)``. Also returned: how the shortlist was found.
    """
    shortlist = min(shortlist, sum(some.segment.n_alive for some in candidates))
    if len(candidates) == 1:
        (only,) = candidates
        answer = _rank_nearest(only, codes, shortlist, views, factors, k, n_threads)
        if answer is not None:
            return _merge(candidates, [answer], len(codes), k), {"tables": 0, "scan": len(codes)}
    counts = {"tables": 0, "scan": 0}
    step = max(1, PAIRS_PER_BLOCK // max(1, shortlist))
    blocks = []
    for start in range(0, max(1, len(codes)), step):
        rows = slice(start, start + step)
        lists = [
            nearest_positions(some, codes[rows], shortlist, n_threads, counts)
            for some in candidates
        ]
        if len(candidates) > 1:
            _shorten(candidates, lists, shortlist)
        answers = [
            _rank(some.segment, positions, views[rows], factors, k, n_threads)
            for some, (_, positions) in zip(candidates, lists, strict=True)
        ]
        blocks.append(_merge(candidates, answers, len(codes[rows]), k))
    if len(blocks) == 1:
        return blocks[0], counts
    scores, ids = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return (scores, ids), counts


def _rank_nearest(
    candidates: Candidates,
    codes: NDArray[np.uint8],
    shortlist: int,
    views: NDArray[np.float32],
    factors: NDArray[np.float32],
    k: int,
    n_threads: int,
) -> Scores | None:
    """Both stages in one kernel call for each thread; None where threads must share the codes."""
    planes, extra, bits = candidates.segment.planes, candidates.segment.extra, candidates.bits
    n_queries, n_bytes = codes.shape[:2]
    if candidates.segment.tables is not None and codes.shape[1:] == planes.shape[1:2]:
        return None
    n_bytes *= len(planes) * GROUP
    n_parts = useful_threads(n_bytes, n_queries, n_threads)
    if n_parts > 1 and n_queries < 4 * n_parts:
        return None
    rank = score_kernels().rank_nearest
    scores, positions = np.empty((n_queries, k), np.float32), np.empty((n_queries, k), np.int64)
    if n_queries == 1:  # without the time that sharing takes
        _check(rank(planes, extra, bits, codes, shortlist, views, factors, scores, positions))
        return scores, positions
    _call(
        lambda q: rank(
            planes, extra, bits, codes[q], shortlist, views[q], factors, scores[q], positions[q]
        ),
        share_queries(n_bytes, n_queries, n_parts, most_queries(shortlist, len(planes))),
        n_parts,
    )
    return scores, positions


def _shorten(candidates: Sequence[Candidates], lists: Sequence[Nearest], length: int) -> None:
    """Drop from the lists of positions what is not among the ``length`` nearest of all lists."""
    numbered = [
        (distances, ids_found(some.segment, positions))
        for some, (distances, positions) in zip(candidates, lists, strict=True)
    ]
    nearest = merge_nearest(numbered, len(lists[0][0]), length)
    last, last_id = (array[:, -1:] for array in nearest)
    for (_, positions), (distances, ids) in zip(lists, numbered, strict=True):
        positions[(distances > last) | ((distances == last) & (ids > last_id))] = MISSING_ID


def _rank(
    segment: Segment,
    positions: NDArray[np.int64],
    views: NDArray[np.float32],
    factors: NDArray[np.float32],
    k: int,
    n_threads: int,
) -> Scores:
    scores = np.empty((len(positions), k), np.float32)
    ranked = np.empty((len(positions), k), np.int64)
    n_bytes = LOOKUP_BYTES * positions.shape[1] * _n_bytes(views)
    n_parts = useful_threads(n_bytes, len(positions), n_threads)
    _call(
        lambda q: score_kernels().rank_codes(
            segment.planes, segment.extra, positions[q], views[q], factors, scores[q], ranked[q]
        ),
        share_queries(n_bytes, len(positions), n_parts, len(positions)),
        n_parts,
    )
    return scores, ranked


def _n_bytes(views: NDArray[np.float32]) -> int:
    """The width of the codes that tables or projections are for."""
    return views.shape[1] if views.ndim == 3 else views.shape[1] // 8


def _call(kernel: Callable[..., bool], arguments: Sequence[tuple[Any]], n_threads: int) -> None:
    """Run a kernel, and refuse tables in which it met a sum that is no number."""
    sound: list[bool] = []
    run_together(lambda some: sound.append(kernel(some)), arguments, n_threads)
    _check(all(sound))


def _check(sound: bool) -> None:
    if not sound:
        raise ValueError("tables and factors must be finite, but a score is NaN")


def _merge(
    candidates: Sequence[Candidates], answers: Sequence[Scores], n_queries: int, k: int
) -> Scores:
    """The ``k`` nearest of several segments; positions become ids."""
    numbered = [
        (scores, ids_found(some.segment, positions))
        for some, (scores, positions) in zip(candidates, answers, strict=True)
    ]
    if len(numbered) == 1:
        return numbered[0]
    scores = np.full((n_queries, k), np.inf, np.float32)
    ids = np.full((n_queries, k), MISSING_ID, np.int64)
    if numbered:
        stacked = [np.stack(arrays) for arrays in zip(*numbered, strict=True)]
        kernels().merge_nearest(*stacked, scores, ids)
    return scores, ids
