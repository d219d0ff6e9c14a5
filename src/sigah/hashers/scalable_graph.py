"""Scalable graph hashing with feature transformation.

Q.-Y. Jiang and W.-J. Li, "Scalable graph hashing with feature transformation", IJCAI 2015.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sigah.checks import check_whole
from sigah.extras import require
from sigah.hashers.anchors import squared_distances
from sigah.hashers.base import ScoringHasher
from sigah.progress import bar
from sigah.rows.blocks import Rows

__all__ = [
    "ScalableGraphHashing",
    "learn_bits",
    "similarity_error",
    "similarity_factor",
    "unit_rows",
    "whitening",
]

BLOCK = 4096  # rows whose float64 kernel features are in memory at a time
RHO = 2.0  # of the similarity 2 exp(-||x - y||^2 / rho) - 1, as in the paper's experiments
RIDGE = 1e-5  # of the number of rows; see the notes of the class
WATCHED = 2000  # training vectors whose pairs are used for the loss
NEGLIGIBLE = 1e-10  # of the number of rows; float32 inputs do not resolve less variance


def unit_rows(block: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred rows scaled to length 1; a row equal to the mean up to rounding becomes zero."""
    X = block - mean
    norms = np.sqrt(np.einsum("ij,ij->i", X, X))
    X /= np.where(norms > 1e-12 * np.linalg.norm(mean), norms, np.inf)[:, None]
    return X


def similarity_factor(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """F with ``F F^T - 1`` close to the similarity ``2 exp(-||x - y||^2 / rho) - 1``.

    The feature transformation (section 3.1): with ``e^z`` on [-1, 1] replaced by its chord
    ``(e^2 - 1) / (2e) z + (e^2 + 1) / (2e)``, the similarity is the product of P(x) = [F(x), 1] and
    Q(y) = [F(y), -1].

    Parameters
    ----------
    X : ndarray of float64, shape (n, d)
        Rows of length 1 or 0.

    Returns
    -------
    F : ndarray of float64, shape (n, d + 1)
    """
    decay = np.exp(np.einsum("ij,ij->i", X, X) / -RHO)
    F = np.empty((len(X), X.shape[1] + 1))
    F[:, :-1] = np.sqrt(2 * (np.e - 1 / np.e) / RHO) * X
    F[:, -1] = np.sqrt(np.e + 1 / np.e)
    F *= decay[:, None]
    return F


def whitening(second_moment: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """T with ``T^T (K^T K + ridge n I) T = I``, for K of n rows.

    Parameters
    ----------
    second_moment : ndarray, shape (m, m)
        ``K^T K`` of the centred features.
    n : int

    Returns
    -------
    T : ndarray of float64, shape (m, at most m)
        Without directions in which the features do not vary.
    """
    variances, directions = np.linalg.eigh(second_moment)
    found = variances > NEGLIGIBLE * n
    found[-1] = True  # identical vectors do not vary: one direction gives them one code
    scale: NDArray[np.float64] = np.sqrt(np.maximum(variances[found], 0) + RIDGE * n)
    return directions[:, found] / scale


def top_eigenvector(A: NDArray[np.float64]) -> NDArray[np.float64]:
    """The eigenvector of the largest eigenvalue, with its largest entry positive."""
    linalg = require("scipy.linalg", "fitting ScalableGraphHashing", "train")
    last = len(A) - 1
    vector: NDArray[np.float64]
    vector = linalg.eigh(A, subset_by_index=(last, last), check_finite=False)[1][:, 0]
    return vector if vector[np.abs(vector).argmax()] > 0 else -vector


def code_correlation(K: NDArray[np.float32], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """``K^T sgn(K w)`` in one pass over K."""
    w = direction.astype(np.float32)
    total = np.zeros(K.shape[1])
    for start in range(0, len(K), BLOCK):
        rows = K[start : start + BLOCK]
        total += np.where(rows @ w >= 0, np.float32(1), np.float32(-1)) @ rows
    return total


def learn_bits(
    K: NDArray[np.float32],
    T: NDArray[np.float64],
    similarity: NDArray[np.float64],
    n_bits: int,
    *,
    n_iter: int,
    random_state: np.random.RandomState,
) -> Iterator[NDArray[np.float64]]:
    """Learn hash functions one at a time, each on the residual similarity of the others.

    Algorithm 1, in coordinates in which the constraint ``W^T (K^T K + ridge) W = I`` is
    ``W^T W = I``: generalised eigenproblems become ordinary ones.

    Parameters
    ----------
    K : ndarray of float32, shape (n, m)
        Centred kernel features.
    T : ndarray of float64, shape (m, k)
        From :func:`whitening`.
    similarity : ndarray of float64, shape (k, k)
        ``T^T K^T S K T``.
    n_bits, n_iter : int
        Bits r, and passes over all of them after the first.

    Yields
    ------
    W : ndarray of float64, shape (m, n_bits)
        After each pass; always the same array, which later passes change.
    """
    residual = n_bits * similarity  # T^T K^T (r S - B B^T) K T
    W = np.zeros((len(T), n_bits))
    U = np.zeros((len(similarity), n_bits))  # T^T K^T b of the bit vectors b
    for iteration in range(1 + n_iter):
        order = random_state.permutation(n_bits) if iteration else np.arange(n_bits)
        for bit in order:
            residual += np.outer(U[:, bit], U[:, bit])  # adds 0 in the first pass
            W[:, bit] = T @ top_eigenvector(residual)
            U[:, bit] = T.T @ code_correlation(K, W[:, bit])
            residual -= np.outer(U[:, bit], U[:, bit])
        yield W


def similarity_error(F: NDArray[np.float64], B: NDArray[np.float64]) -> float:
    """Mean squared difference ``||S - B B^T / r||_F^2 / n^2`` over all pairs of n vectors.

    The objective, Eq. (2), over ``r^2 n^2``; S is ``F F^T - 1`` and B are codes as -1 and 1.
    """
    return float(np.square(F @ F.T - 1 - B @ B.T / B.shape[1]).mean())


class ScalableGraphHashing(ScoringHasher):
    """Kernel hash functions whose codes preserve the similarities of the vectors.

    Over kernel hash functions ``b = sgn(K w)`` it minimises ``||r S - B B^T||_F^2`` (Eq. 2), where
    S is the similarity ``2 exp(-||x - y||^2 / rho) - 1`` of all pairs of training vectors. A
    feature transformation writes S as a product of n x (d + 2) matrices (section 3.1), so the n x n
    matrix is never formed. Bits are learned in turn: each is the top generalised eigenvector of the
    residual of S after the other bits (Algorithm 1). For m bases, fitting costs O(n m (m + d)) once
    and O(n m + m^3) for each bit and pass; encoding costs O(m d) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_bases : int, default=300
        m; training vectors drawn as centres of the kernel, as in the paper. On MNIST, 1,000 bases
        gave no higher precision.
    n_iter : int, default=10
        Passes over all bits, in random order, after the first. The paper makes one; more passes
        raised ``map`` on every validation set.
    n_samples : int, default=100000
        Most training vectors to learn from: their kernel features are held in memory, 4 m bytes per
        vector. The mean is always that of all vectors.
    random_state : int, RandomState or None, default=None
        Draws the sample, the bases and the order of the bits.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
    bases_ : ndarray of float64, shape (m, d)
        Centred, of length 1.
    bandwidth_ : ndarray of float64, shape (1,)
        delta, the mean squared distance of training vectors to bases: a kernel feature is
        ``exp(-||x - base||^2 / (2 delta))``.
    bias_ : ndarray of float64, shape (m,)
        Training means of the kernel features, subtracted from them.
    W_ : ndarray of float64, shape (m, n_bits)
    loss_ : list of float
        After each pass, the objective divided by ``r^2 n^2``: the mean squared difference between
        the similarity of two vectors and that of their codes, ``b_i . b_j / r``. It is computed
        over all pairs of at most 2,000 training vectors. It usually falls, but because signs are
        taken after each eigenproblem, this is not guaranteed.

    Notes
    -----
    Vectors are first centred and scaled to length 1, so codes follow angles at the mean. The last
    columns of P and Q, 1 and -1, vanish in ``K^T P`` and ``K^T Q`` because K is centred. The chord
    of the transformation makes S too high by up to .41.

    The authors' code adds 1e-6 to the diagonal of ``K^T K``, which is negligible beside sums over
    many vectors. Here it is 1e-5 n, so it grows with the number of vectors: on validation queries
    it raised ``map`` by .01 to .04 with 500 to 2,000 training images and changed every figure by
    less than .01 with 59,000.

    References
    ----------
    Jiang and Li, IJCAI 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import ScalableGraphHashing
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> hasher = ScalableGraphHashing(n_bits=32, n_bases=50, random_state=0)
    >>> hasher.fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "scalable_graph"
    fit_cost = "seconds"
    exceeds_dimension = True
    fitted_arrays = ("mean_", "bases_", "bandwidth_", "bias_", "W_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_bases: int = 300,
        n_iter: int = 10,
        n_samples: int = 100000,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_bases = n_bases
        self.n_iter = n_iter
        self.n_samples = n_samples
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        check_whole(self.n_bases, "n_bases", least=1)
        check_whole(self.n_iter, "n_iter", least=0)
        check_whole(self.n_samples, "n_samples", least=1)
        self.mean_ = rows.mean()
        n = min(len(rows), self.n_samples)
        chosen = np.sort(random_state.choice(len(rows), n, replace=False))
        bases = np.sort(random_state.choice(n, min(self.n_bases, n), replace=False))
        self.bases_ = unit_rows(rows.take(chosen[bases]), self.mean_)
        self.bandwidth_ = self._mean_squared_distance(rows, chosen)
        K, second_moment, K_F = self._kernel_features(rows, chosen)
        T = whitening(second_moment, n)
        factor = T.T @ K_F
        # K^T S K = (K^T P) (K^T Q)^T, where the constant columns of P and Q vanish
        watched = random_state.choice(n, min(WATCHED, n), replace=False)
        F = similarity_factor(unit_rows(rows.take(chosen[watched]), self.mean_))
        learning = learn_bits(
            K,
            T,
            factor @ factor.T,
            self.n_bits,
            n_iter=self.n_iter,
            random_state=random_state,
        )
        self.loss_: list[float] = []
        # NumPy and SciPy alternate here, and their thread pools would wait for each other
        with threadpool_limits(1, user_api="blas"), bar(show=self.verbose) as progress:
            task = progress.add_task("Scalable graph hashing", total=1 + self.n_iter, detail="")
            for W in learning:
                self.loss_.append(similarity_error(F, np.where(K[watched] @ W >= 0, 1.0, -1.0)))
                progress.update(task, advance=1, detail=f"loss {self.loss_[-1]:.4f}")
        self.W_ = np.sqrt(n) * W  # scores of unit variance, apart from the ridge
        self.training_ = {
            "n_rows": n,
            "bases": len(self.bases_),
            "passes": len(self.loss_),
            "loss": self.loss_[-1],
        }

    def _mean_squared_distance(self, rows: Rows, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        """Mean over all pairs of training vectors and bases, without computing the distances."""
        total, squared = np.zeros(rows.dim), 0.0
        for _, X in _unit_blocks(rows, chosen, self.mean_):
            total += X.sum(axis=0)
            squared += float(np.square(X).sum())
        mean = (squared - 2 * total @ self.bases_.mean(axis=0)) / len(chosen)
        mean += np.square(self.bases_).sum(axis=1).mean()
        # identical vectors equal their bases: any bandwidth will do
        return np.array([mean if mean > 1e-12 else 1.0])

    def _kernel_features(
        self, rows: Rows, chosen: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        """Set ``bias_``; return centred features K, ``K^T K`` and ``K^T F``, in one pass."""
        m, n = len(self.bases_), len(chosen)
        K = np.empty((n, m), np.float32)
        K_K, K_F = np.zeros((m, m)), np.zeros((m, rows.dim + 1))
        K_sum, F_sum = np.zeros(m), np.zeros(rows.dim + 1)
        for where, X in _unit_blocks(rows, chosen, self.mean_):
            features, F = self._kernel(X), similarity_factor(X)
            K[where] = features
            K_K += features.T @ features
            K_F += features.T @ F
            K_sum += features.sum(axis=0)
            F_sum += F.sum(axis=0)
        self.bias_ = K_sum / n
        K -= self.bias_.astype(np.float32)
        K_K -= np.outer(self.bias_, K_sum)
        K_F -= np.outer(self.bias_, F_sum)
        return K, K_K, K_F

    def _kernel(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        exponent = squared_distances(X, self.bases_)
        exponent /= -2 * self.bandwidth_
        return np.exp(exponent, out=exponent)

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        # float64, so that the sign of a score does not depend on how BLAS splits the block
        scores = np.empty((len(block), self.n_bits))
        for start in range(0, len(block), BLOCK):
            features = self._kernel(unit_rows(block[start : start + BLOCK], self.mean_))
            features -= self.bias_
            scores[start : start + BLOCK] = features @ self.W_
        return scores


def _unit_blocks(
    rows: Rows, chosen: NDArray[np.intp], mean: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Centred training vectors of length 1, a few thousand at a time, with their positions."""
    if len(chosen) == len(rows):  # in order, which is fast for every source
        for whole, block in rows.blocks():
            for start in range(0, len(block), BLOCK):
                part = unit_rows(block[start : start + BLOCK], mean)
                yield slice(whole.start + start, whole.start + start + len(part)), part
        return
    for start in range(0, len(chosen), BLOCK):
        part = unit_rows(rows.take(chosen[start : start + BLOCK]), mean)
        yield slice(start, start + len(part)), part
