"""One bit per dimension, as in the binary embeddings of embedding services.

The oldest binary code: the sign of each number. M. S. Charikar, STOC 2002, analyses it for random
directions.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.hashers.base import LinearHasher
from sigah.rows.blocks import Rows

__all__ = ["SignHashing"]


class SignHashing(LinearHasher):
    """Signs of the first dimensions of the vector, centred or raw.

    Bit k is ``[x_k >= mean_k]``, or ``[x_k >= 0]`` with ``center=False``: the binary embeddings
    that embedding services return. If there are fewer bits than dimensions, the first dimensions
    are kept, as for Matryoshka embeddings; for other vectors this choice is arbitrary. Fitting
    costs O(n d), encoding O(d) per vector. The method is deterministic.

    Parameters
    ----------
    n_bits : int, default=64
        Code length, a multiple of 8, at most the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    center : bool, default=True
        Compare with the training mean instead of 0. With 0, a dimension that is never negative
        gives a bit that is always 1.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (d, n_bits)
        The first columns of the identity.
    thresholds_ : ndarray of float64, shape (n_bits,)

    See Also
    --------
    sigah.LSH : Signs of random directions.

    References
    ----------
    Charikar, STOC 2002, analyses signs of random directions.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import SignHashing
    >>> X = np.array([[1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1]], np.float32)
    >>> SignHashing(n_bits=8).fit(X).transform(X)
    array([[ 15],
           [240]], dtype=uint8)
    """

    name: ClassVar[str] = "sign"
    fit_cost = "instant"
    min_rows_per_bit = 0

    def __init__(self, n_bits: int = 64, *, metric: str = "l2", center: bool = True) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.center = center

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        mean = rows.mean()  # always: this pass checks that every value is finite
        self.weights_ = np.eye(rows.dim, self.n_bits, dtype=np.float32)
        self.thresholds_ = mean[: self.n_bits] if self.center else np.zeros(self.n_bits)
        self.training_ = {"n_rows": len(rows)}

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.floating]:
        return block[:, : self.n_bits] - self.thresholds_  # the product with the identity
