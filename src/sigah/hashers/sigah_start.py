"""Which codes find more of the nearest vectors: those of SiGAH's start, or those it has learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["neighbors_found"]

N_NEIGHBORS = 10
BLOCK = 128  # queries whose distances to all others are held at a time


def neighbors_found(
    base: NDArray[np.float32],
    queries: NDArray[np.float32],
    layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> list[float]:
    """recall10@10 of the codes ``sgn(W^T x + c)`` of several hash layers.

    Parameters
    ----------
    base : ndarray, shape (m, d)
    queries : ndarray, shape (q, d)
    layers : sequence of (W, c)
        ``W`` of shape ``(d, r)``, ``c`` of shape ``(r,)``.

    Returns
    -------
    list of float
        The share of the ten nearest rows of ``base``, by Euclidean distance, among the ten with the
        smallest Hamming distance: one number for each layer, a mean over queries. Of equal Hamming
        distances any may be counted, as in a search.
    """
    k = min(N_NEIGHBORS, len(base))
    norms = np.einsum("ij,ij->i", base, base)
    base_signs = [np.where(base @ W + c >= 0, np.float32(1), np.float32(-1)) for W, c in layers]
    found = np.zeros(len(layers))
    for first in range(0, len(queries), BLOCK):
        block = queries[first : first + BLOCK]
        nearest = first_columns(norms - 2 * block @ base.T, k)
        for i, (W, c) in enumerate(layers):
            # cos of two codes is 1 - 2 distance / r
            cosines = np.where(block @ W + c >= 0, np.float32(1), np.float32(-1)) @ base_signs[i].T
            ours = first_columns(-cosines, k)
            found[i] += (ours[:, :, None] == nearest[:, None, :]).sum()
    return [float(share) for share in found / (k * len(queries))]


def first_columns(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The columns of the k smallest numbers of each row, in any order."""
    return np.argpartition(scores, k - 1, axis=1)[:, :k]
