"""Spectral hashing.

Y. Weiss, A. Torralba and R. Fergus, "Spectral hashing", NIPS 2008.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.hashers.base import ScoringHasher
from sigah.hashers.itq import principal_directions
from sigah.rows.blocks import Rows

__all__ = ["SpectralHashing", "smallest_modes"]


def smallest_modes(
    ranges: NDArray[np.float64], n_modes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The single-axis modes of a box with the smallest eigenvalues, smallest first (section 3).

    Mode k on an axis of length R is the eigenfunction ``cos(k pi x / R)`` of the Laplacian. Its
    eigenvalue grows with the frequency k / R. The constant mode is excluded.

    Parameters
    ----------
    ranges : ndarray, shape (m,)
        Lengths of the axes. Axes of length 0 have no modes, unless all lengths are 0.
    n_modes : int

    Returns
    -------
    axes, multiples : ndarrays of int, shape (n_modes,)
        The axis of each mode, and its k.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.hashers.spectral import smallest_modes
    >>> smallest_modes(np.array([4.0, 1.9]), 4)  # frequencies 1/4, 2/4, 1/1.9, 3/4
    (array([0, 0, 1, 0]), array([1, 2, 1, 3]))
    """
    # an axis shorter than the rounding error carries only noise
    lengths = np.where(ranges > 1e-6 * ranges.max(), ranges, 0.0)
    multiples = np.arange(1, n_modes + 1)  # the longest axis alone could fill the code
    with np.errstate(divide="ignore"):
        frequencies = multiples[None, :] / lengths[:, None]
    smallest = np.argsort(frequencies, axis=None, kind="stable")[:n_modes]
    axes, columns = np.unravel_index(smallest, frequencies.shape)
    return axes.astype(np.int64), multiples[columns].astype(np.int64)


class SpectralHashing(ScoringHasher):
    """Signs of waves along the principal axes; longer axes have more waves.

    Codes with balanced and uncorrelated bits that keep neighbours close minimise ``sum_ij W_ij
    ||b_i - b_j||^2`` (Eq. 3 of the paper). For vectors uniform in a box, the relaxed solutions are
    ``cos(k pi (x_j - min_j) / R_j)`` along the principal axes, lowest frequency k / R_j first
    (section 3). Long codes have waves of high frequency along the longest axes; there the method is
    worse than others. Fitting costs one covariance, O(n d^2 + d^3); encoding O(d r) per vector. The
    method is deterministic.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.

    Attributes
    ----------
    directions_ : ndarray of float64, shape (d, min(n_bits, d))
        Principal directions.
    starts_ : ndarray of float64, shape (n_bits,)
        Smallest training coordinate on the axis of each bit.
    axes_ : ndarray of int64, shape (n_bits,)
        The principal axis of each bit.
    frequencies_ : ndarray of float64, shape (n_bits,)
        ``k pi / R`` of each bit.

    Notes
    -----
    Only waves along one axis are used, as in the authors' code. Products of waves along several
    axes hash badly. Outside the training range, the wave continues.

    References
    ----------
    Weiss, Torralba and Fergus, NIPS 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import SpectralHashing
    >>> X = np.random.default_rng(0).uniform(size=(500, 16))
    >>> SpectralHashing(n_bits=32).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "spectral"
    fit_cost = "instant"
    exceeds_dimension = True
    fitted_arrays = ("directions_", "starts_", "axes_", "frequencies_")

    def __init__(self, n_bits: int = 64, *, metric: str = "l2") -> None:
        self.n_bits = n_bits
        self.metric = metric

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        _, covariance = rows.mean_and_covariance()
        self.directions_ = np.ascontiguousarray(
            principal_directions(covariance, min(self.n_bits, rows.dim))
        )
        low = np.full(self.directions_.shape[1], np.inf)
        high = -low
        for _, block in rows.blocks():
            coordinates = block.astype(np.float64) @ self.directions_
            low = np.minimum(low, coordinates.min(axis=0))
            high = np.maximum(high, coordinates.max(axis=0))
        self.axes_, multiples = smallest_modes(high - low, self.n_bits)
        ranges = (high - low)[self.axes_]
        # identical vectors have a range of 0; any frequency gives them one code
        self.frequencies_ = np.pi * multiples / np.where(ranges > 0, ranges, 1.0)
        self.starts_ = low[self.axes_]
        self.training_ = {"n_rows": len(rows), "axes": len(np.unique(self.axes_))}

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        # float64, so that the sign of a score does not depend on how BLAS splits the block
        coordinates = (block.astype(np.float64) @ self.directions_)[:, self.axes_]
        coordinates -= self.starts_
        coordinates *= self.frequencies_
        return np.cos(coordinates, out=coordinates)
