"""A sample as base and queries, and the true neighbours among its first rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.advice.orders import Vectors
from sigah.evaluation.truth import exact_neighbors
from sigah.rows.dtypes import check_rows
from sigah.rows.sampling import sample
from sigah.rows.sources import as_rows

__all__ = ["Trial", "Trials", "draw_sample", "nested_truth", "sizes_of"]

STEPS = (16, 8, 4, 2, 1)  # sizes of the base, as parts of the sample
LEAST_SIZE = 500
SPARE = 160  # neighbours beyond the expected ones, so that few queries are searched again
MOST_QUERIES = 1000
MOST_QUERY_SHARE = 10  # at most a tenth of the sample is held out


@dataclass(frozen=True, eq=False)
class Trial:
    """A base, queries, and the true neighbours among its first rows, for several sizes.

    Attributes
    ----------
    base : ndarray of float32, shape (n, d)
        In random order.
    queries : ndarray of float32, shape (q, d)
    truth : dict of int to ndarray of int, shape (q, k)
        By size of the base, ascending.
    metric : str
    spare : ndarray of float32, shape (m, d)
        Rows of the sample that are not in the base; there may be none.
    """

    base: Vectors
    queries: Vectors
    truth: Mapping[int, NDArray[Any]]
    metric: str
    spare: Vectors

    def half(self) -> Trial:
        """A trial on the first half of the base; the other half is spare."""
        *smaller, _ = sorted(self.truth)
        truth = {size: self.truth[size] for size in smaller}
        base, spare = self.base[: smaller[-1]], self.base[smaller[-1] :]
        return Trial(base, self.queries, truth, self.metric, spare)


class Trials:
    """The sample as base and queries, and its true neighbours."""

    def __init__(
        self,
        drawn: NDArray[np.float32],
        n_vectors: int,
        queries: ArrayLike | None,
        truth: ArrayLike | None,
        metric: str,
        k: int,
        seed: int,
    ) -> None:
        self.metric, self.k = metric, k
        self.truth: NDArray[Any] | None = None
        order = np.random.default_rng(seed).permutation(len(drawn))
        if queries is None:
            if truth is not None:
                raise ValueError("truth needs queries, the vectors whose neighbours it names")
            held_out = min(MOST_QUERIES, len(drawn) // MOST_QUERY_SHARE)
            self.queries = drawn[order[:held_out]]
            self.base = drawn[order[held_out:]]
            return
        rows = check_rows(queries, "queries")
        if rows.shape[1] != drawn.shape[1]:
            raise ValueError(
                f"queries have {rows.shape[1]} dimensions, but the vectors have {drawn.shape[1]}"
            )
        self.queries = sample(rows, MOST_QUERIES, seed) if truth is None else np.asarray(rows[:])
        self.queries = np.asarray(self.queries, np.float32)
        self.base = drawn[order]
        if truth is not None:
            self.truth = _check_truth(truth, len(self.queries), len(drawn), n_vectors, k)
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            self.truth = place[self.truth]

    def of(self, n: int) -> Trial:
        """A trial on the first rows."""
        base = self.base[:n]
        truth = nested_truth(base, self.queries, self.k, self.metric)
        if self.truth is not None and len(base) == len(self.base):
            truth[len(base)] = self.truth
        return Trial(base, self.queries, truth, self.metric, self.base[n:])


def draw_sample(vectors: Any, size: int, seed: int) -> tuple[NDArray[np.float32], int]:
    """A sample, and the number of all vectors."""
    rows = as_rows(vectors)
    if rows is not None:
        return sample(rows, size, seed), int(rows.shape[0])
    counted = 0

    def counting() -> Iterator[Any]:
        nonlocal counted
        for batch in vectors() if callable(vectors) else vectors:
            counted += len(batch)
            yield batch

    return sample(counting(), size, seed), counted


def _check_truth(
    truth: ArrayLike, n_queries: int, n_sampled: int, n_vectors: int, k: int
) -> NDArray[Any]:
    array = np.asarray(truth)
    if array.ndim != 2 or len(array) != n_queries or array.shape[1] < k:
        raise ValueError(
            f"truth must have shape ({n_queries}, {k} or more), one row of ids for each query, got"
            f" {array.shape}"
        )
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= n_vectors:
        raise ValueError(f"truth must be row numbers from 0 to {n_vectors - 1:,}")
    if n_sampled < n_vectors:
        raise ValueError(
            f"truth names neighbours among all {n_vectors:,} vectors, but only {n_sampled:,} are"
            " sampled: sample all of them, or leave the truth out"
        )
    return array[:, :k]


def sizes_of(n: int, k: int) -> list[int]:
    """The sizes at which a base of ``n`` rows is measured, ascending."""
    return [n // step for step in STEPS if step == 1 or n // step >= max(LEAST_SIZE, 10 * k)]


def nested_truth(base: Vectors, queries: Vectors, k: int, metric: str) -> dict[int, Any]:
    """The ``k`` true neighbours among the first rows of a base, for each of :func:`sizes_of`.

    The nearest among all rows, as far down as needed, contain the nearest among some of them.
    """
    sizes = sizes_of(len(base), k)
    deep = min(len(base), k * (len(base) // sizes[0]) + (SPARE if len(sizes) > 1 else 0))
    nearest = exact_neighbors(base, queries, deep, metric).ids
    truth = {}
    for size in sizes:
        order = np.argsort(nearest >= size, axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(nearest, order, axis=1)
        again = np.flatnonzero((found >= size).any(axis=1))
        if len(again):
            found[again] = exact_neighbors(base[:size], queries[again], k, metric).ids
        truth[size] = found
    return truth
