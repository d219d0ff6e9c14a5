"""Tables answer as the scan does, or say that they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sigah import HammingIndex
from sigah.search.layout import to_planes
from sigah.search.multi_index import MultiIndex, cut
from sigah.search.scan import nearest_by_scan, within_by_scan
from sigah.search.segment import all_alive, as_bits

Codes = NDArray[np.uint8]
ENDLESS = 1e15  # nanoseconds


def clustered(n: int, n_bytes: int, seed: int = 0) -> Codes:
    """Codes a few flipped bits away from one of 20 centres, with repetitions."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(9).integers(0, 256, (20, n_bytes), dtype=np.uint8)
    flips = np.packbits(random.random((n, 8 * n_bytes)) < 0.04, axis=1)
    return centres[random.integers(20, size=n)] ^ flips


def tables_of(codes: Codes) -> MultiIndex:
    tables = MultiIndex(codes, n_threads=2, scan_costs=(1e6, 1e6))
    tables.costs = 10.0, 1.0  # not those of the machine
    return tables


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 8, 9, 16, 32])
@pytest.mark.parametrize("n", [1, 2, 300, 4000])
def test_tables_find_what_the_scan_finds(n: int, n_bytes: int) -> None:
    base, queries = clustered(n, n_bytes), clustered(6, n_bytes, seed=1)
    allowed = np.random.default_rng(2).random(n) < 0.8
    planes = to_planes(base)
    bits = as_bits(np.flatnonzero(allowed), 4 * len(planes))
    tables = tables_of(base)
    for k in (1, 7, 40):
        if allowed.sum() < k and n_bytes > 8:
            continue  # to find fewer than k, every bucket of long substrings is opened
        expected = nearest_by_scan(planes, bits, queries, k, 1)
        *found, done = tables.nearest_by_tables(queries, bits, k, budget=ENDLESS, n_threads=2)
        assert done.all()
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for radius in (0, 3, 8):
        ball = tables.within_by_tables(queries, bits, radius, budget=ENDLESS)
        assert ball is not None
        for ours, theirs in zip(
            ball, within_by_scan(planes, bits, queries, radius, 1), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=40)
@given(st.integers(1, 400), st.integers(1, 12), st.integers(1, 500), st.integers(0, 2**32))
def test_heaps_of_equal_codes_are_cut_by_position(
    n: int, n_different: int, k: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    different = random.integers(0, 256, (n_different, 2), dtype=np.uint8)
    base = different[random.integers(n_different, size=n)]
    planes, bits = to_planes(base), all_alive(n)
    *found, done = tables_of(base).nearest_by_tables(
        different, bits, k, budget=ENDLESS, n_threads=1
    )
    assert done.all()
    for ours, theirs in zip(found, nearest_by_scan(planes, bits, different, k, 1), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_more_ties_than_candidates_are_cut_by_position() -> None:
    base = np.zeros((5000, 2), np.uint8)
    *found, _ = tables_of(base).nearest_by_tables(
        base[:1], all_alive(5000), 9, budget=ENDLESS, n_threads=1
    )
    assert found[0].tolist() == [[0] * 9]
    assert found[1].tolist() == [list(range(9))]


def test_a_query_gives_up_before_it_costs_too_much() -> None:
    base = clustered(4000, 8)
    far = ~base[:3]  # as far from everything as can be
    tables = tables_of(base)
    *_, done = tables.nearest_by_tables(far, all_alive(4000), 5, budget=3e3, n_threads=1)
    assert not done.any()
    assert tables.within_by_tables(far, all_alive(4000), 30, budget=3e3) is None
    *_, done = tables.nearest_by_tables(base[:3], all_alive(4000), 1, budget=3e3, n_threads=1)
    assert done.all()


def test_if_the_first_queries_give_up_the_others_do_not_try() -> None:
    base = clustered(4000, 8)
    queries = np.concatenate([~base[:64], base[:10]])
    *_, done = tables_of(base).nearest_by_tables(
        queries, all_alive(4000), 1, budget=3e3, n_threads=2
    )
    assert not done.any()


@pytest.mark.parametrize("n_bits", [8, 16, 64, 72, 256, 1024])
@pytest.mark.parametrize("n", [1, 1000, 10**7, 2**31])
def test_substrings_cover_the_code_and_fit_the_number_of_codes(n_bits: int, n: int) -> None:
    widths, offsets = cut(n_bits, n)
    assert offsets[0] == 0
    np.testing.assert_array_equal(offsets + widths, [*offsets[1:], n_bits])
    assert widths.max() - widths.min() <= 1
    assert widths.max() <= 28


@pytest.mark.parametrize("n_queries", [1, 5, 100])
def test_the_index_answers_the_same_with_tables(n_queries: int, monkeypatch: Any) -> None:
    base, queries = clustered(5000, 8), clustered(n_queries, 8, seed=1)
    queries[::3] = ~queries[::3]
    plain, tabled = HammingIndex(64), HammingIndex(64)
    for index in (plain, tabled):
        index.add(base, ids=np.arange(5000)[::-1] * 3)
    tabled.build_tables()
    assert tabled.stats()["table_bytes"] > 5000 * 8
    unwanted = tabled.ids[::7]
    later = clustered(10, 8, seed=3)
    for index in (plain, tabled):  # tables outlive removals, and additions beside them
        index.remove(unwanted)
        index.add(later, ids=np.arange(10) + 50_000)
    assert tabled.stats()["tables"] is not None
    answered: set[str] = set()
    for cost in (0.0, 1e5, ENDLESS):  # all scanned, some scanned, none scanned
        monkeypatch.setattr(MultiIndex, "scan_cost", lambda *_, cost=cost: cost)
        for some in (None, tabled.ids[tabled.ids % 2 == 0]):
            expected = plain.search(queries, 5, filter=some)
            np.testing.assert_array_equal(tabled.search(queries, 5, filter=some), expected)
            answered |= {way for way, n in tabled.last_search.items() if n}
            for ours, theirs in zip(
                tabled.range_search(queries, 4, filter=some),
                plain.range_search(queries, 4, filter=some),
                strict=True,
            ):
                np.testing.assert_array_equal(ours, theirs)
    assert answered == {"tables", "scan"}


def test_costs_are_measured_and_told() -> None:
    index = HammingIndex(64)
    index.add(clustered(3000, 8))
    index.build_tables()
    told = index.stats()["tables"]
    assert told["n_tables"] == len(told["substring_bits"])
    assert told["bucket_ns"] > 0
    assert told["scan_query_ns"] >= 0


def test_tables_of_an_empty_index_are_no_tables() -> None:
    index = HammingIndex(64)
    index.build_tables()
    assert index.stats()["tables"] is None
    assert index.search(np.zeros((1, 8), np.uint8), 1)[1].item() == -1
