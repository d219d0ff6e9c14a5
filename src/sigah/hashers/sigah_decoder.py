"""SiGAH's generator (arXiv 2306.06928) without torch: its dictionary, and its activation.

Both the estimator and its training need them, and neither needs the other for them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIVATIONS", "LEAKY_SLOPE", "activate", "gaussian_dictionary", "sparse_units"]

ACTIVATIONS = ("leaky_relu", "relu", "tanh", "sigmoid", "silu", "identity")
LEAKY_SLOPE = 0.2
LEAST_UNITS = 1 << 10  # of the sparse layer, where its width is not given


def activate(name: str, Z: NDArray[np.float32]) -> NDArray[np.float32]:
    """The generator's activation phi, in NumPy, for decoding without torch."""
    if name == "leaky_relu":
        return np.maximum(Z, LEAKY_SLOPE * Z)
    if name == "relu":
        return np.maximum(Z, 0)
    if name == "tanh":
        return np.tanh(Z)
    if name in ("sigmoid", "silu"):
        # expit through tanh: no overflow for large negative arguments
        sigmoid = 0.5 * (1 + np.tanh(0.5 * Z))
        return sigmoid if name == "sigmoid" else Z * sigmoid
    return Z  # "identity"


def sparse_units(dictionary: str, ratio: float | str, d: int) -> int:
    """The width n of the generator's sparse layer, for vectors of d dimensions."""
    if dictionary == "identity":
        return d
    if isinstance(ratio, str):  # "auto"
        return max(2 * d, LEAST_UNITS)
    return max(1, round(ratio * d))


@lru_cache(maxsize=2)
def gaussian_dictionary(d: int, n: int, seed: int) -> NDArray[np.float32]:
    """The fixed dictionary A of Eq. (5), ``float32 (d, n)``, from its seed.

    Entries are N(0, 1/n) rather than the paper's N(0, 1/d): the two differ by one factor that the
    generator's weights absorb, and this one keeps ||A z|| near ||z|| / sqrt(n / d) for every n.
    ``RandomState`` is used because NumPy guarantees its stream never changes, so a model file
    needs to hold only the seed.
    """
    generator = np.random.RandomState(seed)
    A = np.empty((d, n), np.float32)
    for row in A:
        row[:] = generator.standard_normal(n)
    A /= np.float32(np.sqrt(n))
    A.setflags(write=False)
    return A
