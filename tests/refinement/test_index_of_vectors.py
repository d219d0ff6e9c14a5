"""VectorIndex: what it finds, what it keeps, and what it refuses."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sigah import ITQ, LSH, HammingIndex, VectorIndex
from sigah.evaluation import exact_neighbors
from sigah.files import FileFormatError
from sigah.files.description import describe
from sigah.metric import METRICS
from sigah.refinement import RefinedCodes, refined_codes, vector_index
from sigah.refinement.levels import levels_of, nearest_level, nearest_with_level
from sigah.refinement.principal_axes import centred, drawn_in, principal_axes

N, DIM, K = 3000, 32, 10


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Points about centres of different lengths, so that the three metrics differ."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, DIM)) * rng.uniform(0.5, 2, (60, 1))
    points = centres[rng.integers(0, 60, N + 100)] + 0.5 * rng.normal(size=(N + 100, DIM))
    return (points + 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def base(vectors: np.ndarray) -> np.ndarray:
    return vectors[:N]


@pytest.fixture(scope="module")
def queries(vectors: np.ndarray) -> np.ndarray:
    return vectors[N:]


@pytest.fixture(scope="module")
def indexes(base: np.ndarray) -> dict[str, VectorIndex]:
    return {m: VectorIndex.build(base, 12, metric=m, random_state=0) for m in METRICS}


def distances_of(queries: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """All distances in float64, from the definitions."""
    q, x = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        return ((q[:, None] - x[None]) ** 2).sum(axis=2)
    if metric == "ip":
        return -q @ x.T
    q = q / np.linalg.norm(q, axis=1, keepdims=True)
    return 1 - q @ (x / np.linalg.norm(x, axis=1, keepdims=True)).T


def recall(ids: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([np.isin(t, i).mean() for t, i in zip(truth, ids, strict=True)]))


@pytest.mark.parametrize("metric", METRICS)
def test_refined_rows_find_far_more_than_hash_codes_of_the_same_size(
    metric: str, indexes: dict[str, VectorIndex], base: np.ndarray, queries: np.ndarray
) -> None:
    truth = exact_neighbors(base, queries, K, metric=metric).ids
    index = indexes[metric]
    found = recall(index.search(queries, K)[1], truth)
    if metric == "ip":  # Hamming distances know nothing of lengths
        assert found > 0.55
    else:
        hasher = ITQ(32, metric=metric, random_state=0).fit(base)  # no more bits than dimensions
        codes = HammingIndex.of(hasher)
        codes.add(hasher.transform(base))
        assert found > recall(codes.search(hasher.transform(queries), K)[1], truth) + 0.25
        assert found > 0.72


@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_those_from_what_the_rows_decode_to(
    metric: str, indexes: dict[str, VectorIndex], queries: np.ndarray
) -> None:
    index = indexes[metric]
    distances, ids = index.search(queries[:20], 5)
    assert (np.diff(distances, axis=1) >= 0).all()
    errors = []
    for query, row, found in zip(queries[:20], distances, ids, strict=True):
        expected = distances_of(query[None], index.reconstruct(found), metric)[0]
        errors.append(np.abs(row - expected) / np.abs(expected).max())
    assert np.median(errors) < 0.05, "of the length, four bits are kept"
    assert np.max(errors) < 0.6


def test_levels_round_better_than_equal_parts() -> None:
    values = np.random.default_rng(0).lognormal(size=5000).astype(np.float32)
    levels = levels_of(values)
    assert len(levels) == 16
    assert (np.diff(levels) > 0).all()
    parts = np.array([part.mean() for part in np.array_split(np.sort(values), 16)])

    def error(of: np.ndarray) -> float:
        return float(np.square(values - of[nearest_level(values, of)]).mean())

    assert error(levels) < 0.5 * error(parts)
    for n_below in (0, 5):
        assert (levels_of(np.ones(3, np.float32), 20, n_below) == 1).all()


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("n_levels", [0, 3, 17, 300])
def test_a_model_with_another_number_of_levels_is_refused(
    indexes: dict[str, VectorIndex], metric: str, n_levels: int
) -> None:
    header, arrays = indexes[metric].refined.content()
    arrays["levels_"] = np.linspace(0.5, 1, n_levels, dtype=np.float32)
    with pytest.raises(FileFormatError, match="levels contradict"):
        RefinedCodes.from_content(header, arrays)


@pytest.mark.parametrize("length", [[], [1.0], [1.0, 0.0], [1.0, -1.0], [np.nan, 1.0], [1.0] * 3])
def test_a_model_whose_length_contradicts_it_is_refused(
    indexes: dict[str, VectorIndex], length: list[float]
) -> None:
    header, arrays = indexes["l2"].refined.content()
    arrays["length_"] = np.array(length, np.float32)
    with pytest.raises(FileFormatError, match="length contradict"):
        RefinedCodes.from_content(header, arrays)


def test_five_levels_are_below_all_that_is_learned_from() -> None:
    random = np.random.default_rng(0)
    lengths = random.uniform(0.6, 0.9, 1000).astype(np.float32)
    for shift in (0, -0.75):
        levels = levels_of(lengths + np.float32(shift), 20, 5)
        assert (levels < 0.6 + shift).sum() == 5
        np.testing.assert_allclose(levels[0], 2 * levels[5] - levels[-1], rtol=1e-4)
        np.testing.assert_allclose(np.diff(levels[:6]), (levels[-1] - levels[5]) / 5, rtol=1e-3)
    nearly_zero = levels_of(lengths - np.float32(0.59), 20, 5)
    assert nearly_zero[0] > 0, "a vector of such a length would look near to everything"


def test_codewords_that_are_about_as_near_are_chosen_by_their_level() -> None:
    random = np.random.default_rng(0)
    errors = random.uniform(1, 1.2, (500, 8)).astype(np.float32)
    values = random.uniform(0, 10, (500, 8)).astype(np.float32)
    levels = np.linspace(0, 10, 6, dtype=np.float32)
    nearest, of_nearest = nearest_with_level(errors, values, levels, 0)
    np.testing.assert_array_equal(nearest, errors.argmin(axis=1))
    chosen, found = nearest_with_level(errors, values, levels, 10**0.5)
    each = np.arange(500)
    np.testing.assert_array_equal(found, nearest_level(values[each, chosen], levels))
    off = np.square(levels[found] - values[each, chosen])
    off_nearest = np.square(levels[of_nearest] - values[each, nearest])
    assert off.mean() < 0.1 * off_nearest.mean()
    cost = errors[each, chosen] + 10 * off
    assert (cost <= errors[each, nearest] + 10 * off_nearest + 1e-5).all()


def test_a_value_beyond_all_levels_does_not_decide_the_codeword() -> None:
    errors = np.array([[1, 2, 3]], np.float32)
    values = np.array([[1e6, 1e5, 1e4]], np.float32)
    for levels in (np.linspace(0, 1, 16, dtype=np.float32), np.ones(16, np.float32)):
        chosen, found = nearest_with_level(errors, values, levels, 100)
        assert (chosen[0], found[0]) in {(0, 15), (0, 0)}


@pytest.mark.parametrize("scale", [1e-18, 1e-6, 1e6, 1e10, 1e14])
def test_the_unit_of_vectors_changes_no_neighbour_but_by_rounding(
    scale: float, indexes: dict[str, VectorIndex], base: np.ndarray, queries: np.ndarray
) -> None:
    """Squares of squared lengths would exceed what float32 can hold."""
    scaled = (base.astype(np.float64) * scale).astype(np.float32)
    index = VectorIndex.build(scaled, 12, metric="l2", random_state=0)
    asked = (queries.astype(np.float64) * scale).astype(np.float32)
    truth = exact_neighbors(base, queries, K).ids
    expected = recall(indexes["l2"].search(queries, K)[1], truth)
    assert recall(index.search(asked, K)[1], truth) > expected - 0.03


@pytest.mark.parametrize("value", [0, 1, 1e14])
def test_vectors_that_are_all_equal_are_all_as_near(value: float) -> None:
    vectors = np.full((300, 24), value, np.float32)
    index = VectorIndex.build(vectors, 8, metric="l2", random_state=0)
    distances, ids = index.search(vectors[:2], 3)
    assert ids.tolist() == [[0, 1, 2]] * 2
    assert (distances <= 1e-5 * max(value, 1) ** 2).all()


def test_codes_find_candidates_of_the_right_length() -> None:
    """Of the same directions, the short vectors are near to each other, and the long ones far."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8200, 64)) * rng.choice([0.7, 1, 1.4], (8200, 1))
    base, queries = vectors[:8000].astype(np.float32), vectors[8000:].astype(np.float32)
    index = VectorIndex.build(base, 8, metric="l2", random_state=0)
    assert len(index.refined.length_) == 2
    index.shortlist = len(base)
    everything = index.search(queries, K)[1]
    index.shortlist = 400
    assert recall(index.search(queries, K)[1], everything) > 0.85
    far = base[:50] * 100  # their codes still say something of the direction
    codes = index.refined.encode(far)[:, :4]
    assert len(np.unique(codes, axis=0)) > 25


def test_squared_distances_count_what_a_row_does_not_say() -> None:
    """Most of these vectors lies beyond the principal axes that 4 bytes keep."""
    rng = np.random.default_rng(0)
    base, queries = (rng.normal(size=(n, 600)).astype(np.float32) for n in (2000, 50))
    index = VectorIndex.build(base, 4, metric="l2", random_state=0)
    distances, ids = index.search(queries, 10)
    true = np.take_along_axis(distances_of(queries, base, "l2"), ids, axis=1)
    decoded = np.square(queries[:, np.newaxis] - index.reconstruct(ids.ravel()).reshape(50, 10, -1))
    assert decoded.sum(axis=2).mean() < 0.6 * true.mean()
    assert abs(distances.mean() - true.mean()) < 0.25 * true.mean()


@pytest.mark.parametrize("metric", METRICS)
def test_the_original_vectors_rank_exactly(
    metric: str, indexes: dict[str, VectorIndex], base: np.ndarray, queries: np.ndarray
) -> None:
    index = indexes[metric]
    for source in (base, base.astype(np.float64), lambda ids: base[ids]):
        distances, ids = index.search(queries, K, vectors=source, n_ranked=400)
        every = distances_of(queries, base, metric)
        np.testing.assert_allclose(
            distances, np.take_along_axis(every, ids, axis=1), rtol=1e-4, atol=1e-5
        )
        truth = exact_neighbors(base, queries, K, metric=metric).ids
        assert recall(ids, truth) > (0.85 if metric == "ip" else 0.98)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_are_answered_alike_alone_and_together_and_by_any_number_of_threads(
    metric: str, indexes: dict[str, VectorIndex], queries: np.ndarray
) -> None:
    index = copy.copy(indexes[metric])
    together = index.search(queries, 5)
    for query, distances, ids in zip(queries[:20], *together, strict=False):
        alone = index.search(query[None], 5)
        assert (alone[0] == distances).all()
        assert (alone[1] == ids).all()
    index._index.n_threads = 3
    other = index.search(queries, 5)
    assert (other[0] == together[0]).all()
    assert (other[1] == together[1]).all()


def test_scaling_changes_nothing_for_cosine(
    indexes: dict[str, VectorIndex], queries: np.ndarray
) -> None:
    index = indexes["cosine"]
    scales = np.random.default_rng(1).choice([0.25, 1.0, 64.0], (len(queries), 1))
    one, other = index.search(queries, 5), index.search(queries * scales.astype(np.float32), 5)
    assert (one[1] == other[1]).all()
    assert (index.refined.encode(queries) == index.refined.encode(queries * 4)).all()


def test_one_shortlist_as_long_as_the_index_is_the_whole_ranking(
    indexes: dict[str, VectorIndex], queries: np.ndarray
) -> None:
    index = copy.copy(indexes["l2"])
    index.shortlist = N
    distances, ids = index.search(queries, 20)
    views = index.refined.queries(queries)
    held = index._index.get(index.ids)
    scores = sum(views.tables[:, j][:, held[:, j]] for j in range(12)) + views.shifts
    best = np.take_along_axis(scores, ids, axis=1)
    np.testing.assert_allclose(distances, np.maximum(best, 0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(best[:, -1], np.sort(scores, axis=1)[:, 19], rtol=1e-4, atol=1e-3)


def test_rows_are_added_updated_removed_and_filtered(
    indexes: dict[str, VectorIndex], base: np.ndarray, queries: np.ndarray
) -> None:
    index = copy.deepcopy(indexes["cosine"])
    index.remove(np.arange(0, N, 2))
    assert len(index) == N // 2
    assert 1 in index
    assert 2 not in index
    assert (index.search(queries, 5)[1] % 2 == 1).all()
    chosen = index.select(lambda ids: ids % 3 == 1)
    for filter in (chosen, lambda ids: ids % 3 == 1, np.arange(1, N, 3)):
        ids = index.search(queries, 5, filter=filter)[1]
        assert (ids % 6 == 1).all()
    index.update(queries[:1], [1])
    assert index.search(queries[:1], 1)[1].item() == 1
    index.add(queries[1:2], [10**12])
    assert index.search(queries[1:2], 1)[1].item() == 10**12
    assert index.bytes_per_vector == 12 + 8
    few = index.search(queries[:2], 5, filter=[7, 9])
    assert few[1].tolist()[0][2:] == [-1, -1, -1]
    assert np.isinf(few[0][:, 2:]).all()
    assert len(indexes["cosine"]) == N, "a copy is an index of its own"


def test_files_pickles_and_copies_answer_alike(
    indexes: dict[str, VectorIndex], queries: np.ndarray, tmp_path: Path
) -> None:
    for metric, index in indexes.items():
        path = tmp_path / metric
        index.save(path)
        expected = index.search(queries, 5)
        for twin in (
            VectorIndex.open(path), VectorIndex.load(path), pickle.loads(pickle.dumps(index)),
        ):  # fmt: skip
            assert (twin.search(queries, 5)[1] == expected[1]).all()
            assert (twin.search(queries, 5)[0] == expected[0]).all()
            assert (twin.metric, len(twin), twin.shortlist) == (metric, N, index.shortlist)
        assert describe(path)["kind"] == "vectors"
        twin.save(path)
        with pytest.raises(FileFormatError, match="sigah-vectors|not"):
            HammingIndex.open(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    with pytest.raises(FileFormatError):
        VectorIndex.open(damaged).search(queries, 5)
    model = tmp_path / "model"
    ITQ(16, random_state=0).fit(queries).save(model)
    with pytest.raises(ValueError, match="holds a model"):
        index.save(model)
    with pytest.raises(FileFormatError):
        VectorIndex.open(model)


def test_the_same_seed_builds_the_same_index(base: np.ndarray, queries: np.ndarray) -> None:
    one, other = (VectorIndex.build(base[:800], 6, random_state=3) for _ in range(2))
    assert one.refined.fingerprint == other.refined.fingerprint
    assert (one.search(queries, 3)[1] == other.search(queries, 3)[1]).all()


def test_any_fitted_hasher_of_the_same_metric_may_be_refined(
    base: np.ndarray, queries: np.ndarray
) -> None:
    hasher = LSH(64, metric="cosine", random_state=0).fit(base[:500])
    index = VectorIndex.build(base[:500], 12, hasher=hasher, random_state=0)
    assert index.refined.hasher is hasher
    assert index.search(base[:50], 1)[1].ravel().tolist() == list(range(50))
    with pytest.raises(ValueError, match="metric"):
        VectorIndex.build(base, 12, metric="l2", hasher=hasher)
    with pytest.raises(ValueError, match="must exceed the 8 bytes"):
        VectorIndex.build(base, 8, hasher=hasher)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_a_learned_code_finds_more_than_that_of_itq_with_as_many_candidates(metric: str) -> None:
    """On images of digits, 64 numbers each, of which consecutive ones belong together."""
    digits = load_digits().data.astype(np.float32)
    drawn = np.random.default_rng(0).permutation(len(digits))
    base, queries = digits[drawn[300:]], digits[drawn[:300]]
    truth = exact_neighbors(base, queries, K, metric=metric).ids
    hasher = ITQ(32, metric=metric, random_state=0).fit(base)
    refined = RefinedCodes(hasher, 8).fit(base, random_state=0)
    index = VectorIndex(refined)
    index.add(base)
    learned = VectorIndex.build(base, 8, metric=metric, random_state=0)
    assert learned.refined.n_code == refined.n_code
    found = {}
    for name, one in (("itq", index), ("learned", learned)):
        one.shortlist = 50
        found[name] = recall(one.search(queries, K)[1], truth)
    assert found["learned"] > found["itq"]
    assert found["learned"] > {"l2": 0.5, "cosine": 0.8}[metric]


def test_calibration_finds_the_shortlist_for_a_recall(
    indexes: dict[str, VectorIndex], base: np.ndarray, queries: np.ndarray
) -> None:
    index = copy.copy(indexes["l2"])
    truth = exact_neighbors(base, queries, K).ids
    found = index.calibrate(queries, truth, target_recall=0.7)
    assert found.reached
    assert found.low < found.recall < found.high
    assert index.shortlist == found.shortlist
    assert recall(index.search(queries, K)[1], truth) == pytest.approx(found.recall)
    out_of_reach = index.calibrate(queries, truth, target_recall=1.0)
    assert not out_of_reach.reached
    assert "out of reach" in str(out_of_reach)
    raw = index.calibrate(queries, truth, target_recall=0.95, vectors=base)
    assert raw.reached
    assert (index.shortlist, index.wide_shortlist) == (out_of_reach.shortlist, raw.shortlist)
    every = index.calibrate(queries, truth, target_recall=1, vectors=base, n_ranked=len(base))
    assert every.recall == every.high == 1
    assert 1 - 4 / len(queries) < every.low < 1 - 2 / len(queries)  # other queries may lose some


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"n_bytes": 3}, "n_bytes"),
        ({"n_bytes": 2.5}, "n_bytes"),
        ({"n_bytes": 129}, r"128 bytes as float32, fewer than the 129 bytes \(n_bytes\)"),
        ({"metric": "euclid"}, "metric must be one of"),
        ({"vectors": np.ones((100, 4), np.float32)}, "4 dimensions"),
        ({"vectors": np.full((100, 16), np.nan, np.float32)}, "NaN"),
        ({"vectors": np.ones(100)}, "vectors"),
        ({"random_state": "x"}, "random_state"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], says: str, base: np.ndarray) -> None:
    with pytest.raises(ValueError, match=says):
        VectorIndex.build(**{"vectors": base[:300], **arguments})


def test_bad_queries_are_named(indexes: dict[str, VectorIndex], queries: np.ndarray) -> None:
    index = indexes["cosine"]
    with pytest.raises(ValueError, match="queries has 16 features"):
        index.search(queries[:, :16], 3)
    with pytest.raises(ValueError, match="NaN"):
        index.search(np.full((1, DIM), np.nan, np.float32), 3)
    with pytest.raises(ValueError, match="k must"):
        index.search(queries, 0)
    with pytest.raises(ValueError, match="row numbers"):
        index.search(queries, 3, vectors=queries)
    with pytest.raises(ValueError, match="not fitted"):
        RefinedCodes(None, 12, metric="cosine").encode(queries)
    zero = index.search(np.zeros((1, DIM), np.float32), 3)
    assert np.isfinite(zero[0]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_the_largest_numbers_are_found_or_refused_but_never_give_a_warning(
    metric: str, base: np.ndarray, queries: np.ndarray, indexes: dict[str, VectorIndex]
) -> None:
    index = copy.copy(indexes[metric])
    huge = queries[:4].copy()
    huge[2] = 3e38 * np.sign(huge[2])
    if metric == "cosine":  # only their directions count
        index.add(huge, range(N, N + 4))
        short = huge * np.float32(2.0**-100)  # exactly
        np.testing.assert_array_equal(index.search(huge)[1], index.search(short)[1])
        found = index.search(huge, 1, vectors=lambda ids: np.vstack([base, huge])[ids])[1]
        assert (found.ravel() == np.arange(N, N + 4)).all()
        return
    at = r"a value too large to compute with: .*3e\+38 at row 2, column 0 \(at most 1e\+15\)"
    with pytest.raises(ValueError, match=f"^Input queries contain {at}"):
        index.search(huge, 1)
    with pytest.raises(ValueError, match=f"^Input vectors contain {at}"):
        index.add(huge)
    with pytest.raises(ValueError, match=f"^Input vectors contain {at}"):
        index.update(huge, range(4))
    assert len(index) == N


def test_errors_speak_of_vectors_and_queries(
    base: np.ndarray, queries: np.ndarray, indexes: dict[str, VectorIndex]
) -> None:
    index = copy.copy(indexes["l2"])
    bad = queries[:4].copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"^Input vectors contain NaN.*row 3, column 1"):
        index.add(bad)
    with pytest.raises(ValueError, match=r"^Input queries contain NaN.*row 3, column 1"):
        index.search(bad)
    with pytest.raises(ValueError, match=r"^Input queries contain NaN.*row 3, column 1"):
        index.calibrate(bad, np.arange(4)[:, np.newaxis])
    with pytest.raises(ValueError, match=r"^Input vectors contain NaN.*row 2003, column 1"):
        VectorIndex.build(np.vstack([base[:2000], bad]), 12, random_state=0)
    with pytest.raises(ValueError, match=r"but vectors has shape \(32,\)"):
        index.add(queries[0])
    with pytest.raises(ValueError, match=r"^vectors has 31 features"):
        index.add(queries[:, :31])
    for change in (index.add, index.update):
        with pytest.raises(ValueError, match=r"^ids must have shape \(2,\), one for each row"):
            change(queries[:2], [7])
    with pytest.raises(ValueError, match="0 is repeated: the index has it already"):
        index.add(queries[:1], [0])
    mask = index.ids % 2 == 0
    for call in (index.select, lambda mask: index.search(queries, filter=mask)):
        with pytest.raises(ValueError, match="boolean mask.*give ids, or a function") as refused:
            call(mask)
        assert "snapshot" not in str(refused.value), "an index of vectors has none"


def test_a_bad_vector_is_named_by_its_row_though_only_some_are_learned_from(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refined_codes, "TRAINING_ROWS", 500)
    monkeypatch.setattr(vector_index, "TRAINING_ROWS", 500)
    bad = vectors[:2000].copy()
    bad[1990, 5] = np.inf
    with pytest.raises(ValueError, match=r"^Input vectors contain NaN.*row 1990, column 5"):
        VectorIndex.build(bad, 12, random_state=0)


@pytest.mark.parametrize("n_bytes", [16, 64])
def test_vectors_of_zeros_have_the_distance_1_and_hide_no_neighbours(
    n_bytes: int, base: np.ndarray, queries: np.ndarray
) -> None:
    some = base[:1000].copy()
    some[::10] = 0
    index = VectorIndex.build(some, n_bytes, random_state=0)
    distances, ids = index.search(queries[:20], len(some))
    zeros = ids % 10 == 0
    np.testing.assert_allclose(distances[zeros], 1, atol=0.02)
    expected = distances_of(queries[:20], base[:1000], "cosine")
    errors = np.abs(distances - np.take_along_axis(expected, ids, axis=1))[~zeros]
    assert errors.max() < 0.3


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_what_all_vectors_have_in_common_costs_no_digits(metric: str) -> None:
    """A column of years, say. Distances are those that docs/format.md defines."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(400, 128)).astype(np.float32)
    vectors[:, 3] += 500
    queries = vectors[:20] + rng.normal(size=(20, 128)).astype(np.float32) / 4
    index = VectorIndex.build(vectors, 24, metric=metric, random_state=0)
    index.shortlist = len(vectors)
    distances, ids = index.search(queries, len(vectors))
    refined = index.refined
    rows = index._index.get(index.ids)
    q, x = queries.astype(np.float64), refined.mean_.astype(np.float64)
    x = x + sum(refined.codebooks_[j, rows[:, j]] for j in range(24)) @ refined.axes_.T
    n = len(refined.levels_)
    assert n == (20 if metric == "cosine" else 32)
    levels = refined.levels_[np.minimum(rows[:, -1] // (256 // n), n - 1)].astype(np.float64)
    if metric == "l2":
        squares = sum(refined.squares_[j, rows[:, j]].astype(np.float64) for j in range(24))
        expected = np.square(q).sum(axis=1)[:, np.newaxis] - 2 * q @ x.T + squares + levels
    else:
        expected = 1 - q @ (x / levels[:, np.newaxis]).T / np.linalg.norm(q, axis=1)[:, np.newaxis]
    found = np.take_along_axis(np.maximum(expected, 0), ids, axis=1)
    assert np.abs(distances - found).max() < 0.15 * expected.std()
    if metric == "l2":
        assert recall(ids[:, :K], exact_neighbors(vectors, queries, K).ids) > 0.85


def test_a_few_vectors_far_out_do_not_decide_what_is_learned(
    base: np.ndarray, queries: np.ndarray
) -> None:
    ordinary = np.random.default_rng(0).normal(size=(2000, DIM)).astype(np.float32)
    assert drawn_in(ordinary) is ordinary
    some = base[:2000].copy()
    some[::100] *= 100
    drawn = drawn_in(some)
    lengths = np.linalg.norm(drawn, axis=1)
    assert lengths.max() < 3 * np.median(lengths)
    cosines = (drawn[::100] * some[::100]).sum(axis=1) / np.linalg.norm(some[::100], axis=1)
    np.testing.assert_allclose(cosines, lengths[::100], rtol=1e-5)
    many = base[:1000] / np.linalg.norm(base[:1000], axis=1, keepdims=True)
    many[:600] *= 100
    assert drawn_in(many) is many
    rare = np.zeros((1000, DIM), np.float32)
    rare[:20] = ordinary[:20]
    assert drawn_in(rare) is rare
    index = VectorIndex.build(some, 16, metric="l2", random_state=0)
    truth = exact_neighbors(some, queries, K).ids
    assert recall(index.search(queries, K)[1], truth) > 0.7


def test_a_tenth_of_long_vectors_costs_the_others_few_neighbours(
    base: np.ndarray, queries: np.ndarray
) -> None:
    mixed = base.copy()
    mixed[::10] *= 10
    others = np.delete(np.arange(N), np.s_[::10])
    found = {}
    for name, some in (("mixed", mixed), ("others", base[others])):
        index = VectorIndex.build(some, 12, metric="l2", random_state=0)
        found[name] = recall(index.search(queries, K)[1], exact_neighbors(some, queries, K).ids)
    assert found["mixed"] > found["others"] - 0.08


def test_vectors_far_out_do_not_decide_the_mean() -> None:
    alike = np.random.default_rng(0).normal(3, size=(2000, DIM)).astype(np.float32)
    mean, about = centred(alike)
    plain = alike.mean(axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(mean, plain)
    np.testing.assert_array_equal(about, alike - plain)
    mixed = alike.copy()
    mixed[::10] *= 10
    ordinary = np.delete(mixed, np.s_[::10], axis=0).mean(axis=0)
    off = np.linalg.norm(centred(mixed)[0] - ordinary)
    assert off < 0.3 * np.linalg.norm(mixed.mean(axis=0) - ordinary)


@pytest.mark.parametrize("n", [150, 290, 1000])
def test_axes_have_the_most_variance_however_few_vectors_there_are(n: int) -> None:
    rng = np.random.default_rng(n)
    vectors = rng.normal(size=(n, 300)) * np.linspace(1, 0.1, 300)
    vectors = (vectors - vectors.mean(axis=0)).astype(np.float32)
    axes = principal_axes(vectors, 200)
    assert axes.shape == (300, min(n, 200))
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-4)
    expected = np.linalg.svd(vectors.astype(np.float64), compute_uv=False)[: axes.shape[1]]
    lengths = np.linalg.norm(vectors @ axes, axis=0)
    np.testing.assert_allclose(lengths, expected, atol=1e-3 * expected[0])


def test_few_vectors_of_many_dimensions_are_found() -> None:
    vectors = np.random.default_rng(6).normal(size=(40, 700)).astype(np.float32)
    index = VectorIndex.build(vectors, 8, random_state=0)
    assert index.refined.axes_.shape == (700, 40)
    assert index.search(vectors, 1)[1].ravel().tolist() == list(range(40))


def test_original_vectors_rank_the_best_of_a_wider_shortlist(
    indexes: dict[str, VectorIndex], base: np.ndarray, queries: np.ndarray
) -> None:
    index = copy.copy(indexes["cosine"])
    assert index.shortlist < index.wide_shortlist < N
    whole = copy.copy(index)
    whole.shortlist = N
    best = whole.search(queries, 100)[1]
    asked: list[int] = []

    def look_up(ids: np.ndarray) -> np.ndarray:
        asked.extend(ids.tolist())
        return base[ids]

    kept = []
    for query, of_all in zip(queries, best, strict=True):
        asked.clear()
        index.search(query[np.newaxis], 10, vectors=look_up, n_ranked=100)
        kept.append(np.isin(of_all, asked).mean())
    assert np.mean(kept) > 0.97  # .99 of vectors that the index holds
    index.shortlist = 150
    assert index.wide_shortlist == 150
