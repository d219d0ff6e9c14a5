from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from sigah import ITQ, PCARotation
from sigah.codes import signs
from sigah.hashers.itq import principal_directions, random_rotation


def test_directions_are_the_principal_subspace_rotated(blobs: Any) -> None:
    W = PCARotation(16, random_state=0).fit(blobs).weights_.astype(float)
    np.testing.assert_allclose(W.T @ W, np.eye(16), atol=1e-5)
    P = PCA(16, svd_solver="full").fit(blobs).components_.T
    np.testing.assert_allclose(W @ W.T, P @ P.T, atol=1e-4)


def test_it_is_where_itq_starts(blobs: Any) -> None:
    centred = blobs - blobs.mean(axis=0, dtype=np.float64)
    P = principal_directions(centred.T @ centred / len(blobs), 16)
    R = random_rotation(16, np.random.RandomState(7))
    scores = PCARotation(16, random_state=7).fit(blobs).project(blobs)
    np.testing.assert_allclose(np.abs(scores), np.abs(centred @ P @ R), atol=1e-2)


def test_itq_improves_on_it(blobs: Any) -> None:
    for seed in range(3):
        start = PCARotation(16, random_state=seed).fit(blobs)
        assert ITQ(16, random_state=seed).fit(blobs).score(blobs) > start.score(blobs)


def test_the_scale_of_the_decoder_is_least_squares(blobs: Any) -> None:
    hasher = PCARotation(16, random_state=0).fit(blobs)
    directions = signs(hasher.transform(blobs)) @ hasher.weights_.T
    centred = blobs - hasher.mean_
    best = (centred * directions).sum() / (directions**2).sum()
    assert hasher.scale_[0] == pytest.approx(best, rel=1e-3)


def test_the_rotation_spreads_the_variance(blobs: Any) -> None:
    variances = PCARotation(16, random_state=0).fit(blobs).project(blobs).var(axis=0)
    plain = PCA(16).fit(blobs).explained_variance_
    assert variances.max() / variances.min() < 0.5 * plain.max() / plain.min()
    assert variances.sum() == pytest.approx(plain.sum(), rel=1e-3)
