"""Memory depends on the shape of vectors and not on their values."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quick_heads import HEADS, quickly
from sigah import streams
from sigah.hashers import METHODS, DecoderMixin

N, D, N_BITS = 6000, 48, 48
QUICK: dict[str, dict[str, Any]] = {
    **HEADS,
    "sigah": {"n_steps": 20, "dictionary_ratio": 2},
    "stochastic_generative": {"n_steps": 20},
    "ordinal_constrained": {"n_anchors": 100, "max_iter": 5},
    "anchor_graph": {"n_anchors": 100},
    "discrete_graph": {"n_anchors": 100, "max_iter": 3},
    "scalable_graph": {"n_bases": 100, "n_iter": 1},
    "spherical": {"max_iter": 5},
    "binary_autoencoder": {"n_iter": 1},
}


def ordinary() -> Any:
    X = np.random.default_rng(0).normal(size=(N, D))
    return (X - X.mean(axis=0)).astype(np.float32)


def with_a_long_row(X: Any) -> Any:
    X[7] *= 1e6
    return X


def with_zero_rows(X: Any) -> Any:
    X[::2] = 0
    return X


def with_constant_columns(X: Any) -> Any:
    X[:, ::2] = 1e4
    return X


def with_duplicates(X: Any) -> Any:
    X[: 3 * N // 10] = X[-1]
    return X


def constant(X: Any) -> Any:
    X[:] = X[0]
    return X


def far_from_the_origin(X: Any) -> Any:
    X += 1e6
    return X


ODD: tuple[Callable[[Any], Any], ...] = (
    with_a_long_row,
    with_zero_rows,
    with_constant_columns,
    with_duplicates,
    constant,
    far_from_the_origin,
)


def peak(call: Callable[..., object], *arguments: object) -> int:
    """The most bytes that NumPy and Python hold at a time during a call."""
    tracemalloc.start()
    try:
        call(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", quickly(METHODS))
def test_encoding_odd_vectors_takes_no_more_memory(name: str, tmp_path: Path) -> None:
    hasher = METHODS[name](N_BITS).set_params(**QUICK.get(name, {}))
    if "random_state" in hasher.get_params():
        hasher.set_params(random_state=0)
    X = ordinary()
    expected: dict[str, int] = {}
    for odd in (None, *ODD):
        # learned from such vectors too: thresholds then lie where many of them are
        vectors = X if odd is None else odd(X.copy())
        hasher.fit(vectors[:1000])
        found = {"transform": peak(hasher.transform, vectors)}
        if isinstance(hasher, DecoderMixin):
            found["score"] = peak(hasher.score, vectors)
        if name == "lsh":
            out = tmp_path / f"{odd.__name__ if odd else 'ordinary'}.npy"
            found["encode"] = peak(streams.encode, hasher, vectors, out)
        expected = expected or found
        for what, most in found.items():
            assert most <= 2 * expected[what], (what, odd)
