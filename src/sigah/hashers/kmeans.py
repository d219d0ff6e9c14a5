"""K-means hashing: quantisation in which the centres' indices are binary codes.

K. He, F. Wen and J. Sun, "K-means hashing: an affinity-preserving quantization method for learning
binary compact codes", CVPR 2013.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sigah.checks import check_nonnegative, check_whole
from sigah.hashers.base import BinaryHasher, DecoderMixin
from sigah.hashers.itq import principal_directions
from sigah.progress import bar
from sigah.rows.blocks import Rows

__all__ = ["KMeansHashing", "balanced_subspaces", "code_distances", "pull_centres"]

BLOCK = 4096  # rows whose distances to all centres are in memory at a time
PULLS = 5  # rounds over the centres between two assignments
SMALLEST = 1e-6  # of the largest variance; smaller variances count as this in logarithms
TOLERANCE = 1e-4  # relative decrease of the objective at which training ends


def balanced_subspaces(variances: NDArray[np.float64], n_subspaces: int) -> NDArray[np.int64]:
    """Distribute principal axes over subspaces with about equal products of variances.

    The eigenvalue allocation of optimised product quantisation (Ge, He, Ke and Sun, CVPR 2013),
    which the paper uses: each axis, from the largest, goes to the subspace with the smallest
    product that still has room.

    Parameters
    ----------
    variances : ndarray, shape (d,)
        In descending order; d divisible by ``n_subspaces``.

    Returns
    -------
    axes : ndarray of int, shape (n_subspaces, d // n_subspaces)
        Axes of each subspace, from the largest.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.hashers.kmeans import balanced_subspaces
    >>> balanced_subspaces(np.array([8.0, 4.0, 2.0, 1.0]), 2)
    array([[0, 3],
           [1, 2]])
    """
    room = len(variances) // n_subspaces
    floor = SMALLEST * (variances[0] or 1.0)
    logs = np.log(np.maximum(variances, floor) / floor)
    dealt: list[list[int]] = [[] for _ in range(n_subspaces)]
    products = np.zeros(n_subspaces)
    for axis, log in enumerate(logs):
        smallest = int(np.argmin(products))
        dealt[smallest].append(axis)
        products[smallest] += log
        if len(dealt[smallest]) == room:
            products[smallest] = np.inf
    return np.array(dealt)


def code_distances(n_bits: int) -> NDArray[np.float64]:
    """Square roots of the Hamming distances of all pairs of indices, ``(2^b, 2^b)``, Eq. (3)."""
    indices = np.arange(2**n_bits, dtype=np.uint16)
    return np.sqrt(np.bitwise_count(indices[:, None] ^ indices).astype(np.float64))


def pull_centres(
    centres: NDArray[np.float64],
    means: NDArray[np.float64],
    shares: NDArray[np.float64],
    wanted: NDArray[np.float64],
    affinity: float,
) -> NDArray[np.float64]:
    """Move each centre in turn towards its vectors and its target distances to the others.

    Lowers, for all subspaces at once,
    ``sum_j p_j ||c_j - mean_j||^2 + lambda sum_ij p_i p_j (||c_i - c_j|| - d_ij)^2`` (Eq. 5 to 7),
    by minimising for each centre a quadratic upper bound (majorisation, as in multidimensional
    scaling; de Leeuw, 1977). By Cauchy-Schwarz ``-||c - c_i|| <= -(c - c_i).(c' - c_i) / ||c' -
    c_i||``, where c' is the current centre.

    Parameters
    ----------
    centres : ndarray, shape (M, k, D)
    means : ndarray, shape (M, k, D)
        Means of the vectors of each centre.
    shares : ndarray, shape (M, k)
        p: shares of the vectors.
    wanted : ndarray, shape (M, k, k)
        d_ij.
    affinity : float
        lambda.
    """
    centres = centres.copy()
    for j in range(centres.shape[1]):
        away = centres[:, j, None] - centres  # (M, k, D)
        lengths = np.linalg.norm(away, axis=2, keepdims=True)
        units = np.divide(away, lengths, out=np.zeros_like(away), where=lengths > 0)
        targets = centres + wanted[:, j, :, None] * units
        weights = 2 * affinity * shares
        weights[:, j] = 0
        pulled = means[:, j] + np.einsum("mk,mkd->md", weights, targets)
        pulled /= 1 + weights.sum(axis=1)[:, None]
        occupied = shares[:, j] > 0  # the objective does not depend on a centre without vectors
        centres[occupied, j] = pulled[occupied]
    return centres


class KMeansHashing(DecoderMixin, BinaryHasher):
    """K-means in subspaces, with centres whose distances match their binary indices.

    The space is rotated and split into ``n_bits / b`` subspaces of balanced variance. In each, 2^b
    centres minimise ``E_quan + lambda E_aff`` (Eq. 7): the quantisation error, and the deviation of
    the distance of two centres from ``2 s sqrt(Hamming distance of their indices)`` (Eq. 3 and 5).
    A code is made of the indices of the nearest centres, not of signs. Fitting costs O(m d 2^b) per
    round for a sample of m vectors, after one covariance; encoding O(d n_bits 2^b / b) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length, a multiple of 8, at most the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    bits_per_subspace : {1, 2, 4, 8}, default=4
        b.
    affinity : float, default=10
        lambda. 0 is product quantisation, in which indices do not reflect distances.
    max_iter : int, default=50
        Most rounds of assigning vectors and moving centres.
    n_samples : int, default=100000
        Most training vectors to learn from, as in the authors' code.
    random_state : int, RandomState or None, default=None
        Draws the sample; if all vectors are used, the method is deterministic.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
    centres_ : ndarray of float64, shape (n_bits // b, 2**b, d)
        Relative to ``mean_``. Centres of different subspaces are orthogonal.
    loss_ : list of float
        The objective, summed over subspaces, after each assignment. Moving centres lowers it.
        Assigning vectors again changes the weights of the affinity and may raise it a little, which
        ends the training.
    n_iter_ : int
        Number of rounds.

    Notes
    -----
    The authors minimise over each centre by a general-purpose optimiser. The closed-form step here
    lowers the same objective and cannot overshoot. If the dimension is not a multiple of the number
    of subspaces, vectors are padded with axes of no variance.

    References
    ----------
    He, Wen and Sun, CVPR 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import KMeansHashing
    >>> X = np.random.default_rng(0).normal(size=(500, 32))
    >>> hasher = KMeansHashing(n_bits=16, random_state=0).fit(X)
    >>> hasher.reconstruct(hasher.transform(X)).shape
    (500, 32)
    """

    name: ClassVar[str] = "kmeans"
    fit_cost = "seconds"
    fitted_arrays = ("mean_", "centres_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        bits_per_subspace: int = 4,
        affinity: float = 10.0,
        max_iter: int = 50,
        n_samples: int = 100000,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.bits_per_subspace = bits_per_subspace
        self.affinity = affinity
        self.max_iter = max_iter
        self.n_samples = n_samples
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        b = self.bits_per_subspace
        if isinstance(b, (bool, float)) or b not in (1, 2, 4, 8):
            raise ValueError(f"bits_per_subspace must be 1, 2, 4 or 8, got {b!r}")
        affinity = self.affinity
        check_nonnegative(affinity, "affinity")
        check_whole(self.max_iter, "max_iter", least=1)
        check_whole(self.n_samples, "n_samples", least=1)
        n_subspaces = self.n_bits // b
        mean, covariance = rows.mean_and_covariance()
        padding = -rows.dim % n_subspaces
        directions = np.pad(principal_directions(covariance, rows.dim), ((0, 0), (0, padding)))
        variances = np.einsum("ij,ij->j", directions, covariance @ directions)
        axes = balanced_subspaces(np.maximum(variances, 0), n_subspaces)
        X = self._sample(rows, mean, directions[:, axes.ravel()], n_subspaces, random_state)
        # the start: vertices of a cube on the b largest axes of each subspace
        signs = 2.0 * ((np.arange(2**b)[:, None] >> np.arange(b)[::-1]) & 1) - 1
        side = np.abs(X[:, :, :b]).mean(axis=(1, 2), dtype=np.float64)  # s, one per subspace
        centres = np.zeros((n_subspaces, 2**b, X.shape[2]))
        centres[:, :, :b] = side[:, None, None] * signs
        wanted = 2 * side[:, None, None] * code_distances(b)
        self.loss_: list[float] = []
        # the products are too small for several threads: waiting would take longer than it saves
        with threadpool_limits(1, user_api="blas"), bar(show=self.verbose) as progress:
            task = progress.add_task("K-means hashing", total=self.max_iter, detail="")
            for _ in range(self.max_iter):
                means, shares, error = assign(X, centres)
                distances = np.linalg.norm(centres[:, :, None] - centres[:, None], axis=3)
                strain = np.einsum("mi,mj,mij->", shares, shares, np.square(distances - wanted))
                self.loss_.append(error + affinity * float(strain))
                progress.update(task, advance=1, detail=f"loss {self.loss_[-1]:.4g}")
                if len(self.loss_) > 1 and (
                    self.loss_[-2] - self.loss_[-1] <= TOLERANCE * self.loss_[-2]
                ):
                    break
                for _ in range(PULLS):
                    centres = pull_centres(centres, means, shares, wanted, affinity)
        self.n_iter_ = len(self.loss_)
        self.mean_ = mean
        self.centres_ = np.einsum("mkj,dmj->mkd", centres, directions[:, axes])
        self.training_ = {"n_rows": X.shape[1], "iterations": self.n_iter_, "loss": self.loss_[-1]}

    def _sample(
        self,
        rows: Rows,
        mean: NDArray[np.float64],
        directions: NDArray[np.float64],
        n_subspaces: int,
        random_state: np.random.RandomState,
    ) -> NDArray[np.float32]:
        """Training vectors in the axes of each subspace, ``(n_subspaces, m, D)``."""
        chosen = np.sort(random_state.permutation(len(rows))[: self.n_samples])
        X = np.empty((n_subspaces, len(chosen), directions.shape[1] // n_subspaces), np.float32)
        for start in range(0, len(chosen), BLOCK):
            block = rows.take(chosen[start : start + BLOCK]) - mean.astype(np.float32)
            turned = block @ directions.astype(np.float32)
            parts = turned.reshape(len(block), n_subspaces, -1)
            X[:, start : start + BLOCK] = parts.transpose(1, 0, 2)
        return X

    def _bits(self, block: NDArray[np.float32]) -> NDArray[np.bool_]:
        n_subspaces, n_centres, dim = self.centres_.shape
        every = self.centres_.reshape(-1, dim)
        halves = np.einsum("ij,ij->i", every, every) / 2
        shifts = np.arange(self.bits_per_subspace)[::-1]
        bits = np.empty((len(block), self.n_bits), bool)
        for start in range(0, len(block), BLOCK):
            part = block[start : start + BLOCK] - self.mean_
            # the nearest centre has the largest x.c - ||c||^2 / 2
            closeness = (part @ every.T - halves).reshape(len(part), n_subspaces, n_centres)
            index = closeness.argmax(axis=2)
            bits[start : start + BLOCK] = (index[:, :, None] >> shifts & 1).reshape(len(part), -1)
        return bits

    def _decode(self, code_signs: NDArray[np.float32]) -> NDArray[np.float32]:
        n_subspaces = len(self.centres_)
        b = self.bits_per_subspace
        bits = (code_signs > 0).reshape(-1, n_subspaces, b)
        index = bits @ (1 << np.arange(b)[::-1])
        decoded = np.tile(self.mean_, (len(bits), 1))
        for m in range(n_subspaces):
            decoded += self.centres_[m, index[:, m]]
        return decoded.astype(np.float32)


def assign(
    X: NDArray[np.float32], centres: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Assign the vectors of each subspace to their nearest centres.

    Returns
    -------
    means : ndarray, shape (M, k, D)
        Means of the vectors of each centre; a centre without vectors is its own mean.
    shares : ndarray, shape (M, k)
        Shares of the vectors.
    error : float
        Mean squared distance of a vector to its centres, summed over subspaces.
    """
    n_subspaces, n_centres, _ = centres.shape
    n = X.shape[1]
    sums, counts = np.zeros_like(centres), np.zeros((n_subspaces, n_centres))
    halves = (np.square(centres).sum(axis=2) / 2).astype(np.float32)
    columns = np.ascontiguousarray(centres.transpose(0, 2, 1), dtype=np.float32)
    error = float(np.einsum("mij,mij->", X, X, dtype=np.float64))
    for m in range(n_subspaces):
        for start in range(0, n, BLOCK):
            part = X[m, start : start + BLOCK]
            closeness = part @ columns[m]
            closeness -= halves[m]
            nearest = closeness.argmax(axis=1)
            belongs = np.zeros((len(part), n_centres), np.float32)
            belongs[np.arange(len(part)), nearest] = 1
            sums[m] += belongs.T @ part
            counts[m] += belongs.sum(axis=0)
            error -= 2 * float(closeness.max(axis=1).sum(dtype=np.float64))
    means = np.divide(sums, counts[:, :, None], out=centres.copy(), where=counts[:, :, None] > 0)
    return means, counts / n, error / n
