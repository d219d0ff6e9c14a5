from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sigah import ITQ, KMeansHashing, SphericalHashing
from sigah.codes import pack, signs, unpack
from sigah.evaluation import exact_neighbors
from sigah.search import (
    Calibration,
    HammingIndex,
    IndexSnapshot,
    TwoStageSearch,
    asymmetric_distances,
    hamming_distances,
    rerank,
    scoring,
    spherical_distances,
)

N_BITS, N_BASE, K = 16, 1500, 10
DISTANCES = ["asymmetric", "spherical", "decoded", "raw"]


@pytest.fixture(scope="module")
def base(blobs: Any) -> Any:
    return blobs[:N_BASE]


@pytest.fixture(scope="module")
def queries(blobs: Any) -> Any:
    return blobs[N_BASE : N_BASE + 60]


@pytest.fixture(scope="module")
def hasher(base: Any) -> ITQ:
    return ITQ(N_BITS, random_state=0).fit(base)


@pytest.fixture(scope="module")
def index(hasher: ITQ, base: Any) -> HammingIndex:
    return index_of(hasher.transform(base))


@pytest.fixture(scope="module")
def truth(base: Any, queries: Any) -> Any:
    return exact_neighbors(base, queries, K).ids


def index_of(codes: Any, ids: Any = None) -> HammingIndex:
    index = HammingIndex(codes.shape[1] * 8)
    index.add(codes, ids)
    return index


def two_stages(by: str, index: HammingIndex, hasher: Any, base: Any, **options: Any) -> Any:
    vectors = base if by == "raw" else None
    return TwoStageSearch(index, hasher, by, vectors=vectors, **options)


def squared(queries: Any, vectors: Any) -> NDArray[np.float64]:
    return np.array([((vectors.astype(np.float64) - query) ** 2).sum(axis=1) for query in queries])


def all_distances(by: str, hasher: Any, base: Any, queries: Any) -> NDArray[np.float64]:
    """The definition of each distance, of every query from every vector of the base."""
    codes = hasher.transform(base)
    if by == "asymmetric":
        scores = hasher.project(queries).astype(np.float64)
        return (np.abs(scores).sum(axis=1)[:, None] - scores @ signs(codes).T) / 2
    if by == "spherical":
        return spherical_distances(codes, hasher.transform(queries)).astype(float)
    return squared(queries, hasher.reconstruct(codes) if by == "decoded" else base)


def recall(found: Any, truth: Any) -> float:
    return float(
        np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, truth, strict=True)])
    )


# -- asymmetric distances


@st.composite
def projections_and_codes(draw: st.DrawFn) -> tuple[Any, Any]:
    n_bytes = draw(st.integers(1, 9))
    tenths = st.integers(-80, 80).map(lambda value: np.float32(value / 8))  # sums are exact
    shape = draw(st.integers(0, 4)), 8 * n_bytes
    projections = draw(hnp.arrays(np.float32, shape, elements=tenths))
    return projections, draw(hnp.arrays(np.uint8, (draw(st.integers(0, 6)), n_bytes)))


@given(projections_and_codes())
def test_asymmetric_distances_charge_the_differing_bits(problem: tuple[Any, Any]) -> None:
    projections, codes = problem
    differs = (projections >= 0)[:, None, :] != unpack(codes)[None]
    expected = np.where(differs, np.abs(projections)[:, None, :], 0).sum(axis=2)
    distances = asymmetric_distances(codes, projections)
    assert distances.dtype == np.float32
    np.testing.assert_array_equal(distances, expected)
    shifted = np.abs(projections).sum(axis=1)[:, None] - projections @ signs(codes).T
    np.testing.assert_array_equal(distances, shifted / 2)


@given(projections_and_codes())
def test_unit_projections_give_the_hamming_distance(problem: tuple[Any, Any]) -> None:
    projections, codes = problem
    units = np.where(projections >= 0, 1, -1)
    expected = hamming_distances(codes, pack(units > 0))
    np.testing.assert_array_equal(asymmetric_distances(codes, units), expected)


def test_a_query_is_at_distance_zero_from_its_own_code(hasher: Any, queries: Any) -> None:
    distances = asymmetric_distances(hasher.transform(queries), hasher.project(queries))
    assert (np.diag(distances) == 0).all()
    assert (distances >= 0).all()


@pytest.mark.parametrize(
    ("projections", "message"),
    [
        (np.zeros((2, 8)), "projections have 8 columns, but the codes 16 bits"),
        (np.zeros(16), r"projections must have shape \(rows, dimensions\)"),
        (np.full((2, 16), np.nan), "projections contain NaN.*first in row 0"),
        (np.full((2, 16), 1e300), "too large for float32"),
        (np.zeros((2, 16), complex), "Complex data not supported: projections"),
    ],
)
def test_bad_projections_are_named(projections: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asymmetric_distances(np.zeros((3, 2), np.uint8), projections)


# -- two stages


@pytest.mark.parametrize("by", DISTANCES)
def test_the_best_of_the_candidates_by_definition(
    by: str, index: Any, hasher: Any, base: Any, queries: Any
) -> None:
    distances, ids = two_stages(by, index, hasher, base, oversampling=4.5).search(queries, K)
    assert (distances.dtype, distances.shape) == (np.float32, (len(queries), K))
    assert (ids.dtype, ids.shape) == (np.int64, (len(queries), K))
    _, candidates = index.search(hasher.transform(queries), 45)
    everything = all_distances(by, hasher, base, queries)
    for row, own in enumerate(candidates):
        nearest = np.sort(everything[row, own])[:K]
        np.testing.assert_allclose(distances[row], nearest, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(distances[row], everything[row, ids[row]], rtol=1e-5, atol=1e-5)
        assert set(ids[row]) <= set(own)
        assert len(set(ids[row])) == K
        ties = np.diff(distances[row]) == 0
        assert (np.diff(ids[row])[ties] > 0).all()


def test_raw_with_all_candidates_is_exact_with_ties_by_id(hasher: Any, base: Any) -> None:
    doubled = np.concatenate([base, base[::-1]])  # every vector twice
    queries = base[:40] + np.float32(0.25)
    index = index_of(hasher.transform(doubled))
    search = TwoStageSearch(index, hasher, "raw", vectors=doubled, oversampling=len(doubled))
    distances, ids = search.search(queries, 20)
    expected, expected_ids = exact_neighbors(doubled, queries, 20)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(distances, expected.astype(np.float32))


def test_decoded_with_all_candidates_is_brute_force_over_the_decoded_base(
    index: Any, hasher: Any, base: Any, queries: Any
) -> None:
    search = TwoStageSearch(index, hasher, "decoded", oversampling=N_BASE)
    distances, ids = search.search(queries, K)
    # equal codes once, so that their vectors are equal to the last bit
    codes, code_of = np.unique(hasher.transform(base), axis=0, return_inverse=True)
    expected, expected_ids = exact_neighbors(hasher.reconstruct(codes)[code_of], queries, K)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(distances, expected, rtol=1e-5)


def test_spherical_with_all_candidates_is_the_spherical_search(base: Any, queries: Any) -> None:
    hasher = SphericalHashing(N_BITS, random_state=0).fit(base)
    index = index_of(hasher.transform(base))
    found = TwoStageSearch(index, hasher, "spherical", oversampling=N_BASE).search(queries, K)
    expected = index.search(hasher.transform(queries), K, metric="spherical")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("by", DISTANCES)
def test_blocks_and_batches_change_nothing(
    by: str, index: Any, hasher: Any, base: Any, queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = two_stages(by, index, hasher, base)
    distances, ids = search.search(queries, K)
    singly = [search.search(query[None], K) for query in queries]
    monkeypatch.setattr(rerank, "PAIRS_PER_BLOCK", 7 * 100)
    monkeypatch.setattr(scoring, "ITEMS_PER_BLOCK", 13)
    for other in (np.concatenate(singly, axis=1), search.search(queries, K)):
        np.testing.assert_array_equal(ids, other[1])
        # a hasher's float32 products, of projecting and decoding, round as BLAS splits a batch
        np.testing.assert_allclose(distances, other[0], rtol=1e-5, atol=1e-5)


def test_each_distinct_code_is_decoded_once_for_all_queries(
    index: Any, hasher: Any, queries: Any
) -> None:
    asked: list[Any] = []

    def reconstruct(codes: Any) -> Any:
        asked.append(codes)
        return hasher.reconstruct(codes)

    spy = SimpleNamespace(transform=hasher.transform, reconstruct=reconstruct)
    TwoStageSearch(index, spy, "decoded").search(queries, K)
    decoded = np.concatenate(asked)
    _, candidates = index.search(hasher.transform(queries), 10 * K)
    expected = np.unique(index.get(np.unique(candidates)), axis=0)
    np.testing.assert_array_equal(np.unique(decoded, axis=0), expected)
    assert len(decoded) == len(expected) < candidates.size


def test_raw_reads_rows_of_candidates_alone_and_in_order(
    index: Any, hasher: Any, base: Any, queries: Any
) -> None:
    class Rows:
        """What a file of vectors offers: it knows its shape and gives rows by number."""

        shape, dtype = base.shape, base.dtype

        def __init__(self) -> None:
            self.asked: list[Any] = []

        def __getitem__(self, rows: Any) -> Any:
            self.asked.append(rows)
            return base[rows]

    rows = Rows()
    found = TwoStageSearch(index, hasher, "raw", vectors=rows, oversampling=2).search(queries, 5)
    expected = TwoStageSearch(index, hasher, "raw", vectors=base, oversampling=2)
    np.testing.assert_array_equal(found, expected.search(queries, 5))
    _, candidates = index.search(hasher.transform(queries), 10)
    np.testing.assert_array_equal(np.concatenate(rows.asked), np.unique(candidates))


def test_raw_reads_a_memory_map_and_integers(tmp_path: Any, base: Any) -> None:
    whole = np.clip(base * 10, 0, 255).astype(np.uint8)
    np.save(tmp_path / "x.npy", whole)
    hasher = ITQ(N_BITS, random_state=0).fit(whole)
    index = index_of(hasher.transform(whole))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    search = TwoStageSearch(index, hasher, "raw", vectors=mapped, oversampling=N_BASE)
    _, expected = exact_neighbors(whole, whole[:20], K)
    np.testing.assert_array_equal(search.search(whole[:20], K)[1], expected)


def test_a_rotation_decodes_to_what_it_projects(index: Any, hasher: Any, queries: Any) -> None:
    """||x - c W s||^2 = const - 2 c (x W) s + const for orthonormal W: both distances rank alike.

    Decoding and projecting go through different arrays, so that each is the other's oracle.
    """
    everything = {"oversampling": N_BASE}
    _, asymmetric = TwoStageSearch(index, hasher, "asymmetric", **everything).search(queries, K)
    _, decoded = TwoStageSearch(index, hasher, "decoded", **everything).search(queries, K)
    np.testing.assert_array_equal(asymmetric, decoded)


def test_ids_are_those_of_the_index(hasher: Any, base: Any, queries: Any, index: Any) -> None:
    ids = np.random.default_rng(0).permutation(10**6)[:N_BASE]
    renamed = index_of(hasher.transform(base), ids)
    everything = {"oversampling": N_BASE}
    for by in ("asymmetric", "spherical", "decoded"):
        plain, _ = TwoStageSearch(index, hasher, by, **everything).search(queries, K)
        distances, found = TwoStageSearch(renamed, hasher, by, **everything).search(queries, K)
        np.testing.assert_array_equal(distances, plain)
        assert np.isin(found, ids).all()


@pytest.mark.parametrize("by", DISTANCES)
@pytest.mark.parametrize("held", [0, 3])
def test_missing_neighbours_are_infinitely_far(
    by: str, held: int, hasher: Any, base: Any, queries: Any
) -> None:
    index = HammingIndex(N_BITS)
    index.add(hasher.transform(base[:3])[:held])
    distances, ids = two_stages(by, index, hasher, base).search(queries, 5)
    assert np.isfinite(distances[:, :held]).all()
    assert (distances[:, held:] == np.inf).all()
    assert (np.sort(ids[:, :held], axis=1) == np.arange(held)).all()
    assert (ids[:, held:] == -1).all()


def test_no_oversampling_only_reorders(index: Any, hasher: Any, queries: Any) -> None:
    _, candidates = index.search(hasher.transform(queries), K)
    _, ids = TwoStageSearch(index, hasher, "decoded", oversampling=1).search(queries, K)
    np.testing.assert_array_equal(np.sort(ids), np.sort(candidates))
    assert (ids != candidates).any()


def test_no_queries_have_no_neighbours(index: Any, queries: Any) -> None:
    hasher = SimpleNamespace(transform=lambda X: np.empty((len(X), N_BITS // 8), np.uint8))
    distances, ids = TwoStageSearch(index, hasher, "spherical").search(queries[:0], K)
    assert distances.shape == ids.shape == (0, K)


def test_more_candidates_never_lower_the_recall_of_raw(
    index: Any, hasher: Any, base: Any, queries: Any, truth: Any
) -> None:
    search = TwoStageSearch(index, hasher, "raw", vectors=base)
    recalls = []
    for search.oversampling in (1, 1.5, 2, 5, 20, 60, 150):
        recalls.append(recall(search.search(queries, K)[1], truth))
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1] == 1


@pytest.mark.parametrize("by", DISTANCES)
def test_masks_are_refused_unless_the_search_is_over_a_snapshot(
    by: str, hasher: ITQ, base: Any, queries: Any
) -> None:
    """The index may have changed since the mask was made, even if it is as long as before."""
    index = HammingIndex.of(hasher)
    index.add(hasher.transform(base))
    vectors = {"vectors": base} if by == "raw" else {}
    over_index = TwoStageSearch(index, hasher, by=by, **vectors)
    snapshot = index.snapshot()
    over_snapshot = TwoStageSearch(snapshot, hasher, by=by, **vectors)
    mask = index.ids % 2 == 0
    index.remove([7])
    index.add(hasher.transform(base[7:8]), [N_BASE])
    for filter in (mask, mask.tolist()):
        with pytest.raises(ValueError, match="a boolean mask belongs to one state of the index"):
            over_index.search(queries, K, filter=filter)
        assert (over_snapshot.search(queries, K, filter=filter)[1] % 2 == 0).all()


@pytest.mark.parametrize("by", DISTANCES)
def test_filters_say_which_codes_are_candidates(
    by: str, index: Any, hasher: Any, base: Any, queries: Any
) -> None:
    search = two_stages(by, index, hasher, base, oversampling=3)
    everything = all_distances(by, hasher, base, queries)
    chosen = np.arange(0, N_BASE, 7)
    filters = [chosen, lambda ids: ids % 7 == 0, index.select(chosen), np.arange(0)]
    for few in (chosen, chosen[: K - 2]):
        _, candidates = index.search(hasher.transform(queries), 3 * K, filter=few)
        for filter in filters[:3] if few is chosen else [few]:
            distances, ids = search.search(queries, K, filter=filter)
            for row, own in enumerate(candidates):
                own = own[own >= 0]
                nearest = np.sort(everything[row, own])[:K]
                np.testing.assert_allclose(
                    distances[row, : len(nearest)], nearest, rtol=1e-5, atol=1e-5
                )
                assert set(ids[row, : len(nearest)]) <= set(own)
                assert (distances[row, len(nearest) :] == np.inf).all()
                assert (ids[row, len(nearest) :] == -1).all()
    assert (search.search(queries, K, filter=filters[3])[1] == -1).all()


@pytest.mark.parametrize("by", DISTANCES)
def test_infinite_oversampling_ranks_the_whole_index(
    by: str, index: Any, hasher: Any, base: Any, queries: Any
) -> None:
    whole = two_stages(by, index, hasher, base, oversampling=math.inf).search(queries, K)
    all_of_it = two_stages(by, index, hasher, base, oversampling=N_BASE).search(queries, K)
    np.testing.assert_array_equal(whole, all_of_it)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_raw_vectors_of_every_type_are_compared_exactly(
    dtype: Any, order: Any, index: Any, hasher: Any, base: Any, queries: Any
) -> None:
    vectors = np.array(np.clip(base, -100, 100).astype(dtype), dtype, order=order)
    search = TwoStageSearch(index, hasher, "raw", vectors=vectors)
    distances, ids = search.search(queries, K)
    expected = squared(queries, vectors)
    np.testing.assert_allclose(distances, np.take_along_axis(expected, ids, axis=1), rtol=1e-6)
    own = index.search(hasher.transform(queries), 10 * K)[1]
    kept = np.sort(np.take_along_axis(expected, own, axis=1), axis=1)[:, :K]
    np.testing.assert_allclose(distances, kept, rtol=1e-6)


# -- calibration


@pytest.mark.parametrize("by", DISTANCES)
def test_calibration_finds_the_first_oversampling_that_reaches_the_target(
    by: str, index: Any, hasher: Any, base: Any, queries: Any, truth: Any
) -> None:
    """Against the definition: every number of candidates in turn, sorted and counted."""
    _, candidates = index.search(hasher.transform(queries), N_BASE)
    _, full = two_stages(by, index, hasher, base, oversampling=N_BASE).search(queries, N_BASE)
    # the place of each candidate in the order of the distance, in order of Hamming distance
    places = np.take_along_axis(np.argsort(full), candidates, axis=1)
    is_true = np.array([np.isin(row, own) for row, own in zip(candidates, truth, strict=True)])

    def recall_at(count: int) -> float:
        kept = np.partition(places[:, :count], K - 1)[:, K - 1 : K]
        return float((is_true[:, :count] & (places[:, :count] <= kept)).sum() / truth.size)

    recalls = np.array([recall_at(count) for count in range(K, N_BASE + 1)])
    outcomes = set()
    for target in (recalls[0], (recalls[0] + recalls.max()) / 2, recalls.max(), 0.9, 1):
        search = two_stages(by, index, hasher, base, oversampling=3)
        found = search.calibrate(queries, truth, target_recall=target)
        reached = bool(recalls.max() >= target)
        outcomes.add(reached)
        first = int(np.argmax(recalls >= target)) if reached else int(np.argmax(recalls))
        assert (found.reached, found.target_recall) == (reached, target)
        assert (found.oversampling, found.recall) == ((K + first) / K, recalls[first])
        assert search.oversampling == (found.oversampling if reached else 3)
        oversamplings = [oversampling for oversampling, _ in found.curve]
        assert oversamplings[0] == 1
        assert oversamplings == sorted(set(oversamplings))
        for oversampling, value in found.curve:
            assert value == recalls[round(oversampling * K) - K]
        if not reached:
            assert found.curve[-1] == (N_BASE / K, recalls[-1])
            assert f"{recalls[-1]:.3g} with all codes as candidates" in str(found)
    assert outcomes == ({True} if by == "raw" else {True, False})


def test_a_search_has_the_recall_that_calibration_promised(
    index: Any, hasher: Any, base: Any, queries: Any, truth: Any
) -> None:
    search = TwoStageSearch(index, hasher, "raw", vectors=base)
    found = search.calibrate(queries, truth, target_recall=0.8)
    assert found.recall >= 0.8
    assert recall(search.search(queries, K)[1], truth) == pytest.approx(found.recall)
    search.oversampling = found.oversampling - 1 / K
    assert recall(search.search(queries, K)[1], truth) < 0.8
    assert str(found).startswith(f"recall {found.recall:.3g} at oversampling")


@pytest.mark.parametrize("k", [1, 7, 49])
def test_an_oversampling_of_so_many_candidates_takes_so_many(
    k: int, index: Any, hasher: Any, queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    plain = IndexSnapshot.search

    def counting(self: Any, codes: Any, k: int, **options: Any) -> Any:
        asked.append(k)
        return plain(self, codes, k, **options)

    monkeypatch.setattr(IndexSnapshot, "search", counting)
    for count in range(k, 4 * k):
        search = TwoStageSearch(index, hasher, "decoded", oversampling=count / k)
        search.search(queries[:1], k)
    assert asked == list(range(k, 4 * k))


# -- bad input


def test_what_the_hasher_cannot_do_is_said_with_what_it_can(base: Any) -> None:
    hasher = KMeansHashing(N_BITS, random_state=0).fit(base)
    index = index_of(hasher.transform(base))
    with pytest.raises(
        ValueError,
        match="needs a hasher with the method project, which KMeansHashing lacks; choose one of"
        " spherical, decoded, raw",
    ):
        TwoStageSearch(index, hasher, "asymmetric")
    blind = SimpleNamespace(transform=hasher.transform)
    with pytest.raises(ValueError, match="the method reconstruct.*choose one of spherical, raw"):
        TwoStageSearch(index, blind, "decoded")


@pytest.mark.parametrize("by", ["hamming", "Raw", "", None])
def test_an_unknown_distance_is_named(by: Any, index: Any, hasher: Any) -> None:
    with pytest.raises(ValueError, match=f"asymmetric, spherical, decoded, raw; got {by!r}"):
        TwoStageSearch(index, hasher, by)


def test_vectors_go_with_raw_and_nothing_else(index: Any, hasher: Any, base: Any) -> None:
    with pytest.raises(ValueError, match="by='raw' needs vectors="):
        TwoStageSearch(index, hasher, "raw")
    with pytest.raises(ValueError, match="by='decoded' reads no vectors"):
        TwoStageSearch(index, hasher, "decoded", vectors=base)
    with pytest.raises(ValueError, match="vectors must have shape"):
        TwoStageSearch(index, hasher, "raw", vectors=base[0])


@pytest.mark.parametrize("oversampling", [0.99, 0, -1, math.nan, -math.inf, "10", None])
def test_oversampling_below_one_is_refused(oversampling: Any, index: Any, hasher: Any) -> None:
    with pytest.raises(ValueError, match="oversampling must be a number of at least 1, got"):
        TwoStageSearch(index, hasher, "decoded", oversampling=oversampling)


@pytest.mark.parametrize("k", [0, -1, 2.0, True, None])
def test_k_is_a_positive_whole_number(k: Any, index: Any, hasher: Any, queries: Any) -> None:
    with pytest.raises(ValueError, match="k must be a whole number of at least 1, got"):
        TwoStageSearch(index, hasher, "decoded").search(queries, k)


@pytest.mark.parametrize("by", DISTANCES)
def test_bad_queries_are_named(by: str, index: Any, hasher: Any, base: Any, queries: Any) -> None:
    search = two_stages(by, index, hasher, base)
    spoiled = queries.copy()
    spoiled[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"queries contain NaN.*first in row 3"):
        search.search(spoiled, K)
    with pytest.raises(ValueError, match="queries must have shape"):
        search.search(queries[0], K)
    with pytest.raises(ValueError, match=r"queries is masked \(first at row 3, column 1\)"):
        search.search(np.ma.masked_invalid(spoiled), K)
    with pytest.raises(ValueError, match="X has 23 features, but ITQ is expecting 24"):
        search.search(queries[:, :23], K)


def test_vectors_that_do_not_belong_to_the_index_are_named(
    index: Any, hasher: Any, base: Any, queries: Any
) -> None:
    everything = {"oversampling": N_BASE}
    few = TwoStageSearch(index, hasher, "raw", vectors=base[:100], **everything)
    with pytest.raises(ValueError, match="holds the id 1499, but vectors have 100 rows"):
        few.search(queries, K)
    narrow = TwoStageSearch(index, hasher, "raw", vectors=base[:, :5], **everything)
    with pytest.raises(ValueError, match="queries have 24 dimensions, but the vectors .* have 5"):
        narrow.search(queries, K)
    spoiled = base.copy()
    spoiled[7] = np.inf
    with pytest.raises(ValueError, match="vectors contain NaN, infinity.*row 7[)]"):
        TwoStageSearch(index, hasher, "raw", vectors=spoiled, **everything).search(queries, K)


@pytest.mark.parametrize("target", [0, -0.5, 1.01, math.nan, "0.9"])
def test_a_target_is_a_share(
    target: Any, index: Any, hasher: Any, queries: Any, truth: Any
) -> None:
    search = TwoStageSearch(index, hasher, "decoded")
    with pytest.raises(ValueError, match="target_recall must be above 0 and at most 1, got"):
        search.calibrate(queries, truth, target_recall=target)


def test_a_truth_has_different_ids_for_each_query(
    index: Any, hasher: Any, base: Any, queries: Any, truth: Any
) -> None:
    search = TwoStageSearch(index, hasher, "decoded")
    for wrong in (truth[:5], truth[0], truth[:, :0], truth.astype(float)):
        with pytest.raises(ValueError, match=r"truth must be ids of shape \(60, k\)"):
            search.calibrate(queries, wrong)
    with pytest.raises(ValueError, match="truth must not repeat an id"):
        search.calibrate(queries, np.zeros((len(queries), 2), int))
    small = TwoStageSearch(index_of(hasher.transform(base[:5])), hasher, "decoded")
    with pytest.raises(ValueError, match="truth has 10 ids per query, but the index holds 5"):
        small.calibrate(queries, truth)


# -- real data


def test_re_ranking_finds_more_digits_than_hamming(digits: Any) -> None:
    """Floors well below what is measured (docs/search.md), so that only a real loss fails them."""
    base, queries = digits
    hasher = ITQ(64, random_state=0).fit(base)
    index = index_of(hasher.transform(base))
    truth = exact_neighbors(base, queries, K).ids
    hamming = recall(index.search(hasher.transform(queries), K)[1], truth)
    gains = {
        by: recall(two_stages(by, index, hasher, base).search(queries, K)[1], truth) - hamming
        for by in ("asymmetric", "decoded", "raw")
    }
    assert gains["asymmetric"] > 0.06
    assert gains["decoded"] > 0.06
    assert gains["raw"] > 0.4
    # with enough candidates raw vectors give nine of ten neighbours, and codes cannot
    raw = two_stages("raw", index, hasher, base)
    found: Calibration = raw.calibrate(queries[:100], truth[:100], target_recall=0.9)
    assert found.reached
    assert found.oversampling < 20
    assert recall(raw.search(queries[100:], K)[1], truth[100:]) > 0.87


def test_calibration_refuses_a_truth_that_the_index_does_not_hold(
    hasher: ITQ, base: Any, queries: Any, truth: Any
) -> None:
    index = index_of(hasher.transform(base))
    index.remove([truth[7, 2]])
    search = two_stages("asymmetric", index, hasher, base)
    with pytest.raises(ValueError, match=rf"truth names id {truth[7, 2]} for query \d+, which is"):
        search.calibrate(queries, truth)


@pytest.mark.parametrize("by", DISTANCES)
def test_both_stages_see_one_snapshot(
    by: str, hasher: ITQ, base: Any, queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is removed or changed between the stages is ranked as it was before."""
    index = index_of(hasher.transform(base))
    search = two_stages(by, index, hasher, base)
    expected = search.search(queries, K)
    name = "search_asymmetric" if by == "asymmetric" else "search"  # the first stage, or both
    first_stage = getattr(IndexSnapshot, name)

    def meanwhile(self: IndexSnapshot, *arguments: Any, **options: Any) -> Any:
        found = None if by == "asymmetric" else first_stage(self, *arguments, **options)
        if len(index) == N_BASE:
            nearest = np.unique(expected[1][:, 0])
            index.remove(nearest[::2])
            index.update(~index.get(nearest[1::2]), nearest[1::2])
        return found or first_stage(self, *arguments, **options)

    monkeypatch.setattr(IndexSnapshot, name, meanwhile)
    found = search.search(queries, K)
    assert len(index) < N_BASE
    for ours, before in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, before)
