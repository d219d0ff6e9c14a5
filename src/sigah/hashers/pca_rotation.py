"""Principal components under a random rotation: the start of iterative quantization.

Y. Gong and S. Lazebnik, CVPR 2011 ("PCA-RR"); H. Jegou, M. Douze, C. Schmid and P. Perez,
"Aggregating local descriptors into a compact image representation", CVPR 2010.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.hashers.base import DecoderMixin, LinearHasher
from sigah.hashers.itq import principal_directions, random_rotation
from sigah.rows.blocks import Rows

__all__ = ["PCARotation"]


class PCARotation(DecoderMixin, LinearHasher):
    """PCA, then a random rotation that spreads the variance evenly over the bits.

    The start of ITQ: ``sgn((x - mean) P R)`` with the first ``n_bits`` principal directions P and a
    uniformly random rotation R. A comparison with ITQ shows how much ITQ's alternation learns.
    Fitting costs one covariance, O(n d^2 + d^3); encoding O(d r) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8, at most the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    random_state : int, RandomState or None, default=None
        Draws the rotation, which is also the start of ITQ with the same seed.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (d, n_bits)
        Principal directions times rotation; its columns are orthonormal.
    thresholds_ : ndarray of float64, shape (n_bits,)
    mean_ : ndarray of float32, shape (d,)
    scale_ : ndarray of float32, shape (1,)
        The decoder is ``mean_ + scale_ * weights_ @ b``, with the least-squares scale.

    See Also
    --------
    sigah.ITQ : Learns the rotation.

    References
    ----------
    Gong and Lazebnik, CVPR 2011 ("PCA-RR"); Jegou, Douze, Schmid and Perez, CVPR 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import PCARotation
    >>> X = np.random.default_rng(0).normal(size=(500, 32))
    >>> PCARotation(n_bits=16, random_state=0).fit(X).transform(X).shape
    (500, 2)
    """

    name: ClassVar[str] = "pca_rotation"
    fit_cost = "instant"
    fitted_arrays = ("weights_", "thresholds_", "mean_", "scale_")

    def __init__(self, n_bits: int = 64, *, metric: str = "l2", random_state: Any = None) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.random_state = random_state

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        mean, covariance = rows.mean_and_covariance()
        directions = principal_directions(covariance, self.n_bits)
        self.weights_ = (directions @ random_rotation(self.n_bits, random_state)).astype(np.float32)
        self.thresholds_ = mean @ self.weights_
        self.mean_ = mean.astype(np.float32)
        magnitude = sum(
            float(np.abs(self._scores(block)).sum(dtype=np.float64)) for _, block in rows.blocks()
        )
        # argmin_s ||v - s b||^2 over the scores v and their signs b is their mean magnitude
        self.scale_ = np.array([magnitude / (len(rows) * self.n_bits)], np.float32)
        self.training_ = {"n_rows": len(rows)}

    def _decode(self, code_signs: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.mean_ + self.scale_ * (code_signs @ self.weights_.T)
