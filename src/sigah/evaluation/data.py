"""The data of an evaluation: base vectors, queries, and the queries' true neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation.truth import cached_neighbors, content_hash
from sigah.metric import check_metric

__all__ = ["EvaluationData"]


@dataclass(frozen=True)
class EvaluationData:
    """Base vectors and queries, with their labels and the settings of an evaluation.

    Parameters
    ----------
    name : str
        Name of the data in results.
    base, queries : array-like, shapes (n, d) and (q, d)
        Hashers learn from the base.
    k : int
        True neighbours of each query.
    n_train : int, optional
        Hashers learn from this many vectors of the base, drawn by each seed, instead of all.
    metric : {"l2", "cosine", "ip"}
        By which neighbours are true; hashers must have the same.
    base_labels, query_labels : ndarray, optional
        Classes, for the metrics that use labels.
    classes : tuple of str
        The names of the classes 0, 1, ...; empty: their numbers.
    picture : tuple of int, optional
        Height and width, if the vectors are pixels in [0, 1].
    thumbnails : callable, optional
        If the vectors are of images: from ``"base"`` or ``"queries"`` and row numbers to small
        pictures, uint8 of shape (m, side, side, 3).
    part : str
        The part of a data set that this is; empty for the whole set.
    quick : bool
        Whether methods run with quick settings instead of good ones.
    title : str
        What the data is, for tables; empty: its name.

    Raises
    ------
    ValueError
        If ``k`` or ``n_train`` exceeds the base, or the metric is unknown.
    """

    name: str
    base: Any
    queries: Any
    k: int
    n_train: int | None = None
    metric: str = "l2"
    base_labels: NDArray[Any] | None = None
    query_labels: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    picture: tuple[int, int] | None = None
    thumbnails: Callable[[str, NDArray[Any]], NDArray[np.uint8]] | None = None
    part: str = ""
    quick: bool = False
    title: str = ""

    def __post_init__(self) -> None:
        check_metric(self.metric)
        n_base = len(self.base)
        if self.n_train is not None and not 1 <= self.n_train <= n_base:
            raise ValueError(
                f"n_train = {self.n_train} vectors cannot be drawn from a base of {n_base}"
            )
        if self.k > n_base:
            raise ValueError(
                f"k = {self.k} true neighbours were asked for, but the base has {n_base}"
            )

    @cached_property
    def description(self) -> dict[str, Any]:
        """The block ``data`` of the results: name, sizes and checksums."""
        return {
            "name": self.name,
            "part": self.part,
            "quick": self.quick,
            "n_base": len(self.base),
            "n_queries": len(self.queries),
            "dim": self.base.shape[1],
            "k": self.k,
            "n_train": self.n_train or len(self.base),
            "metric": self.metric,
            "base_sha256": content_hash(self.base),
            "queries_sha256": content_hash(self.queries),
            **({"title": self.title} if self.title else {}),
        }

    @cached_property
    def truth(self) -> NDArray[np.int32]:
        """The exact neighbours of each query, from the cache if it has them."""
        return cached_neighbors(self.base, self.queries, self.k, self.metric).ids

    def training_rows(self, seed: int) -> Any:
        """The training rows for this seed: the base, or rows of the base drawn by the seed."""
        if self.n_train is None:
            return self.base
        chosen = np.random.default_rng(seed).permutation(len(self.base))[: self.n_train]
        return self.base[np.sort(chosen)]
