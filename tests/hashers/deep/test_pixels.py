"""Methods on pixels: encoding against torch, networks, transforms, losses by their formulas."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sigah
from sigah.hashers.deep import bin_gan, hash_gan
from sigah.hashers.deep.pixels import SLOPE, convolutions, image_shape
from sigah.hashers.deep.training import Training
from sigah.hashers.deep.trunk import (
    Generator,
    Trunk,
    affine,
    begin_balanced,
    descend,
    feature_matching,
    moved,
)
from sigah.onnx import export_encoder
from sigah.rows.blocks import Rows

CLASSES = (sigah.HashGAN, sigah.BinGAN, sigah.PixelDeepBit)
SHAPES = ((9, 9, 3), (8, 5, 1), (1, 24, 1), (2, 3, 3))


def images(n: int, shape: tuple[int, ...], seed: int = 0) -> Any:
    """Noise that is smooth, as rows of uint8."""
    noise = np.random.default_rng(seed).uniform(size=(n, *shape))
    smooth = noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2)
    return (smooth / smooth.max() * 255).astype(np.uint8).reshape(n, -1)


def started(X: Any) -> Training:
    """The training of a hasher whose images lie between -1 and 1."""
    asked: dict[str, Any] = {"n_steps": 10, "batch_size": 8, "device": "cpu", "verbose": False}
    training = Training(Rows(X), np.random.RandomState(0), title="Test", **asked)
    training.mean, training.scale = np.full(X.shape[1], 127.5), 127.5
    return training


def tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draws, dtype=torch.float64)


def exact(function: Any, *inputs: torch.Tensor) -> bool:
    """Whether autograd's gradient is the limit of differences."""
    return torch.autograd.gradcheck(function, [each.requires_grad_() for each in inputs])


# ---------------------------------------------------------------- encoding


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_without_torch_and_in_onnx_are_those_of_the_network(
    shape: tuple[int, int, int], tmp_path: Path
) -> None:
    X = images(60, shape)
    training = started(X)
    trunk = Trunk(training, shape, 5)
    layer = begin_balanced(training.linear(10, 16), trunk.first_features, 1.0)
    expected = layer(trunk(trunk.maps(training.vectors(np.arange(60))), drop=False))

    hasher = sigah.HashGAN(16, batch_size=8)
    hasher.shape_, hasher.range_ = np.array(shape), np.array([0.0, 255.0])
    training.history.append({"step": 1, "loss": 0.0})
    hasher._keep(training, trunk, layer)
    hasher.n_features_in_ = X.shape[1]
    scores = hasher.project(X)
    np.testing.assert_allclose(scores, expected.detach().numpy(), atol=1e-4)
    assert scores.std(axis=0) == pytest.approx(1, abs=1e-3)

    export_encoder(hasher, tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    (codes,) = session.run(None, {"vectors": X.astype(np.float32)})
    np.testing.assert_array_equal(codes, hasher.transform(X))


def test_maps_have_the_authors_sizes() -> None:
    sizes = [at.size for at in convolutions(32, 32)]
    assert sizes == [(n, n) for n in (32, 32, 16, 16, 16, 8, 6, 6, 6)]


@pytest.mark.parametrize("method", CLASSES)
def test_a_file_keeps_shape_range_and_codes(method: Any, tmp_path: Path) -> None:
    X = images(40, (4, 6, 3))
    hasher = method(8, height=4, channels=3, n_filters=3, n_steps=2, random_state=0).fit(X)
    hasher.save(tmp_path / "model")
    loaded: Any = sigah.load(tmp_path / "model")
    assert loaded.shape_.tolist() == [4, 6, 3]
    assert loaded.range_.tolist() == [X.min(), X.max()]
    np.testing.assert_array_equal(loaded.transform(X), hasher.transform(X))


@pytest.mark.parametrize(
    ("dim", "height", "channels", "expected"),
    [
        *((3072, None, None, (32, 32, 3)), (784, None, None, (28, 28, 1))),
        *((96, 4, 3, (4, 8, 3)), (96, 4, 1, (4, 24, 1)), (64, None, 4, (4, 4, 4))),
        *((3, None, None, (1, 1, 3)), (1, None, None, (1, 1, 1)), (12, 1, None, (1, 4, 3))),
    ],
)
def test_shapes_are_told_by_the_length_of_a_row(
    dim: int, height: int | None, channels: int | None, expected: tuple[int, ...]
) -> None:
    assert image_shape(dim, height, channels) == expected


@pytest.mark.parametrize(
    ("dim", "height", "channels", "message"),
    [
        (24, None, None, "rows of 24 numbers are no images: flatten"),
        (24, 5, None, "rows of 24 numbers are no images with height=5: flatten"),
        (24, 5, 3, "no images with height=5, channels=3"),
        (2, None, 3, "no images with channels=3"),
        (24, 0, None, "height must be a whole number"),
        (24, None, 1.5, "channels must be a whole number"),
    ],
)
def test_rows_that_are_no_images_are_refused(
    dim: int, height: Any, channels: Any, message: str
) -> None:
    X = np.zeros((20, dim), np.uint8)
    with pytest.raises(ValueError, match=message):
        sigah.HashGAN(8, height=height, channels=channels, n_steps=1).fit(X)


def test_a_square_row_has_one_reading() -> None:
    """No number is both a square and three times a square: RGB or grey needs no setting."""
    squares = {side * side for side in range(1, 2000)}
    assert not squares & {3 * square for square in squares}


# ---------------------------------------------------------------- networks


def test_every_filter_begins_with_mean_0_and_variance_1() -> None:
    training = started(images(200, (8, 8, 3)))
    trunk = Trunk(training, (8, 8, 3), 4)
    maps = trunk.maps(training.vectors(np.arange(200)))
    features = trunk(maps, drop=False).detach()
    np.testing.assert_allclose(features.mean(), trunk.first_features.mean(), rtol=1e-4)
    for layer in trunk.layers:
        maps = layer(maps)
        spread, mean = torch.std_mean(maps, dim=(0, 2, 3), correction=0)
        np.testing.assert_allclose(mean.detach(), 0, atol=1e-3)
        np.testing.assert_allclose(spread.detach(), 1, atol=1e-3)
        maps = F.leaky_relu(maps, SLOPE)


def test_the_length_of_a_filter_is_learned_apart_from_its_direction() -> None:
    layer = Trunk(started(images(20, (4, 4, 1))), (4, 4, 1), 3).layers[1]
    lengths = layer.weight().flatten(1).norm(dim=1)
    np.testing.assert_allclose(lengths.detach(), layer.g.abs().detach(), rtol=1e-5)
    with torch.no_grad():
        layer.v.mul_(7)
    np.testing.assert_allclose(
        layer.weight().flatten(1).norm(dim=1).detach(), lengths.detach(), rtol=1e-5
    )


def test_dropout_keeps_the_mean_and_draws_from_the_seed() -> None:
    X, alone = images(20, (8, 8, 1)), nn.Identity()
    found = []
    for _ in range(2):
        trunk = Trunk(started(X), (8, 8, 1), 2)
        trunk.layers = [alone]  # type: ignore[list-item]
        found.append(trunk(torch.ones(4000, 1, 8, 8)))
    assert float(found[0].mean()) == pytest.approx(1, abs=0.01)
    # of 64 pixels, each 1 / .8 with chance .8 and otherwise 0
    assert float(found[0].std()) == pytest.approx((0.2 / 0.8 / 64) ** 0.5, rel=0.1)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("shape", SHAPES)
def test_made_images_have_the_shape_and_the_range_of_images(shape: tuple[int, int, int]) -> None:
    training = started(images(20, shape))
    generator = Generator(training, 10, shape, 6)
    made = generator(training.uniform(7, 10))
    assert made.shape == (7, shape[2], *shape[:2])
    assert made.abs().max() <= 1
    assert Trunk(training, shape, 3)(made).shape == (7, 6)


# -------------------------------------------------------------- transforms


def still(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.zeros(n), torch.zeros(n, 2), torch.ones(n)


def test_each_image_has_its_own_transform() -> None:
    maps = tensor(4, 3, 6, 6).float()
    degrees, shifts, flips = still(4)
    degrees[1], flips[2] = 90, -1
    shifts[3] = torch.tensor([1 / 6, 2 / 6])  # a pixel to the right, two downwards
    found = affine(maps, degrees, shifts, flips)
    np.testing.assert_allclose(found[0], maps[0], atol=1e-5)
    np.testing.assert_allclose(found[1], maps[1].rot90(1, (1, 2)), atol=1e-5)
    np.testing.assert_allclose(found[2], maps[2].flip(2), atol=1e-5)
    np.testing.assert_allclose(found[3, :, 2:, 1:], maps[3, :, :-2, :-1], atol=1e-5)


def test_half_a_turn_mirrors_an_oblong_image_twice() -> None:
    maps = tensor(1, 1, 4, 9).float()
    degrees, shifts, flips = still(1)
    np.testing.assert_allclose(
        affine(maps, degrees + 180, shifts, flips), maps.flip(2, 3), atol=1e-5
    )


def test_a_turn_of_an_oblong_image_keeps_angles() -> None:
    """The pixel two to the right of the middle goes two upwards."""
    maps = torch.zeros(1, 1, 5, 9)
    maps[0, 0, 2, 6] = 1
    degrees, shifts, flips = still(1)
    assert affine(maps, degrees + 90, shifts, flips)[0, 0, 0, 4] == pytest.approx(1, abs=1e-5)


def test_random_transforms_stay_small_and_differ() -> None:
    training = started(images(20, (8, 8, 1)))
    ramp = torch.linspace(-1, 1, 32).expand(50, 1, 32, 32)
    found = moved(training, ramp, degrees=10, shift=0.1, flip=False)
    middle = found[:, 0, 15:17, 15:17].mean(dim=(1, 2))
    # a shift by a tenth moves values between -1 and 1 by .2; a turn adds a part of the other shift
    assert middle.abs().max() <= 0.2 * (1 + np.sin(np.radians(10))) * 1.01
    assert middle.std() > 0.05
    mirrored = moved(training, ramp, degrees=0, shift=0, flip=True)[:, 0, 0, 0] > 0
    assert 10 < mirrored.sum() < 40


# ------------------------------------------------------------------ losses


def test_entropy_of_bits_is_the_formula_and_finite_for_any_logit() -> None:
    u = tensor(6, 5)
    p = u.sigmoid().numpy()
    expected = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
    assert float(hash_gan.entropy(u)) == pytest.approx(expected)
    sure = torch.tensor([[-200.0, 200.0, 1e4]], requires_grad=True)
    hash_gan.entropy(sure).backward()
    assert float(hash_gan.entropy(sure.detach())) == 0
    assert sure.grad is not None and (sure.grad == 0).all()


def test_uneven_bits_cost_up_to_log_two() -> None:
    even = torch.tensor([[9.0, -9.0], [-9.0, 9.0]])
    assert float(hash_gan.unevenness(even)) == pytest.approx(-np.log(2))
    constant = torch.full((4, 2), 200.0, requires_grad=True)
    hash_gan.unevenness(constant).backward()
    assert float(hash_gan.unevenness(constant.detach())) == 0
    assert constant.grad is not None and constant.grad.isfinite().all()
    sure = torch.full((4, 2), 9.0, requires_grad=True)
    hash_gan.unevenness(sure).backward()
    assert sure.grad is not None and (sure.grad > 0).all(), "descent makes it less sure"


def test_bits_may_be_independent_with_fewer_bits_than_features() -> None:
    W = torch.linalg.qr(tensor(12, 4))[0].T  # four bits from twelve features
    assert float(hash_gan.dependence(W)) == pytest.approx(0, abs=1e-12)
    W = tensor(4, 12)
    expected = np.square((W @ W.T).numpy() - np.eye(4)).mean()
    assert float(hash_gan.dependence(W)) == pytest.approx(expected)


def test_terms_of_hash_gan_by_their_formulas() -> None:
    u, other, b = tensor(5, 8), tensor(5, 8, seed=1), (tensor(5, 8, seed=2) > 0).double()
    p, q = u.sigmoid().numpy(), other.sigmoid().numpy()
    assert float(hash_gan.consistency(u, other)) == pytest.approx(np.square(p - q).mean())
    assert float(hash_gan.consistency(u, u)) == 0
    expected = np.square(p - b.numpy()).sum(axis=1).mean()
    assert float(hash_gan.recovery(u, b)) == pytest.approx(expected)
    real, made = tensor(5, 1), tensor(5, 1, seed=1)
    chance, fake = real.sigmoid().numpy(), made.sigmoid().numpy()
    expected = -np.log(chance).mean() - np.log(1 - fake).mean()
    assert float(hash_gan.realness(real, made)) == pytest.approx(expected)


def test_terms_of_bin_gan_by_their_formulas() -> None:
    f, high = tensor(5, 8), tensor(5, 12, seed=1)
    s, t = (f / (f.abs() + 0.001)).numpy(), np.sign(high.numpy())
    pairs = [(i, j) for i, j in product(range(5), repeat=2) if i != j]
    matching = np.mean([abs(s[i] @ s[j] / 8 - t[i] @ t[j] / 12) for i, j in pairs])
    assert float(bin_gan.distance_matching(f, high)) == pytest.approx(matching)
    weights = [np.exp(-abs(t[i] @ t[j] / 12) / 2) for i, j in pairs]
    products = [abs(s[i] @ s[j] / 8) for i, j in pairs]
    expected = np.square(s.mean(axis=0)).mean() + np.mean(np.multiply(weights, products))
    assert float(bin_gan.entropy_terms(f, high)) == pytest.approx(expected)
    real, made = tensor(5, 2), tensor(5, 2, seed=1)
    chance, fake = (np.exp(each.numpy()).sum(axis=1) for each in (real, made))
    expected = -np.log(chance / (1 + chance)).mean() / 2 + np.log(1 + fake).mean() / 2
    assert float(bin_gan.realness(real, made)) == pytest.approx(expected)


def test_codes_that_match_their_features_cost_nothing() -> None:
    signs = torch.sign(tensor(6, 16))
    assert float(bin_gan.distance_matching(1e4 * signs, signs)) == pytest.approx(0, abs=1e-6)
    one = torch.ones(6, 16, dtype=torch.float64)
    assert float(bin_gan.entropy_terms(1e4 * one, one)) == pytest.approx(1 + np.exp(-0.5), abs=1e-4)


def test_features_of_bin_gan_are_a_target_without_gradient() -> None:
    f, high = tensor(5, 8).requires_grad_(), tensor(5, 12, seed=1).requires_grad_()
    (bin_gan.distance_matching(f, high) + bin_gan.entropy_terms(f, high)).backward()
    assert high.grad is None and f.grad is not None and f.grad.abs().sum() > 0


def test_gradients_are_exact() -> None:
    u, other = tensor(4, 3), tensor(4, 3, seed=1)
    assert exact(hash_gan.entropy, u)
    assert exact(hash_gan.unevenness, u)
    assert exact(hash_gan.consistency, u, other)
    assert exact(hash_gan.dependence, u)
    assert exact(hash_gan.realness, u, other)
    assert exact(hash_gan.recovery, u, other)
    assert exact(bin_gan.realness, u, other)
    assert exact(feature_matching, u, other)
    far = torch.sign(u.detach()) + u.detach() / 4  # signs are steep at 0
    assert exact(lambda f: bin_gan.distance_matching(f, other.detach()), far)
    assert exact(lambda f: bin_gan.entropy_terms(f, other.detach()), far)


def test_feature_matching_is_the_distance_of_means() -> None:
    real, made = tensor(5, 4), tensor(7, 4, seed=1)
    expected = np.square(real.numpy().mean(axis=0) - made.numpy().mean(axis=0)).mean()
    assert float(feature_matching(real, made)) == pytest.approx(expected)


def test_the_generator_descends_and_the_discriminator_gets_no_gradient() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator, judge = nn.Linear(3, 4), nn.Linear(4, 2)
    z, target = tensor(6, 3).float(), tensor(6, 2, seed=1).float()
    before = [each.detach().clone() for each in judge.parameters()]
    optimizer = torch.optim.SGD(generator.parameters(), 0.1)
    losses = []
    for _ in range(30):
        losses.append(feature_matching(target, judge(generator(z))))
        descend(losses[-1], generator, optimizer)
    assert losses[-1] < 0.5 * losses[0]
    for each, old in zip(judge.parameters(), before, strict=True):
        assert each.grad is None
        np.testing.assert_array_equal(each.detach(), old)


# --------------------------------------------------------------- schedules


def test_the_rate_of_hash_gan_falls_to_a_third_in_five_stages() -> None:
    rates = [hash_gan.rate(done) for done in (0, 0.19, 0.2, 0.5, 0.7, 0.8, 0.999)]
    np.testing.assert_allclose(rates, [1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 2 / 6])


def test_terms_join_when_the_authors_let_them() -> None:
    X = images(30, (4, 4, 1))
    quick: dict[str, Any] = {"n_filters": 2, "n_steps": 11, "batch_size": 10, "random_state": 0}
    joined = {
        method: next(entry["step"] for entry in method(8, **quick).fit(X).history_ if name in entry)
        for method, name in ((sigah.HashGAN, "recovery"), (sigah.PixelDeepBit, "invariance"))
    }
    assert joined == {sigah.HashGAN: 2, sigah.PixelDeepBit: 11}


def test_passes_over_the_images_are_told() -> None:
    hasher = sigah.PixelDeepBit(8, n_filters=2, n_steps=6, batch_size=10, random_state=0)
    assert hasher.fit(images(40, (4, 4, 1))).training_["passes"] == 1.5
