"""Spherical hashing.

J.-P. Heo, Y. Lee, J. He, S.-F. Chang and S.-E. Yoon, "Spherical hashing", CVPR 2012; extended in
"Spherical hashing: binary code embedding with hyperspheres", TPAMI 37(11), 2015.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.hashers.base import ScoringHasher
from sigah.hashers.rows import Rows
from sigah.progress import bar

__all__ = ["SphericalHashing", "forces", "halving_radii"]

ROWS_OF_A_CENTRE = 5  # training vectors whose mean is a first centre
MEAN_TOLERANCE, DEVIATION_TOLERANCE = 0.10, 0.15  # of n / 4, section 3.4


def halving_radii(squared_distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Squared radii that put half of the rows inside each sphere, by Eq. (4).

    Parameters
    ----------
    squared_distances : ndarray, shape (n, r)
        n even; reordered in place.

    Returns
    -------
    squared_radii : ndarray of float64, shape (r,)
        Half way between the inner and the outer half, where rounding cannot move a row across.
    """
    half = len(squared_distances) // 2
    squared_distances.partition((half - 1, half), axis=0)
    return squared_distances[half - 1 : half + 1].mean(axis=0, dtype=np.float64)


def forces(
    centres: NDArray[np.float64], overlaps: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Mean force on each centre, Eq. (7) and Algorithm 1.

    A pair of spheres that shares more than n / 4 rows repels, one that shares fewer attracts:
    ``f_ij = (o_ij - n/4) / (n/4) (p_i - p_j) / 2``.

    Parameters
    ----------
    centres : ndarray, shape (r, d)
    overlaps : ndarray, shape (r, r)
        Rows that lie in both spheres.

    Returns
    -------
    forces : ndarray of float64, shape (r, d)
        They sum to zero over the centres.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.hashers.spherical import forces
    >>> forces(np.array([[0.0], [1.0]]), np.array([[50.0, 50.0], [50.0, 50.0]]), n=100)
    array([[-0.25],
           [ 0.25]])
    """
    strength = 0.5 * (overlaps - n / 4) / (n / 4)
    np.fill_diagonal(strength, 0.0)
    return (strength.sum(axis=1, keepdims=True) * centres - strength @ centres) / len(centres)


class SphericalHashing(ScoringHasher):
    """Bits tell whether a vector lies inside each of r balanced, independent spheres.

    ``h_k(x) = 1`` where ``||x - p_k|| <= t_k`` (Eq. 1). Radii put half of the training vectors
    inside each sphere, and centres move as if by springs until each pair of spheres shares a
    quarter (Eq. 2 to 4): bits are then balanced and pairwise independent. A sphere bounds a
    region that takes a whole simplex of hyperplanes. Fitting costs O(m r d) a round for a sample
    of m rows, encoding O(d r) a vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    max_iter : int, default=100
        Most rounds of moving centres. The authors' code has no limit and may not end.
    n_samples : int, default=20000
        Most training vectors to learn from, as in the authors' code.
    random_state : int, RandomState or None, default=None
        Draws the sample and the first centres.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
    centres_ : ndarray of float64, shape (n_bits, d)
        Centres of the spheres, seen from ``mean_``.
    squared_radii_ : ndarray of float64, shape (n_bits,)
    n_iter_ : int
        Rounds that were needed.

    Notes
    -----
    Codes are usually compared by plain Hamming distance. The paper's own distance divides it
    by the number of spheres that hold both vectors:
    ``HammingIndex.search(codes, k, metric="spherical")``.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import SphericalHashing
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> SphericalHashing(n_bits=32, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "spherical"
    fit_cost = "seconds"
    exceeds_dimension = True
    fitted_arrays = ("mean_", "centres_", "squared_radii_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        max_iter: int = 100,
        n_samples: int = 20000,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.max_iter = max_iter
        self.n_samples = n_samples
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        for name, least in (("max_iter", 1), ("n_samples", 2)):
            value = getattr(self, name)
            if not (isinstance(value, (int, np.integer)) and value >= least):
                raise ValueError(
                    f"{name} must be a whole number of at least {least}, got {value!r}"
                )
        self.mean_ = rows.mean()
        n = min(len(rows), self.n_samples) // 2 * 2  # even, so that a half is a whole number
        chosen = np.sort(random_state.choice(len(rows), n, replace=False))
        X = rows.take(chosen)
        X -= self.mean_.astype(np.float32)
        members = random_state.randint(n, size=(self.n_bits, ROWS_OF_A_CENTRE))
        self.centres_ = X[members].mean(axis=1, dtype=np.float64)
        squared_norms = np.einsum("ij,ij->i", X, X)[:, None]
        pairs = ~np.eye(self.n_bits, dtype=bool)
        with bar(show=self.verbose) as progress:
            task = progress.add_task("Spherical hashing", total=self.max_iter, detail="")
            for iteration in range(1, self.max_iter + 1):
                centres = self.centres_.astype(np.float32)
                # ||x - p||^2 = ||x||^2 - 2 x.p + ||p||^2
                squared = X @ (-2 * centres.T)
                squared += squared_norms
                squared += np.square(centres).sum(axis=1)
                self.squared_radii_ = halving_radii(squared.copy())
                inside = (squared <= self.squared_radii_).astype(np.float32)
                overlaps = (inside.T @ inside).astype(np.float64)
                excess = np.abs(overlaps[pairs] - n / 4).mean() / (n / 4)
                deviation = overlaps[pairs].std() / (n / 4)
                progress.update(task, advance=1, detail=f"overlap off by {excess:.1%}")
                converged = excess <= MEAN_TOLERANCE and deviation <= DEVIATION_TOLERANCE
                if converged or iteration == self.max_iter:
                    break
                self.centres_ += forces(self.centres_, overlaps, n)
        self.n_iter_ = iteration
        self.training_ = {
            "n_rows": n,
            "iterations": iteration,
            "converged": bool(converged),
            "overlap_error": float(excess),
            "overlap_deviation": float(deviation),
        }

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        # t^2 - ||x - p||^2 in float64: its sign must not depend on how BLAS splits the block
        centred = block - self.mean_
        scores = centred @ (2 * self.centres_.T)
        scores -= np.einsum("ij,ij->i", centred, centred)[:, None]
        scores += self.squared_radii_ - np.square(self.centres_).sum(axis=1)
        return scores
