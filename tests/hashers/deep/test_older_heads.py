"""Losses of TBH, Deep Hashing, DeepBit and DBD-MQ against their formulas, written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from sigah.hashers.deep import deep_bit, deep_hashing, multi_quantization, twin_bottleneck


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_graph_of_tbh_is_that_of_hamming_distances(rng: Any) -> None:
    b = rng.integers(0, 2, size=(9, 16)).astype(float)
    A = twin_bottleneck.code_graph(torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(A, (1 - cdist(b, b, "hamming")) ** 1.4)
    np.testing.assert_array_equal(np.diag(A), 1)
    D = np.diag(A.sum(axis=1) ** -0.5)
    found = twin_bottleneck.normalized_adjacency(torch.from_numpy(A)).numpy()
    np.testing.assert_allclose(found, D @ A @ D)
    assert np.abs(np.linalg.eigvalsh(found)).max() == pytest.approx(1)


def test_opposite_codes_have_finite_gradients() -> None:
    b = torch.tensor([[0.0] * 8, [1.0] * 8], requires_grad=True)
    twin_bottleneck.code_graph(b).sum().backward()
    assert b.grad is not None
    assert torch.isfinite(b.grad).all()


def test_a_discriminator_is_charged_cross_entropy(rng: Any) -> None:
    real, made = rng.normal(size=(6, 1)), rng.normal(size=(6, 1))
    expected = np.mean(np.log(1 + np.exp(-real))) + np.mean(np.log(1 + np.exp(made)))
    found = twin_bottleneck.realness(torch.from_numpy(real), torch.from_numpy(made))
    assert float(found) == pytest.approx(expected)


def test_terms_of_deep_hashing(rng: Any) -> None:
    h = np.tanh(rng.normal(size=(10, 8)))
    expected = 0.5 * np.square(np.sign(h) - h).sum() / 10
    assert float(deep_hashing.quantization(torch.from_numpy(h))) == pytest.approx(expected)
    centred = h - h.mean(axis=0)
    variance = deep_hashing.variance(torch.from_numpy(h))
    assert float(variance) == pytest.approx(np.trace(centred @ centred.T) / 20)
    assert float(deep_hashing.variance(torch.ones(10, 8))) == 0, "always 1 is no variance"


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_orthogonal_weights_cost_nothing(rng: Any, shape: tuple[int, int]) -> None:
    q, _ = np.linalg.qr(rng.normal(size=(9, 5)))
    W = torch.from_numpy(q if shape == (9, 5) else q.T.copy())
    assert float(deep_hashing.orthogonality([W])) == pytest.approx(0, abs=1e-12)
    assert float(deep_hashing.orthogonality([2 * W])) == pytest.approx(0.5 * 5 * 9)


def test_the_widths_of_the_paper() -> None:
    assert deep_hashing.layer_widths(16) == (60, 30, 16)
    assert deep_hashing.layer_widths(32) == (80, 50, 32)
    assert deep_hashing.layer_widths(64) == (100, 80, 64)


def test_losses_of_deep_bit_are_true_gradients(rng: Any) -> None:
    """Not one number copied to every unit, as in the authors' layers."""
    values = np.abs(rng.normal(size=(6, 8)))
    b = (values > 0.5).astype(float)
    y = torch.from_numpy(values).requires_grad_()
    loss = deep_bit.quantization(y)
    assert float(loss.detach()) == pytest.approx(0.5 * np.square(b - values).sum() / 6)
    loss.backward()
    np.testing.assert_allclose(y.grad, (values - b) / 6)
    y = torch.from_numpy(values).requires_grad_()
    loss = deep_bit.balance(y)
    assert float(loss.detach()) == pytest.approx(0.5 * np.square(b.mean(axis=0) - 0.5).sum())
    loss.backward()  # the threshold passes gradients unchanged
    np.testing.assert_allclose(y.grad, np.tile((b.mean(axis=0) - 0.5) / 6, (6, 1)))


def test_an_element_counts_under_its_better_auto_encoder(rng: Any) -> None:
    u, coders = rng.uniform(-1, 1, size=(7, 4)), rng.normal(size=(2, 3, 4))
    errors = [np.square(e + w * np.tanh(w * u + v) - u) for e, w, v in coders]
    found = multi_quantization.assigned_error(torch.from_numpy(u), torch.from_numpy(coders))
    assert float(found) == pytest.approx(np.minimum(*errors).mean())


def test_constant_auto_encoders_are_k_means() -> None:
    """With w = 0 the least error is that of two centres."""
    u = torch.tensor([[-1.0], [-0.5], [0.5], [1.0]])
    coders = torch.zeros(2, 3, 1)
    coders[:, 0, 0] = torch.tensor([-0.75, 0.75])
    assert float(multi_quantization.assigned_error(u, coders)) == pytest.approx(1 / 16)
