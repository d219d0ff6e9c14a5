from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from sigah import ITQ, StochasticGenerativeHashing
from sigah.codes import unpack
from sigah.hashers.stochastic_generative import (
    description_length,
    moments,
    stochastic_neuron,
)
from sigah.rows.blocks import Rows

torch = pytest.importorskip("torch")


def test_neurons_fire_with_the_probability_of_the_sigmoid() -> None:
    logits = torch.linspace(-3, 3, 7).repeat(20000, 1)
    fired = stochastic_neuron(
        logits, torch.rand(logits.shape, generator=torch.Generator().manual_seed(0))
    )
    assert set(fired.unique().tolist()) <= {0.0, 1.0}
    np.testing.assert_allclose(fired.mean(0), expit(np.linspace(-3, 3, 7)), atol=0.015)


def test_neurons_at_one_half_are_signs() -> None:
    logits = torch.tensor([-2.0, -0.1, 0.1, 5.0])
    assert stochastic_neuron(logits, 0.5).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_gradients_are_those_of_the_closed_form(alpha: float) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(5, 7, generator=g)
    u = torch.randn(5, 4, generator=g, requires_grad=True)
    U = torch.randn(4, 7, generator=g, requires_grad=True)
    s, t = torch.rand(7, generator=g), torch.rand(7, generator=g)
    h = stochastic_neuron(u, torch.rand(5, 4, generator=g))
    description_length(x, u, h, U, s, t, alpha=alpha).backward()
    logits, bits = u.detach().numpy().astype(float), h.detach().numpy().astype(float)
    weights, scale = U.detach().numpy().astype(float), s.numpy().astype(float)
    rest = (bits @ weights * scale + t.numpy()) - x.numpy()
    p = expit(logits)
    # dL/du = alpha (p - h) + p (1 - p) (dL_rec/dh - alpha u)
    through_bits = (rest * scale) @ weights.T - alpha * logits
    np.testing.assert_allclose(u.grad, alpha * (p - bits) + p * (1 - p) * through_bits, atol=1e-4)
    np.testing.assert_allclose(U.grad, bits.T @ (rest * scale), atol=1e-4)


def test_least_squares_is_a_stationary_point_of_the_decoder() -> None:
    rng = np.random.default_rng(0)
    x, h = rng.random((50, 6)), (rng.random((50, 3)) < 0.5).astype(float)
    solution = np.linalg.lstsq(np.hstack([h, np.ones((50, 1))]), x, rcond=None)[0]
    U = torch.tensor(solution[:-1], requires_grad=True)
    t = torch.tensor(solution[-1], requires_grad=True)
    bits, logits = torch.tensor(h), torch.zeros(50, 3, dtype=torch.float64)
    ones = torch.ones(6, dtype=torch.float64)
    description_length(torch.tensor(x), logits, bits, U, ones, t, alpha=0.0).backward()
    assert U.grad.abs().max() < 1e-8
    assert t.grad.abs().max() < 1e-8


def test_moments(blobs: Any) -> None:
    mean, variance = moments(Rows(blobs))
    np.testing.assert_allclose(mean, blobs.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(variance, blobs.var(axis=0), rtol=1e-4)


def test_training_shortens_the_description(blobs: Any) -> None:
    hasher = StochasticGenerativeHashing(16, n_steps=500, random_state=0).fit(blobs)
    assert len(hasher.loss_) == 5
    assert hasher.loss_[-1] < 0.7 * hasher.loss_[0]


@pytest.mark.parametrize("stochastic", [True, False])
def test_it_rebuilds_better_than_itq(blobs: Any, stochastic: bool) -> None:
    # its decoder may be any matrix; ITQ's is a rotation
    hasher = StochasticGenerativeHashing(
        16, n_steps=1000, stochastic=stochastic, random_state=0
    ).fit(blobs)
    assert hasher.score(blobs) > ITQ(16, random_state=0).fit(blobs).score(blobs)


def test_bits_are_likely_or_not(blobs: Any) -> None:
    hasher = StochasticGenerativeHashing(16, n_steps=50, random_state=0).fit(blobs)
    np.testing.assert_array_equal(
        unpack(hasher.transform(blobs)), expit(hasher.project(blobs)) >= 0.5
    )


def test_translation_changes_nothing(blobs: Any) -> None:
    here = StochasticGenerativeHashing(16, n_steps=100, random_state=0).fit(blobs)
    there = StochasticGenerativeHashing(16, n_steps=100, random_state=0).fit(blobs + 64)
    differ = unpack(here.transform(blobs)) != unpack(there.transform(blobs + 64))
    assert differ.mean() < 0.02


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_steps": 0}, "n_steps must be a whole number"),
        ({"batch_size": 2.5}, "batch_size must be a whole number"),
        ({"alpha": -1}, "alpha must be a number of at least 0"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
    ],
)
def test_impossible_settings_are_named(blobs: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StochasticGenerativeHashing(16, **settings).fit(blobs)
