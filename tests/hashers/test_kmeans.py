from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from sigah import KMeansHashing
from sigah.codes import unpack
from sigah.hashers.kmeans import assign, balanced_subspaces, code_distances, pull_centres


def loss(X: Any, centres: Any, wanted: Any, affinity: float) -> float:
    """E_quan + lambda E_aff, pair by pair."""
    total = 0.0
    for x, c, d in zip(X, centres, wanted, strict=True):
        squared = ((x[:, None] - c) ** 2).sum(axis=2)
        shares = np.bincount(squared.argmin(axis=1), minlength=len(c)) / len(x)
        total += squared.min(axis=1).mean()
        for i in range(len(c)):
            for j in range(len(c)):
                gap = np.linalg.norm(c[i] - c[j]) - d[i, j]
                total += affinity * shares[i] * shares[j] * gap**2
    return total


def problem(seed: int, M: int = 2, n: int = 60, D: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(M, n, D)).astype(np.float32)
    centres = rng.normal(size=(M, 4, D))
    return X, centres, np.tile(2 * code_distances(2), (M, 1, 1))


def test_code_distances_are_roots_of_hamming_distances() -> None:
    bits = (np.arange(16)[:, None] >> np.arange(4)) & 1
    np.testing.assert_allclose(
        code_distances(4) ** 2, (bits[:, None] != bits[None]).sum(axis=2), atol=1e-12
    )


@given(st.integers(0, 10**6), st.floats(0, 100))
def test_pulling_never_raises_the_objective_of_an_assignment(seed: int, affinity: float) -> None:
    X, centres, wanted = problem(seed)
    means, shares, _ = assign(X, centres)

    def objective(c: Any) -> float:
        distances = np.linalg.norm(c[:, :, None] - c[:, None], axis=3)
        strain = (shares[:, :, None] * shares[:, None] * (distances - wanted) ** 2).sum()
        return float((shares[..., None] * (c - means) ** 2).sum() + affinity * strain)

    before = objective(centres)
    for _ in range(5):
        centres = pull_centres(centres, means, shares, wanted, affinity)
        assert objective(centres) <= before * (1 + 1e-9) + 1e-9
        before = objective(centres)


def test_without_affinity_a_round_is_one_of_lloyds() -> None:
    X, centres, wanted = problem(0, n=300)
    for _ in range(30):
        means, shares, error = assign(X, centres)
        centres = pull_centres(centres, means, shares, wanted, 0.0)
    for m in range(2):
        oracle = KMeans(4, init=problem(0, n=300)[1][m].astype(np.float32), n_init=1, max_iter=30)
        np.testing.assert_allclose(oracle.fit(X[m]).cluster_centers_, centres[m], atol=0.05)
    assert error == pytest.approx(loss(X, centres, wanted, 0.0), rel=1e-2)


def test_strong_affinity_keeps_the_centres_on_a_cube() -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(2000, 8)) * np.linspace(2, 1, 8)).astype(np.float32)
    hasher = KMeansHashing(8, affinity=1e4).fit(X)
    for centres in hasher.centres_:
        distances = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        wanted = code_distances(4)
        side = (distances * wanted).sum() / (wanted**2).sum()
        np.testing.assert_allclose(distances, side * wanted, atol=0.02 * side)


def test_subspaces_share_the_variance() -> None:
    variances = np.sort(np.random.default_rng(0).gamma(0.5, size=32))[::-1]
    axes = balanced_subspaces(variances, 4)
    assert sorted(axes.ravel()) == list(range(32))
    products = np.log(variances[axes]).sum(axis=1)
    in_order = np.log(variances.reshape(4, 8)).sum(axis=1)
    assert np.ptp(products) < 0.3 * np.ptp(in_order)
    assert (np.diff(axes, axis=1) > 0).all(), "the largest axis of each subspace comes first"


@pytest.mark.parametrize("b", [1, 2, 4, 8])
def test_the_objective_falls(blobs: Any, b: int) -> None:
    hasher = KMeansHashing(16, bits_per_subspace=b, random_state=0).fit(blobs[:1000])
    assert hasher.centres_.shape == (16 // b, 2**b, 24)
    assert (np.diff(hasher.loss_[:-1]) <= 0).all(), "a rise ends the training"
    assert hasher.loss_[-1] < hasher.loss_[0]


def test_the_recorded_objective_is_the_one_of_the_paper() -> None:
    X, centres, wanted = problem(5)
    _, shares, error = assign(X, centres)
    distances = np.linalg.norm(centres[:, :, None] - centres[:, None], axis=3)
    strain = (shares[:, :, None] * shares[:, None] * (distances - wanted) ** 2).sum()
    assert error + 10 * strain == pytest.approx(loss(X, centres, wanted, 10.0), rel=1e-5)


def test_codes_are_indices_of_the_nearest_centres(blobs: Any) -> None:
    hasher = KMeansHashing(16, random_state=0).fit(blobs)
    centred = blobs - hasher.mean_
    for m, centres in enumerate(hasher.centres_):
        # other subspaces add the same to the distance of every centre
        nearest = ((centred[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        bits = unpack(hasher.transform(blobs))[:, 4 * m : 4 * m + 4]
        np.testing.assert_array_equal(bits @ [8, 4, 2, 1], nearest)


def test_subspaces_are_orthogonal(blobs: Any) -> None:
    first, *others = KMeansHashing(16, random_state=0).fit(blobs).centres_
    for other in others:
        np.testing.assert_allclose(first @ other.T, 0, atol=1e-8)


def test_decoding_loses_what_quantisation_loses(blobs: Any) -> None:
    hasher = KMeansHashing(16, affinity=0, random_state=0).fit(blobs)
    assert -hasher.score(blobs) == pytest.approx(hasher.loss_[-1], rel=1e-3)
    lower = -KMeansHashing(16, affinity=10, random_state=0).fit(blobs).score(blobs)
    assert lower > hasher.loss_[-1], "affinity is paid for in quantisation error"


def test_hamming_distances_mean_something(blobs: Any) -> None:
    distances = np.linalg.norm(blobs[:200, None] - blobs[None, :200], axis=2)

    def correlation(affinity: float) -> float:
        bits = unpack(KMeansHashing(16, affinity=affinity).fit(blobs).transform(blobs[:200]))
        hamming = (bits[:, None] != bits[None]).sum(axis=2)
        return float(np.corrcoef(hamming.ravel(), distances.ravel())[0, 1])

    bits = unpack(KMeansHashing(16).fit(blobs).transform(blobs[:200])).reshape(200, 4, 4)
    renamed = np.random.default_rng(0).permutation(16)[bits @ [8, 4, 2, 1]]
    hamming = np.bitwise_count((renamed[:, None] ^ renamed[None]).astype(np.uint8)).sum(axis=2)
    random_names = np.corrcoef(hamming.ravel(), distances.ravel())[0, 1]
    assert correlation(10.0) > random_names + 0.05


def test_dimensions_that_do_not_divide_are_padded(blobs: Any) -> None:
    X = blobs[:, :19]
    hasher = KMeansHashing(16, random_state=0).fit(X)
    assert hasher.centres_.shape == (4, 16, 19)
    assert hasher.reconstruct(hasher.transform(X)).shape == X.shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits_per_subspace": 3}, "bits_per_subspace must be 1, 2, 4 or 8"),
        ({"bits_per_subspace": 4.0}, "bits_per_subspace must be 1, 2, 4 or 8"),
        ({"affinity": None}, "affinity must be a number of at least 0"),
        ({"affinity": -1}, "affinity must be a number of at least 0"),
        ({"max_iter": 0}, "max_iter must be a whole number"),
        ({"n_samples": None}, "n_samples must be a whole number"),
    ],
)
def test_impossible_settings_are_named(blobs: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KMeansHashing(16, **settings).fit(blobs)
