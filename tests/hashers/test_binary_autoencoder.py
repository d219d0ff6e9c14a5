from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.svm import LinearSVC

from sigah import ITQ
from sigah.codes import signs
from sigah.hashers.binary_autoencoder import (
    BinaryAutoencoder,
    code_step,
    fit_decoder,
    fit_encoders,
    neighbour_precision,
    principal_rows,
)
from sigah.rows.blocks import Rows


def random_signs(rng: Any, *shape: int) -> Any:
    return rng.choice(np.array([-1, 1], np.float32), size=shape)


def penalised_errors(X: Any, V: Any, Z: Any, F: Any, offset: Any, mu: float) -> Any:
    """The objective of each row, with the codes as 0 and 1, straight from its definition."""
    bits_differ = np.square((Z - V) / 2).sum(axis=-1)
    return np.square(X - (Z @ F + offset)).sum(axis=-1) + mu * bits_differ


def problem(seed: int, n: int, k: int, n_bits: int) -> tuple[Any, Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, k)).astype(np.float32)
    V, Z = random_signs(rng, n, n_bits), random_signs(rng, n, n_bits)
    return X, V, Z, rng.normal(size=(n_bits, k)), rng.normal(size=k)


def test_principal_rows_are_a_rotation_of_the_data(blobs: Any) -> None:
    X, variances, mean, axes = principal_rows(Rows(blobs))
    np.testing.assert_allclose(mean + X @ axes, blobs, atol=1e-4)
    np.testing.assert_allclose(X.T @ X / len(X), np.diag(variances), atol=1e-6)
    assert variances.sum() == pytest.approx(1)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("C", [0.01, 100])
def test_encoders_are_the_support_vector_machines_of_liblinear(
    blobs: Any, noise: float, C: float
) -> None:
    rng = np.random.default_rng(0)
    X, variances, _, _ = principal_rows(Rows(blobs))
    true = rng.normal(size=(X.shape[1], 5)).astype(np.float32)
    Z = np.where(X @ true + 0.1 >= 0, np.float32(1), np.float32(-1))
    Z[rng.random(Z.shape) < noise] *= -1

    def objective(W: Any, bias: Any, j: int) -> float:
        hinge = np.maximum(0, 1 - Z[:, j] * (X @ W.astype(float) + bias))
        return float(0.5 * W @ W + C * np.square(hinge).sum())

    start = np.zeros_like(true), np.zeros(5, np.float32)
    W, bias = fit_encoders(X, variances, Z, *start, C=C, n_steps=3000, tol=1e-5)
    for j in range(5):
        # a large intercept feature makes the bias free, as it is here
        svm = LinearSVC(C=C, dual=False, tol=1e-8, intercept_scaling=100, max_iter=10000)
        svm.fit(X.astype(float), Z[:, j])
        best = objective(svm.coef_[0], svm.intercept_[0], j)
        assert objective(W[:, j], bias[j], j) <= best * 1.002


def test_each_encoder_is_independent_of_the_other_bits(blobs: Any) -> None:
    X, variances, _, _ = principal_rows(Rows(blobs))
    Z = random_signs(np.random.default_rng(0), len(X), 6)
    zero = np.zeros((X.shape[1], 6), np.float32)
    options = {"C": 100.0, "n_steps": 15}
    W, bias = fit_encoders(X, variances, Z, zero, zero[0], **options)
    alone, its_bias = fit_encoders(X, variances, Z[:, 2:3], zero[:, :1], zero[0, :1], **options)
    np.testing.assert_allclose(W[:, 2], alone[:, 0], rtol=1e-3, atol=1e-4)
    assert bias[2] == pytest.approx(its_bias[0], abs=1e-4)


def test_a_constant_bit_is_encoded_by_its_bias(blobs: Any) -> None:
    X, variances, _, _ = principal_rows(Rows(blobs))
    zero = np.zeros((X.shape[1], 1), np.float32)
    always = np.ones((len(X), 1), np.float32)
    W, bias = fit_encoders(X, variances, always, zero, zero[0], C=100.0, n_steps=50)
    assert ((X @ W + bias) > 0.9).all()


def test_the_decoder_is_least_squares(blobs: Any) -> None:
    X = blobs - blobs.mean(axis=0)
    B = random_signs(np.random.default_rng(0), len(X), 8)
    F, offset, error = fit_decoder(X, B)
    reference = LinearRegression().fit(B.astype(float), X.astype(float))
    np.testing.assert_allclose(F, reference.coef_.T, atol=1e-4)
    np.testing.assert_allclose(offset, reference.intercept_, atol=1e-4)
    residuals = np.square(X - reference.predict(B)).sum(axis=1).mean()
    assert error == pytest.approx(residuals, rel=1e-4)


def test_repeated_and_constant_bits_do_not_disturb_the_decoder(blobs: Any) -> None:
    X = blobs - blobs.mean(axis=0)
    B = random_signs(np.random.default_rng(0), len(X), 8)
    degenerate = np.hstack([B, B[:, :2], -B[:, :1], np.ones((len(X), 1), np.float32)])
    F, offset, error = fit_decoder(X, degenerate)
    plain, plain_offset, plain_error = fit_decoder(X, B)
    np.testing.assert_allclose(degenerate @ F + offset, B @ plain + plain_offset, atol=1e-3)
    assert error == pytest.approx(plain_error, rel=1e-6)


@pytest.mark.parametrize("n_bits", [4, 8])
@pytest.mark.parametrize("mu", [0.0, 0.3, 20.0])
def test_short_codes_are_the_best_of_all(n_bits: int, mu: float) -> None:
    X, V, Z, F, offset = problem(0, 50, 6, n_bits)
    new = code_step(X, V, Z, F, offset, mu)
    every = np.array(list(product([-1.0, 1.0], repeat=n_bits)))[:, np.newaxis]
    best = penalised_errors(X, V, every, F, offset, mu).min(axis=0)
    np.testing.assert_allclose(penalised_errors(X, V, new, F, offset, mu), best, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([3, 8, 16, 24, 40]),
    st.sampled_from([1, 7, 20]),
    st.sampled_from([0.0, 0.5, 5.0]),
)
def test_no_row_gets_worse_and_no_single_bit_would_help(
    seed: int, n_bits: int, k: int, mu: float
) -> None:
    X, V, Z, F, offset = problem(seed, 60, k, n_bits)
    new = code_step(X, V, Z, F, offset, mu)
    assert np.isin(new, (-1, 1)).all()
    after = penalised_errors(X, V, new, F, offset, mu)
    slack = 1e-3 * np.abs(F).sum() ** 2 / n_bits
    assert (after <= penalised_errors(X, V, Z, F, offset, mu) + slack).all()
    assert (after <= penalised_errors(X, V, V, F, offset, mu) + slack).all()
    for j in range(n_bits):
        flipped = new.copy()
        flipped[:, j] *= -1
        assert (after <= penalised_errors(X, V, flipped, F, offset, mu) + slack).all()


def test_long_codes_come_close_to_the_best_of_all() -> None:
    X, V, Z, F, offset = problem(1, 40, 12, 16)
    new = code_step(X, V, Z, F, offset, 0.5)
    every = np.array(list(product([-1.0, 1.0], repeat=16)), np.float32)
    best = [penalised_errors(x, v, every, F, offset, 0.5).min() for x, v in zip(X, V, strict=True)]
    found = penalised_errors(X, V, new, F, offset, 0.5).mean()
    start = penalised_errors(X, V, Z, F, offset, 0.5).mean()
    assert found - np.mean(best) < 0.1 * (start - np.mean(best))


@pytest.mark.parametrize("n_bits", [8, 24])
def test_a_large_penalty_ties_the_codes_to_the_encoder(n_bits: int) -> None:
    X, V, Z, F, offset = problem(2, 60, 10, n_bits)
    np.testing.assert_array_equal(code_step(X, V, Z, F, offset, 1e4), V)


@pytest.mark.parametrize("n_bits", [8, 24])
def test_codes_that_rebuild_exactly_stay(n_bits: int) -> None:
    rng = np.random.default_rng(3)
    F, offset = rng.normal(size=(n_bits, 30)), rng.normal(size=30)
    Z = random_signs(rng, 200, n_bits)
    X = (Z @ F + offset).astype(np.float32)
    np.testing.assert_array_equal(code_step(X, Z, Z, F, offset, 0.1), Z)
    assert fit_decoder(X - X.mean(axis=0), Z)[2] == pytest.approx(0, abs=1e-3)


def test_precision_counts_ties_in_an_arbitrary_order() -> None:
    # distances from row 0: 0, 1, 1, 2, so a tie for the second place
    B = np.array([[1, 1], [1, 1], [-1, 1], [1, -1], [-1, -1]], np.float32)
    queries = np.array([0])
    assert neighbour_precision(B, queries, np.array([[1, 2]])) == 0.75
    assert neighbour_precision(B, queries, np.array([[1, 4]])) == 0.5
    assert neighbour_precision(B, queries, np.array([[1, 2, 3]])) == 1.0
    assert neighbour_precision(B, queries, np.array([[4]])) == 0.0


def test_codes_and_decoder_in_turn_never_raise_the_penalised_error(blobs: Any) -> None:
    X, _, _, _ = principal_rows(Rows(blobs))
    V = Z = np.where(X[:, :16] >= 0, np.float32(1), np.float32(-1))
    F, offset, _ = fit_decoder(X, Z)
    errors = [penalised_errors(X, V, Z, F, offset, 0.01).mean()]
    for _ in range(5):
        Z = code_step(X, V, Z, F, offset, 0.01)
        errors.append(penalised_errors(X, V, Z, F, offset, 0.01).mean())
        F, offset, _ = fit_decoder(X, Z)
        errors.append(penalised_errors(X, V, Z, F, offset, 0.01).mean())
    assert (np.diff(errors) <= 1e-6).all()
    assert errors[-1] < 0.95 * errors[0]


@pytest.mark.parametrize("n_bits", [8, 16])
def test_training_lowers_the_error_of_its_start(blobs: Any, n_bits: int) -> None:
    ba = BinaryAutoencoder(n_bits, validate=False, random_state=0).fit(blobs)
    assert ba.training_["error"] < 0.99 * ba.training_["error_itq"]
    assert ba.score(blobs) > 1.02 * ITQ(n_bits, random_state=0).fit(blobs).score(blobs)


def test_itq_comes_back_when_every_penalty_lowers_the_precision(blobs: Any) -> None:
    ba = BinaryAutoencoder(24, random_state=0).fit(blobs)
    assert ba.history_
    assert ba.training_["accepted"] == 0
    itq = ITQ(24, random_state=0).fit(blobs)
    assert np.unpackbits(ba.transform(blobs) ^ itq.transform(blobs)).mean() < 1e-3


def test_the_history_tells_what_was_kept(blobs: Any) -> None:
    ba = BinaryAutoencoder(32, random_state=0).fit(blobs)
    best = ba.training_["precision_itq"]
    for entry in ba.history_:
        assert entry["accepted"] == (entry["precision"] >= best)
        best = max(best, entry["precision"])
    kept = [entry for entry in ba.history_ if entry["accepted"]]
    assert kept
    assert ba.training_["precision"] == kept[-1]["precision"] == best
    variance = blobs.var(axis=0).sum()
    assert ba.training_["error"] == pytest.approx(kept[-1]["error"] * variance, rel=1e-3)
    assert -ba.score(blobs) == pytest.approx(ba.training_["error"], rel=0.01)


def test_penalties_grow_until_the_codes_agree_with_the_encoder(blobs: Any) -> None:
    ba = BinaryAutoencoder(16, n_iter=60, validate=False, random_state=0).fit(blobs)
    assert len(ba.history_) < 60
    np.testing.assert_allclose(
        [entry["mu"] for entry in ba.history_], 0.1 * 1.2 ** np.arange(len(ba.history_))
    )
    assert ba.history_[-1]["differing"] < 0.1 * ba.history_[0]["differing"]


def test_the_decoder_is_the_best_linear_one_for_the_final_codes(blobs: Any) -> None:
    ba = BinaryAutoencoder(16, random_state=0).fit(blobs)
    codes = ba.transform(blobs)
    reference = LinearRegression().fit(signs(codes), blobs).predict(signs(codes))
    np.testing.assert_allclose(ba.reconstruct(codes), reference, atol=0.02)


def test_corners_of_a_cube_are_rebuilt_exactly() -> None:
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(30, 30)))[0][:8]
    X = 5 + random_signs(rng, 3000, 8) @ directions
    fits = [BinaryAutoencoder(8, random_state=seed).fit(X) for seed in range(5)]
    # local optima remain, as in ITQ
    assert max(ba.score(X) for ba in fits) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("n_bits", [8, 16])
def test_translation_changes_little(blobs: Any, n_bits: int) -> None:
    ba = BinaryAutoencoder(n_bits, random_state=0).fit(blobs)
    moved = BinaryAutoencoder(n_bits, random_state=0).fit(blobs + 64)
    differ = np.unpackbits(ba.transform(blobs) ^ moved.transform(blobs + 64)).mean()
    assert differ < 0.05


def test_more_bits_rebuild_better(blobs: Any) -> None:
    fits = [BinaryAutoencoder(r, n_iter=5, random_state=0).fit(blobs) for r in (8, 16, 24, 40)]
    scores = [ba.score(blobs) for ba in fits]
    assert (np.diff(scores) > 0).all()


def test_equal_rows_get_one_code() -> None:
    X = np.full((20, 5), 3.5, np.float32)
    ba = BinaryAutoencoder(16, random_state=0).fit(X)
    np.testing.assert_allclose(ba.reconstruct(ba.transform(X)), X, rtol=1e-5)


@pytest.mark.parametrize(
    "parameters",
    [{"mu": -1}, {"growth": 0.5}, {"n_iter": 0}, {"n_iter": 2.5}, {"C": 0}, {"C": np.nan}],
)
def test_bad_parameters_are_named(blobs: Any, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(parameters))} must be"):
        BinaryAutoencoder(16, **parameters).fit(blobs)
