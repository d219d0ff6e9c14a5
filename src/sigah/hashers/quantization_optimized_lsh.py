"""Quantisation-optimised locality-sensitive hashing.

R. Balu, T. Furon and H. Jegou, "Beyond 'project and sign' for cosine estimation with binary codes",
ICASSP 2014.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.hashers.base import BinaryHasher, DecoderMixin
from sigah.rows.blocks import Rows

__all__ = ["QoLSH", "optimise_signs", "random_frame"]

FRAMES = ("gaussian", "tight")
CHUNK_BYTES = 1 << 20  # every flip reads the arrays of the search: they must fit in the cache
SCALE_SAMPLE = 2000  # rows from which the decoder's scale is learned
# A flip must raise the squared objective by more than its rounding error. Otherwise the search
# could depend on how BLAS splits the block, and might never end.
LEAST_GAIN = 1e-10


def random_frame(
    kind: str, d: int, r: int, random_state: np.random.RandomState
) -> NDArray[np.float64]:
    """W ``(d, r)``: Gaussian, or with orthonormal columns (r <= d) or rows (r > d)."""
    W = random_state.standard_normal((d, r))
    if kind == "tight":
        # the polar factor of a Gaussian matrix is uniform among such frames
        left, _, right = np.linalg.svd(W, full_matrices=False)
        W = left @ right
    return W


def optimise_signs(
    C: NDArray[np.float64], G: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Greedy search for the codes b in {-1, +1}^r that maximise ``b^T c / sqrt(b^T G b)``.

    Every point starts at b = sgn(c). While a single flip raises the objective, the bit that raises
    it most is flipped (the first of equal bits). All points are searched at once, independently.

    Parameters
    ----------
    C : ndarray of float64, shape (m, r)
        Frame coefficients ``W^T x`` of the points.
    G : ndarray of float64, shape (r, r)
        Gram matrix ``W^T W`` of the frame.

    Returns
    -------
    bits : ndarray of bool, shape (m, r)
    flips : ndarray of int, shape (m,)
        Number of flips of each point.
    """
    bits = C >= 0
    flips = np.zeros(len(C), np.intp)
    diagonal = G.diagonal()
    least = 1e-12 * diagonal.sum()  # below it, ||W b||^2 is 0 up to rounding
    active = np.arange(len(C))
    B = np.where(bits, 1.0, -1.0)
    T = np.abs(C)  # b_k c_k
    S = B * (B @ G)  # b_k (G b)_k
    N, D = T.sum(axis=1), S.sum(axis=1)  # b^T c and ||W b||^2
    while len(active):
        # a flip of bit k turns N into N - 2 b_k c_k and D into D - 4 b_k (G b)_k + 4 G_kk
        numerators = T * -2
        numerators += N[:, None]
        np.maximum(numerators, 0, out=numerators)
        np.square(numerators, out=numerators)
        denominators = diagonal - S
        denominators *= 4
        denominators += D[:, None]
        numerators[denominators <= least] = 0
        np.maximum(denominators, least, out=denominators)
        numerators /= denominators
        k = numerators.argmax(axis=1)
        every = np.arange(len(k))
        gains = numerators[every, k] > (1 + LEAST_GAIN) * N**2 / np.maximum(D, least)
        if not gains.all():
            active, k, every = active[gains], k[gains], every[: gains.sum()]
            B, T, S, N, D = B[gains], T[gains], S[gains], N[gains], D[gains]
        N -= 2 * T[every, k]
        D += 4 * (diagonal[k] - S[every, k])
        T[every, k] *= -1
        row = G[k]
        row *= B
        row *= 2 * B[every, k, None]
        S -= row  # b_j (G b)_j loses 2 b_j b_k G_jk; for j = k it also changes its sign
        S[every, k] *= -1
        B[every, k] *= -1
        bits[active, k] ^= True
        flips[active] += 1
    return bits, flips


class QoLSH(DecoderMixin, BinaryHasher):
    """Random projections whose bits are chosen jointly to preserve the direction.

    The code of a centred vector x should maximise the cosine between x and the decoded vector: ``b
    = argmax x^T W b / ||W b||`` over {-1, +1}^r. The search starts at the code of LSH, ``sgn(W^T
    x)``, and flips the best single bit until no flip helps. Fitting reads the data once; encoding
    costs O(d r + f r) per vector for f flips, about r / 10.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension d of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    frame : {"tight", "gaussian"}, default="tight"
        The columns of W. "gaussian" draws their entries from N(0, 1). "tight" draws a random frame
        with orthonormal rows if r > d. If r <= d, its columns are orthonormal, ``||W b||`` is the
        same for all codes, and ``sgn(W^T x)`` is optimal.
    random_state : int, RandomState or None, default=None
        Draws the frame, and the rows from which the decoder's scale is learned.

    Attributes
    ----------
    weights_ : ndarray of float64, shape (d, n_bits)
        The frame W.
    gram_ : ndarray of float64, shape (n_bits, n_bits)
        ``W^T W``.
    mean_ : ndarray of float64, shape (d,)
    scale_ : ndarray of float64, shape (1,)
        The decoder is ``mean_ + scale_ * W b / ||W b||``: a code keeps the direction, and all
        vectors get the length that minimises the squared error.

    See Also
    --------
    sigah.LSH : Each bit by itself.

    References
    ----------
    Balu, Furon and Jegou, ICASSP 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import QoLSH
    >>> X = np.random.default_rng(0).normal(size=(200, 16))
    >>> qolsh = QoLSH(n_bits=32, random_state=0).fit(X)
    >>> codes = qolsh.transform(X)
    >>> codes.shape, qolsh.reconstruct(codes).shape
    ((200, 4), (200, 16))
    """

    name: ClassVar[str] = "qolsh"
    fit_cost = "instant"
    exceeds_dimension = True
    min_rows_per_bit = 0
    fitted_arrays = ("weights_", "gram_", "mean_", "scale_")

    weights_: NDArray[np.float64]
    gram_: NDArray[np.float64]
    mean_: NDArray[np.float64]
    scale_: NDArray[np.float64]

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        frame: str = "tight",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.frame = frame
        self.random_state = random_state

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        if self.frame not in FRAMES:
            raise ValueError(f"frame must be one of {', '.join(FRAMES)}, got {self.frame!r}")
        self.weights_ = random_frame(self.frame, rows.dim, self.n_bits, random_state)
        self.gram_ = self.weights_.T @ self.weights_
        self.mean_ = rows.mean()
        size = min(SCALE_SAMPLE, len(rows))
        sample = rows.take(np.sort(random_state.choice(len(rows), size, replace=False)))
        bits, flips = self._search(sample)
        # argmin_s of E||x - s u||^2 over unit vectors u is E[x^T u]
        directions = self._directions(np.where(bits, 1.0, -1.0))
        self.scale_ = np.array([np.einsum("ij,ij->", sample - self.mean_, directions) / size])
        self.training_ = {"n_rows": len(rows), "flips": float(flips.mean())}

    def _bits(self, block: NDArray[np.float32]) -> NDArray[np.bool_]:
        return self._search(block)[0]

    def _search(self, block: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        bits = np.empty((len(block), self.n_bits), np.bool_)
        flips = np.empty(len(block), np.intp)
        size = max(16, CHUNK_BYTES // (8 * self.n_bits))
        for start in range(0, len(block), size):
            chunk = slice(start, start + size)
            C = (block[chunk] - self.mean_) @ self.weights_
            bits[chunk], flips[chunk] = optimise_signs(C, self.gram_)
        return bits, flips

    def _directions(self, code_signs: NDArray[np.floating]) -> NDArray[np.float64]:
        """``W b / ||W b||``; 0 where W b is."""
        V = code_signs @ self.weights_.T
        length = np.linalg.norm(V, axis=1, keepdims=True)
        return V / np.maximum(length, np.finfo(np.float64).tiny)

    def _decode(self, code_signs: NDArray[np.float32]) -> NDArray[np.float32]:
        return (self.mean_ + self.scale_ * self._directions(code_signs)).astype(np.float32)
