"""Ordinal constrained hashing.

H. Liu, R. Ji, Y. Wu and F. Huang, "Ordinal constrained binary code learning for nearest neighbor
search", AAAI 2017 (arXiv 1611.06362).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.hashers.anchors import find_anchors, squared_distances
from sigah.hashers.base import LinearHasher
from sigah.hashers.itq import principal_directions
from sigah.progress import bar
from sigah.rows.blocks import Rows

__all__ = [
    "OrdinalConstrainedHashing",
    "descend",
    "nearest_orthonormal",
    "ordinal_loss",
    "ordinal_neighbors",
]

ARMIJO = 1e-4  # share of the decrease predicted by the slope that a step must reach
SMALLEST_STEP = 1e-9
TOLERANCE = 1e-5  # relative decrease of the loss over ten iterations at which training ends


def ordinal_neighbors(anchors: NDArray[np.float64]) -> NDArray[np.intp]:
    """The other anchors of each anchor, from the nearest to the farthest, ``(L, L - 1)``.

    Similarity and distance give the same order, so no kernel is needed.
    """
    squared = squared_distances(anchors, anchors)
    np.fill_diagonal(squared, -1.0)
    return np.argsort(squared, axis=1, kind="stable")[:, 1:]


def ordinal_loss(
    W: NDArray[np.float64],
    A: NDArray[np.float64],
    order: NDArray[np.intp],
    k: int,
) -> tuple[float, NDArray[np.float64]]:
    """The smoothed share of order relations that codes violate, and its gradient.

    The mean of ``sig(t_q.t_j - t_q.t_i)`` over all triplets in which anchor i is among the k
    nearest of q and j is farther from q than i, with ``t = tanh(W^T a)`` (Eq. 8 and 9).

    Parameters
    ----------
    W : ndarray, shape (D, r)
    A : ndarray, shape (L, D)
        Anchors.
    order : ndarray of int, shape (L, L - 1)
        From :func:`ordinal_neighbors`.

    Returns
    -------
    loss : float
    gradient : ndarray, shape (D, r)
    """
    T = np.tanh(A @ W)
    similarity = np.take_along_axis(T @ T.T, order, axis=1)  # ascending distance
    others = similarity.shape[1]
    slope = np.zeros_like(similarity)
    loss, n_triplets = 0.0, 0
    for i in range(min(k, others - 1)):
        # logistic function of the margin, in a form that does not overflow
        broken = 0.5 * (1 + np.tanh(0.5 * (similarity[:, i + 1 :] - similarity[:, i, None])))
        loss += float(broken.sum())
        n_triplets += broken.size
        steep = broken * (1 - broken)
        slope[:, i + 1 :] += steep
        slope[:, i] -= steep.sum(axis=1)
    pairs = np.zeros((len(A), len(A)))
    np.put_along_axis(pairs, order, slope, axis=1)
    back = (pairs + pairs.T) @ T
    back *= 1 - np.square(T)
    return loss / max(n_triplets, 1), A.T @ back / max(n_triplets, 1)


def nearest_orthonormal(M: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix with orthonormal columns nearest to M: its polar factor."""
    U, _, Vt = np.linalg.svd(M, full_matrices=False)
    return U @ Vt


def descend(
    W: NDArray[np.float64],
    loss: float,
    gradient: NDArray[np.float64],
    step: float,
    A: NDArray[np.float64],
    order: NDArray[np.intp],
    k: int,
) -> tuple[NDArray[np.float64], float, NDArray[np.float64], float]:
    """One step of steepest descent among matrices with orthonormal columns, W^T W = I.

    A call starts with twice the previous step and halves it until the loss has fallen enough
    (Armijo). The step is 0 if no step lowers the loss.

    Returns
    -------
    W, loss, gradient
        At the new point.
    step : float
        The step taken.
    """
    direction = gradient - W @ gradient.T @ W
    slope = float(np.vdot(gradient, direction))
    step *= 2
    while step > SMALLEST_STEP and slope > 0:
        candidate = nearest_orthonormal(W - step * direction)
        new_loss, new_gradient = ordinal_loss(candidate, A, order, k)
        if new_loss <= loss - ARMIJO * step * slope:
            return candidate, new_loss, new_gradient, step
        step /= 2
    return W, loss, gradient, 0.0


class OrdinalConstrainedHashing(LinearHasher):
    """Hyperplanes that preserve the order of distances between anchors.

    For a triplet of vectors (q, i, j) with i nearer to q than j, the code of i should be nearer,
    too. The paper replaces the n^3 order relations of all vectors by those of L anchors. It
    minimises the smoothed share of violated relations over projections W with orthonormal columns
    (Eq. 9), by descent on that manifold, in principal coordinates. Fitting costs k-means and O(L^2
    (k + r)) per evaluation of the loss; encoding O(d r) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8, at most the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_principal : int or None, default=None
        Principal coordinates to project from, at least ``n_bits``; by default ``n_bits``, so that W
        is a rotation. More coordinates fit the anchors better and the data worse: on held-out
        queries of MNIST at 32 bits, ``map`` is .513 with 32 and .495 with 128.
    n_anchors : int, default=300
        L; k-means centres, as in the authors' code.
    n_neighbors : int, default=10
        k, the number of nearest anchors whose order counts, as in the authors' code.
    max_iter : int, default=300
        Most steps of descent, as in the authors' code.
    n_samples : int, default=10000
        Most training vectors for k-means.
    random_state : int, RandomState or None, default=None
        Draws the sample, starts k-means, and draws the first W.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (d, n_bits)
        Columns are orthonormal.
    thresholds_ : ndarray of float64, shape (n_bits,)
    loss_ : list of float
        The loss before each step; it never increases.
    n_iter_ : int
        Number of steps.

    Notes
    -----
    The authors' public code is a later version and differs from the paper. Four of its properties
    are not adopted: it counts neighbours by index instead of by distance; its line search and its
    gradient belong to different functions; its loop never ends when a gradient vanishes; and it
    uses 20 principal coordinates for every code length, so 64 bits have the information of 20.

    References
    ----------
    Liu, Ji, Wu and Huang, AAAI 2017 (arXiv 1611.06362).

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import OrdinalConstrainedHashing
    >>> X = np.random.default_rng(0).normal(size=(500, 32))
    >>> hasher = OrdinalConstrainedHashing(n_bits=16, max_iter=20, random_state=0).fit(X)
    >>> hasher.transform(X).shape, hasher.loss_[-1] < hasher.loss_[0]
    ((500, 2), True)
    """

    name: ClassVar[str] = "ordinal_constrained"
    fit_cost = "seconds"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_principal: int | None = None,
        n_anchors: int = 300,
        n_neighbors: int = 10,
        max_iter: int = 300,
        n_samples: int = 10000,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_principal = n_principal
        self.n_anchors = n_anchors
        self.n_neighbors = n_neighbors
        self.max_iter = max_iter
        self.n_samples = n_samples
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        n_principal = self.n_bits
        if self.n_principal is not None:
            n_principal = check_whole(self.n_principal, "n_principal", least=self.n_bits)
        check_whole(self.n_anchors, "n_anchors", least=3)
        for name in ("n_neighbors", "max_iter", "n_samples"):
            check_whole(getattr(self, name), name, least=1)
        mean, covariance = rows.mean_and_covariance()
        P = principal_directions(covariance, min(n_principal, rows.dim))
        anchors = find_anchors(
            rows, mean, self.n_anchors, n_samples=self.n_samples, random_state=random_state
        )
        order = ordinal_neighbors(anchors)
        A = anchors @ P
        # tanh has a fixed scale: scores of unit variance lie where it bends
        A /= np.sqrt(np.square(A).sum() / len(A) / A.shape[1]) or 1.0
        W = nearest_orthonormal(random_state.standard_normal((A.shape[1], self.n_bits)))
        k = self.n_neighbors
        loss, gradient = ordinal_loss(W, A, order, k)
        step = 1.0
        self.loss_ = [loss]
        with bar(show=self.verbose) as progress:
            task = progress.add_task("Ordinal constrained hashing", total=self.max_iter, detail="")
            for _ in range(self.max_iter):
                W, loss, gradient, step = descend(W, loss, gradient, step, A, order, k)
                if step == 0:
                    break
                self.loss_.append(loss)
                progress.update(task, advance=1, detail=f"loss {loss:.4f}")
                if len(self.loss_) > 10 and self.loss_[-11] - loss < TOLERANCE * loss:
                    break
        self.n_iter_ = max(1, len(self.loss_) - 1)
        self.weights_ = (P @ W).astype(np.float32)
        self.thresholds_ = mean @ self.weights_
        self.training_ = {
            "n_rows": len(rows),
            "anchors": len(anchors),
            "iterations": self.n_iter_,
            "loss": loss,
        }
