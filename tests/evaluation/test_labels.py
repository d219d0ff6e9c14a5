"""Average precision by labels, held against all orders of tied codes."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from sigah.evaluation import asymmetric_label_precision, class_shares, label_average_precision
from sigah.search import asymmetric_distances, hamming_distances


def by_all_orders(distances: np.ndarray, right: np.ndarray, depth: int, divisor: str) -> float:
    """The mean over every order that sorts by distance, counted out."""
    values = []
    for order in permutations(range(len(distances))):
        if (np.diff(distances[list(order)].astype(float)) < 0).any():
            continue
        hits = right[list(order)][:depth]
        precisions = hits.cumsum() / np.arange(1, len(hits) + 1)
        by = min(right.sum(), depth) if divisor == "relevant" else max(hits.sum(), 1)
        values.append((precisions * hits).sum() / by)
    return float(np.mean(values))


@pytest.mark.parametrize("divisor", ["relevant", "hits"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 7, 1000])
def test_ties_are_the_mean_over_all_orders(depth: int, divisor: Any) -> None:
    rng = np.random.default_rng(depth)
    base = rng.choice(np.array([0, 1, 3, 7], np.uint8), size=(7, 1))
    labels = np.array([0, 0, 1, 0, 1, 1, 0])
    queries = np.array([[0], [7], [1]], np.uint8)
    found = label_average_precision(base, queries, labels, [0, 1, 1], depth=depth, divisor=divisor)
    expected = [
        by_all_orders(hamming_distances(base, query[None])[0], labels == label, depth, divisor)
        for query, label in zip(queries, [0, 1, 1], strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("divisor", ["relevant", "hits"])
@pytest.mark.parametrize("depth", [1, 3, 4, 6, 1000])
def test_asymmetric_ties_are_the_mean_over_all_orders(depth: int, divisor: Any) -> None:
    """Equal codes are tied, and so are codes that happen to be equally far."""
    rng = np.random.default_rng(depth)
    base = rng.choice(np.array([0, 1, 3, 7], np.uint8), size=(7, 1))
    labels = np.array([0, 0, 1, 0, 1, 1, 0])
    queries = np.tile([-4.0, -4, -4, -4, -4, 0.5, -1, 0.25], (3, 1)) * [[1], [-1], [0.5]]
    asked = [0, 1, 1]
    found = asymmetric_label_precision(base, queries, labels, asked, depth=depth, divisor=divisor)
    distances = asymmetric_distances(base, queries)
    expected = [
        by_all_orders(row, labels == label, depth, divisor)
        for row, label in zip(distances, asked, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("divisor", ["relevant", "hits"])
def test_queries_of_equal_scores_rank_as_their_codes(divisor: Any) -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(4, size=(300, 2), dtype=np.uint8)
    queries = rng.integers(8, size=(20, 2), dtype=np.uint8)
    labels, asked = rng.choice(["a", "b", "c"], 300), rng.choice(["a", "b", "z"], 20)
    symmetric = label_average_precision(base, queries, labels, asked, depth=50, divisor=divisor)
    scores = np.where(np.unpackbits(queries, axis=1), 0.75, -0.75)
    found = asymmetric_label_precision(base, scores, labels, asked, depth=50, divisor=divisor)
    np.testing.assert_allclose(found, symmetric, rtol=1e-12)
    assert (found[asked == "z"] == 0).all() and (found[asked != "z"] > 0).all()


def test_projections_must_fit_the_codes() -> None:
    codes = np.zeros((3, 1), np.uint8)
    with pytest.raises(ValueError, match=r"projections have shape \(3, 9\), but the codes 8 bits"):
        asymmetric_label_precision(codes, np.zeros((3, 9)), [1, 1, 1], [1, 1, 1])
    with pytest.raises(ValueError, match="query_labels has shape"):
        asymmetric_label_precision(codes, np.zeros((3, 8)), [1, 1, 1], [1])


def test_a_label_that_the_base_lacks_finds_nothing() -> None:
    codes = np.zeros((3, 1), np.uint8)
    assert label_average_precision(codes, codes[:1], [1, 1, 1], [2]).tolist() == [0]


def test_labels_must_fit() -> None:
    codes = np.zeros((3, 1), np.uint8)
    with pytest.raises(ValueError, match="base_labels has shape"):
        label_average_precision(codes, codes, [1], [1, 1, 1])
    with pytest.raises(ValueError, match="divisor must be 'relevant' or 'hits', got 'both'"):
        label_average_precision(codes, codes, [1] * 3, [1] * 3, divisor="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="depth"):
        label_average_precision(codes, codes, [1, 1, 1], [1, 1, 1], depth=0)


@pytest.mark.parametrize("divisor", ["relevant", "hits"])
def test_codes_that_differ_in_every_bit_are_ranked_too(divisor: Any) -> None:
    base = np.array([[0, 0], [255, 255]], np.uint8)
    value = label_average_precision(
        base, base[1:], np.array([3, 4]), np.array([3]), depth=2, divisor=divisor
    )
    np.testing.assert_allclose(value, [0.5])  # the one of its class comes second


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 7, 1000])
def test_shares_of_classes_are_the_mean_over_all_orders(depth: int) -> None:
    rng = np.random.default_rng(depth)
    base = rng.choice(np.array([0, 1, 3, 7], np.uint8), size=(7, 1))
    labels = np.array(["b", "b", "a", "b", "a", "c", "b"])
    queries = np.array([[0], [7], [1]], np.uint8)
    classes, shares = class_shares(base, queries, labels, depth=depth)
    assert classes.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    for query, row in zip(queries, shares, strict=True):
        distances = hamming_distances(base, query[None])[0].astype(float)
        for name, share in zip(classes, row, strict=True):
            first = [
                (labels[list(order)][:depth] == name).mean()
                for order in permutations(range(7))
                if (np.diff(distances[list(order)]) >= 0).all()
            ]
            assert share == pytest.approx(np.mean(first))


def test_shares_of_classes_need_a_label_for_each_code() -> None:
    codes = np.zeros((3, 1), np.uint8)
    with pytest.raises(ValueError, match=r"base_labels has shape \(2,\), but there are 3"):
        class_shares(codes, codes, [1, 2])
    with pytest.raises(ValueError, match="depth"):
        class_shares(codes, codes, [1, 2, 3], depth=0)
