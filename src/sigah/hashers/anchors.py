"""Anchors: a few hundred centres that represent the whole training set.

A graph over n vectors has n^2 edges; a graph through m anchors has n m. The anchor graph methods
share this file: W. Liu, J. He and S.-F. Chang, "Large graph construction for scalable
semi-supervised learning", ICML 2010.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sigah.extras import require
from sigah.rows.blocks import Rows

__all__ = [
    "anchor_weights",
    "find_anchors",
    "squared_distances",
]


def find_anchors(
    rows: Rows,
    mean: NDArray[np.float64],
    n_anchors: int,
    *,
    n_samples: int,
    random_state: np.random.RandomState,
) -> NDArray[np.float64]:
    """Centres of k-means on a sample of centred rows.

    Returns
    -------
    anchors : ndarray of float64, shape (at most n_anchors, d)
        Distinct. Fewer than ``n_anchors`` if the sample has fewer distinct rows.
    """
    cluster = require("sklearn.cluster", "finding anchors", "train")
    exceptions = require("sklearn.exceptions", "finding anchors", "train")
    chosen = random_state.permutation(len(rows))[:n_samples]
    # float64: in float32, rounding errors of distances are as large as the intervals that k-means++
    # draws from, so the same vectors in other units would get other anchors.
    sample = rows.take(np.sort(chosen)) - mean
    means = cluster.KMeans(
        min(n_anchors, len(sample)), n_init=1, max_iter=10, random_state=random_state
    )
    # scikit-learn adds up the threads' sums in the order they finish; one thread is reproducible
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        # fewer distinct rows than anchors
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        centres: NDArray[np.float64] = means.fit(sample).cluster_centers_
    return np.unique(centres, axis=0).astype(np.float64)


def squared_distances(X: NDArray[np.float64], anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Euclidean distances ``(n, m)``, never negative."""
    squared = X @ (-2 * anchors.T)
    squared += np.einsum("ij,ij->i", X, X)[:, None]
    squared += np.einsum("ij,ij->i", anchors, anchors)
    return np.maximum(squared, 0, out=squared)


def anchor_weights(
    squared: NDArray[np.float64], n_nearest: int, squared_bandwidth: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Rows of Z: Gaussian weights over the nearest anchors, adding up to 1.

    Eq. (3) of Liu et al., ICML 2011: ``Z_ij = exp(-d_ij^2 / sigma^2) / sum`` over the s nearest.

    Parameters
    ----------
    squared : ndarray of float64, shape (n, m)
        Squared distances to the anchors.
    n_nearest : int
        s; all anchors if there are fewer.
    squared_bandwidth : float

    Returns
    -------
    nearest : ndarray of int, shape (n, s)
        In order of index.
    weights : ndarray of float64, shape (n, s)

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.hashers.anchors import anchor_weights
    >>> nearest, weights = anchor_weights(np.array([[4.0, 1.0, 1.0]]), 2, 1.0)
    >>> nearest, weights
    (array([[1, 2]]), array([[0.5, 0.5]]))
    """
    n_nearest = min(n_nearest, squared.shape[1])
    nearest = np.sort(np.argpartition(squared, n_nearest - 1, axis=1)[:, :n_nearest], axis=1)
    exponent = np.take_along_axis(squared, nearest, axis=1)
    # this shift cancels in the weights; without it, vectors far from all anchors would underflow
    exponent -= exponent.min(axis=1, keepdims=True)
    weights = np.exp(exponent / -squared_bandwidth, out=exponent)
    weights /= weights.sum(axis=1, keepdims=True)
    return nearest, weights
