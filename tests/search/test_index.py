from __future__ import annotations

from fractions import Fraction
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sigah.codes import pack, unpack
from sigah.search import HammingIndex, hamming_distances, spherical_distances

Codes = NDArray[np.uint8]
WIDTHS = [8, 16, 24, 64, 72, 256]


def random_codes(n: int, n_bits: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, (n, n_bits // 8), dtype=np.uint8)


def index_of(codes: Codes, ids: Any = None) -> HammingIndex:
    index = HammingIndex(codes.shape[1] * 8)
    index.add(codes, ids)
    return index


def by_definition(queries: Codes, base: Codes) -> NDArray[np.int64]:
    """Distances counted bit by bit: the definition, without words and popcounts."""
    return (unpack(queries)[:, None, :] != unpack(base)[None, :, :]).sum(axis=2)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Codes, Codes, list[int], int]:
    """Queries, base codes full of ties, ids in any order, and k."""
    n_bytes = draw(st.integers(1, 10))
    n = draw(st.integers(0, 30))
    few_bytes = st.sampled_from([0, 1, 3, 128, 255])
    queries = draw(hnp.arrays(np.uint8, (draw(st.integers(0, 4)), n_bytes), elements=few_bytes))
    base = draw(hnp.arrays(np.uint8, (n, n_bytes), elements=few_bytes))
    ids = draw(st.lists(st.integers(0, 2**63 - 1), min_size=n, max_size=n, unique=True))
    return queries, base, ids, draw(st.integers(1, 35))


@given(problems())
def test_search_is_the_sorted_list_of_all_pairs(
    problem: tuple[Codes, Codes, list[int], int],
) -> None:
    queries, base, ids, k = problem
    distances, found = index_of(base, ids).search(queries, k)
    assert (distances.dtype, found.dtype) == (np.int32, np.int64)
    for row, query_distances in enumerate(by_definition(queries, base)):
        expected = sorted(zip(query_distances.tolist(), ids, strict=True))[:k]
        expected += [(2**31 - 1, -1)] * (k - len(expected))
        assert list(zip(distances[row].tolist(), found[row].tolist(), strict=True)) == expected


@given(problems(), st.integers(0, 90))
def test_range_search_is_the_sorted_list_within_the_ball(
    problem: tuple[Codes, Codes, list[int], int], radius: int
) -> None:
    queries, base, ids, _ = problem
    lims, distances, found = index_of(base, ids).range_search(queries, radius)
    assert (lims.dtype, distances.dtype, found.dtype) == (np.int64, np.int32, np.int64)
    assert lims[0] == 0
    assert len(lims) == len(queries) + 1
    assert lims[-1] == len(distances) == len(found)
    for row, query_distances in enumerate(by_definition(queries, base)):
        pairs = sorted(zip(query_distances.tolist(), ids, strict=True))
        ball = slice(lims[row], lims[row + 1])
        assert list(zip(distances[ball].tolist(), found[ball].tolist(), strict=True)) == [
            pair for pair in pairs if pair[0] <= radius
        ]


@given(problems())
def test_distances_are_the_number_of_differing_bits(
    problem: tuple[Codes, Codes, list[int], int],
) -> None:
    queries, base, _, _ = problem
    distances = hamming_distances(base, queries)
    assert distances.dtype == np.uint16
    np.testing.assert_array_equal(distances, by_definition(queries, base))
    np.testing.assert_array_equal(distances.T, hamming_distances(queries, base))


@given(problems(), st.data())
def test_flipping_the_same_bits_everywhere_changes_nothing(
    problem: tuple[Codes, Codes, list[int], int], data: st.DataObject
) -> None:
    queries, base, ids, k = problem
    mask = data.draw(hnp.arrays(np.uint8, base.shape[1]))
    plain = index_of(base, ids).search(queries, k)
    masked = index_of(base ^ mask, ids).search(queries ^ mask, k)
    np.testing.assert_array_equal(plain, masked)


@given(problems(), st.data())
def test_the_order_and_grouping_of_additions_change_nothing(
    problem: tuple[Codes, Codes, list[int], int], data: st.DataObject
) -> None:
    queries, base, ids, k = problem
    order = np.array(data.draw(st.permutations(range(len(base)))), np.intp)
    cut = data.draw(st.integers(0, len(base)))
    index = HammingIndex(base.shape[1] * 8)
    for part in (order[:cut], order[cut:]):
        index.add(base[part], np.array(ids, np.int64)[part])
    np.testing.assert_array_equal(index.search(queries, k), index_of(base, ids).search(queries, k))


@pytest.mark.parametrize("n_bits", [*WIDTHS, 32, 128, 248, 496, 512, 1024])
def test_distances_equal_those_of_faiss(n_bits: int) -> None:
    base, queries = random_codes(1200, n_bits), random_codes(20, n_bits, seed=1)
    reference = faiss.IndexBinaryFlat(n_bits)
    reference.add(base)
    index = index_of(base)
    for k in (1, 10, 100, 1000, 1300):  # FAISS pads beyond 1,200 in the same way
        for n_queries in (1, 20):
            expected, _ = reference.search(queries[:n_queries], k)
            distances, _ = index.search(queries[:n_queries], k)
            np.testing.assert_array_equal(distances, expected)


@given(problems(), st.randoms(use_true_random=False))
def test_permuting_the_bits_everywhere_changes_nothing(
    problem: tuple[Codes, Codes, list[int], int], random: Any
) -> None:
    queries, base, ids, k = problem
    order = list(range(8 * base.shape[1]))
    random.shuffle(order)
    permuted = [pack(unpack(codes)[:, order]) for codes in (queries, base)]
    plain = index_of(base, ids).search(queries, k)
    np.testing.assert_array_equal(index_of(permuted[1], ids).search(permuted[0], k), plain)


@given(problems())
def test_doubled_codes_are_found_beside_each_other(
    problem: tuple[Codes, Codes, list[int], int],
) -> None:
    queries, base, _, k = problem
    n = len(base)
    once = index_of(base, 2 * np.arange(n)).search(queries, k)
    index = index_of(base, 2 * np.arange(n))
    index.add(base, 2 * np.arange(n) + 1)
    twice = index.search(queries, 2 * k)
    for place in (0, 1):
        np.testing.assert_array_equal(twice[0][:, place::2], once[0])
    # of equal distances, the codes come by id: both of the smaller one first
    np.testing.assert_array_equal(twice[1][:, ::2], once[1])
    np.testing.assert_array_equal(twice[1][:, 1::2], np.where(once[1] < 0, -1, once[1] + 1))


@pytest.mark.parametrize("n_bits", WIDTHS)
def test_range_search_finds_what_faiss_finds_below_the_next_radius(n_bits: int) -> None:
    base, queries = random_codes(300, n_bits), random_codes(10, n_bits, seed=1)
    reference = faiss.IndexBinaryFlat(n_bits)
    reference.add(base)
    radius = n_bits // 2
    expected_lims, _, expected_ids = reference.range_search(queries, radius + 1)  # exclusive there
    lims, _, ids = index_of(base).range_search(queries, radius)
    np.testing.assert_array_equal(lims, expected_lims)
    for row in range(len(queries)):
        ball = slice(lims[row], lims[row + 1])
        assert set(ids[ball]) == set(expected_ids[ball])


def test_duplicate_codes_are_all_found_in_order_of_id() -> None:
    index = index_of(np.tile(random_codes(1, 64), (5, 1)), ids=[7, 3, 9, 1, 5])
    distances, ids = index.search(random_codes(1, 64), k=4)
    assert distances.tolist() == [[0, 0, 0, 0]]
    assert ids.tolist() == [[1, 3, 5, 7]]


def test_the_widest_codes_do_not_overflow() -> None:
    n_bytes = 65528 // 8
    zeros, ones = np.zeros((1, n_bytes), np.uint8), np.full((1, n_bytes), 255, np.uint8)
    assert hamming_distances(zeros, ones).item() == 65528
    assert index_of(ones).search(zeros, 1)[0].item() == 65528
    with pytest.raises(ValueError, match="at most 65528 bits"):
        HammingIndex(65536)


def test_ids_count_on_from_the_largest() -> None:
    codes = random_codes(2, 64)
    index = index_of(codes)
    index.add(codes, [10, 5])
    index.add(codes)
    assert len(index) == 6
    assert sorted(index.search(codes[:1], 6)[1][0].tolist()) == [0, 1, 5, 10, 11, 12]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 1], "0 is repeated"),
        ([8, 8], "8 is repeated"),
        ([8], r"shape \(2,\)"),
        ([[8, 9]], r"shape \(2,\)"),
        ([-1, 8], "whole numbers from 0"),
        ([2**63, 8], "whole numbers from 0"),
        ([8.0, 9.0], "whole numbers from 0"),
        ([True, False], "whole numbers from 0"),
        (["a", "b"], "whole numbers from 0"),
    ],
)
def test_bad_ids_are_refused_and_the_index_stays_as_it_was(ids: Any, message: str) -> None:
    codes = random_codes(3, 64)
    index = index_of(codes)
    before = index.search(codes, 5)
    with pytest.raises(ValueError, match=message):
        index.add(codes[:2], ids)
    assert len(index) == 3
    np.testing.assert_array_equal(index.search(codes, 5), before)


def test_default_ids_beyond_the_largest_integer_are_refused() -> None:
    index = index_of(random_codes(1, 64), [2**63 - 1])
    with pytest.raises(ValueError, match="no ids left"):
        index.add(random_codes(1, 64))


@pytest.mark.parametrize("k", [0, -1, 1.0, True, None, "1"])
def test_k_is_a_positive_whole_number(k: Any) -> None:
    with pytest.raises(ValueError, match=r"^k must be a whole number of at least 1"):
        index_of(random_codes(3, 64)).search(random_codes(1, 64), k)


@pytest.mark.parametrize("radius", [-1, 0.5, True, None])
def test_radius_is_a_whole_number(radius: Any) -> None:
    with pytest.raises(ValueError, match=r"^radius must be a whole number of at least 0"):
        index_of(random_codes(3, 64)).range_search(random_codes(1, 64), radius)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (random_codes(1, 32), "32 bits, expected 64"),
        (np.zeros((1, 64)), "uint8"),
        (np.zeros(8, np.uint8), "shape"),
    ],
)
def test_codes_of_another_width_or_type_are_refused(codes: Any, message: str) -> None:
    index = index_of(random_codes(3, 64))
    for use in (
        index.add,
        lambda wrong: index.search(wrong, 1),
        lambda wrong: index.range_search(wrong, 1),
        lambda wrong: hamming_distances(random_codes(1, 64), wrong),
        lambda wrong: spherical_distances(random_codes(1, 64), wrong),
    ):
        with pytest.raises(ValueError, match=message):
            use(codes)
    assert len(index) == 3


def test_the_index_keeps_its_own_copy() -> None:
    codes = random_codes(3, 64)
    index = index_of(codes)
    queries = codes.copy()
    codes[:] = 0
    assert index.search(queries, 1)[0].tolist() == [[0], [0], [0]]


def spherical_by_definition(queries: Codes, base: Codes) -> list[list[Fraction]]:
    """|a xor b| / (|a and b| + 1/10) as exact fractions."""
    return [
        [Fraction(10 * int((a != b).sum()), 10 * int((a & b).sum()) + 1) for b in unpack(base)]
        for a in unpack(queries)
    ]


@given(problems())
def test_spherical_search_is_the_sorted_list_of_all_ratios(
    problem: tuple[Codes, Codes, list[int], int],
) -> None:
    queries, base, ids, k = problem
    distances, found = index_of(base, ids).search(queries, k, metric="spherical")
    assert (distances.dtype, found.dtype) == (np.float32, np.int64)
    for row, ratios in enumerate(spherical_by_definition(queries, base)):
        expected = sorted(zip(ratios, ids, strict=True))[:k]
        nearest = [float(np.float32(float(ratio))) for ratio, _ in expected]
        missing = k - len(expected)
        assert distances[row].tolist() == nearest + [np.inf] * missing
        assert found[row].tolist() == [id_ for _, id_ in expected] + [-1] * missing


@given(problems())
def test_spherical_distances_are_the_ratios(
    problem: tuple[Codes, Codes, list[int], int],
) -> None:
    queries, base, _, _ = problem
    distances = spherical_distances(base, queries)
    assert (distances.dtype, distances.shape) == (np.float32, (len(queries), len(base)))
    ratios = np.array(spherical_by_definition(queries, base), float).reshape(distances.shape)
    np.testing.assert_array_equal(distances, ratios.astype(np.float32))


@pytest.mark.parametrize("n_bits", WIDTHS)
def test_blocks_do_not_show_in_spherical_search(
    n_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, base = random_codes(5, n_bits), random_codes(100, n_bits, seed=1)
    whole = index_of(base).search(queries, 60, metric="spherical")
    monkeypatch.setattr("sigah.search.distances.PAIRS_PER_BLOCK", 7)
    blocked = index_of(base).search(queries, 60, metric="spherical")
    for expected, found in zip(whole, blocked, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_equal_ratios_are_ties_broken_by_id() -> None:
    # query 1111 1111 0000 0000: ratios 0 / 8.1, 4 / 4.1 (twice, of codes unlike each other)
    query = pack([[1] * 8 + [0] * 8])
    base = pack(
        [[0] * 4 + [1] * 4 + [0] * 8, [1] * 4 + [0] * 12, [1] * 8 + [0] * 8, [0] * 8 + [1] * 8]
    )
    distances, ids = index_of(base, [9, 4, 7, 5]).search(query, 4, metric="spherical")
    assert ids.tolist() == [[7, 4, 9, 5]]
    np.testing.assert_allclose(distances, [[0, 4 / 4.1, 4 / 4.1, 160]], rtol=1e-6)


def test_ratios_equal_in_value_but_not_in_counts_tie() -> None:
    # 11 differing, 1 shared and 1 differing, 0 shared: 11 / 1.1 = 1 / 0.1 = 10
    one_shared = spherical_distances(pack([[1] * 12 + [0] * 4]), pack([[1] + [0] * 15]))
    none_shared = spherical_distances(pack([[1] + [0] * 15]), pack([[0] * 16]))
    assert one_shared == none_shared == 10


def test_the_widest_codes_have_exact_ratios() -> None:
    ones = np.full((1, 8191), 255, np.uint8)
    distances = spherical_distances(np.concatenate([ones, 0 * ones]), ones)
    np.testing.assert_allclose(distances, [[0, 655_280]], rtol=1e-7)


def test_codes_without_a_common_one_are_far_but_not_infinitely() -> None:
    distances = spherical_distances(np.array([[255], [0]], np.uint8), np.array([[0]], np.uint8))
    np.testing.assert_array_equal(distances, [[80, 0]])


@pytest.mark.parametrize("metric", ["cosine", "Hamming", None])
def test_an_unknown_metric_is_named(metric: Any) -> None:
    with pytest.raises(ValueError, match=f"'hamming' or 'spherical', got {metric!r}"):
        index_of(random_codes(3, 8)).search(random_codes(1, 8), 1, metric=metric)
