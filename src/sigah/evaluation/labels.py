"""Retrieval judged by labels: neighbours of the same class are right."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.search import hamming_distances

__all__ = ["label_average_precision"]

PAIRS_PER_BLOCK = 1 << 24  # 32 MiB of distances


def label_average_precision(
    base_codes: ArrayLike,
    query_codes: ArrayLike,
    base_labels: ArrayLike,
    query_labels: ArrayLike,
    *,
    depth: int = 1000,
) -> NDArray[np.float64]:
    """Average precision of the first ``depth`` codes, with labels as the truth.

    Codes at one distance stand in random order, and the mean over all orders is taken. A block of
    ``s`` codes, ``h`` of them right, behind ``n`` codes with ``f`` right, has at rank
    ``n + j`` a right one with probability ``h / s``, and then ``f + 1 + (j - 1)(h - 1) / (s - 1)``
    right ones so far.

    Parameters
    ----------
    base_codes, query_codes : array-like of uint8, shapes (n, n_bytes) and (q, n_bytes)
    base_labels, query_labels : array-like, shapes (n,) and (q,)
    depth : int, default=1000
        How much of the ranking counts; all of it where the base is smaller. The divisor is
        ``min(right ones in the base, depth)``.

    Returns
    -------
    ndarray of float64, shape (q,)
        0 for a query whose label the base lacks.

    Raises
    ------
    ValueError
        If labels do not fit the codes, or ``depth`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation.labels import label_average_precision
    >>> base = np.array([[0b0], [0b1], [0b11]], np.uint8)
    >>> label_average_precision(base, base[:1], ["cat", "dog", "cat"], ["cat"])
    array([0.83333333])
    """
    base, queries = np.asarray(base_codes), np.asarray(query_codes)
    of_base, of_queries = np.asarray(base_labels), np.asarray(query_labels)
    for name, labels, codes in (("base", of_base, base), ("query", of_queries, queries)):
        if labels.shape != (len(codes),):
            raise ValueError(
                f"{name}_labels has shape {labels.shape}, but there are {len(codes)} {name}_codes"
            )
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    n_radii = 8 * base.shape[1] + 1
    ranks = np.arange(1, min(depth, len(base)) + 1)
    values = np.zeros(len(queries))
    step = max(1, PAIRS_PER_BLOCK // len(base))
    for start in range(0, len(queries), step):
        distances = hamming_distances(base, queries[start : start + step])
        for i, row in enumerate(distances, start):
            right = of_base == of_queries[i]
            sizes = np.bincount(row, minlength=n_radii)
            hits = np.bincount(row[right], minlength=n_radii)
            if not (n_right := int(hits.sum())):
                continue
            ends = sizes.cumsum()
            block = np.searchsorted(ends, ranks)  # the radius at which each rank stands
            s, h = sizes[block], hits[block]
            before, found = (ends - sizes)[block], (hits.cumsum() - hits)[block]
            others = (ranks - before - 1) * (h - 1) / np.maximum(s - 1, 1)
            precisions = (found + 1 + others) / ranks
            values[i] = (h / s * precisions).sum() / min(n_right, len(ranks))
    return values
