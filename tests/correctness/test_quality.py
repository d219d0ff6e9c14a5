"""Quality floors on real images: what a user would notice if the mathematics broke.

Floors lie well below what is measured (``docs/results.md``), so that only a real loss fails them.
Everything here learns from 10,000 MNIST images and looks up 500 test images, with K = 100.
"""

from __future__ import annotations

import itertools
from typing import Any

import faiss
import numpy as np
import pytest

from sigah import ITQ, SiGAH
from sigah.evaluation import exact_neighbors, measure
from sigah.hashers import METHODS
from sigah.hashers.deep.heads import TrainedHead

pytestmark = pytest.mark.slow
BITS = 32
# heads learn what labels are the truth of: tests/hashers/deep/test_heads.py
NAMES = [name for name, method in METHODS.items() if not issubclass(method, TrainedHead)]


@pytest.fixture(scope="module")
def truth(digits: Any) -> Any:
    return exact_neighbors(*digits, 100).ids


@pytest.fixture(scope="module")
def quality(digits: Any, truth: Any) -> Any:
    """Metrics of each method by name, fitted once."""
    base, queries = digits
    hashers = {name: METHODS[name](BITS) for name in NAMES}
    hashers["sigah"].set_params(n_steps=250)
    hashers["sigah.paper"] = SiGAH.paper(BITS, n_steps=400, batch_size=64, generator_batch_size=64)
    hashers["stochastic_generative"].set_params(n_steps=400)
    hashers["ordinal_constrained"].set_params(max_iter=100)
    for hasher in hashers.values():
        if "random_state" in hasher.get_params():
            hasher.set_params(random_state=0)
    return {
        name: measure(hasher.fit(base), base, queries, truth)["metrics"]
        for name, hasher in hashers.items()
    }


@pytest.mark.parametrize(
    ("metric", "margin"),
    # the nearest ten are where ITQ comes nearest to so short a training
    [("pr_area", 0.005), ("map", 0.005), ("precision@100", 0.005), ("recall10@100", -0.005)],
)
def test_sigah_beats_itq_beats_lsh(quality: Any, metric: str, margin: float) -> None:
    assert quality["sigah"][metric] > quality["itq"][metric] + margin
    assert quality["itq"][metric] > quality["lsh"][metric] + 0.05


# mean average precision at 32 bits, about a tenth below what each reaches here
FLOORS = {
    "sigah": 0.45,
    "sigah.paper": 0.31,
    "itq": 0.42,
    "pca_rotation": 0.36,
    "binary_autoencoder": 0.41,
    "stochastic_generative": 0.41,
    "kmeans": 0.38,
    "spherical": 0.30,
    "ordinal_constrained": 0.41,
    "spectral": 0.32,
    "anchor_graph": 0.28,
    "discrete_graph": 0.27,
    "scalable_graph": 0.42,
    "lsh": 0.20,
    "qolsh": 0.20,
}


@pytest.mark.parametrize("name", FLOORS)
def test_every_method_finds_neighbours(quality: Any, name: str) -> None:
    assert quality[name]["map"] > FLOORS[name]


def test_every_learned_method_has_a_floor() -> None:
    assert set(FLOORS) == {*NAMES, "sigah.paper"} - {"sign"}, "32 corner pixels find nothing"


def test_the_rotation_of_itq_is_worth_learning(quality: Any) -> None:
    assert quality["itq"]["map"] > quality["pca_rotation"]["map"] + 0.02


@pytest.mark.parametrize("name", ["binary_autoencoder", "stochastic_generative"])
def test_decoders_that_are_free_rebuild_better_than_itqs(quality: Any, name: str) -> None:
    error = "relative_reconstruction_error"
    assert quality[name][error] < quality["itq"][error]


def test_the_pooled_area_gains_most(quality: Any) -> None:
    assert quality["sigah"]["pr_area"] > quality["itq"]["pr_area"] + 0.05


def test_the_paper_variant_learns(quality: Any) -> None:
    assert quality["sigah.paper"]["pr_area"] > quality["lsh"]["pr_area"] + 0.05
    assert quality["sigah.paper"]["relative_reconstruction_error"] < 1


def test_decoders_rebuild_digits(quality: Any) -> None:
    assert quality["sigah"]["relative_reconstruction_error"] < 0.6
    assert quality["itq"]["relative_reconstruction_error"] < 0.6


def test_itq_is_at_least_as_good_as_faiss_itq(digits: Any, truth: Any) -> None:
    """One-sided, because FAISS 1.15 is clearly worse on the same PCA coordinates.

    Its update of the rotation is another than the optimal one: see the next test. Ours is held
    against SciPy's Procrustes solution in tests/hashers/test_itq.py.
    """
    base, queries = digits
    centred = base - base.mean(axis=0)
    pca = faiss.PCAMatrix(base.shape[1], BITS)
    pca.train(centred)

    class FaissITQ:
        """FAISS's PCA and rotation behind the two methods that `measure` calls."""

        def __init__(self, seed: int) -> None:
            self.rotation = faiss.ITQMatrix(BITS)
            self.rotation.seed = seed
            self.rotation.train(pca.apply(centred))

        def transform(self, X: Any) -> Any:
            return np.packbits(self.rotation.apply(pca.apply(X - base.mean(axis=0))) >= 0, axis=1)

    def runs(make: Any) -> list[Any]:
        return [measure(make(seed), base, queries, truth)["metrics"] for seed in range(3)]

    ours, theirs = runs(lambda seed: ITQ(BITS, random_state=seed).fit(base)), runs(FaissITQ)
    for metric in ("pr_area", "map", "precision@100"):
        floor = np.mean([run[metric] for run in theirs]) - 0.01
        assert np.mean([run[metric] for run in ours]) > floor


def test_why_faiss_itq_is_worse() -> None:
    """Its update transposes V once too often: with X^T B = U S V^T it takes U^T V^T, not U V^T.

    LAPACK returns V^T, which `ITQMatrix::train` transposes again. From our optimum, one round of it
    therefore raises the loss that an alternation cannot raise. Singular vectors come with either
    sign, of which U V^T is free and U^T V^T is not: all signs are tried.
    """
    n_bits, rng = 8, np.random.default_rng(0)
    X = rng.normal(size=(3000, n_bits)) * np.linspace(3, 1, n_bits)
    X = (X - X.mean(axis=0)).astype(np.float32)

    def loss(rotation: Any) -> float:
        rotated = X @ rotation
        return float(np.square(rotated - np.sign(rotated)).sum(axis=1).mean())

    def factors(rotation: Any) -> Any:
        U, _, Vt = np.linalg.svd(X.T @ np.sign(X @ rotation))
        return U, Vt

    rotation = np.linalg.qr(rng.normal(size=(n_bits, n_bits)))[0]
    for _ in range(300):  # 143 until nothing moves
        rotation = np.matmul(*factors(rotation))
    one_round = faiss.ITQMatrix(n_bits)
    one_round.max_iter = 1
    faiss.copy_array_to_vector(rotation.ravel().astype("d"), one_round.init_rotation)
    one_round.train(X)
    theirs = faiss.vector_to_array(one_round.A).reshape(n_bits, n_bits).T
    U, Vt = factors(rotation)
    np.testing.assert_allclose(U @ Vt, rotation, atol=1e-5)  # ours stays where it is
    signs = [np.diag(one) for one in itertools.product((1, -1), repeat=n_bits)]
    nearest = min(np.abs((U @ D).T @ (D @ Vt) - theirs).max() for D in signs)
    assert nearest < 1e-5
    assert np.abs(U @ Vt - theirs).max() > 0.05
    assert loss(theirs) > loss(rotation) + 0.01
