"""The second stage ranks by the metric of the hasher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sigah import ITQ, HammingIndex, TwoStageSearch
from sigah.evaluation import exact_neighbors
from sigah.metric import METRICS, distances_from, unit_rows
from sigah.search.compiled import score_kernels

N_BASE, K = 700, 12


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    """Vectors of lengths that differ by a factor of 100, duplicates, multiples and zeros."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N_BASE + 30, 24)) * rng.uniform(0.1, 10, (N_BASE + 30, 1))
    vectors[5:20] = vectors[4]
    vectors[20:30] = np.ldexp(vectors[4], np.arange(10)[:, None])
    vectors[30:34] = 0
    vectors[N_BASE], vectors[N_BASE + 1] = vectors[4], 0
    return vectors.astype(np.float32)


def searched(
    vectors: Any, metric: str, by: str, base: Any = None, **options: Any
) -> tuple[Any, Any, ITQ]:
    hasher = ITQ(16, metric=metric, random_state=0).fit(vectors[:N_BASE])
    index = HammingIndex.of(hasher)
    index.add(hasher.transform(vectors[:N_BASE]))
    rows = {"vectors": vectors[:N_BASE] if base is None else base} if by == "raw" else {}
    search = TwoStageSearch(index, hasher, by, oversampling=N_BASE / K, **rows, **options)
    return *search.search(vectors[N_BASE:], K), hasher


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("layout", ["plain", "float64", "columns", "mapped"])
def test_raw_vectors_among_all_candidates_are_the_exact_neighbours(
    metric: str, layout: str, vectors: NDArray[np.float32], tmp_path: Path
) -> None:
    base: Any = vectors[:N_BASE]
    np.save(tmp_path / "base.npy", base)
    base = {
        "plain": base,
        "float64": base.astype(np.float64),
        "columns": np.asfortranarray(base),
        "mapped": np.load(tmp_path / "base.npy", mmap_mode="r"),
    }[layout]
    distances, ids, _ = searched(vectors, metric, "raw", base)
    truth = exact_neighbors(vectors[:N_BASE], vectors[N_BASE:], K, metric)
    np.testing.assert_allclose(distances, truth.distances, rtol=1e-6, atol=1e-15)
    if metric != "ip":
        np.testing.assert_array_equal(ids[0], range(4, 16))  # duplicates and multiples tie at 0
    if metric == "cosine":
        np.testing.assert_array_equal(ids[1], range(K))  # zeros are as far from everything
        assert (distances[1] == 1).all()
    np.testing.assert_array_equal(ids[2:], truth.ids[2:])


@pytest.mark.parametrize("metric", METRICS)
def test_decoded_vectors_are_compared_by_the_metric(
    metric: str, vectors: NDArray[np.float32]
) -> None:
    distances, ids, hasher = searched(vectors, metric, "decoded")
    decoded: Any = hasher.reconstruct(hasher.transform(vectors[:N_BASE]))
    queries: Any = vectors[N_BASE:]
    if metric == "cosine":
        decoded, queries = unit_rows(decoded), unit_rows(queries)
    for row, query in enumerate(queries):
        expected = distances_from(query, decoded, metric)
        order = np.argsort(expected, kind="stable")[:K]
        np.testing.assert_allclose(distances[row], expected[order], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(expected[ids[row]], expected[order], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("by", ["raw", "decoded", "asymmetric"])
def test_lengths_change_no_ranking_by_cosine(by: str, vectors: NDArray[np.float32]) -> None:
    powers = np.ldexp(1.0, np.arange(len(vectors)) % 30 - 15)[:, None].astype(np.float32)
    distances, ids, _ = searched(vectors, "cosine", by)
    others, again, _ = searched(vectors * powers, "cosine", by)
    np.testing.assert_array_equal(again, ids)
    np.testing.assert_array_equal(others, distances)


def test_a_hasher_without_a_metric_ranks_by_l2(vectors: NDArray[np.float32]) -> None:
    class Plain:
        def transform(self, X: Any) -> NDArray[np.uint8]:
            return np.packbits(np.asarray(X)[:, :16] >= 0, axis=1)

    index = HammingIndex(16)
    index.add(Plain().transform(vectors[:N_BASE]))
    search = TwoStageSearch(index, Plain(), "raw", oversampling=100, vectors=vectors[:N_BASE])
    distances, _ = search.search(vectors[N_BASE:], K)
    truth = exact_neighbors(vectors[:N_BASE], vectors[N_BASE:], K)
    np.testing.assert_allclose(distances, truth.distances, rtol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-6, 1e-3, 0.044, 0.045, 0.1, 1.0, np.pi])
def test_small_angles_keep_their_digits(angle: float) -> None:
    query = np.array([[1.0, 0.0]])
    row = 7 * np.array([[np.cos(angle), np.sin(angle)]])
    distances = np.empty((1, 1))
    nearest = np.zeros((1, 1), np.int64)
    assert score_kernels().distances_of_rows(
        row, nearest, query, METRICS.index("cosine"), distances
    )
    assert distances[0, 0] == pytest.approx(2 * np.sin(angle / 2) ** 2, rel=1e-11, abs=1e-30)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_row_is_named(metric: str, value: float, vectors: NDArray[np.float32]) -> None:
    base = vectors[:N_BASE].copy()
    base[123, 4] = value
    with pytest.raises(ValueError, match="vectors contain NaN.*first in row 123"):
        searched(vectors, metric, "raw", base)
