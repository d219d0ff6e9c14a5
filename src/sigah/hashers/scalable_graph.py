"""Scalable graph hashing.

Q.-Y. Jiang and W.-J. Li, "Scalable graph hashing with feature transformation", IJCAI 2015. (Not
stochastic generative hashing, which the literature calls SGH too.)
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.hashers.anchors import check_count, squared_distances
from sigah.hashers.base import ScoringHasher
from sigah.hashers.rows import Rows
from sigah.progress import bar

__all__ = ["ScalableGraphHashing", "learn_bits", "similarity_factors"]

BLOCK = 4096  # rows whose distances to all bases are held at once
RHO = 2.0  # of Eq. (2), for vectors of unit length
RIDGE = 1e-6  # of the mean diagonal of K^T K


def similarity_factors(X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features P, Q whose products stand for all pairwise similarities, Eq. (7) and (8).

    The similarity is ``2 exp(-||x - y||^2 / rho) - 1``, with ``exp(2 x.y / rho)`` replaced by its
    chord over [-1, 1]. The chord is off by up to .41; the paper means it so.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Rows of at most unit length.

    Returns
    -------
    P, Q : ndarrays, shape (n, d + 2)
        ``P @ Q.T`` is the n x n similarity, which nobody needs to build.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.hashers.scalable_graph import similarity_factors
    >>> P, Q = similarity_factors(np.eye(2))
    >>> (P @ Q.T).round(2)
    array([[ 1.  ,  0.14],
           [ 0.14,  1.  ]])
    """
    e = np.e
    decay = np.exp(-np.einsum("ij,ij->i", X, X) / RHO)[:, None]
    slope = np.sqrt(2 * (e**2 - 1) / (e * RHO))
    level = np.sqrt((e**2 + 1) / e)
    one = np.ones((len(X), 1))
    shared = [slope * decay * X, level * decay]
    return np.hstack([*shared, one]), np.hstack([*shared, -one])


def learn_bits(
    K: NDArray[np.float32],
    similarity: NDArray[np.float64],
    n_bits: int,
    random_state: np.random.RandomState,
    *,
    show: bool = False,
) -> tuple[NDArray[np.float64], list[float]]:
    """Learn the bits one after another, each on what the others leave unexplained (section 3.3).

    Parameters
    ----------
    K : ndarray of float32, shape (n, m)
        Kernel features.
    similarity : ndarray of float64, shape (m, m)
        ``K^T S K``.
    n_bits : int
        r.

    Returns
    -------
    W : ndarray of float64, shape (m, n_bits)
    residuals : list of float
        Squared norm of ``r S - sum_k b_k b_k^T`` in the space of K, after each pass.
    """
    gram = K.T.astype(np.float64) @ K
    gram += RIDGE * max(np.trace(gram) / len(gram), np.finfo(float).tiny) * np.eye(len(gram))
    whiten = np.linalg.inv(np.linalg.cholesky(gram))
    # in coordinates where K^T K = I the generalised eigenvectors of Eq. (11) are plain ones
    residual = n_bits * whiten @ similarity @ whiten.T
    W = np.zeros((len(gram), n_bits))
    explained = np.zeros((len(gram), n_bits))  # K^T sgn(K w), whitened
    residuals = []
    with bar(show=show) as progress:
        task = progress.add_task("Scalable graph hashing", total=2 * n_bits, detail="")
        for order in (np.arange(n_bits), random_state.permutation(n_bits)):
            for k in order:
                residual += np.outer(explained[:, k], explained[:, k])
                w = whiten.T @ np.linalg.eigh(residual)[1][:, -1]
                w *= 1 if K[0] @ w >= 0 else -1  # an eigenvector has no orientation of its own
                bits = np.where(K @ w.astype(np.float32) >= 0, np.float32(1), np.float32(-1))
                W[:, k] = w
                explained[:, k] = whiten @ (bits @ K)
                residual -= np.outer(explained[:, k], explained[:, k])
                progress.advance(task)
            residuals.append(float(np.square(residual).sum()))
    return W, residuals


class ScalableGraphHashing(ScoringHasher):
    """Codes whose products match a similarity of all pairs that is never built.

    Minimises ``||r S - B B^T||_F^2`` (Eq. 3) over codes ``B = sgn(K W)`` of kernel features K,
    where S holds ``2 exp(-||x - y||^2 / 2) - 1`` of centred vectors of unit length. S is replaced
    by a product of two thin matrices (Eq. 7), and bits are learned one after another on the
    residual, twice. Fitting costs O(n m (d + m)) and O(m^3 + n m) a bit; encoding O(m d) a vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    n_bases : int, default=300
        m, training vectors that kernel features compare with, as in the authors' code.
    n_samples : int, default=100000
        Most training vectors to learn from; their features are held in memory, 4 m bytes each.
    random_state : int, RandomState or None, default=None
        Draws the sample, the bases and the order of the second pass.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
    bases_ : ndarray of float64, shape (m, d)
        Centred and of unit length.
    spread_ : ndarray of float64, shape (1,)
        Mean squared distance of training vectors to the bases.
    feature_mean_ : ndarray of float64, shape (m,)
    W_ : ndarray of float64, shape (m, n_bits)

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import ScalableGraphHashing
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> ScalableGraphHashing(n_bits=32, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "scalable_graph"
    fit_cost = "seconds"
    exceeds_dimension = True
    fitted_arrays = ("mean_", "bases_", "spread_", "feature_mean_", "W_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_bases: int = 300,
        n_samples: int = 100000,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.n_bases = n_bases
        self.n_samples = n_samples
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        check_count("n_bases", self.n_bases, at_least=1)
        check_count("n_samples", self.n_samples, at_least=1)
        self.mean_ = rows.mean()
        chosen = np.sort(random_state.permutation(len(rows))[: self.n_samples])
        n_bases = min(self.n_bases, len(chosen))
        bases = np.sort(random_state.choice(chosen, n_bases, replace=False))
        self.bases_ = self._unit(rows.take(bases))
        squared = np.zeros(n_bases)
        for part in self._parts(rows, chosen):
            squared += squared_distances(part, self.bases_).sum(axis=0)
        # identical vectors are at no distance, at any spread
        self.spread_ = np.array([squared.mean() / len(chosen) or 1.0])
        K = np.empty((len(chosen), n_bases), np.float32)
        KtP, KtQ = np.zeros((2, n_bases, rows.dim + 2))
        total = np.zeros(n_bases)
        P_total, Q_total = np.zeros((2, rows.dim + 2))
        start = 0
        for part in self._parts(rows, chosen):
            features = self._kernel(part)
            P, Q = similarity_factors(part)
            K[start : start + len(part)] = features
            KtP += features.T @ P
            KtQ += features.T @ Q
            total += features.sum(axis=0)
            P_total += P.sum(axis=0)
            Q_total += Q.sum(axis=0)
            start += len(part)
        self.feature_mean_ = total / len(chosen)
        K -= self.feature_mean_.astype(np.float32)
        KtP -= np.outer(self.feature_mean_, P_total)
        KtQ -= np.outer(self.feature_mean_, Q_total)
        # S = P Q^T, so K^T S K = (K^T P) (K^T Q)^T
        self.W_, residuals = learn_bits(
            K, KtP @ KtQ.T, self.n_bits, random_state, show=self.verbose
        )
        self.training_ = {"n_rows": len(chosen), "residuals": residuals}

    def _unit(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """Centred rows of unit length; a row at the mean stays zero."""
        centred = block - self.mean_
        lengths = np.sqrt(np.einsum("ij,ij->i", centred, centred))[:, None]
        return np.divide(centred, lengths, out=centred, where=lengths > 0)

    def _parts(self, rows: Rows, chosen: NDArray[np.intp]) -> Any:
        for start in range(0, len(chosen), BLOCK):
            yield self._unit(rows.take(chosen[start : start + BLOCK]))

    def _kernel(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        exponent = squared_distances(unit, self.bases_)
        exponent /= -2 * self.spread_[0]
        return np.exp(exponent, out=exponent)

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = np.empty((len(block), self.n_bits))
        for start in range(0, len(block), BLOCK):
            features = self._kernel(self._unit(block[start : start + BLOCK]))
            features -= self.feature_mean_
            scores[start : start + BLOCK] = features @ self.W_
        return scores
