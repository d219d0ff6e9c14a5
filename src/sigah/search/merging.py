"""Merge the answers of several sets of codes into one: by distance, then by id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sigah.search.compiled import kernels
from sigah.search.layout import MISSING_DISTANCE, MISSING_ID

__all__ = ["Nearest", "WithinRadius", "merge_nearest", "merge_within_radius"]

Nearest = tuple[NDArray[np.int32], NDArray[np.int64]]  # distances and ids, both (q, k)
WithinRadius = tuple[  # lims (q + 1,); distances and ids of query i from lims[i] to lims[i + 1]
    NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]
]


def merge_nearest(answers: Sequence[Nearest], n_queries: int, k: int) -> Nearest:
    """The ``k`` nearest of all sets from the ``k`` nearest of each."""
    if len(answers) == 1:
        return answers[0]
    distances = np.full((n_queries, k), MISSING_DISTANCE, np.int32)
    ids = np.full((n_queries, k), MISSING_ID, np.int64)
    if answers:
        stacked = [np.stack(arrays) for arrays in zip(*answers, strict=True)]
        kernels().merge_nearest(*stacked, distances, ids)
    return distances, ids


def merge_within_radius(answers: Sequence[WithinRadius], n_queries: int) -> WithinRadius:
    """The codes of all sets within a radius, from those of each set."""
    if len(answers) == 1:
        return answers[0]
    lims = np.zeros(n_queries + 1, np.int64)
    queries = [np.empty(0, np.int64)]
    for some_lims, _, _ in answers:
        lims += some_lims
        queries.append(np.repeat(np.arange(n_queries), np.diff(some_lims)))
    distances = np.concatenate([np.empty(0, np.int32), *(some for _, some, _ in answers)])
    ids = np.concatenate([np.empty(0, np.int64), *(some for _, _, some in answers)])
    order = np.lexsort((ids, distances, np.concatenate(queries)))
    return lims, distances[order], ids[order]
