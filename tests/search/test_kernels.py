"""The kernels against definitions written in NumPy, where their own branches lie."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sigah import threads
from sigah.codes import unpack
from sigah.search import distance_counts, kernels, scan
from sigah.search.layout import to_groups, to_planes
from sigah.search.multi_index import fit_two_costs
from sigah.search.scan import nearest_by_scan, within_by_scan
from sigah.search.segment import all_alive, as_bits, as_positions

Codes = NDArray[np.uint8]


def random_codes(n: int, n_bytes: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, (n, n_bytes), dtype=np.uint8)


def ranked(queries: Codes, base: Codes, allowed: Any = None) -> list[list[tuple[int, int]]]:
    """All allowed codes of each query by distance and position."""
    distances = (unpack(queries)[:, None] != unpack(base)[None]).sum(axis=2)
    places = range(len(base)) if allowed is None else np.flatnonzero(allowed).tolist()
    return [sorted((int(row[place]), place) for place in places) for row in distances]


def pairs(distances: Any, positions: Any) -> list[tuple[int, int]]:
    return list(zip(distances.tolist(), positions.tolist(), strict=True))


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 1000])
@pytest.mark.parametrize("n_bytes", [1, 8, 33])
def test_planes_hold_the_codes_byte_by_byte(n: int, n_bytes: int) -> None:
    codes = random_codes(n, n_bytes)
    planes = to_planes(codes)
    assert planes.shape == (-(-n // 256), n_bytes, 256)
    assert n == 0 or planes.ctypes.data % 64 == 0
    flat_planes = planes.transpose(0, 2, 1).reshape(-1, n_bytes)
    np.testing.assert_array_equal(flat_planes[:n], codes)
    assert not flat_planes[n:].any()
    order = np.random.default_rng(1).permutation(n)
    np.testing.assert_array_equal(
        kernels.from_planes(planes, to_groups(codes[:, :0]), order), codes[order]
    )


@given(st.lists(st.booleans(), max_size=300))
def test_bits_are_positions(flags: list[bool]) -> None:
    positions = np.flatnonzero(np.array(flags, np.bool_))
    bits = as_bits(positions, 8)
    np.testing.assert_array_equal(as_positions(bits), positions)
    np.testing.assert_array_equal(as_positions(all_alive(len(flags))), np.arange(len(flags)))


# 31 bytes are the widest whose distances fit in a byte; 32 to 62 take two runs, 63 three
@pytest.mark.parametrize("n_bytes", [1, 4, 8, 31, 32, 62, 63, 128, 256])
@pytest.mark.parametrize("k", [1, 10, 700])
def test_the_nearest_are_the_first_of_all_ranked(n_bytes: int, k: int) -> None:
    base, queries = random_codes(600, n_bytes), random_codes(5, n_bytes, seed=1)
    allowed = np.random.default_rng(2).random(600) < 0.8
    planes, bits = to_planes(base), as_bits(np.flatnonzero(allowed), 12)
    distances, positions = nearest_by_scan(planes, bits, queries, k, n_threads=1)
    for row, expected in enumerate(ranked(queries, base, allowed)):
        expected += [(2**31 - 1, -1)] * max(0, k - len(expected))
        assert pairs(distances[row], positions[row]) == expected[:k]


@pytest.mark.parametrize("approach", ["nearer and nearer", "farther and farther", "all the same"])
@pytest.mark.parametrize("k", [1, 3, 300, 2000])
def test_orders_that_fill_the_candidates_lose_none(approach: str, k: int) -> None:
    """Codes that come nearer one by one are all accepted, and make room again and again."""
    n_bits, copies = 248, 16
    ones = np.arange(n_bits + 1)
    if approach == "all the same":
        ones[:] = 7
    base = np.repeat(np.packbits(np.arange(n_bits) < ones[:, None], axis=1), copies, axis=0)
    if approach == "nearer and nearer":
        base = base[::-1].copy()
    query = np.zeros((1, n_bits // 8), np.uint8)
    planes = to_planes(base)
    found = nearest_by_scan(planes, all_alive(len(base)), query, k, n_threads=1)
    assert pairs(found[0][0], found[1][0]) == ranked(query, base)[0][:k]


@pytest.mark.parametrize("n_bytes", [8, 40])
def test_all_ways_to_share_work_give_the_same_answer(
    n_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, queries = random_codes(5000, n_bytes) & 3, random_codes(17, n_bytes, seed=1) & 3
    planes, bits = to_planes(base), all_alive(len(base))
    alone = nearest_by_scan(planes, bits, queries, 30, n_threads=1)
    ball = within_by_scan(planes, bits, queries, n_bytes, n_threads=1)
    assert 0 < ball[0][-1] < len(base) * len(queries)
    monkeypatch.setattr(scan, "SMALL_BYTES", 1)
    monkeypatch.setattr(scan, "STATE_BYTES", 8 * 2000)
    monkeypatch.setattr(scan, "CALL_BYTES", 5 * planes.nbytes)
    for n_threads in (2, 3, 7):
        for some in (slice(17), slice(1), slice(3)):  # by queries, by codes, by codes
            shared = nearest_by_scan(planes, bits, queries[some], 30, n_threads)
            np.testing.assert_array_equal(shared[0], alone[0][some])
            np.testing.assert_array_equal(shared[1], alone[1][some])
        for ours, theirs in zip(
            within_by_scan(planes, bits, queries, n_bytes, n_threads), ball, strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n_bytes", [1, 8, 40])
@pytest.mark.parametrize("radius", [0, 2, 30, 320])
def test_balls_hold_what_is_near(n_bytes: int, radius: int) -> None:
    base, queries = random_codes(700, n_bytes) & 7, random_codes(3, n_bytes, seed=1) & 7
    allowed = np.random.default_rng(2).random(700) < 0.7
    bits = as_bits(np.flatnonzero(allowed), 12)
    radius = min(radius, 8 * n_bytes)
    lims, distances, positions = within_by_scan(to_planes(base), bits, queries, radius, 1)
    for row, expected in enumerate(ranked(queries, base, allowed)):
        ball = slice(lims[row], lims[row + 1])
        near = [pair for pair in expected if pair[0] <= radius]
        assert pairs(distances[ball], positions[ball]) == near


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=6), max_size=4),
    st.integers(1, 9),
)
def test_merging_is_sorting(lists: list[list[tuple[int, int]]], k: int) -> None:
    lists = lists or [[]]
    distances = np.full((len(lists), 1, k), 2**31 - 1, np.int32)
    ids = np.full((len(lists), 1, k), -1, np.int64)
    for part, found in enumerate(lists):
        for place, (distance, number) in enumerate(sorted(found)[:k]):
            distances[part, 0, place], ids[part, 0, place] = distance, number
    merged = np.empty((1, k), np.int32), np.empty((1, k), np.int64)
    kernels.merge_nearest(distances, ids, *merged)
    expected = sorted(pair for found in lists for pair in sorted(found)[:k])[:k]
    expected += [(2**31 - 1, -1)] * (k - len(expected))
    assert pairs(merged[0][0], merged[1][0]) == expected


def test_an_error_ends_what_has_begun_and_begins_no_more() -> None:
    ended = []

    def call(number: int) -> None:
        time.sleep(0.01)
        if number == 3:
            raise IndexError("no")
        ended.append(number)

    with pytest.raises(IndexError, match="no"):
        threads.run_together(call, [(number,) for number in range(50)], 2)
    assert len(ended) < 10
    threads.run_together(call, [(number,) for number in range(10, 30)], 3)
    assert sorted(ended)[-20:] == list(range(10, 30))


def test_a_forked_child_has_threads_of_its_own() -> None:
    program = """
import os, numpy as np
from sigah import HammingIndex
codes = np.random.default_rng(0).integers(0, 256, (200_000, 8), dtype=np.uint8)
index = HammingIndex(64, n_threads=2)
index.add(codes)
expected = index.search(codes[:50], 3)
if not os.fork():
    found = index.search(codes[:50], 3)
    os._exit(not all((a == b).all() for a, b in zip(found, expected)))
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == 0


def test_kernels_are_compiled_where_nothing_can_be_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", refuse)
    assert kernels.compiled(lambda x: x + 1)(1) == 2


def test_importing_the_library_loads_nothing_heavy() -> None:
    program = "import sys, sigah; print(*{'numba', 'torch', 'sklearn', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("n", [1, 255, 256, 257, 6001])
@pytest.mark.parametrize("n_bytes", [1, 8, 31, 32, 98])
def test_counts_of_distances_are_histograms_of_them(n: int, n_bytes: int) -> None:
    base, queries = random_codes(n, n_bytes), random_codes(5, n_bytes, seed=1)
    base[0], base[-1] = queries[0], ~queries[1]  # the smallest and the largest distance
    expected = [np.bincount(row, minlength=8 * n_bytes + 1) for row in _differing(queries, base)]
    np.testing.assert_array_equal(distance_counts(base, queries), expected)


def _differing(queries: Codes, base: Codes) -> Any:
    return np.bitwise_count(queries[:, None] ^ base[None]).sum(axis=2)


@given(
    st.sets(st.integers(0, 700), max_size=60),
    st.lists(st.integers(0, 800), max_size=40),
    st.integers(0, 300),
    st.integers(0, 2**32 - 1),
)
def test_marked_bits_are_those_of_ids_that_are_held(
    held: set[int], wanted: list[int], first: int, seed: int
) -> None:
    wanted = [*wanted, first + 256]  # one past the end of consecutive ids
    ids = np.array(sorted(wanted), np.int64)
    living = np.random.default_rng(seed).random(256) < 0.8
    alive = np.full(8, ~np.uint64(0))  # what lies behind the four words of a group looks alive
    alive[:4] = as_bits(np.flatnonzero(living), 4)
    for listed in (np.array(sorted(held), np.int64), np.arange(first, first + 256)):
        expected = [i for i, one in enumerate(listed.tolist()) if one in wanted and living[i]]
        bits = np.zeros(8, np.uint64)
        count = kernels.mark_listed(listed, ids, alive[:4], bits[:4])
        assert as_positions(bits).tolist() == expected
        assert count == len(expected)
    bits = np.zeros(8, np.uint64)
    assert kernels.mark_consecutive(first, 256, ids, alive[:4], bits[:4]) == len(expected)
    assert as_positions(bits).tolist() == expected


def test_the_two_costs_of_tables_are_least_squares_without_negative_ones() -> None:
    random = np.random.default_rng(0)
    for costs in ([10.0, 2.0], [0.0, 3.0], [5.0, 0.0]):
        for noise in (0.0, 40.0, 4000.0):
            work = random.integers(1, 1000, (64, 2)).astype(float)
            times = work @ costs + noise * random.normal(size=64)
            found = np.array(fit_two_costs(work, times))
            assert (found >= 0).all()
            error = np.square(work @ found - times).sum()
            steps = np.concatenate([np.zeros(1), np.geomspace(1e-4, 1, 20)])
            for first in steps:  # no allowed point nearby is better
                for second in steps:
                    for sign in (1, -1):
                        other = np.maximum(found + np.array([sign * first, second]), 0)
                        assert np.square(work @ other - times).sum() >= error - 1e-6
                        other = np.maximum(found - np.array([sign * first, second]), 0)
                        assert np.square(work @ other - times).sum() >= error - 1e-6
