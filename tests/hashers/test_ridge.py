"""Ridge regression from sums over rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sigah.hashers.ridge import FEW_ROWS, PENALTIES, Moments, best_regression

RNG = np.random.default_rng(0)


def sample(n: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    Z = RNG.normal(size=(n, 30)).astype(np.float32)
    B = np.random.default_rng(1).normal(size=(30, 4))
    return Z, (Z @ B + noise * RNG.normal(size=(n, 4))).astype(np.float32)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_regression_is_scikit_learns(penalty: float) -> None:
    Z, Y = sample(200, 1.0)
    weight = np.square(Z).sum() / len(Z)
    oracle = Ridge(penalty * weight, fit_intercept=False).fit(Z.astype(float), Y.astype(float))
    moments = Moments.of(Z[:50], Y[:50]) + Moments.of(Z[50:], Y[50:])
    np.testing.assert_allclose(moments.regression(penalty), oracle.coef_.T, atol=1e-5)


def test_error_is_the_squared_error_but_for_a_constant() -> None:
    Z, Y = sample(100, 1.0)
    moments = Moments.of(Z, Y)
    for B in (np.zeros((30, 4)), RNG.normal(size=(30, 4))):
        expected = np.square(Y - Z @ B).sum() - np.square(Y).sum()
        assert moments.error(B) == pytest.approx(expected, rel=1e-4, abs=1e-2)


@pytest.mark.parametrize(("n", "noise", "best"), [(2000, 0.01, PENALTIES[-1]), (40, 9.0, 1.0)])
def test_noise_asks_for_a_penalty(n: int, noise: float, best: float) -> None:
    rest, held_out = Moments.of(*sample(n, noise)), Moments.of(*sample(n // 4, noise))
    everything = rest + held_out
    stronger = 1 + 2 * min(1, FEW_ROWS / everything.n_rows)
    expected = everything.regression(best * stronger)
    np.testing.assert_array_equal(best_regression(rest, held_out), expected)


def test_without_rows_to_judge_by_the_penalty_is_the_strongest() -> None:
    rest = Moments.of(*sample(3, 1.0))
    nothing = Moments(np.zeros((30, 30)), np.zeros((30, 4)), 0)
    np.testing.assert_array_equal(
        best_regression(rest, nothing), rest.regression(3 * max(PENALTIES))
    )


def test_rows_without_variance_have_coefficients_of_zero() -> None:
    nothing = Moments(np.zeros((30, 30)), np.zeros((30, 4)), 5)
    np.testing.assert_array_equal(best_regression(nothing, nothing), 0)
