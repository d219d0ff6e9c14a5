"""More neighbours than there are codes leave places empty; far more are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sigah import ITQ, HammingIndex, KeyedIndex, TwoStageSearch, VectorIndex
from sigah.search.scoring import NEEDS

N = 300
X = np.random.default_rng(0).normal(size=(N, 16)).astype(np.float32)
HASHER = ITQ(16, random_state=0).fit(X)
CODES = HASHER.transform(X)
INDEX = HammingIndex.of(HASHER)
INDEX.add(CODES)
TABLES = HammingIndex.of(HASHER)
TABLES.add(CODES)
TABLES.build_tables()
KEYED = KeyedIndex.of(HASHER)
KEYED.add(CODES, [str(row) for row in range(N)])
VECTORS = VectorIndex.build(X, 4, random_state=0)


def two_stage(by: str) -> TwoStageSearch:
    return TwoStageSearch(INDEX, HASHER, by, vectors=X if by == "raw" else None)


SEARCHES: dict[str, Callable[[int], Any]] = {
    "index": lambda k: INDEX.search(CODES[:2], k),
    "snapshot": lambda k: INDEX.snapshot().search(CODES[:2], k),
    "multi-index tables": lambda k: TABLES.search(CODES[:2], k),
    "spherical": lambda k: INDEX.search(CODES[:2], k, metric="spherical"),
    "filtered": lambda k: INDEX.search(CODES[:2], k, filter=range(N)),
    "tables": lambda k: INDEX.search_tables(np.zeros((2, 2, 256)), k),
    "asymmetric": lambda k: INDEX.search_asymmetric(HASHER.project(X[:2]), k),
    "keys": lambda k: KEYED.search(CODES[:2], k),
    **{f"by {by}": lambda k, by=by: two_stage(by).search(X[:2], k) for by in NEEDS},
    "vectors": lambda k: VECTORS.search(X[:2], k),
    "original vectors": lambda k: VECTORS.search(X[:2], k, vectors=X),
}


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_few_more_than_there_are_leave_places_empty(kind: str) -> None:
    distances, found = SEARCHES[kind](N + 3)
    assert distances.shape == found.shape == (2, N + 3)
    empty = found == ("" if kind == "keys" else -1)
    assert empty[:, N:].all() and not empty[:, :N].any()
    least = np.iinfo(np.int32).max if distances.dtype == np.int32 else np.inf
    assert (distances[:, N:] == least).all()


@pytest.mark.parametrize("k", [65_537, 10**12, 2**63 - 1])
@pytest.mark.parametrize("kind", SEARCHES)
def test_far_more_than_there_are_is_one_error(kind: str, k: int) -> None:
    what = "vectors" if "vectors" in kind else "codes"
    with pytest.raises(ValueError, match=f"^k can be at most 65,536, got {k:,}; .* 300 {what}$"):
        SEARCHES[kind](k)


def test_as_many_as_there_are_is_never_too_many() -> None:
    index = HammingIndex(8)
    index.add(np.zeros((70_000, 1), np.uint8))
    _, ids = index.search(np.zeros((1, 1), np.uint8), 70_000)
    assert (ids == np.arange(70_000)).all()
    with pytest.raises(ValueError, match="k can be at most 70,000, got 70,001; .* 70,000 codes"):
        index.search(np.zeros((1, 1), np.uint8), 70_001)


@pytest.mark.parametrize(
    "oversampling", [1e300, 10**400, float("inf")], ids=["float", "int", "inf"]
)
def test_an_oversampling_beyond_all_codes_ranks_all(oversampling: float) -> None:
    search = TwoStageSearch(INDEX, HASHER, "decoded", oversampling=oversampling)
    ids = search.search(X[:2], 5)[1]
    everything = TwoStageSearch(INDEX, HASHER, "decoded", oversampling=N)
    np.testing.assert_array_equal(ids, everything.search(X[:2], 5)[1])
