"""SiGAH beside its equations, and how its training behaves."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional as F

import sigah
from sigah import SiGAH
from sigah.codes import signs, unpack
from sigah.evaluation import label_average_precision
from sigah.hashers import TrainingInterrupted, ridge
from sigah.hashers import sigah as estimator
from sigah.hashers import sigah_networks as networks
from sigah.hashers import sigah_training as training
from sigah.hashers.sigah_decoder import ACTIVATIONS, activate, gaussian_dictionary
from sigah.hashers.sigah_start import finds_more, neighbors_found


def batch(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


def codes(n: int, r: int, seed: int = 0) -> torch.Tensor:
    return torch.where(batch(n, r, seed) >= 0, 1.0, -1.0)


def small(n_bits: int = 16, **settings: Any) -> SiGAH:
    """A hasher whose steps take a hundred vectors, so that they are quick."""
    return SiGAH(n_bits, **{"batch_size": 100, "random_state": 0, **settings})


# ------------------------------------------------------------- equations


def test_sign_passes_the_gradient_of_tanh() -> None:
    u = torch.tensor([-2.0, 0.0, 0.5], requires_grad=True)
    b = networks.StraightThroughSign.apply(u)
    assert b.tolist() == [-1, 1, 1]
    b.sum().backward()
    np.testing.assert_allclose(u.grad, 1 - np.tanh([-2, 0, 0.5]) ** 2, rtol=1e-5)


def test_with_identity_dictionary_the_generator_is_a_linear_decoder() -> None:
    """Section 3.5: A = I and no activation leave Eq. (1), whose best decoder is least squares."""
    x, b = batch(200, 6), codes(200, 16, 1)
    design = torch.hstack([b, torch.ones(200, 1)])
    solution = torch.linalg.lstsq(design.double(), x.double()).solution.float()
    generator = networks.Generator(solution[:-1], torch.eye(6), "identity")
    with torch.no_grad():
        generator.g.copy_(solution[-1])
    z, synthetic = generator(b)
    torch.testing.assert_close(z, synthetic)
    torch.testing.assert_close(synthetic, design @ solution, atol=1e-4, rtol=1e-4)
    (synthetic - x).square().sum().backward()
    assert generator.V.grad.abs().max() < 1e-3, "least squares is a stationary point"


def test_graph_term_is_the_laplacian_form() -> None:
    """Eq. (17) equals 2 tr(T' L T) / (r B^2) with L = diag(S 1) - S."""
    x, t = batch(30, 5), torch.tanh(batch(30, 8, 1))
    distances = networks.squared_distances(x)
    S = torch.exp(-distances / (2 * 3.0))
    L = torch.diag(S.sum(1)) - S
    expected = 2 * torch.trace(t.T @ L @ t) / (8 * 30**2)
    actual = networks.graph_loss(t, distances.fill_diagonal_(torch.inf), 3.0)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


def test_squared_distance_of_codes_is_four_times_hamming() -> None:
    """Eq. (8)."""
    b = codes(20, 32)
    hamming = (b[:, None] != b[None]).sum(-1)
    torch.testing.assert_close(networks.squared_distances(b), 4.0 * hamming)


def test_hinge_is_silent_beyond_the_margin() -> None:
    """Eq. (16): synthetic vectors whose energy exceeds m give the discriminator no gradient."""
    synthetic = torch.tensor([0.01, 0.2, 3.0], requires_grad=True)
    networks.discriminator_loss(torch.tensor([0.5]), synthetic, margin=0.05).backward()
    np.testing.assert_allclose(synthetic.grad, [-1 / 3, 0, 0], rtol=1e-6)


def test_energy_is_the_reconstruction_error_of_the_auto_encoder() -> None:
    discriminator = networks.Discriminator(6, torch.Generator().manual_seed(0))
    x = batch(10, 6)
    hidden = F.leaky_relu(discriminator.encoder(x), 0.2)
    expected = (x - discriminator.decoder(hidden)).square().mean(1)
    torch.testing.assert_close(discriminator(x), expected)


def test_the_dictionary_keeps_lengths_on_average() -> None:
    """Rows of N(0, 1/n): E ||A z||^2 = ||z||^2 d / n for any z."""
    z = np.random.default_rng(0).normal(size=400).astype(np.float32)
    ratios = [
        np.square(gaussian_dictionary(200, 400, seed) @ z).sum() / np.square(z).sum()
        for seed in range(50)
    ]
    assert np.mean(ratios) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_agree_between_numpy_and_torch(name: str) -> None:
    u = np.linspace(-90, 90, 1001, dtype=np.float32)
    expected = networks.activation_function(name)(torch.from_numpy(u)).numpy()
    np.testing.assert_allclose(activate(name, u), expected, atol=1e-6, rtol=1e-5)


def test_pair_term_is_the_mean_log_loss_per_neighbour() -> None:
    x, b = batch(12, 4), codes(12, 8, 1)
    cosines = (b @ b.T / 8).fill_diagonal_(networks.SELF_COSINE)
    logits = 3 * cosines - 1
    distances = networks.squared_distances(x).fill_diagonal_(networks.SELF_DISTANCE)
    expected, positives = 0.0, 0
    for i in range(12):
        near = sorted((j for j in range(12) if j != i), key=lambda j: float(distances[i, j]))[:3]
        for j in set(range(12)) - {i}:
            p = 1 / (1 + np.exp(-float(logits[i, j])))
            expected -= np.log(p if j in near else 1 - p)
            positives += j in near
    actual = networks.pair_loss(logits, distances, networks.kth_smallest(distances, 3))
    assert float(actual) == pytest.approx(expected / positives, rel=1e-4)


def test_neighbour_term_prefers_codes_that_keep_the_order() -> None:
    x = batch(200, 8)
    distances = networks.squared_distances(x).fill_diagonal_(networks.SELF_DISTANCE)
    b = torch.sign(x @ batch(8, 64, 1))
    shuffled = b[torch.from_numpy(np.random.default_rng(0).permutation(200))]
    radius = distances.topk(10, dim=1, largest=False).values[:, -1:]
    torch.testing.assert_close(networks.kth_smallest(distances, 10), radius, rtol=0, atol=0)
    good, bad = (
        networks.neighbor_loss(
            (c @ c.T / 8).fill_diagonal_(networks.SELF_COSINE), distances, radius
        )
        for c in (b, shuffled)
    )
    assert good < bad - 0.1


def test_neighbour_term_is_the_cross_entropy_of_two_softmaxes() -> None:
    x, logits = batch(12, 4), batch(12, 12, 1)
    distances = networks.squared_distances(x).fill_diagonal_(networks.SELF_DISTANCE)
    radius = networks.kth_smallest(distances, 3)
    expected = 0.0
    numbers = (array.double().numpy() for array in (distances, logits, radius))
    for row, scores, last in zip(*numbers, strict=True):
        near = np.exp(-3 * (row - row.min()) / (last - row.min()))
        own = np.exp(scores - scores.max())
        expected -= float((near / near.sum()) @ np.log(own / own.sum())) / 12
    actual = networks.neighbor_loss(logits, distances, radius)
    assert float(actual) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("loss", ["neighbor", "pair"])
def test_duplicated_vectors_do_not_break_the_terms(loss: str) -> None:
    x = torch.zeros(40, 4)
    distances = networks.squared_distances(x).fill_diagonal_(networks.SELF_DISTANCE)
    cosines = torch.ones(40, 40).fill_diagonal_(networks.SELF_COSINE).requires_grad_()
    radius = networks.kth_smallest(distances, 2)
    if loss == "neighbor":
        value = networks.neighbor_loss(8 * cosines, distances, radius)
    else:
        value = networks.pair_loss(cosines, distances, radius)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(cosines.grad).all()


@pytest.mark.parametrize(("n_rows", "k", "trust"), [(60_000, 8, 1.0), (1_000_000, 2, 0.5)])
def test_few_neighbours_in_a_batch_count_less(n_rows: int, k: int, trust: float) -> None:
    x = batch(500, 16)
    W = batch(16, 32, 1).numpy()
    trainer = training.Trainer(SiGAH(32), W, n_rows, 0, torch.device("cpu"))
    b = trainer.hash_layer(x)
    distances = networks.squared_distances(x).fill_diagonal_(networks.SELF_DISTANCE)
    cosines = (b @ b.T / 32).fill_diagonal_(networks.SELF_COSINE)
    logits = torch.exp(trainer.log_slope) * (cosines - trainer.radius)
    whole = networks.pair_loss(logits, distances, networks.kth_smallest(distances, k))
    torch.testing.assert_close(trainer.terms(x)["pair"], trust * whole)


def test_the_start_is_learned_from_a_sample_of_many_rows(
    blobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    plain = training.itq_directions

    def directions(rows: Any, *arguments: Any, **settings: Any) -> Any:
        seen.append(len(rows))
        return plain(rows, *arguments, **settings)

    monkeypatch.setattr(training, "itq_directions", directions)
    monkeypatch.setattr(training, "START_ROWS", len(blobs))
    whole = SiGAH(16, n_steps=1, random_state=0).fit(blobs)
    monkeypatch.setattr(training, "START_ROWS", 300)
    first, second = (SiGAH(16, n_steps=1, random_state=0).fit(blobs) for _ in range(2))
    assert seen == [len(blobs), 300, 300]
    assert first.fingerprint == second.fingerprint != whole.fingerprint


# ------------------------------------------------------------- behaviour


def test_training_lowers_the_loss_and_keeps_its_history(blobs: Any) -> None:
    hasher = small(n_steps=300).fit(blobs)
    assert [entry["step"] for entry in hasher.history_] == [50, 100, 150, 200, 250, 300]
    terms = {"loss", "reconstruction", "sparsity", "adversarial", "neighbor", "pair"}
    assert terms <= set(hasher.history_[0])
    assert hasher.history_[-1]["loss"] < 0.9 * hasher.history_[0]["loss"]
    assert hasher.training_["steps"] == 300
    assert not hasher.training_["interrupted"]


@pytest.mark.parametrize(
    "term", ["reconstruction", "sparsity", "graph", "adversarial", "neighbor", "pair"]
)
def test_every_term_can_be_switched_off(blobs: Any, term: str) -> None:
    hasher = small(graph=1e-3, n_steps=50).set_params(**{term: 0.0}).fit(blobs)
    assert term == "reconstruction" or term not in hasher.history_[0]
    other = small(graph=1e-3, n_steps=50).fit(blobs)
    assert (hasher.weights_ != other.weights_).any()


def test_a_wider_dictionary_rebuilds_better(blobs: Any) -> None:
    """Fig. 4 of the paper: the error falls as n grows."""
    narrow, wide = (
        small(dictionary_ratio=ratio, n_steps=150).fit(blobs).score(blobs) for ratio in (0.5, 2)
    )
    assert wide > narrow


@pytest.mark.parametrize(
    ("settings", "d", "units"),
    [
        ({}, 50, 1024),
        ({}, 512, 1024),
        ({}, 784, 1568),
        ({"dictionary_ratio": 0.5}, 50, 25),
        ({"dictionary_ratio": 0.001}, 50, 1),
        ({"dictionary": "identity"}, 50, 50),
    ],
)
def test_width_of_the_sparse_layer(settings: dict[str, Any], d: int, units: int) -> None:
    X = np.random.default_rng(0).normal(size=(20, d)).astype(np.float32)
    assert SiGAH(8, n_steps=1, **settings).fit(X).generator_weights_.shape == (8, units)


def test_sparsity_makes_the_representation_sparse(blobs: Any) -> None:
    def magnitude(weight: float) -> float:
        hasher = small(sparsity=weight, n_steps=200).fit(blobs)
        z = signs(hasher.transform(blobs)) @ hasher.generator_weights_ + hasher.generator_bias_
        return float(np.abs(activate("leaky_relu", z)).mean())

    assert magnitude(1.0) < 0.5 * magnitude(0.0)


def test_decoding_beats_the_mean(blobs: Any) -> None:
    variance = np.square(blobs - blobs.mean(axis=0)).sum(axis=1).mean()
    assert -small(32, n_steps=200).fit(blobs).score(blobs) < 0.5 * variance


def test_a_refitted_dictionary_changes_what_is_rebuilt_and_no_code(
    blobs: Any, tmp_path: Path
) -> None:
    fixed, refitted = (
        small(32, dictionary=name, dictionary_ratio=2, n_steps=100).fit(blobs[:800])
        for name in ("gaussian", "refitted")
    )
    codes_ = fixed.transform(blobs)
    np.testing.assert_array_equal(refitted.transform(blobs), codes_)
    assert refitted.score(blobs[800:]) > 0.9 * fixed.score(blobs[800:]), "less of an error, unseen"
    refitted.save(tmp_path / "model")
    loaded = sigah.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.reconstruct(codes_), refitted.reconstruct(codes_))


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 1000])
def test_fewer_images_than_units_are_enough_to_refit(n: int, digits: Any) -> None:
    """Of 1,568 units: without a penalty chosen for few rows they would be fitted by heart."""
    images, queries = digits
    fixed, refitted = (
        small(32, dictionary=name, n_steps=40).fit(images[:n]) for name in ("gaussian", "refitted")
    )
    assert refitted.score(queries) > 0.9 * fixed.score(queries)


def test_the_dictionary_is_refitted_as_scikit_learn_would(
    blobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimator, "REFIT_BLOCK", 64)
    hasher = small(n_steps=50).fit(blobs)
    z = signs(hasher.transform(blobs)) @ hasher.generator_weights_ + hasher.generator_bias_
    z = activate("leaky_relu", z).astype(np.float64)
    weight, x = np.square(z).sum() / len(z), (blobs - hasher.mean_) / hasher.scale_
    stronger = 1 + 2 * ridge.FEW_ROWS / len(z)
    penalties = [stronger * weight * penalty for penalty in ridge.PENALTIES]
    oracles = [Ridge(penalty, fit_intercept=False).fit(z, x) for penalty in penalties]
    distances = [np.abs(oracle.coef_ - hasher.dictionary_).max() for oracle in oracles]
    assert min(distances) < 1e-3 < max(distances)


def test_a_dictionary_of_more_columns_than_vectors_is_refitted_too(blobs: Any) -> None:
    few = small(n_steps=20).fit(blobs[:20])
    assert np.isfinite(few.dictionary_).all()
    assert few.score(blobs) > -2 * np.square(blobs - blobs.mean(axis=0)).sum(axis=1).mean()


def test_paper_uses_only_the_papers_terms(blobs: Any) -> None:
    hasher = SiGAH.paper(16, n_steps=50, random_state=0).fit(blobs)
    assert {"reconstruction", "sparsity", "graph", "adversarial"} <= set(hasher.history_[0])
    assert not {"neighbor", "pair"} & set(hasher.history_[0])
    assert isinstance(hasher, SiGAH)
    assert hasher.activation == "leaky_relu"
    assert hasher.dictionary_ratio == 2


def test_the_paper_has_no_threshold_but_the_mean(blobs: Any) -> None:
    hasher = SiGAH.paper(16, n_steps=50, random_state=0).fit(blobs)
    mean = blobs.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(hasher.thresholds_, mean @ hasher.weights_, rtol=1e-5, atol=1e-6)


def test_decay_makes_relaxed_codes_binary(blobs: Any) -> None:
    """The mechanism of the paper's recipe: docs/results.md, "Why weight decay decides"."""
    settings: dict[str, Any] = {"adversarial": 0, "n_steps": 600, "random_state": 0}
    last, loose = (
        SiGAH.paper(16, weight_decay=decay, **settings).fit(blobs).history_[-1]
        for decay in (1e-3, 0)
    )
    assert last["saturation"] > loose["saturation"] + 0.05
    gap, loose_gap = (
        entry["binary_reconstruction"] - entry["reconstruction"] for entry in (last, loose)
    )
    assert gap < loose_gap / 2


def test_folded_weights_give_the_codes_of_the_normalised_layer() -> None:
    x = 3 * batch(400, 24) + 1
    layer = networks.HashLayer(batch(24, 16, seed=1), "sign", normalize=True)
    with torch.no_grad():
        layer.c += batch(1, 16, seed=2)[0]
    for _ in range(100):  # until the running means are those of this batch
        layer(x)
    with torch.no_grad():
        expected = layer(x)
    W, c = layer.folded()
    assert ((x @ W + c >= 0) == (expected > 0)).float().mean() > 0.999
    np.testing.assert_allclose((x @ W + c).detach().std(dim=0), 1, rtol=0.01)


def test_a_given_sharpness_is_not_learned(blobs: Any) -> None:
    rows = torch.from_numpy(blobs[:100] - blobs.mean(axis=0))
    for sharpness, moves in (("learned", True), (7.0, False)):
        hasher = small(sharpness=sharpness)
        trainer = training.Trainer(
            training.Parameters(**hasher.get_params()),
            batch(24, 16).numpy(), len(blobs), 0, torch.device("cpu"),
        )  # fmt: skip
        before = float(trainer.log_sharpness.detach())
        trainer.step(rows)
        assert (float(trainer.log_sharpness.detach()) != before) == moves
        assert moves or np.isclose(np.exp(before), 7)


def test_softened_axes_weaken_large_variances_by_a_power() -> None:
    """By singular values of the vectors, not by their covariance; and no more than 256 axes."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 300)) @ rng.normal(size=(300, 300))
    X[:, 7] = 0  # a dimension that says nothing
    X -= X.mean(axis=0)
    for power in (0.0, 0.5, 1.0):
        axes = training.softened_axes(X.T @ X / len(X), power).astype(np.float64)
        assert axes.shape == (300, 256)
        values = np.linalg.svd(X, compute_uv=False)[:256]
        spread = (X @ axes).std(axis=0)
        expected = (values / values[0]) ** (1 - power) * values[0] / len(X) ** 0.5
        np.testing.assert_allclose(spread, expected, rtol=1e-3)


def test_whitening_decides_which_vectors_are_near(blobs: Any) -> None:
    hasher = small(whitening=1.0)
    x = blobs[:100] - blobs.mean(axis=0)
    axes = training.softened_axes(np.cov(x.T, bias=True), 1.0)
    trainer = training.Trainer(
        training.Parameters(**hasher.get_params()),
        batch(24, 16).numpy(), len(blobs), 0, torch.device("cpu"), axes,
    )  # fmt: skip
    views = x @ axes
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    codes = trainer.hash_layer(torch.from_numpy(x))
    distances = networks.squared_distances(torch.from_numpy(views))
    distances.fill_diagonal_(networks.SELF_DISTANCE)
    cosines = (codes @ codes.T / codes.shape[1]).fill_diagonal_(networks.SELF_COSINE)
    others = len(x) - 1
    k = max(2, round(training.neighbor_fraction(hasher.n_neighbors, len(blobs)) * others))
    expected = networks.neighbor_loss(
        torch.exp(trainer.log_sharpness) * cosines, distances, networks.kth_smallest(distances, k)
    )
    found = trainer.terms(torch.from_numpy(x))["neighbor"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_whitened_training_takes_vectors_of_any_scale_and_equal_ones(
    blobs: Any, scale: float
) -> None:
    hasher = small(whitening=0.5, n_steps=5).fit(blobs * np.float32(scale))
    assert np.isfinite(hasher.weights_).all()
    assert np.isfinite(hasher.partial_fit(blobs * np.float32(scale), n_steps=2).weights_).all()
    equal = small(whitening=0.5, n_steps=2).fit(np.full((50, blobs.shape[1]), scale, np.float32))
    assert np.isfinite(equal.weights_).all()


def test_semantic_codes_tell_kinds_apart_better_than_nearness_alone() -> None:
    """Kinds lie in few directions; the others hold more variance, and say nothing."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(12, size=3200)
    centres = rng.normal(size=(12, 48))
    noise = rng.normal(size=(3200, 48)) * np.geomspace(0.4, 2.2, 48)
    vectors = (0.8 * centres[kinds] + noise).astype(np.float32)
    base, queries = vectors[:3000], vectors[3000:]

    def quality(hasher: Any) -> float:
        codes = (hasher.fit(base).transform(some) for some in (base, queries))
        truth: Any = (kinds[:3000], kinds[3000:])
        return float(label_average_precision(*codes, *truth, depth=200).mean())

    semantic = SiGAH.semantic(16, n_steps=300, random_state=0)
    assert quality(semantic) > quality(sigah.ITQ(16, random_state=0)) + 0.2


def test_partial_fit_goes_on_with_normalised_logits(blobs: Any) -> None:
    hasher = SiGAH.semantic(16, n_steps=100, batch_size=100, random_state=0).fit(blobs)
    before = unpack(hasher.transform(blobs))
    after = unpack(hasher.partial_fit(blobs, n_steps=1).transform(blobs))
    assert (before != after).mean() < 0.1


def test_weight_matrices_decay_and_biases_do_not() -> None:
    matrix, bias = torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))
    groups = list(training.decayed([matrix, bias], 0.5, 0.25))
    assert [group["weight_decay"] for group in groups] == [0.25, 0.0]
    assert [group["lr"] for group in groups] == [0.5, 0.5]


def test_a_narrow_graph_holds_near_vectors_together_only(blobs: Any) -> None:
    """Eq. (17): beyond a few sigma a pair weighs nothing."""
    x = torch.from_numpy(blobs[:100])
    trainers = [
        training.Trainer(
            estimator.Parameters(**SiGAH.paper(16, sigma=sigma).get_params()),
            np.ones((blobs.shape[1], 16), np.float32) * 0.01,
            len(blobs),
            0,
            torch.device("cpu"),
        )
        for sigma in (0.7, 0.05)
    ]
    wide, narrow = (float(trainer.terms(x)["graph"].detach()) for trainer in trainers)
    assert narrow < wide / 100


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_trains_and_decodes(blobs: Any, activation: str) -> None:
    hasher = small(activation=activation, n_steps=20).fit(blobs)
    assert np.isfinite(hasher.reconstruct(hasher.transform(blobs))).all()


def test_ctrl_c_leaves_a_usable_model(blobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step = training.Trainer.step

    def interrupt_at_step_60(self: training.Trainer, x: torch.Tensor) -> dict[str, float]:
        interrupt_at_step_60.calls += 1  # type: ignore[attr-defined]
        if interrupt_at_step_60.calls == 60:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGINT)
        return step(self, x)

    interrupt_at_step_60.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(training.Trainer, "step", interrupt_at_step_60)
    hasher = small(n_steps=1000)
    with pytest.raises(TrainingInterrupted, match=r"training ended after \d+ steps"):
        hasher.fit(blobs)
    assert issubclass(TrainingInterrupted, KeyboardInterrupt)
    assert hasher.training_["interrupted"]
    assert hasher.training_["steps"] < 61
    assert len(np.unique(hasher.transform(blobs), axis=0)) > 100


# --------------------------------------------------------- codes of many bits


def ten_nearest(base: np.ndarray[Any, Any], queries: np.ndarray[Any, Any]) -> list[set[int]]:
    distances = ((queries[:, None].astype(float) - base) ** 2).sum(axis=2)
    return [set(row) for row in np.argsort(distances, axis=1, kind="stable")[:, :10].tolist()]


def test_the_share_of_neighbours_found_is_that_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    base, queries = (rng.normal(size=(n, 6)).astype(np.float32) for n in (150, 140))
    # so many bits that hardly two Hamming distances of a query are equal
    layers = [
        (rng.normal(size=(6, r)).astype(np.float32), rng.normal(size=r).astype(np.float32))
        for r in (2048, 4096)
    ]
    true = ten_nearest(base, queries)
    for shares, (W, c) in zip(
        neighbors_found(np.split(base, [7, 90]), queries, layers), layers, strict=True
    ):
        ours = ten_nearest(base @ W + c >= 0, queries @ W + c >= 0)
        expected = [len(a & b) / 10 for a, b in zip(ours, true, strict=True)]
        assert (shares == expected).mean() > 0.9  # but for equal distances
        assert np.mean(shares) > 0.3


def test_only_a_clear_lead_leaves_the_start() -> None:
    start = np.tile([0.4, 0.6], 50)
    assert not finds_more(start, start)
    assert not finds_more(start, start[::-1]), "a swap leads by nothing"
    assert finds_more(start, start + 0.01)
    few = start.copy()
    few[[0, 2, 4]] += (0.6, 0.6, -0.6)
    assert few.mean() > start.mean()
    assert not finds_more(start, few), "a few queries are no evidence"


def test_long_codes_are_those_of_the_start_or_the_learned_ones(
    blobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"n_steps": 20, "dictionary": "gaussian", "learning_rate": 10.0}
    spoiled = small(128, **settings).fit(blobs)
    start = small(128, **{**settings, "learning_rate": 1e-12}).fit(blobs)
    found = spoiled.training_["recall10@10"]
    assert found["learned"] < found["start"]
    assert spoiled.training_["kept"] == "start"
    np.testing.assert_array_equal(spoiled.transform(blobs), start.transform(blobs))

    monkeypatch.setattr(training, "neighbors_found", lambda *_: np.array([[0.5] * 9, [0.6] * 9]))
    learned = small(128, **settings).fit(blobs)
    assert (learned.transform(blobs) != start.transform(blobs)).mean() > 0.1
    assert "recall10@10" not in small(64, **settings).fit(blobs).training_


@pytest.mark.parametrize(("r", "share"), [(32, 1.0), (64, 1.0), (128, 0.5), (512, 0.125)])
def test_terms_of_neighbourhoods_weigh_less_in_long_codes(r: int, share: float) -> None:
    W = batch(8, r).numpy()
    trainer = training.Trainer(SiGAH(r), W, 60_000, 0, torch.device("cpu"))
    x = batch(500, 8, 1)
    terms = trainer.terms(x)
    distances = networks.squared_distances(x).fill_diagonal_(networks.SELF_DISTANCE)
    radius = networks.kth_smallest(distances, 8)
    b = trainer.hash_layer(x)
    cosines = (b @ b.T / r).fill_diagonal_(networks.SELF_COSINE)
    sharpness, slope = torch.exp(trainer.log_sharpness), torch.exp(trainer.log_slope)
    near = networks.neighbor_loss(sharpness * cosines, distances, radius)
    pair = networks.pair_loss(slope * (cosines - trainer.radius), distances, radius)
    torch.testing.assert_close(terms["neighbor"], share * near)
    torch.testing.assert_close(terms["pair"], share * pair)


def test_early_stopping_keeps_the_best_weights(blobs: Any) -> None:
    hasher = small(early_stopping=True, patience=2, n_steps=5000).fit(blobs[:300])
    validation = [entry["validation"] for entry in hasher.history_]
    assert hasher.training_["steps"] < 5000
    assert len(validation) - 1 - int(np.argmin(validation)) == 2, "stopped after two worse ones"


def test_the_weights_after_the_best_step_are_kept(
    blobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, seen = iter([3.0, 1.0, 2.0, 4.0]), []

    def evaluate(trainer: training.Trainer, x: torch.Tensor) -> float:
        seen.append(trainer.state()["hash_layer"]["W"].numpy())
        return next(losses)

    monkeypatch.setattr(training.Trainer, "evaluate", evaluate)
    monkeypatch.setattr(training, "EVALUATE_EVERY", 1)
    hasher = small(early_stopping=True, patience=2, n_steps=9).fit(blobs[:300])
    assert hasher.training_["steps"] == len(seen) == 4
    kept, *others = (
        W / np.linalg.norm(W, axis=0) for W in (hasher.weights_, seen[1], seen[0], seen[3])
    )
    np.testing.assert_allclose(kept, others[0], atol=1e-6)
    assert all(np.abs(kept - other).max() > 1e-4 for other in others[1:])


def test_batches_are_centred_and_scaled_to_unit_variance(
    blobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    step = training.Trainer.step

    def spy(trainer: training.Trainer, x: torch.Tensor) -> dict[str, float]:
        seen.append(x.clone())
        return step(trainer, x)

    monkeypatch.setattr(training.Trainer, "step", spy)
    small(batch_size=1000, n_steps=1).fit(50 * blobs[:1000] + 7)
    assert float(seen[0].mean()) == pytest.approx(0, abs=1e-3)
    assert float(seen[0].square().mean()) == pytest.approx(1, abs=0.05)


def test_a_discriminator_step_forgets_the_gradient_of_the_one_before() -> None:
    x, synthetic = batch(50, 8), batch(50, 8, 1)
    after = []
    for left in (None, 1.0):
        W = np.eye(8, dtype=np.float32)
        trainer = training.Trainer(SiGAH(8), W, 50, 0, torch.device("cpu"))
        for parameter in trainer.discriminator.parameters():
            parameter.grad = None if left is None else torch.full_like(parameter, left)
        trainer._play(x, synthetic, learn=True)
        after.append([p.detach().clone() for p in trainer.discriminator.parameters()])
    torch.testing.assert_close(*after, rtol=0, atol=0)


@pytest.mark.parametrize(("rows", "batch_size"), [(16, 500), (16, 2), (100, 3)])
def test_tiny_batches_train(blobs: Any, rows: int, batch_size: int) -> None:
    hasher = SiGAH(16, batch_size=batch_size, early_stopping=True, n_steps=60, random_state=0).fit(
        blobs[:rows]
    )
    assert all(np.isfinite(list(entry.values())).all() for entry in hasher.history_)


def test_diverging_training_is_reported(blobs: Any) -> None:
    with pytest.raises(ValueError, match="diverged.*learning_rate"):
        SiGAH(16, generator_learning_rate=1e14, n_steps=100, random_state=0).fit(blobs)


def test_torch_is_left_as_it_was(blobs: Any) -> None:
    torch.manual_seed(5)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    small(n_steps=10).fit(blobs)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    denormal = torch.tensor(1e-39)
    assert float(denormal * 1) > 0, "denormals are flushed during training only"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"activation": "gelu"}, "activation must be one of leaky_relu"),
        ({"relaxation": "soft"}, "relaxation must be one of sign, tanh"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda"),
        ({"pair": -1}, "pair must be a number of at least 0"),
        ({"pair": np.inf}, "pair must be finite"),
        ({"learning_rate": "fast"}, "learning_rate must be a positive number"),
        ({"dictionary_ratio": 0}, "dictionary_ratio must be 'auto' or a positive number"),
        ({"dictionary_ratio": np.nan}, "dictionary_ratio must be 'auto' or a positive number"),
        ({"dictionary_ratio": "2"}, "dictionary_ratio must be 'auto' or a positive number"),
        ({"sharpness": 0}, "sharpness must be 'learned' or a positive number"),
        ({"sharpness": "soft"}, "sharpness must be 'learned' or a positive number"),
        ({"whitening": -0.1}, "whitening must be a number of at least 0"),
        ({"whitening": 1.5}, "whitening must be at most 1, or None"),
        ({"whitening": "half"}, "whitening must be a number of at least 0"),
        ({"n_steps": 2.5}, "n_steps must be a whole number"),
        ({"n_steps": 0}, "n_steps must be a whole number of at least 1"),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2"),
        ({"validation_fraction": 1.5}, "validation_fraction must lie between 0 and 1"),
    ],
)
def test_bad_parameters_are_named(blobs: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SiGAH(16, **parameters).fit(blobs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named(blobs: Any) -> None:
    with pytest.raises(ValueError, match="no GPU"):
        SiGAH(16, device="cuda").fit(blobs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_learns_as_well_as_on_the_cpu(blobs: Any) -> None:
    cpu, gpu = (
        SiGAH(16, device=device, n_steps=300, random_state=0).fit(blobs).score(blobs)
        for device in ("cpu", "cuda")
    )
    assert gpu == pytest.approx(cpu, rel=0.05)


def test_encoding_needs_no_torch(blobs: Any, tmp_path: Any) -> None:
    import subprocess
    import sys

    small(n_steps=10).fit(blobs).save(tmp_path / "model")
    np.save(tmp_path / "x.npy", blobs[:5])
    script = (
        "import sys, numpy as np, sigah;"
        f"model = sigah.load({str(tmp_path / 'model')!r});"
        f"codes = model.transform(np.load({str(tmp_path / 'x.npy')!r}));"
        "model.reconstruct(codes);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert sigah.load(tmp_path / "model").training_["steps"] == 10


@pytest.mark.parametrize("dictionary", ["learned", "identity"])
def test_other_generators_decode_as_they_were_trained(
    blobs: Any, tmp_path: Any, dictionary: str
) -> None:
    """Fig. 8 (d): NumPy rebuilds what torch's generator does, from a file too."""
    hasher = small(dictionary=dictionary, activation="relu", n_steps=200)
    hasher.fit(blobs)
    assert hasattr(hasher, "dictionary_") == (dictionary == "learned")
    A = torch.from_numpy(hasher.dictionary_) if dictionary == "learned" else None
    generator = networks.Generator(torch.from_numpy(hasher.generator_weights_), A, "relu")
    codes_ = hasher.transform(blobs)
    with torch.no_grad():
        generator.g.copy_(torch.from_numpy(hasher.generator_bias_))
        _, synthetic = generator(torch.from_numpy(signs(codes_)))
    expected = hasher.mean_ + hasher.scale_ * synthetic.numpy()
    np.testing.assert_allclose(hasher.reconstruct(codes_), expected, rtol=1e-4, atol=1e-4)
    hasher.save(tmp_path / "model")
    loaded = sigah.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.reconstruct(codes_), hasher.reconstruct(codes_))
    assert -hasher.score(blobs) < 0.8 * blobs.var(axis=0).sum(), "the generator has learned"


def test_a_learned_dictionary_is_forgotten_by_another_fit(blobs: Any) -> None:
    hasher = small(dictionary="learned", n_steps=20).fit(blobs)
    plain = small(dictionary="gaussian", n_steps=20).fit(blobs)
    assert (
        hasher.dictionary_ != gaussian_dictionary(24, 1024, int(hasher.dictionary_seed_[0]))
    ).any()
    again = hasher.set_params(dictionary="gaussian").fit(blobs)
    assert again.fingerprint == plain.fingerprint


def test_partial_fit_goes_on_where_fit_stopped(blobs: Any, tmp_path: Path) -> None:
    """One quiet step changes next to nothing; a model file is as good as the fit."""
    hasher = small(32, n_steps=100).fit(blobs)
    before, fingerprint = hasher.transform(blobs), hasher.fingerprint
    hasher.save(tmp_path / "model")
    opened = sigah.load(tmp_path / "model")
    for some in (hasher, opened):
        some.partial_fit(blobs, n_steps=1)
        assert some.fingerprint != fingerprint
        assert (unpack(some.transform(blobs)) != unpack(before)).mean() < 0.02
    assert opened.fingerprint == hasher.fingerprint
    assert hasher.get_params() == small(32, n_steps=100).get_params()


@pytest.mark.parametrize("dictionary", ["refitted", "gaussian", "learned", "identity"])
def test_partial_fit_learns_new_vectors(dictionary: str, blobs: Any) -> None:
    rng = np.random.default_rng(1)
    new = (blobs @ np.linalg.qr(rng.normal(size=(24, 24)))[0] + 1).astype(np.float32)
    hasher = small(32, n_steps=200, dictionary_ratio=2, dictionary=dictionary).fit(blobs)
    before = hasher.score(new)
    steps = hasher.partial_fit(new, n_steps=200).training_["steps"]
    assert steps == 200
    assert hasher.score(new) > 0.8 * before  # scores are negative errors
    assert np.isfinite([entry["loss"] for entry in hasher.history_]).all()


@pytest.mark.parametrize("before", ["refitted", "gaussian"])
def test_partial_fit_can_begin_to_learn_the_dictionary(before: str, blobs: Any) -> None:
    hasher = small(dictionary=before, n_steps=100).fit(blobs)
    fitted = hasher._dictionary()
    hasher.set_params(dictionary="learned").partial_fit(blobs, n_steps=1)
    np.testing.assert_allclose(hasher.dictionary_, fitted, atol=0.01)


@pytest.mark.parametrize("other", [{"n_bits": 32}, {"dictionary_ratio": 2}])
def test_partial_fit_refuses_networks_of_another_size(other: dict[str, int], blobs: Any) -> None:
    hasher = small(n_steps=20).fit(blobs)
    before = hasher.weights_.copy()
    with pytest.raises(ValueError, match="16 bits and 1024 units .* set them back"):
        hasher.set_params(**other).partial_fit(blobs)
    np.testing.assert_array_equal(hasher.weights_, before)


def test_partial_fit_is_fit_for_a_hasher_that_never_learned(blobs: Any) -> None:
    first = small(n_steps=20).partial_fit(blobs)
    assert first.fingerprint == small(n_steps=20).fit(blobs).fingerprint
    with pytest.raises(ValueError, match="24 features"):
        first.partial_fit(blobs[:, :9])
