"""Tables of queries against products in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from sigah.search import instructions
from sigah.search.compiled import product_kernels
from sigah.search.query_tables import QueryTables, blocks


def parts(p: int, d: int, n_bytes: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(p)
    axes = np.linalg.qr(rng.normal(size=(d, p)))[0]
    mean, offsets = rng.normal(size=d) / 10, rng.normal(size=(n_bytes, 256))
    codebooks = rng.normal(size=(n_bytes, 256, p)) / np.sqrt(p * n_bytes)
    return tuple(array.astype(np.float32) for array in (mean, axes, codebooks, offsets))


@pytest.mark.parametrize(
    ("p", "d", "n_bytes", "dtype"), [(7, 9, 3, np.int16), (96, 131, 12, np.int8)]
)
@pytest.mark.parametrize("unit", [True, False])
def test_tables_are_products_and_the_same_alone_and_among_others(
    p: int, d: int, n_bytes: int, dtype: type, unit: bool
) -> None:
    mean, axes, codebooks, offsets = parts(p, d, n_bytes)
    origin = np.full(d, 0.25, np.float32)
    made = QueryTables(origin, mean, axes, codebooks, offsets, factor=-2, unit=unit)
    assert made.codewords.dtype == dtype
    queries = np.random.default_rng(1).normal(size=(21, d)).astype(np.float32)
    queries[5] = 0
    queries[6] *= np.float32(1e18)
    tables, squares = made.of(queries, 2)
    q = queries.astype(np.float64)
    lengths = np.linalg.norm(q, axis=1)
    if unit:
        q /= np.maximum(lengths, 1e-300)[:, None]
    q -= origin
    np.testing.assert_allclose(squares, np.square(q).sum(axis=1), rtol=1e-6)
    expected = -2 * np.einsum("qp,bvp->qbv", q @ axes, codebooks.astype(np.float64)) + offsets
    expected[:, 0] += (-2 * q @ mean)[:, None]
    scale = 1 if unit else np.maximum(lengths, 1)
    if unit:
        assert (tables[5] == 0).all(), "zeros have no direction"
        expected[5] = 0
    errors = np.abs(tables - expected).max(axis=(1, 2)) / scale
    assert errors.max() < (1e-3 if dtype == np.int16 else 5e-3)
    for i, query in enumerate(queries):
        assert (made.of(query[np.newaxis], 1)[0][0] == tables[i]).all()


def test_codewords_too_small_for_a_unit_of_their_own_count_as_zeros() -> None:
    """They are what is left of vectors that a few bytes describe."""
    mean, axes, codebooks, offsets = parts(7, 9, 3)
    codebooks[1] *= np.float32(1e-43)
    made = QueryTables(mean * 0, mean, axes, codebooks, offsets, factor=-1, unit=True)
    tables, _ = made.of(np.ones((1, 9), np.float32), 1)
    assert (tables[0, 1] == offsets[1]).all()


@pytest.mark.parametrize("instruction", ["avx512", "avx2", "none"])
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_products_of_whole_numbers_are_exact(
    dtype: type, instruction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if instructions.FEATURES.get(instruction, "") not in host_features():
        pytest.skip("another processor")
    monkeypatch.setattr(instructions, "FORCED", instruction)
    multiply = njit(product_kernels().products.py_func)
    rng = np.random.default_rng(0)
    for n_outputs, m in ((1, 1), (40, 7), (96, 300)):
        weights = rng.integers(-127, 128, (n_outputs, m))
        made = blocks(weights, dtype)
        queries = np.zeros((5, 2 * made.shape[1]), np.int16)
        queries[:, :m] = rng.integers(-5000, 5001, (5, m))
        sums = np.empty((5, -(-n_outputs // 32) * 32), np.int32)
        multiply(made, queries, sums)
        assert (sums[:, :n_outputs] == queries[:, :m].astype(int) @ weights.T).all()
        assert (sums[:, n_outputs:] == 0).all()


def host_features() -> str:
    from llvmlite import binding

    return str(binding.get_host_cpu_features().flatten())
