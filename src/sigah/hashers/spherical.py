"""Spherical hashing.

J.-P. Heo, Y. Lee, J. He, S.-F. Chang and S.-E. Yoon, "Spherical hashing", CVPR 2012; extended in
"Spherical hashing: binary code embedding with hyperspheres", TPAMI 37(11), 2015.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.hashers.anchors import squared_distances
from sigah.hashers.base import ScoringHasher
from sigah.progress import bar
from sigah.rows.blocks import Rows

__all__ = ["SphericalHashing", "forces", "halving_radii"]

ROWS_OF_A_CENTRE = 5  # training vectors whose mean is an initial centre
MEAN_TOLERANCE, DEVIATION_TOLERANCE = 0.10, 0.15  # of n / 4, in the authors' code
FARTHEST = 10  # in lengths of the longest training vector; a sphere that far away is nearly a plane


def halving_radii(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared radii that put half of the rows inside each sphere.

    Each radius lies half way between two different distances, so that rounding moves no row across
    it. If the middle distances are equal (repeated rows), the nearest gap is taken.

    Parameters
    ----------
    distances : ndarray, shape (n, r)
        Squared distances of the rows to the centres.

    Returns
    -------
    squared_radii : ndarray of float64, shape (r,)

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.hashers.spherical import halving_radii
    >>> halving_radii(np.array([[4.0, 1.0], [1.0, 3.0], [9.0, 3.0], [16.0, 3.0]]))
    array([6.5, 2. ])
    """
    n, r = distances.shape
    ordered = np.empty((n + 1, r))
    ordered[:n] = np.sort(distances, axis=0)
    rounding = 1e-9 * ordered[n - 1]
    ordered[n] = ordered[n - 1] + 3 * rounding  # if there is no gap: every row inside
    apart = np.diff(ordered, axis=0) > rounding
    from_middle = np.abs(np.arange(1, n + 1) - n / 2)[:, None]
    inner = np.where(apart, from_middle, n).argmin(axis=0)
    columns = np.arange(r)
    return (ordered[inner, columns] + ordered[inner + 1, columns]) / 2


def forces(
    centres: NDArray[np.float64], overlaps: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Mean force on each centre.

    Spheres that share more than n / 4 rows repel each other; spheres that share fewer attract:
    ``f_ij = (o_ij - n/4) / (n/4) (p_i - p_j) / 2``.

    Parameters
    ----------
    centres : ndarray, shape (r, d)
    overlaps : ndarray, shape (r, r)
        Rows that lie in both spheres.
    n : int
        Rows.

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
    """Bits say whether a vector lies inside each of r balanced, independent spheres.

    ``h_k(x) = 1`` where ``||x - p_k|| <= t_k``. The radii t put half of the training vectors
    inside each sphere, and spring-like forces move the centres p until each pair of spheres shares
    a quarter of the vectors. Then bits are balanced and pairwise independent. In d dimensions one
    sphere bounds a region; hyperplanes need d + 1. Fitting costs O(m r (d + r)) per round for a
    sample of m rows, encoding O(d r) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    max_iter : int, default=100
        Most rounds of moving centres.
    n_samples : int, default=20000
        Most training vectors to learn from, as in the authors' code.
    random_state : int, RandomState or None, default=None
        Draws the sample and the first centres.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of float32, shape (d,)
    centres_ : ndarray of float64, shape (n_bits, d)
        Centres of the spheres, relative to ``mean_``.
    radii_ : ndarray of float64, shape (n_bits,)
    n_iter_ : int
        Number of rounds.

    References
    ----------
    Heo et al., CVPR 2012, section 3 and Algorithm 1.

    Notes
    -----
    Rounds end when the overlaps o_ij of all pairs meet the authors' tolerances, mean
    ``|o_ij - m/4|`` at most 10 % and standard deviation at most 15 % of m/4. The authors' code has
    no other limit and may never end: in few dimensions the tolerances cannot be met, and if one
    vector makes up half of the sample, every pair repels in every round. So there is ``max_iter``,
    and no centre moves farther away than ten times the longest centred vector.

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
    fitted_arrays = ("mean_", "centres_", "radii_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        max_iter: int = 100,
        n_samples: int = 20000,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.max_iter = max_iter
        self.n_samples = n_samples
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        check_whole(self.max_iter, "max_iter", least=1)
        check_whole(self.n_samples, "n_samples", least=2)
        self.mean_ = rows.mean().astype(np.float32)
        n = min(len(rows), self.n_samples) // 2 * 2  # even, so that half is a whole number
        X = rows.take(np.sort(random_state.choice(len(rows), n, replace=False)))
        X -= self.mean_
        members = random_state.randint(n, size=(self.n_bits, ROWS_OF_A_CENTRE))
        self.centres_ = X[members].mean(axis=1, dtype=np.float64)
        self._move_centres(X)
        distances = np.empty((n, self.n_bits))
        for start in range(0, n, block := 4096):
            where = slice(start, start + block)
            distances[where] = squared_distances(X[where].astype(float), self.centres_)
        self.radii_ = np.sqrt(halving_radii(distances))

    def _move_centres(self, X: NDArray[np.float32]) -> None:
        n, r = len(X), self.n_bits
        half = n // 2
        squared_norms = np.einsum("ij,ij->i", X, X)
        distances = np.empty((r, n), np.float32)  # without ||p||^2, constant per row
        ordered, inside = np.empty_like(distances), np.empty_like(distances)
        farthest = FARTHEST * (float(np.sqrt(squared_norms.max())) or 1.0)
        pairs = ~np.eye(r, dtype=bool)
        with bar(show=self.verbose) as progress:
            task = progress.add_task("Spherical hashing", total=self.max_iter, detail="")
            for iteration in range(1, self.max_iter + 1):
                np.matmul(-2 * self.centres_.astype(np.float32), X.T, out=distances)
                distances += squared_norms
                ordered[:] = distances
                ordered.partition(half - 1, axis=1)
                np.less_equal(distances, ordered[:, half - 1, None], out=inside)
                overlaps = (inside @ inside.T).astype(np.float64)
                error = np.abs(overlaps[pairs] - n / 4).mean() / (n / 4)
                deviation = overlaps[pairs].std() / (n / 4)
                progress.update(task, advance=1, detail=f"overlaps off by {error:.1%}")
                converged = error <= MEAN_TOLERANCE and deviation <= DEVIATION_TOLERANCE
                if converged or iteration == self.max_iter:
                    break
                self.centres_ += forces(self.centres_, overlaps, n)
                lengths = np.linalg.norm(self.centres_, axis=1, keepdims=True)
                self.centres_ *= farthest / np.maximum(lengths, farthest)
        self.n_iter_ = iteration
        self.training_ = {
            "n_rows": n,
            "iterations": iteration,
            "converged": bool(converged),
            "overlap_error": float(error),
            "overlap_deviation": float(deviation),
        }

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        # t^2 - ||x - p||^2 in float64: its sign must not depend on how BLAS splits the block
        centred = (block - self.mean_).astype(float)
        return np.square(self.radii_) - squared_distances(centred, self.centres_)
