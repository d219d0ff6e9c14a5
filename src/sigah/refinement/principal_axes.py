"""Principal axes of vectors, which a few of them do not decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["centred", "drawn_in", "principal_axes"]

FAR = 2  # times the median of lengths is far out
MEAN_ROUNDS = 10


def principal_axes(vectors: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Principal axes ``(d, p)`` of vectors about 0: ``most``, or as many as there can be."""
    n, d = vectors.shape
    if n >= d or d <= most:
        axes = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :most]
    else:  # no more than vectors, and their products with each other are fewer
        combinations = np.linalg.eigh(vectors @ vectors.T)[1][:, ::-1][:, :most]
        axes = np.linalg.qr(vectors.T @ combinations)[0]
    return np.ascontiguousarray(axes, np.float32)


def centred(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A mean of vectors ``(d,)``, and the vectors about it, those that lie far out made shorter.

    Squared errors would otherwise let those decide all that is learned. The mean is one of Huber's
    ("Robust estimation of a location parameter", 1964): about it, the vectors as they are returned
    have the mean 0.
    """
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    for _ in range(MEAN_ROUNDS):
        about = vectors - mean
        drawn = drawn_in(about)
        if drawn is about:
            break
        mean += drawn.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean, drawn_in(vectors - mean)


def drawn_in(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors about 0, of which none is longer than twice the median length.

    The median is that of distinct vectors: a few of them among many that are equal are not far out.
    """
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors), dtype=np.float64)
    probe = np.random.default_rng(0).standard_normal(vectors.shape[1], np.float32)
    _, distinct = np.unique(np.einsum("nd,d->n", vectors, probe), return_index=True)
    most = FAR * float(np.median(lengths[distinct]))
    if lengths.max() <= most:
        return vectors
    return (vectors * (most / np.maximum(lengths, most))[:, np.newaxis]).astype(np.float32)
