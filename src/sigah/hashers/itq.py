"""Iterative quantization.

Y. Gong and S. Lazebnik, "Iterative quantization: a procrustean approach to learning binary codes",
CVPR 2011; with A. Gordo and F. Perronnin in TPAMI 35(12), 2013.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.hashers.base import DecoderMixin, LinearHasher
from sigah.progress import track
from sigah.rows.blocks import Rows

__all__ = ["ITQ", "itq_directions", "principal_directions", "rotate_to_codes"]


def principal_directions(covariance: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Eigenvectors ``(d, n)`` of the ``n`` largest eigenvalues, largest first."""
    _, vectors = np.linalg.eigh(covariance)  # ascending
    return vectors[:, : -n - 1 : -1]


def random_rotation(n: int, random_state: np.random.RandomState) -> NDArray[np.float64]:
    """Left singular vectors of a Gaussian matrix: a rotation drawn uniformly."""
    return np.linalg.svd(random_state.standard_normal((n, n)))[0]


def rotate_to_codes(
    V: NDArray[np.float32], R: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """One round of the alternation: fix B = sgn(VR), then solve for R (sections 2.2).

    Parameters
    ----------
    V : ndarray of float32, shape (n, r)
        Centred vectors in principal coordinates.
    R : ndarray of float64, shape (r, r)
        The current rotation.

    Returns
    -------
    R : ndarray of float64, shape (r, r)
        Minimises the quantisation loss for the codes of the old rotation.
    loss : float
        Mean quantisation loss ``||B - V R||_F^2 / n`` of the old rotation with its codes.
    """
    correlation = np.zeros((V.shape[1], V.shape[1]))
    magnitude = 0.0
    for start in range(0, len(V), block := 4096):  # blocks that fit in the cache
        rows = V[start : start + block]
        VR = rows @ R.astype(np.float32)
        B = np.where(VR >= 0, np.float32(1), np.float32(-1))
        correlation += B.T @ rows
        magnitude += float(np.abs(VR).sum(dtype=np.float64))
    # ||B - VR||^2 = ||B||^2 - 2 <B, VR> + ||VR||^2, where <B, VR> = sum |VR| and ||VR|| = ||V||
    energy = float(np.einsum("ij,ij->", V, V, dtype=np.float64))
    loss = V.shape[1] + (energy - 2 * magnitude) / len(V)
    # orthogonal Procrustes: R = Q U^T for B^T V = U S Q^T
    U, _, Qt = np.linalg.svd(correlation)
    return Qt.T @ U.T, loss


def itq_directions(
    rows: Rows,
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    n_bits: int,
    *,
    n_iter: int,
    random_state: np.random.RandomState,
    show: bool = False,
) -> tuple[NDArray[np.float64], list[float], float]:
    """Learn the hash directions of ITQ from rows whose mean and covariance are known.

    Returns
    -------
    directions : ndarray of float64, shape (d, n_bits)
        Principal directions times the learned rotation. Columns are orthonormal.
    losses : list of float
        Mean quantisation loss before each round.
    scale : float
        Least-squares scale of ``x - mean ~ scale * directions @ b``, which for orthonormal
        directions is the mean magnitude of the scores.
    """
    P = principal_directions(covariance, n_bits)
    V = np.empty((len(rows), n_bits), np.float32)
    for where, block in rows.blocks():
        V[where] = (block - mean.astype(np.float32)) @ P.astype(np.float32)
    R = random_rotation(n_bits, random_state)
    losses: list[float] = []
    with track(range(n_iter), "ITQ", show=show) as rounds:
        for _ in rounds:
            R, loss = rotate_to_codes(V, R)
            losses.append(loss)
    return P @ R, losses, float(np.abs(V @ R.astype(np.float32)).mean())


class ITQ(DecoderMixin, LinearHasher):
    """PCA, then the rotation that brings the data closest to the corners of a cube.

    Minimises ``||B - V R||_F^2`` over codes B in {-1, +1} and rotations R (Eq. 2 of the TPAMI
    version), where V are the centred vectors in the first ``n_bits`` principal coordinates. Each
    round costs O(n r^2 + r^3), encoding O(d r) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8, at most the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_iter : int, default=50
        Rounds of the alternation, as in the paper.
    random_state : int, RandomState or None, default=None
        Draws the first rotation.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (d, n_bits)
        Principal directions times rotation; its columns are orthonormal.
    thresholds_ : ndarray of float64, shape (n_bits,)
    mean_ : ndarray of float32, shape (d,)
    scale_ : ndarray of float32, shape (1,)
        The decoder is ``mean_ + scale_ * weights_ @ b``, with the least-squares scale.
    loss_ : list of float
        Mean quantisation loss before each round; it never increases.

    See Also
    --------
    sigah.PCARotation : The start, without the alternation.

    References
    ----------
    Gong and Lazebnik, CVPR 2011; with Gordo and Perronnin, TPAMI 35(12), 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import ITQ
    >>> X = np.random.default_rng(0).normal(size=(500, 32))
    >>> itq = ITQ(n_bits=16, random_state=0).fit(X)
    >>> itq.transform(X).shape, itq.loss_[-1] < itq.loss_[0]
    ((500, 2), True)
    """

    name: ClassVar[str] = "itq"
    fit_cost = "seconds"
    fitted_arrays = ("weights_", "thresholds_", "mean_", "scale_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_iter: int = 50,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_iter = n_iter
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        check_whole(self.n_iter, "n_iter")
        mean, covariance = rows.mean_and_covariance()
        directions, self.loss_, scale = itq_directions(
            rows,
            mean,
            covariance,
            self.n_bits,
            n_iter=self.n_iter,
            random_state=random_state,
            show=self.verbose,
        )
        self.mean_ = mean.astype(np.float32)
        self.weights_ = directions.astype(np.float32)
        self.thresholds_ = mean @ self.weights_
        self.scale_ = np.array([scale], np.float32)
        self.training_ = {"n_rows": len(rows), "rounds": len(self.loss_), "loss": self.loss_[-1]}

    def _decode(self, code_signs: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.mean_ + self.scale_ * (code_signs @ self.weights_.T)
