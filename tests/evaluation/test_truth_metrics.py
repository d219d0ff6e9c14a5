"""Exact neighbours by cosine and by inner product."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sigah.evaluation import cached_neighbors, exact_neighbors, truth
from sigah.evaluation.truth import CACHE_FORMAT, content_hash
from sigah.metric import distances_from, unit_rows

METRICS = ("cosine", "ip")


def noise(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


def in_long_double(base: Any, queries: Any, metric: str) -> NDArray[np.longdouble]:
    """All distances ``(q, n)``."""
    x, q = base.astype(np.longdouble), queries.astype(np.longdouble)
    if metric == "cosine":
        x, q = (v / np.sqrt(np.square(v).sum(axis=1, keepdims=True)) for v in (x, q))
    products = np.array([[(one * other).sum() for other in x] for one in q])
    return 1 - products if metric == "cosine" else -products


def by_definition(base: Any, queries: Any, k: int, metric: str) -> truth.Neighbors:
    """All float64 distances, sorted by distance and row."""
    if metric == "cosine":
        base, queries = unit_rows(base), unit_rows(queries)
    base = base.astype(np.float64)
    every = np.array([distances_from(q, base, metric) for q in queries.astype(np.float64)])
    ids = np.argsort(every, axis=1, kind="stable")[:, :k]
    return truth.Neighbors(np.take_along_axis(every, ids, axis=1), ids.astype(np.int32))


@st.composite
def whole_numbers(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any], int, int]:
    """Rows full of duplicates, multiples and zeros, in dtypes that all hold them exactly."""
    dtype = draw(st.sampled_from(["i1", ">i2", "i8", "f2", "f4", ">f4", "f8"]))
    n, d = draw(st.integers(1, 120)), draw(st.integers(1, 4))
    most = draw(st.sampled_from([1, 3, 20]))
    values = st.integers(-most, most)
    base = draw(hnp.arrays(np.int64, (n, d), elements=values))
    queries = draw(hnp.arrays(np.int64, (draw(st.integers(1, 4)), d), elements=values))
    return (
        base.astype(dtype),
        queries.astype(dtype),
        draw(st.integers(1, n)),
        draw(st.integers(1, 130)),
    )


@given(whole_numbers(), st.sampled_from(METRICS))
@settings(deadline=None)
def test_neighbors_are_the_sorted_list_of_all_rows(
    problem: tuple[NDArray[Any], NDArray[Any], int, int], metric: str
) -> None:
    base, queries, k, block = problem
    found = exact_neighbors(base, queries, k, metric, block=block)
    assert (found.ids.dtype, found.distances.dtype) == (np.int32, np.float64)
    expected = by_definition(base, queries, k, metric)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)
    if metric == "ip":
        exact = -(queries.astype(np.int64) @ base.astype(np.int64).T)
        np.testing.assert_array_equal(
            found.distances, np.take_along_axis(exact, found.ids.astype(np.int64), axis=1)
        )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [0, 1e4, -3e7])
def test_order_and_distances_are_those_of_long_doubles(metric: str, offset: float) -> None:
    base, queries = offset + noise(400, 20), noise(5, 20, seed=1)
    queries += offset if metric == "cosine" else 0
    found = exact_neighbors(base, queries, 150, metric, block=128)
    exact = in_long_double(base, queries, metric)
    if not offset:  # otherwise float64 itself has too few digits to rank by
        np.testing.assert_array_equal(found.ids, np.argsort(exact, axis=1)[:, :150])
    theirs = np.take_along_axis(exact, found.ids.astype(np.int64), axis=1)
    size = 1 if metric == "cosine" else np.abs(base).sum(axis=1).max() * np.abs(queries).max()
    np.testing.assert_allclose(found.distances, theirs.astype(float), rtol=0, atol=1e-15 * size)


@pytest.mark.parametrize("step", [2**-20, 2**-24, 2**-26])
def test_cosines_one_rounding_apart_are_told_apart(step: float) -> None:
    # float32 products scramble the order of angles that differ this little
    angles = step * np.random.default_rng(0).permutation(1500)
    base = 7 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ids = exact_neighbors(base, np.array([[1.0, -0.5]]), 40, "cosine", block=500).ids
    np.testing.assert_array_equal(ids[0], np.argsort(angles)[:40])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-30, 1e30, 1e149])
def test_any_magnitude_is_served(metric: str, scale: float) -> None:
    base, queries = noise(300, 5), noise(5, 5, seed=1)
    expected = exact_neighbors(base, queries, 20, metric).ids
    for some, others in ((scale, 1), (1, scale), (scale, min(scale, 1))):
        scaled = exact_neighbors(some * base, others * queries, 20, metric)
        np.testing.assert_array_equal(scaled.ids, expected)


def test_the_scale_of_a_row_changes_no_cosine() -> None:
    base, queries = noise(500, 8), noise(6, 8, seed=1)
    expected = exact_neighbors(base, queries, 60, "cosine")
    factors = np.random.default_rng(2).uniform(1e-3, 1e3, size=(500, 1))
    found = exact_neighbors(factors * base, 5 * queries, 60, "cosine")
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-14)
    doubled = exact_neighbors(np.ldexp(base, np.arange(500)[:, None] % 90), queries, 60, "cosine")
    np.testing.assert_array_equal(doubled.distances, expected.distances)


def test_rows_of_zeros_have_a_right_angle_to_all() -> None:
    base = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    distances, ids = exact_neighbors(base, np.array([[3.0, 0.0], [0.0, 0.0]]), 5, "cosine")
    assert ids.tolist() == [[1, 0, 3, 4, 2], [0, 1, 2, 3, 4]]
    assert distances.tolist() == [[0, 1, 1, 1, 2], [1, 1, 1, 1, 1]]


def test_unit_vectors_have_the_same_neighbours_by_every_metric() -> None:
    base, queries = unit_rows(noise(400, 12)), unit_rows(noise(7, 12, seed=1))
    ids = [exact_neighbors(base, queries, 50, metric).ids for metric in ("l2", *METRICS)]
    np.testing.assert_array_equal(ids[0], ids[1])
    np.testing.assert_array_equal(ids[0], ids[2])


@pytest.mark.parametrize("metric", METRICS)
def test_sources_and_blocks_change_nothing(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base, queries = np.round(noise(300, 6), 1), np.round(noise(40, 6, seed=1), 1)
    base[::7] = 0
    expected = exact_neighbors(base, queries, 30, metric)
    monkeypatch.setattr(truth, "SCORES_PER_STEP", 2000)
    for source in (
        base,
        np.asfortranarray(base),
        base.tolist(),
        np.repeat(base, 2, axis=1)[:, ::2],
    ):
        for found, part in zip(
            exact_neighbors(source, queries, 30, metric, block=33), expected, strict=True
        ):
            np.testing.assert_array_equal(found, part)


@pytest.mark.parametrize("metric", METRICS)
def test_bad_input_is_named(metric: str) -> None:
    good = np.ones((3, 2))
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[1, 0] = value
        with pytest.raises(ValueError, match="base contains NaN.*row 1"):
            exact_neighbors(bad, good, 1, metric)
        with pytest.raises(ValueError, match="queries contains NaN.*row 1"):
            exact_neighbors(good, bad, 1, metric)


@pytest.mark.parametrize("metric", ["dot", "L2", None, ["l2"]])
def test_unknown_metrics_are_refused(metric: Any) -> None:
    for search in (exact_neighbors, cached_neighbors):
        with pytest.raises(ValueError, match="metric must be one of l2, cosine, ip, got"):
            search(np.ones((3, 2)), np.ones((1, 2)), 1, metric)


def test_the_cache_keeps_metrics_apart_and_old_names(tmp_path: Path) -> None:
    base, queries = noise(60, 4), noise(7, 4, seed=1)
    for metric in ("l2", *METRICS, *METRICS):
        found = cached_neighbors(base, queries, 5, metric, cache_dir=tmp_path)
        for part, expected in zip(found, exact_neighbors(base, queries, 5, metric), strict=True):
            np.testing.assert_array_equal(part, expected)
    names = {path.name for path in (tmp_path / "truth").iterdir()}
    assert len(names) == 3
    before = " ".join([CACHE_FORMAT, content_hash(base), content_hash(queries), "5"])
    assert hashlib.sha256(before.encode()).hexdigest() in names
