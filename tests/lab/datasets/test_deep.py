from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sigah.lab.datasets import deep
from sigah.lab.datasets.deep import (
    EFFICIENTNET_LITE0,
    MOBILENET_V2,
    Folded,
    Layer,
    Network,
    Stage,
    convolve,
    features,
    forward,
    read_weights,
)

NETWORKS = {"mobilenet": MOBILENET_V2, "efficientnet": EFFICIENTNET_LITE0}
TINY = replace(MOBILENET_V2, stages=(Stage(1, 32, 2, 1, 3), Stage(2, 8, 2, 2, 5)))
RNG = np.random.default_rng(0)


def checkpoint(network: Network, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights in the order of a real checkpoint, with its count of batches."""
    draw = torch.Generator().manual_seed(seed)
    stored = {}
    for number, layer in enumerate(layer for block in network.blocks() for layer in block):
        n = layer.outputs
        fan = layer.shape[1] * layer.kernel**2
        stored |= {
            f"{number}.weight": torch.randn(layer.shape, generator=draw) * fan**-0.5,
            f"{number}.gain": 1 + torch.rand(n, generator=draw),
            f"{number}.bias": torch.randn(n, generator=draw),
            f"{number}.mean": torch.randn(n, generator=draw),
            f"{number}.variance": 0.5 + torch.rand(n, generator=draw),
            f"{number}.batches": torch.tensor(7),
        }
    return stored


def saved(content: object) -> io.BytesIO:
    stream = io.BytesIO()
    torch.save(content, stream)
    stream.seek(0)
    return stream


def reference(maps: NDArray, weight: NDArray, layer: Layer, before: int, after: int) -> NDArray:
    """The sum that defines a convolution, one term of the kernel at a time."""
    padded = np.pad(maps, ((0, 0), (0, 0), (before, after), (before, after)))
    size = -(-maps.shape[2] // layer.stride)
    found = np.zeros((len(maps), layer.outputs, size, size))
    per_group = layer.outputs // layer.groups
    for output in range(layer.outputs):
        first = output // per_group * weight.shape[1]
        for channel in range(weight.shape[1]):
            for row in range(layer.kernel):
                for column in range(layer.kernel):
                    window = padded[:, first + channel, row:, column:]
                    window = window[:, :: layer.stride, :: layer.stride][:, :size, :size]
                    found[:, output] += weight[output, channel, row, column] * window
    return found


@pytest.mark.parametrize(
    ("layer", "side", "pads_after", "before", "after"),
    [
        (Layer(3, 4, kernel=3, stride=2), 8, False, 1, 1),
        (Layer(3, 4, kernel=3, stride=2), 8, True, 0, 1),
        (Layer(3, 4, kernel=3, stride=2), 7, True, 1, 1),
        (Layer(4, 4, kernel=5, stride=2, groups=4), 6, True, 1, 2),
        (Layer(4, 4, kernel=5, stride=1, groups=4), 6, True, 2, 2),
        (Layer(4, 4, kernel=5, stride=2, groups=4), 6, False, 2, 2),
        (Layer(4, 6, clipped=False), 5, True, 0, 0),
        (Layer(4, 6, clipped=False), 5, False, 0, 0),
    ],
)
def test_a_layer_is_its_definition(
    layer: Layer, side: int, pads_after: bool, before: int, after: int
) -> None:
    maps = RNG.normal(size=(2, layer.inputs, side, side)) * 4
    weight, bias = RNG.normal(size=layer.shape), RNG.normal(size=layer.outputs)
    folded = Folded(torch.tensor(weight), torch.tensor(bias))
    found = convolve(torch.tensor(maps), layer, folded, pads_after=pads_after)
    expected = reference(maps, weight, layer, before, after) + bias[:, None, None]
    if layer.clipped:
        expected = np.clip(expected, 0, 6)
        assert (expected == 0).any() and (expected == 6).any()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_block_is_its_definition() -> None:
    """Batch normalisation step by step, and the input added where stride and width allow."""
    stored = checkpoint(TINY)
    layers = read_weights(saved(stored), TINY)
    images = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)
    found = forward(torch.from_numpy(images), TINY, layers)

    maps, number, added = images.astype(float), 0, []
    for block in TINY.blocks():
        before = maps
        for layer in block:
            names = ("weight", "gain", "bias", "mean", "variance")
            weight, gain, bias, mean, variance = (
                stored[f"{number}.{name}"].double().numpy() for name in names
            )
            half = layer.kernel // 2
            maps = reference(maps, weight, layer, half, half)
            maps = (maps - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
            maps = maps * gain[:, None, None] + bias[:, None, None]
            maps = np.clip(maps, 0, 6) if layer.clipped else maps
            number += 1
        added.append(len(block) > 1 and maps.shape == before.shape)
        maps = maps + before if added[-1] else maps
    assert added == [False, True, True, False, True, False]
    np.testing.assert_allclose(found, maps, atol=2e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_real_architecture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS[name]
    stored = checkpoint(network)
    counted = {"mobilenet": 2_223_872, "efficientnet": 3_371_008}[name]
    learned = [tensor for key, tensor in stored.items() if not key.endswith(("mean", "variance"))]
    assert sum(tensor.numel() for tensor in learned if tensor.ndim) == counted
    stored["classifier"] = torch.zeros(1000, 1280)
    layers = read_weights(saved(stored), network)
    pixels = RNG.random((5, 28 * 28), dtype=np.float32)
    monkeypatch.setattr(deep, "SIDE", 64)
    calls: list[tuple[str, int, int | None]] = []
    whole = features(pixels, network, layers, progress=lambda *call: calls.append(call))
    assert whole.dtype == np.float32 and whole.shape == (5, 1280)
    assert whole.min() >= 0 and whole.max() <= 6 and (whole.std(axis=0) > 0).sum() > 300
    assert calls == [("features of images", whole.nbytes, whole.nbytes)]
    np.testing.assert_array_equal(features(pixels, network, layers), whole)
    monkeypatch.setattr(deep, "BATCH", 2)
    np.testing.assert_allclose(features(pixels, network, layers), whole, atol=1e-4)


def test_pictures_enter_in_the_right_range() -> None:
    """A network of one channel lets grey through: what is seen is the normalised pixel."""
    layers = read_weights(saved(checkpoint(TINY)), TINY)
    seen: list[torch.Tensor] = []
    original = deep.forward

    def spy(images: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(images)
        return original(images, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "forward", spy)
        features(np.tile(np.float32([[0], [1]]), (1, 9)), TINY, layers)
    (images,) = seen
    assert images.shape == (2, 3, 96, 96)
    black, white = images[0, :, 5, 5].numpy(), images[1, :, 50, 90].numpy()
    np.testing.assert_allclose(black, [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-5)
    np.testing.assert_allclose(white, [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-5)
    assert np.ptp(images[0, 0].numpy()) == 0


def test_rows_that_are_no_squares() -> None:
    with pytest.raises(ValueError, match="rows of 10 pixels are not square"):
        features(np.zeros((2, 10), np.float32), TINY, [])


def without(key: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in checkpoint(TINY).items() if name != key}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (without("3.gain"), r"4\.weight has shape .*, expected \(32,\)"),
        (without("3.weight"), r"3\.gain has shape \(32,\), expected \(32, 1, 3, 3\)"),
        (dict(list(checkpoint(TINY).items())[:-3]), r"ends where weights of shape \(1280,\)"),
        (checkpoint(replace(TINY, stages=TINY.stages * 2)), r"expected \(1280, 8, 1, 1\)"),
        ({**checkpoint(TINY), "more": torch.zeros(1, 1, 1, 1)}, "more convolutions"),
        ({**checkpoint(TINY), "0.weight": torch.zeros(32, 1, 3, 3)}, r"expected \(32, 3, 3, 3\)"),
        ({}, "ends where"),
        (torch.zeros(3), "is a Tensor, expected named tensors"),
        ([1, 2], "is a list"),
        ({"0.weight": 7}, "0.weight is a int, expected a tensor"),
    ],
)
def test_hostile_checkpoints(content: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_weights(saved(content), TINY)


@pytest.mark.parametrize("stored", [b"", b"weights", saved(checkpoint(TINY)).getvalue()[:-99]])
def test_damaged_checkpoints(stored: bytes) -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        read_weights(io.BytesIO(stored), TINY)


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(trap),)

    for stored in (saved({"weight": Trap()}), io.BytesIO(pickle.dumps(Trap(), 2))):
        with pytest.raises(ValueError, match="not a checkpoint"):
            read_weights(stored, TINY)
    assert not trap.exists()


def test_weights_that_are_not_finite() -> None:
    stored = checkpoint(TINY)
    stored["0.variance"] = torch.full((32,), -1.0)
    layers = read_weights(saved(stored), TINY)
    with pytest.raises(ValueError, match="NaN"):
        features(np.zeros((1, 9), np.float32), TINY, layers)
