"""Networks of the methods on pixels (torch): the trunk, a generator and its step, transforms."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sigah.hashers.deep.pixels import SLOPE, Convolution, Shape, convolutions
from sigah.hashers.deep.training import Training

__all__ = [
    "Generator",
    "Trunk",
    "WeightNormed",
    "affine",
    "begin_balanced",
    "descend",
    "feature_matching",
    "moved",
]

# shares that dropout sets to 0, before the first, the fourth and the seventh convolution
DROPPED = {0: 0.2, 3: 0.5, 6: 0.5}
START = 0.05  # deviation of first weights
LEAST = 1e-4  # deviation of outputs that are scaled; less is rounding, of images that are all alike
FIRST = 500  # images by which first weights are scaled


class WeightNormed(nn.Module):
    """A convolution whose filters are ``g v / ||v||``, with g and v to learn.

    T. Salimans and D. Kingma, "Weight normalization", NeurIPS 2016.
    """

    def __init__(self, training: Training, n_inputs: int, n_filters: int, at: Convolution) -> None:
        super().__init__()
        kernel = at.layer.kernel
        v = torch.empty(n_filters, n_inputs, kernel, kernel)
        v.normal_(0, START, generator=training.draws)
        self.v = nn.Parameter(v.to(training.device))
        self.g = nn.Parameter(torch.ones(n_filters, device=training.device))
        self.bias = nn.Parameter(torch.zeros(n_filters, device=training.device))
        self.stride, self.padding = at.layer.stride, at.padding

    def weight(self) -> Tensor:
        """The filters."""
        return self.v * (self.g / self.v.flatten(1).norm(dim=1))[:, None, None, None]

    def forward(self, maps: Tensor) -> Tensor:
        """The convolution, without what follows it."""
        return F.conv2d(maps, self.weight(), self.bias, self.stride, self.padding)


class Trunk(nn.Module):
    """Images, as rows of pixels, to features ``(B, 2 * n_filters)``.

    Filters are scaled so that each begins with mean 0 and variance 1 over some images, as the
    authors of weight normalisation do. ``first_features`` are those of these images.
    """

    def __init__(self, training: Training, shape: Shape, n_filters: int) -> None:
        super().__init__()
        self.shape, self.training_loop = shape, training
        height, width, n_inputs = shape
        layers = []
        for at in convolutions(height, width):
            n_outputs = n_filters * at.layer.width
            layers.append(WeightNormed(training, n_inputs, n_outputs, at))
            n_inputs = n_outputs
        self.layers: list[WeightNormed] = layers
        self.registered = nn.ModuleList(layers)
        self.n_features = n_inputs
        chosen = training.random_state.permutation(len(training.rows))[:FIRST]
        self.first_features = self._scaled(training.vectors(chosen))

    def maps(self, x: Tensor) -> Tensor:
        """Rows of pixels as maps ``(B, channels, height, width)``."""
        return x.reshape(-1, *self.shape).permute(0, 3, 1, 2)

    def forward(self, maps: Tensor, *, drop: bool = True) -> Tensor:
        """Features of maps; ``drop``: with dropout."""
        for number, layer in enumerate(self.layers):
            if drop and number in DROPPED:
                kept = self.training_loop.uniform(*maps.shape) >= DROPPED[number]
                maps = maps * kept / (1 - DROPPED[number])
            maps = F.leaky_relu(layer(maps), SLOPE)
        return maps.mean(dim=(2, 3))

    @torch.no_grad()
    def _scaled(self, x: Tensor) -> Tensor:
        """Scale the filters by images; returns the features of these."""
        maps = self.maps(x)
        for layer in self.layers:
            made = layer(maps)
            spread, mean = torch.std_mean(made, dim=(0, 2, 3), correction=0)
            slope = torch.where(spread > LEAST, 1 / spread, 1)
            layer.g.mul_(slope)
            layer.bias.copy_(-mean * slope)
            maps = F.leaky_relu((made - mean[:, None, None]) * slope[:, None, None], SLOPE)
        return maps.mean(dim=(2, 3))


@torch.no_grad()
def begin_balanced(layer: nn.Linear, features: Tensor, deviation: float | None = None) -> nn.Linear:
    """Shift a layer so that its outputs have mean 0 on some features, which have other means.

    With ``deviation``, they are scaled to it too.
    """
    spread, mean = torch.std_mean(features @ layer.weight.T, dim=0, correction=0)
    slope = torch.ones_like(mean)
    if deviation is not None:
        slope = torch.where(spread > LEAST, deviation / spread, slope)
    layer.weight.mul_(slope[:, None])
    layer.bias.copy_(-mean * slope)
    return layer


class Generator(nn.Module):
    """Numbers to images, as maps between -1 and 1: one layer, then three that double the side."""

    def __init__(self, training: Training, n_inputs: int, shape: Shape, n_filters: int) -> None:
        super().__init__()
        height, width, channels = shape
        self.shape = shape
        base = max(1, round(n_filters * 4 / 3))  # 128 beside a trunk of 96, as the authors have
        self.size = 4 * base, -(-height // 8), -(-width // 8)
        self.first = training.linear(n_inputs, math.prod(self.size))
        sizes = (4 * base, 2 * base, base, channels)
        doubling = [
            nn.utils.skip_init(nn.ConvTranspose2d, n, m, 4, 2, 1) for n, m in pairwise(sizes)
        ]
        for layer in doubling:
            nn.init.normal_(layer.weight, 0, START, generator=training.draws)
            nn.init.zeros_(layer.bias)
        self.doubling = nn.ModuleList(doubling)
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in sizes[:-1])
        self.to(training.device)

    def forward(self, z: Tensor) -> Tensor:
        """Images ``(B, channels, height, width)``."""
        maps = self.first(z).reshape(-1, *self.size)
        for norm, layer in zip(self.norms, self.doubling, strict=True):
            maps = layer(norm(maps).relu())
        height, width, _ = self.shape
        return maps[:, :, :height, :width].tanh()


def feature_matching(real: Tensor, made: Tensor) -> Tensor:
    """Mean squared difference between the mean features of images and of generated ones.

    T. Salimans et al., "Improved techniques for training GANs", NeurIPS 2016, Section 3.1.
    """
    return (real.mean(dim=0) - made.mean(dim=0)).square().mean()


def descend(loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """One step of a network's own optimizer; other networks get no gradient."""
    parameters = list(network.parameters())
    for each, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        each.grad = gradient
    optimizer.step()


def affine(maps: Tensor, degrees: Tensor, shifts: Tensor, flips: Tensor) -> Tensor:
    """Images rotated about their middle, shifted and mirrored; each by its own amount.

    Parameters
    ----------
    maps : Tensor, shape (B, channels, height, width)
    degrees : Tensor, shape (B,)
    shifts : Tensor, shape (B, 2)
        To the right and downwards, in shares of width and height.
    flips : Tensor, shape (B,)
        -1 to mirror left and right, otherwise 1.
    """
    height, width = maps.shape[2:]
    cos, sin = torch.cos(degrees.deg2rad()), torch.sin(degrees.deg2rad())
    # the place in the old image of each pixel of the new one, in coordinates from -1 to 1
    theta = torch.zeros(len(maps), 2, 3, dtype=maps.dtype, device=maps.device)
    theta[:, 0, 0], theta[:, 0, 1] = flips * cos, -flips * sin * height / width
    theta[:, 1, 0], theta[:, 1, 1] = sin * width / height, cos
    theta[:, :, 2] = -2 * (theta[:, :, :2] @ shifts[:, :, None])[:, :, 0]
    grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, padding_mode="reflection", align_corners=False)


def moved(training: Training, maps: Tensor, *, degrees: float, shift: float, flip: bool) -> Tensor:
    """Images under small random transforms, each under its own."""
    n = len(maps)
    turns = degrees * (2 * training.uniform(n) - 1)
    shifts = shift * (2 * training.uniform(n, 2) - 1)
    mirrored = training.uniform(n) < (0.5 if flip else 0.0)
    return affine(maps, turns, shifts, torch.where(mirrored, -1.0, 1.0))
