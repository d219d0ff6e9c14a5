"""Losses and neurons of the heads against their formulas, written out in NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.typing import NDArray

from sigah.hashers.deep.bi_half import bi_half, distance_to_half
from sigah.hashers.deep.cib_hash import bernoulli_divergence, contrastive_loss
from sigah.hashers.deep.crovca import DISTORTION, alignment, coding_rate
from sigah.hashers.deep.greedy_hash import cubic_penalty
from sigah.hashers.deep.pairs import (
    halves,
    pair_cosines,
    passed_through,
    similarity_loss,
    straight_through_sign,
)
from sigah.hashers.deep.sdc import beta_quantiles, calibration_loss, quantization_loss

Array = NDArray[np.float64]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def tensor(array: Array, *, learned: bool = False) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).requires_grad_(learned)


def cosines(a: Array, b: Array) -> Array:
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def sigmoid(u: Array) -> Array:
    return 1 / (1 + np.exp(-u))


# ------------------------------------------------------------------ neurons


def test_signs_are_exact_and_pass_gradients_unchanged(rng: Any) -> None:
    u = torch.from_numpy(rng.normal(size=(50, 8)).astype(np.float32)).requires_grad_()
    with torch.no_grad():
        u[0] = 0
    b = straight_through_sign(u)
    np.testing.assert_array_equal(b.detach(), np.where(u.detach() >= 0, 1.0, -1.0))
    weights = torch.from_numpy(rng.normal(size=(50, 8)).astype(np.float32))
    (b * weights).sum().backward()
    np.testing.assert_array_equal(u.grad, weights)


def test_what_is_passed_through_keeps_every_digit() -> None:
    values, source = torch.tensor([0.1, 1e-9, 3e7]), torch.tensor([1e8, -7.3, 1e-3])
    np.testing.assert_array_equal(passed_through(values, source), values)


@pytest.mark.parametrize("n", [4, 10, 32])
def test_every_bit_of_bi_half_is_exactly_half(rng: Any, n: int) -> None:
    u = rng.normal(size=(n, 16)) ** 3 + 5  # far from balanced around 0
    b = bi_half(tensor(u)).numpy()
    assert set(np.unique(b)) == {-1.0, 1.0}
    np.testing.assert_array_equal(b.sum(axis=0), 0)
    for bits, logits in zip(b.T, u.T, strict=True):
        assert logits[bits > 0].min() >= logits[bits < 0].max()


def test_bi_half_of_equal_logits_is_balanced_too() -> None:
    b = bi_half(torch.zeros(6, 3))
    np.testing.assert_array_equal(b.sum(dim=0), 0)
    np.testing.assert_array_equal(bi_half(torch.zeros(7, 3)).sum(dim=0), -1)  # no half of seven


def test_bi_half_is_the_nearest_balanced_code(rng: Any) -> None:
    """Optimal transport, by brute force over all balanced columns."""
    u = rng.normal(size=(6, 4))
    columns = [c for c in itertools.product((-1.0, 1.0), repeat=6) if sum(c) == 0]
    for bits, logits in zip(bi_half(tensor(u)).numpy().T, u.T, strict=True):
        best = min(np.square(logits - c).sum() for c in columns)
        assert np.square(logits - bits).sum() == pytest.approx(best)


def test_the_gradient_of_bi_half_is_that_of_the_paper(rng: Any) -> None:
    """Eq. (8): g + gamma (U - B) / size, for a gradient g of the codes."""
    U, g, gamma = rng.normal(size=(8, 6)), rng.normal(size=(8, 6)), 6.0
    u = tensor(U, learned=True)
    b = bi_half(u)
    ((b * tensor(g)).sum() + gamma * distance_to_half(u, b)).backward()
    np.testing.assert_allclose(u.grad, g + gamma * (U - b.detach().numpy()) / U.size)


# -------------------------------------------------------------- GreedyHash


def test_pairs_are_rows_of_the_two_halves(rng: Any) -> None:
    x = rng.normal(size=(9, 5))  # the last row has no partner
    first, second = halves(tensor(x))
    np.testing.assert_array_equal(first, x[:4])
    np.testing.assert_array_equal(second, x[4:8])
    np.testing.assert_allclose(pair_cosines(tensor(x)), cosines(x[:4], x[4:8]))


def test_losses_of_greedy_hash(rng: Any) -> None:
    x, u = rng.normal(size=(8, 5)), rng.normal(size=(8, 16))
    b = np.where(u >= 0, 1.0, -1.0)
    expected = np.mean((cosines(b[:4], b[4:]) - cosines(x[:4], x[4:])) ** 2)
    assert float(similarity_loss(tensor(x), tensor(b))) == pytest.approx(expected)
    penalty = np.mean(np.abs(np.abs(u) - 1) ** 3)
    assert float(cubic_penalty(tensor(u))) == pytest.approx(penalty)


def test_the_gradient_of_greedy_hash_is_the_closed_form(rng: Any) -> None:
    """Straight-through: dL/du = dL/db, with cosines of r-bit codes b_i . b_j / r."""
    x, u = rng.normal(size=(8, 5)), tensor(rng.normal(size=(8, 16)), learned=True)
    similarity_loss(tensor(x), straight_through_sign(u)).backward()
    b = np.where(u.detach().numpy() >= 0, 1.0, -1.0)
    first, second, r = b[:4], b[4:], 16
    c = (first * second).sum(axis=1, keepdims=True) / r
    error = 2 / 4 * (c - cosines(x[:4], x[4:])[:, None])
    # the gradient of a cosine: (b_j - c b_i) / r, codes having length sqrt(r)
    expected = np.concatenate([error * (second - c * first), error * (first - c * second)]) / r
    np.testing.assert_allclose(u.grad, expected, atol=1e-12)


def test_a_pair_of_zeros_has_cosine_zero_and_finite_gradients() -> None:
    x = torch.zeros(4, 5, requires_grad=True)
    pair_cosines(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


# ------------------------------------------------------------------ CIBHash


def test_the_contrastive_loss(rng: Any) -> None:
    a, b = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    both, losses = np.concatenate([a, b]), []
    for i in range(10):
        scores = [cosines(both[i], both[j]) / 0.3 for j in range(10)]
        others = [np.exp(score) for j, score in enumerate(scores) if j != i]
        losses.append(np.log(sum(others)) - scores[(i + 5) % 10])
    assert float(contrastive_loss(tensor(a), tensor(b), 0.3)) == pytest.approx(np.mean(losses))


def test_the_contrastive_loss_of_equal_codes_is_the_logarithm_of_the_others() -> None:
    same = torch.ones(4, 8)
    assert float(contrastive_loss(same, same, 0.3)) == pytest.approx(np.log(7))


def test_the_divergence_of_bits(rng: Any) -> None:
    p, q = sigmoid(rng.normal(size=(6, 8))), sigmoid(rng.normal(size=(6, 8)))
    expected = np.mean(
        [
            sum(
                scipy.stats.entropy([pi, 1 - pi], [qi, 1 - qi])
                for pi, qi in zip(*rows, strict=True)
            )
            for rows in zip(p, q, strict=True)
        ]
    )
    assert float(bernoulli_divergence(tensor(p), tensor(q))) == pytest.approx(expected)
    assert float(bernoulli_divergence(tensor(p), tensor(p))) == 0
    sure = torch.tensor([[0.0, 1.0]])
    assert torch.isfinite(bernoulli_divergence(sure, 1 - sure))


# ---------------------------------------------------------------------- SDC


def test_targets_are_quantiles_of_beta() -> None:
    found = beta_quantiles(32, 5.0)
    expected = 2 * scipy.stats.beta.ppf((2 * np.arange(1, 33) - 1) / 64, 5, 5) - 1
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found, -found[::-1], atol=1e-6)
    assert (np.diff(found) > 0).all()


def test_pairs_get_the_target_of_their_rank(rng: Any) -> None:
    x, v = rng.normal(size=(12, 5)), rng.normal(size=(12, 8))
    targets = np.sort(rng.uniform(-1, 1, size=6))
    ranks = scipy.stats.rankdata(cosines(x[:6], x[6:])).astype(int) - 1
    expected = np.mean(np.abs(cosines(v[:6], v[6:]) - targets[ranks]))
    loss = calibration_loss(tensor(x), tensor(v), tensor(targets))
    assert float(loss) == pytest.approx(expected)


def test_calibration_sees_only_the_order_of_similarities(rng: Any) -> None:
    """Pairs at angles a and 3 a, in the plane: the same ranks, so the same loss."""
    angles = rng.permutation(np.linspace(0.1, 1.0, 6))
    v, targets = tensor(rng.normal(size=(12, 8))), tensor(beta_quantiles(6, 5.0))
    first = np.tile([1.0, 0.0], (6, 1))
    losses = []
    for factor in (1, 3):
        second = np.stack([np.cos(factor * angles), np.sin(factor * angles)], axis=1)
        losses.append(float(calibration_loss(tensor(np.concatenate([first, second])), v, targets)))
    assert losses[0] == losses[1]


def test_the_quantization_of_sdc(rng: Any) -> None:
    v = rng.normal(size=(7, 8))
    expected = np.mean(1 - cosines(v, np.sign(v)))
    assert float(quantization_loss(tensor(v))) == pytest.approx(expected)
    assert float(quantization_loss(tensor(3 * np.sign(v)))) == pytest.approx(0)


# ------------------------------------------------------------------- CroVCA


def test_alignment_is_cross_entropy_with_the_bits_of_the_other_view(rng: Any) -> None:
    u, v = rng.normal(size=(6, 8)), rng.normal(size=(6, 8))

    def entropy(logits: Array, bits: Array) -> float:
        p = sigmoid(logits)
        return float(-np.mean(bits * np.log(p) + (1 - bits) * np.log(1 - p)))

    expected = (entropy(u, v > 0) + entropy(v, u > 0)) / 2
    assert float(alignment(tensor(u), tensor(v))) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(32, 8), (8, 32)])
def test_the_coding_rate_is_a_log_determinant(rng: Any, shape: tuple[int, int]) -> None:
    u = rng.normal(size=shape)
    B, r = shape
    Z = u / np.linalg.norm(u, axis=1, keepdims=True)
    _, logdet = np.linalg.slogdet(np.eye(r) + r / (DISTORTION * B) * Z.T @ Z)
    expected = logdet / 2 * (r + B) / (r * B)
    assert float(coding_rate(tensor(u))) == pytest.approx(expected)


def test_the_coding_rate_is_largest_for_orthogonal_directions(rng: Any) -> None:
    spread = np.kron(np.ones((4, 1)), np.eye(8))
    rates = [float(coding_rate(tensor(u))) for u in (spread, rng.normal(size=(32, 8)))]
    rates.append(float(coding_rate(tensor(np.ones((32, 8))))))
    assert rates[0] > rates[1] > rates[2] > 0
