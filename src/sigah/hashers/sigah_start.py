"""Which codes find more of the nearest vectors: those of SiGAH's start, or those it has learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["finds_more", "neighbors_found"]

N_NEIGHBORS = 10

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]  # W (d, r) and c (r,)


def neighbors_found(
    base: Iterable[NDArray[np.float32]], queries: NDArray[np.float32], layers: Sequence[Layer]
) -> NDArray[np.float64]:
    """recall10@10 of each query by the codes ``sgn(W^T x + c)`` of several hash layers.

    Parameters
    ----------
    base : iterable of ndarray, shapes (m, d)
        The vectors that are searched, block by block.
    queries : ndarray, shape (q, d)
    layers : sequence of (W, c)
        ``W`` of shape ``(d, r)``, ``c`` of shape ``(r,)``.

    Returns
    -------
    ndarray, shape (n_layers, q)
        The share of the ten nearest vectors of the base, by Euclidean distance, among the ten with
        the smallest Hamming distance. Of equal Hamming distances any may be counted, as in a
        search.
    """
    query_signs = [signs_of(queries, layer) for layer in layers]
    nearest = Nearest(len(queries))
    found = [Nearest(len(queries)) for _ in layers]
    first = 0
    for X in base:
        norms = np.einsum("ij,ij->i", X, X)
        nearest.offer(norms - 2 * queries @ X.T, first)
        for ours, layer, signs in zip(found, layers, query_signs, strict=True):
            # the product of two codes is r - 2 distance
            ours.offer(-signs @ signs_of(X, layer).T, first)
        first += len(X)
    true = nearest.places
    hits = [(ours.places[:, :, None] == true[:, None, :]).sum(axis=(1, 2)) for ours in found]
    return np.array(hits) / true.shape[1]


def finds_more(start: NDArray[np.float64], learned: NDArray[np.float64]) -> bool:
    """Whether what was learned is ahead of the start by more than one standard error.

    Both arguments are shares of neighbours found, one for each query, of the same queries.
    """
    lead = learned - start
    return bool(lead.mean() > lead.std(ddof=1) / len(lead) ** 0.5)


def signs_of(X: NDArray[np.float32], layer: Layer) -> NDArray[np.float32]:
    """Codes as -1 and 1, ``(n, r)``."""
    W, c = layer
    return np.where(X @ W + c >= 0, np.float32(1), np.float32(-1))


class Nearest:
    """The places of the ten smallest scores of each query, over all blocks offered."""

    def __init__(self, n_queries: int) -> None:
        self.scores = np.empty((n_queries, 0), np.float32)
        self.places = np.empty((n_queries, 0), np.intp)

    def offer(self, scores: NDArray[np.float32], first: int) -> None:
        """Take in a block of scores ``(q, m)``, whose first column has the place ``first``."""
        places = np.broadcast_to(np.arange(first, first + scores.shape[1]), scores.shape)
        scores = np.hstack([self.scores, scores])
        places = np.hstack([self.places, places])
        k = min(N_NEIGHBORS, scores.shape[1])
        chosen = np.argpartition(scores, k - 1, axis=1)[:, :k]
        self.scores = np.take_along_axis(scores, chosen, axis=1)
        self.places = np.take_along_axis(places, chosen, axis=1)
