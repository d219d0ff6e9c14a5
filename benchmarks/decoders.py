"""Whose codes say most about the vectors, whatever decodes them: relative errors on test queries.

SiGAH decodes through a layer of rectified linear units, most other methods linearly, as in their
papers; so their own errors compare decoders as well as codes. Here the codes of every method are
also decoded in two ways that are the same for all: by a ridge regression, and by one on a layer of
random rectified linear units as wide as SiGAH's. ``docs/results.md`` shows the results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from seeds import run
from sigah.codes import signs
from sigah.evaluation import EvaluationData, reconstruction_error
from sigah.hashers.ridge import Moments, best_regression
from sigah.hashers.sigah import REFIT_ROWS
from sigah.hashers.sigah_decoder import sparse_units

N_BITS = 64
BLOCK = 1 << 12

Floats = np.ndarray[Any, np.dtype[np.float32]]
Features = Callable[[Floats], Floats]


def linear(code_signs: Floats) -> Floats:
    """The bits as -1 and 1, and a constant."""
    return np.hstack([code_signs, np.ones((len(code_signs), 1), np.float32)])


def random_layer(dim: int, seed: int) -> Features:
    """Rectified random combinations of the bits, and a constant."""
    random_state = np.random.RandomState(seed)
    n_units = sparse_units("gaussian", "auto", dim)
    weights = (random_state.randn(N_BITS, n_units) / np.sqrt(N_BITS)).astype(np.float32)
    biases = random_state.randn(n_units).astype(np.float32)
    return lambda code_signs: linear(np.maximum(code_signs @ weights + biases, 0))


def moments(features: Features, S: Floats, X: Floats) -> Moments:
    """Sums over vectors X of signs S, a block at a time."""
    blocks = range(0, len(X), BLOCK)
    first, *others = (Moments.of(features(S[i : i + BLOCK]), X[i : i + BLOCK]) for i in blocks)
    return sum(others, first)


def error(features: Features, S: Floats, X: Floats, T: Floats, Q: Floats) -> float:
    """Relative error of queries Q of signs T, decoded as is best for vectors X of signs S."""
    mean, fifth = X.mean(axis=0), len(X) // 5
    rest = moments(features, S[fifth:], X[fifth:] - mean)
    held_out = moments(features, S[:fifth], X[:fifth] - mean)
    coefficients = best_regression(rest, held_out).astype(np.float32)
    return reconstruction_error(Q, mean + features(T) @ coefficients)[1]


def measure(hasher: Any, data: EvaluationData) -> dict[str, float]:
    """Relative errors of the method's own decoder, if it has one, and of those for all."""
    seed = hasher.random_state
    base = np.asarray(data.base, np.float32)
    queries = np.asarray(data.queries, np.float32)
    chosen = np.random.RandomState(seed).permutation(len(base))[:REFIT_ROWS]
    X, query_codes = base[chosen], hasher.transform(queries)
    S, T = signs(hasher.transform(X)), signs(query_codes)
    errors = {
        "linear": error(linear, S, X, T, queries),
        "random layer": error(random_layer(X.shape[1], seed), S, X, T, queries),
    }
    if hasattr(hasher, "reconstruct"):
        errors["own"] = reconstruction_error(queries, hasher.reconstruct(query_codes))[1]
    return errors


if __name__ == "__main__":
    run(
        measure,
        description=__doc__,
        methods="sigah,itq,binary_autoencoder,stochastic_generative",
        json_path="benchmarks/results/decoders.json",
        settings={"n_bits": N_BITS, "rows_fitted": REFIT_ROWS},
    )
