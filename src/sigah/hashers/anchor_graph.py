"""Anchor graph hashing.

W. Liu, J. Wang, S. Kumar and S.-F. Chang, "Hashing with graphs", ICML 2011.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.extras import require
from sigah.hashers.anchors import anchor_weights, find_anchors, squared_distances
from sigah.hashers.base import ScoringHasher
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["AnchorGraphHasher", "AnchorGraphHashing", "graph_eigenvectors", "second_thresholds"]

BLOCK = 4096  # rows whose distances to all anchors are in memory at a time
NEGLIGIBLE = 1e-8  # smaller eigenvalues are rounding errors


def graph_eigenvectors(
    Z: sparse.csr_matrix, n_vectors: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smoothest functions on the anchor graph of adjacency ``A = Z Lambda^-1 Z^T``.

    Parameters
    ----------
    Z : sparse matrix, shape (n, m)
        Rows add up to 1.
    n_vectors : int

    Returns
    -------
    W : ndarray of float64, shape (m, at most n_vectors)
        The columns of ``Y = Z W`` are eigenvectors of A with the largest eigenvalues, without the
        constant one: ``Y^T Y = n I`` and ``1^T Y = 0`` (Eq. 5 and 7). Fewer if the graph has no
        more.
    eigenvalues : ndarray of float64
        In descending order, at most 1.
    """
    n = Z.shape[0]
    degrees = np.asarray(Z.sum(axis=0)).ravel()
    scaling = np.zeros_like(degrees)
    np.divide(1, np.sqrt(degrees), out=scaling, where=degrees > 0)  # Lambda^-1/2
    M = (Z.T @ Z).toarray() * scaling[:, None] * scaling
    # The constant function, Lambda^1/2 1 here, has eigenvalue 1. Only this function is removed:
    # functions that separate components also have eigenvalue 1.
    constant = np.sqrt(degrees / degrees.sum())
    M -= np.outer(constant, constant)
    eigenvalues, V = np.linalg.eigh(M)
    found = np.flatnonzero(eigenvalues > NEGLIGIBLE)[::-1][:n_vectors]
    # W = sqrt(n) Lambda^-1/2 V Sigma^-1/2, Eq. (7)
    W = np.sqrt(n) * scaling[:, None] * V[:, found] / np.sqrt(eigenvalues[found])
    # the sign of an eigenvector is arbitrary; its largest value is made positive
    W *= np.sign(W[np.abs(W).argmax(axis=0), np.arange(W.shape[1])])
    return W, eigenvalues[found]


def second_thresholds(
    Z: sparse.csr_matrix, Y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds of the second layer, Eq. (11), which cut each side of an eigenvector again.

    For an eigenvector y, ``g = y - b_plus`` where y > 0 and ``-y + b_minus`` elsewhere; b_plus and
    b_minus minimise the smoothness ``g^T (I - A) g`` under ``1^T g = 0``.

    Returns
    -------
    b_plus, b_minus : ndarrays of float64, shape (r,)
    """
    n = len(Y)
    degrees = np.maximum(np.asarray(Z.sum(axis=0)).ravel(), np.finfo(float).tiny)
    positive = (Y > 0).astype(np.float64)
    magnitude = np.abs(Y)
    through_anchors = Z.T @ positive  # (m, r)
    sum_positive = (Y * positive).sum(axis=0)
    # e^T (I - A) |y| and e^T (I - A) e for the indicator e of y > 0
    mixed = sum_positive - (through_anchors / degrees[:, None] * (Z.T @ magnitude)).sum(axis=0)
    within = positive.sum(axis=0) - (np.square(through_anchors) / degrees[:, None]).sum(axis=0)
    # if a side is a component of its own, every cut costs nothing: it is cut at its mean
    gap = np.zeros_like(mixed)
    np.divide(mixed, within, out=gap, where=within > NEGLIGIBLE * n)
    n_positive = positive.sum(axis=0)
    total = magnitude.sum(axis=0)
    b_plus = (total + (n - n_positive) * gap) / n
    b_minus = (n_positive * gap - total) / n
    return b_plus, b_minus


class AnchorGraphHasher(ScoringHasher):
    """A hasher of functions on an anchor graph; it learns them in ``_learn``."""

    exceeds_dimension = True
    fitted_arrays: ClassVar[tuple[str, ...]] = ("mean_", "anchors_", "squared_bandwidth_", "W_")

    n_anchors: int
    n_nearest: int
    n_samples: int
    mean_: NDArray[np.float64]
    anchors_: NDArray[np.float64]
    squared_bandwidth_: NDArray[np.float64]
    W_: NDArray[np.float64]

    @abstractmethod
    def _learn(self, Z: sparse.csr_matrix, random_state: np.random.RandomState) -> None:
        """Set ``W_``, the hash functions at the anchors, from the graph's Z ``(n, m)``."""

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        check_whole(self.n_anchors, "n_anchors", least=2)
        check_whole(self.n_nearest, "n_nearest", least=1)
        check_whole(self.n_samples, "n_samples", least=1)
        if self.n_bits >= self.n_anchors:
            raise ValueError(
                f"{type(self).__name__} needs more anchors than bits: n_bits={self.n_bits},"
                f" n_anchors={self.n_anchors}; raise n_anchors or lower n_bits"
            )
        self.mean_ = rows.mean()
        self.anchors_ = find_anchors(
            rows,
            self.mean_,
            self.n_anchors,
            n_samples=self.n_samples,
            random_state=random_state,
        )
        n_nearest = min(self.n_nearest, len(self.anchors_))
        total = 0.0  # sigma: the mean distance to the s-th nearest anchor (section 4)
        for squared in self._squared_distances_of(rows):
            total += float(np.sqrt(np.partition(squared, n_nearest - 1)[:, n_nearest - 1]).sum())
        # identical vectors equal their only anchor: any bandwidth will do
        self.squared_bandwidth_ = np.array([(total / len(rows)) ** 2 or 1.0])
        Z = self._graph(rows)
        self.training_: dict[str, Any] = {"n_rows": len(rows), "anchors": len(self.anchors_)}
        self._learn(Z, random_state)

    def _squared_distances_of(self, rows: Rows) -> Any:
        for _, block in rows.blocks():
            for start in range(0, len(block), BLOCK):
                part = block[start : start + BLOCK] - self.mean_
                yield squared_distances(part, self.anchors_)

    def _graph(self, rows: Rows) -> sparse.csr_matrix:
        """Z, sparse ``(n, m)``."""
        nearest, weights = zip(
            *(
                anchor_weights(squared, self.n_nearest, self.squared_bandwidth_[0])
                for squared in self._squared_distances_of(rows)
            ),
            strict=True,
        )
        columns, values = np.concatenate(nearest), np.concatenate(weights)
        starts = np.arange(len(columns) + 1) * columns.shape[1]
        shape = (len(columns), len(self.anchors_))
        scipy_sparse = require("scipy.sparse", f"fitting {type(self).__name__}", "train")
        Z: sparse.csr_matrix = scipy_sparse.csr_matrix(
            (values.ravel(), columns.ravel(), starts), shape=shape
        )
        return Z

    def _embed(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """``Z(x) W`` of a block, ``(m, columns of W)``."""
        embedded = np.empty((len(block), self.W_.shape[1]))
        for start in range(0, len(block), BLOCK):
            part = block[start : start + BLOCK] - self.mean_
            nearest, weights = anchor_weights(
                squared_distances(part, self.anchors_), self.n_nearest, self.squared_bandwidth_[0]
            )
            embedded[start : start + BLOCK] = sum(
                weight[:, None] * self.W_[anchor]
                for anchor, weight in zip(nearest.T, weights.T, strict=True)
            )
        return embedded

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        return self._embed(block)


class AnchorGraphHashing(AnchorGraphHasher):
    """Signs of the smoothest functions on a neighbourhood graph through anchors.

    ``A = Z Lambda^-1 Z^T`` is the graph of vectors that share nearest anchors. Codes minimise
    ``tr(Y^T (I - A) Y)`` and are balanced and uncorrelated (Eq. 5). The relaxed solutions are
    eigenvectors of A, computed from an m x m matrix; ``y(x) = W^T z(x)`` extends them to new
    vectors (Eq. 8). Two layers use half as many eigenvectors and cut each side of each one again
    (Eq. 9 to 11), because eigenvectors beyond the first few are of poor quality. Codes follow
    clusters rather than distances. Fitting costs O(n m d + m^3), encoding O(m d) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length, a multiple of 8; less than ``n_anchors``.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_layers : {1, 2}, default=1
        On held-out queries, one layer had the higher precision@100 at both code lengths tried; two
        layers had the higher ``map`` at 64 bits.
    n_anchors : int, default=300
        m; k-means centres, as in the paper.
    n_nearest : int, default=2
        s, the number of anchors that a vector is attached to.
    n_samples : int, default=10000
        Most training vectors for k-means. The graph is built over all of them.
    random_state : int, RandomState or None, default=None
        Draws the sample and starts k-means.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
    anchors_ : ndarray of float64, shape (m, d)
        Relative to ``mean_``.
    squared_bandwidth_ : ndarray of float64, shape (1,)
        ``sigma^2``, from the training vectors, also for new vectors.
    W_ : ndarray of float64, shape (m, n_bits // n_layers)
        Values of the eigenvectors at the anchors.
    b_plus_, b_minus_ : ndarray of float64, shape (n_bits // 2,) or (0,)
        Thresholds of the second layer.

    See Also
    --------
    sigah.DiscreteGraphHashing : Discrete codes on the same graph.

    Notes
    -----
    The authors' code drops every eigenvalue above .999 as trivial, and so loses the functions that
    separate distant clusters. Here only the constant function is dropped. If a small graph has
    fewer eigenvectors than bits, random combinations of its eigenvectors give the other bits.

    References
    ----------
    Liu, Wang, Kumar and Chang, ICML 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import AnchorGraphHashing
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> AnchorGraphHashing(n_bits=32, n_anchors=50, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "anchor_graph"
    fit_cost = "seconds"
    fitted_arrays = (*AnchorGraphHasher.fitted_arrays, "b_plus_", "b_minus_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_layers: int = 1,
        n_anchors: int = 300,
        n_nearest: int = 2,
        n_samples: int = 10000,
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_layers = n_layers
        self.n_anchors = n_anchors
        self.n_nearest = n_nearest
        self.n_samples = n_samples
        self.random_state = random_state

    def _learn(self, Z: sparse.csr_matrix, random_state: np.random.RandomState) -> None:
        if self.n_layers not in (1, 2):
            raise ValueError(f"n_layers must be 1 or 2, got {self.n_layers!r}")
        wanted = self.n_bits // self.n_layers
        W, eigenvalues = graph_eigenvectors(Z, wanted)
        missing = wanted - W.shape[1]
        mixing = random_state.standard_normal((W.shape[1], missing))
        mixing /= np.maximum(np.linalg.norm(mixing, axis=0), 1e-12)
        self.W_ = np.hstack([W, W @ mixing])
        self.b_plus_ = self.b_minus_ = np.empty(0)
        if self.n_layers == 2:
            self.b_plus_, self.b_minus_ = second_thresholds(Z, Z @ self.W_)
        self.training_ |= {"eigenvectors": W.shape[1], "eigenvalue_sum": float(eigenvalues.sum())}

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        first = self._embed(block)
        if not len(self.b_plus_):
            return first
        second = np.where(first >= 0, first - self.b_plus_, self.b_minus_ - first)
        return np.hstack([first, second])
