from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from sigah import ITQ
from sigah.codes import signs
from sigah.hashers.itq import rotate_to_codes


def test_the_quantisation_loss_never_increases(blobs: Any) -> None:
    losses = ITQ(16, random_state=0).fit(blobs).loss_
    assert len(losses) == 50
    assert (np.diff(losses) <= 1e-6 * losses[0]).all()
    assert losses[-1] < 0.95 * losses[0]


def test_hash_directions_stay_orthonormal(blobs: Any) -> None:
    W = ITQ(16, random_state=0).fit(blobs).weights_
    np.testing.assert_allclose(W.T @ W, np.eye(16), atol=1e-5)


def test_a_round_solves_the_procrustes_problem_as_scipy_does() -> None:
    V = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    R0 = ortho_group.rvs(16, random_state=0)
    B = np.where(V @ R0.astype(np.float32) >= 0, 1.0, -1.0)
    R, loss = rotate_to_codes(V, R0)
    np.testing.assert_allclose(R, orthogonal_procrustes(V.astype(float), B)[0], atol=1e-5)
    assert loss == pytest.approx(np.square(B - V @ R0).sum() / 300, rel=1e-5)


def test_rotated_hypercube_corners_are_a_fixed_point() -> None:
    rng = np.random.default_rng(0)
    corners = rng.choice([-1.0, 1.0], size=(500, 8))
    R0 = ortho_group.rvs(8, random_state=0)
    V = (corners @ R0.T).astype(np.float32)
    R, loss = rotate_to_codes(V, R0)
    assert loss == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(R, R0, atol=1e-6)


def test_fitting_rotated_corners_finds_them() -> None:
    rng = np.random.default_rng(1)
    corners = rng.choice([-1.0, 1.0], size=(4000, 8))
    X = corners @ ortho_group.rvs(8, random_state=1).T
    # the alternation has local optima, and some starts end in one
    itq = min((ITQ(8, random_state=seed).fit(X) for seed in range(10)), key=lambda m: m.loss_[-1])
    # the corners come back up to order and sign of the bits: the code distances are those of X
    found = signs(itq.transform(X[:50]))
    np.testing.assert_array_equal(found @ found.T, np.round(corners[:50] @ corners[:50].T))
    assert itq.score(X) == pytest.approx(0, abs=0.01)


def test_the_rotation_beats_plain_pca(blobs: Any) -> None:
    plain, rotated = (ITQ(16, n_iter=n, random_state=0).fit(blobs) for n in (1, 50))
    assert rotated.score(blobs) > plain.score(blobs)


def test_translation_changes_nothing(blobs: Any) -> None:
    itq, moved = ITQ(16, random_state=0).fit(blobs), ITQ(16, random_state=0).fit(blobs + 64)
    differ = np.unpackbits(itq.transform(blobs) ^ moved.transform(blobs + 64)).mean()
    assert differ < 0.01
