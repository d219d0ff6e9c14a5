"""Principal axes of vectors, which a few of them do not decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["drawn_in", "principal_axes"]

FAR = 3  # times the root mean square of lengths is far out
FAR_ROUNDS = 20


def principal_axes(vectors: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Principal axes ``(d, p)`` of vectors about 0: ``most``, or as many as there can be."""
    n, d = vectors.shape
    if n >= d or d <= most:
        axes = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :most]
    else:  # no more than vectors, and their products with each other are fewer
        combinations = np.linalg.eigh(vectors @ vectors.T)[1][:, ::-1][:, :most]
        axes = np.linalg.qr(vectors.T @ combinations)[0]
    return np.ascontiguousarray(axes, np.float32)


def drawn_in(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors about 0, of which those that lie far out are made shorter.

    Squared errors would otherwise let a few of them decide all that is learned. What is far depends
    on the lengths of the result. More than a ninth of the vectors, alike in length, are never far
    from the others, nor are a few distinct ones from many that are equal.
    """
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors), dtype=np.float64)
    distinct = np.unique(lengths)
    most = np.inf
    for _ in range(FAR_ROUNDS):
        most = FAR * np.sqrt(np.square(np.minimum(distinct, most)).mean())
    if distinct[-1] <= most:
        return vectors
    return (vectors * (most / np.maximum(lengths, most))[:, np.newaxis]).astype(np.float32)
