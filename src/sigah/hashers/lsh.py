"""Locality-sensitive hashing with random hyperplanes.

M. S. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sigah.hashers.base import LinearHasher
from sigah.rows.blocks import Rows

__all__ = ["LSH"]


class LSH(LinearHasher):
    """Signs of random projections of the centred vector.

    Two vectors at angle theta (relative to the training mean) differ in each bit with probability
    theta / pi, independently, so their expected Hamming distance is ``n_bits * theta / pi``.
    Fitting reads the data once for its mean; encoding costs O(d n_bits) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    random_state : int, RandomState or None, default=None
        Draws the hyperplanes.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (d, n_bits)
        Normals of the hyperplanes, i.i.d. N(0, 1).
    thresholds_ : ndarray of float64, shape (n_bits,)
        Offsets that make the hyperplanes pass through the training mean.

    See Also
    --------
    sigah.QoLSH : Chooses the bits together, and decodes.

    References
    ----------
    Charikar, STOC 2002, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import LSH
    >>> X = np.random.default_rng(0).normal(size=(100, 32))
    >>> LSH(n_bits=64, random_state=0).fit(X).transform(X).shape
    (100, 8)
    """

    name: ClassVar[str] = "lsh"
    fit_cost = "instant"
    exceeds_dimension = True
    min_rows_per_bit = 0

    def __init__(self, n_bits: int = 64, *, metric: str = "l2", random_state: Any = None) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.random_state = random_state

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        normals = random_state.standard_normal((rows.dim, self.n_bits))
        self.weights_ = normals.astype(np.float32)
        self.thresholds_ = rows.mean() @ self.weights_
