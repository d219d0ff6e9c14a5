"""What methods on pixels share: a convolutional trunk, which encodes with NumPy alone.

Tim Salimans et al., "Improved techniques for training GANs", NeurIPS 2016, have the trunk: nine
convolutions, then the mean over the image.
"""

from __future__ import annotations

from abc import ABC
from functools import lru_cache
from math import isqrt
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.hashers.base import ScoringHasher
from sigah.hashers.deep.heads import TrainedHead
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import nn

    from sigah.hashers.deep.training import Training
    from sigah.hashers.deep.trunk import Trunk

__all__ = ["SLOPE", "TRUNK", "PixelHasher", "Shape", "convolutions", "image_shape"]

SLOPE = 0.2  # of leaky ReLU, which follows each convolution
BYTES = 1 << 24  # of the inputs of one convolution: so many images are encoded at a time

Shape = tuple[int, int, int]  # height, width, channels


class Layer(NamedTuple):
    """A convolution of the trunk: sides of its kernel, its stride, and its filters."""

    kernel: int
    stride: int
    width: int  # filters, in units of `n_filters`
    padded: bool = True


TRUNK = (
    *(Layer(3, 1, 1), Layer(3, 1, 1), Layer(3, 2, 1)),
    *(Layer(3, 1, 2), Layer(3, 1, 2), Layer(3, 2, 2)),
    *(Layer(3, 1, 2, padded=False), Layer(1, 1, 2), Layer(1, 1, 2)),
)
NAMES = tuple(
    f"{what}{number}_" for number in range(1, len(TRUNK) + 2) for what in ("weights", "bias")
)


class Convolution(NamedTuple):
    """A convolution on maps of a given size.

    Attributes
    ----------
    padding : tuple of int
        Rows above and below, columns left and right, that are 0.
    size : tuple of int
        Height and width of the maps that it makes.
    inputs : ndarray of int, shape (pixels of the output, kernel * kernel)
        The pixels that each output pixel is made from. The number behind the last pixel stands for
        one that is 0.
    """

    layer: Layer
    padding: tuple[int, int]
    size: tuple[int, int]
    inputs: NDArray[np.intp]


@lru_cache(maxsize=8)
def convolutions(height: int, width: int) -> tuple[Convolution, ...]:
    """The convolutions of the trunk for images of a size.

    An unpadded convolution is padded along a side of fewer pixels than its kernel.
    """
    made = []
    size = height, width
    for layer in TRUNK:
        reach = layer.kernel // 2
        pads = [reach if layer.padded or n < layer.kernel else 0 for n in size]
        outside = size[0] * size[1]
        numbers = np.arange(outside).reshape(size)
        numbers = np.pad(numbers, [(p, p) for p in pads], constant_values=outside)
        windows = np.lib.stride_tricks.sliding_window_view(numbers, (layer.kernel, layer.kernel))
        windows = windows[:: layer.stride, :: layer.stride]
        size = windows.shape[0], windows.shape[1]
        inputs = np.ascontiguousarray(windows.reshape(size[0] * size[1], -1))
        made.append(Convolution(layer, (pads[0], pads[1]), size, inputs))
    return tuple(made)


def image_shape(dim: int, height: int | None, channels: int | None) -> Shape:
    """Height, width and channels of images whose rows have ``dim`` numbers.

    Raises
    ------
    ValueError
        If no image has so many numbers.

    Examples
    --------
    >>> from sigah.hashers.deep.pixels import image_shape
    >>> image_shape(3072, None, None), image_shape(784, None, None), image_shape(96, 4, 3)
    ((32, 32, 3), (28, 28, 1), (4, 8, 3))
    """
    if height is not None:
        height = check_whole(height, "height", least=1)
    if channels is not None:
        channels = check_whole(channels, "channels", least=1)
    # three times a square is no square: the number tells which it is
    for depth in (3, 1) if channels is None else (channels,):
        pixels = dim // depth
        side = isqrt(pixels) if height is None else height
        if pixels * depth == dim and pixels % side == 0 and (height or side * side == pixels):
            return side, pixels // side, depth
    asked = ", ".join(
        f"{name}={value}"
        for name, value in (("height", height), ("channels", channels))
        if value is not None
    )
    raise ValueError(
        f"rows of {dim} numbers are no images{f' with {asked}' if asked else ''}: flatten images of"
        " (height, width, channels) to rows; set height unless they are square, and channels unless"
        " they are RGB or grey"
    )


class PixelHasher(TrainedHead, ScoringHasher, ABC):
    """A hasher that learns from images; a network turns their pixels into scores.

    Attributes
    ----------
    shape_ : ndarray of int, shape (3,)
        Height, width and channels.
    range_ : ndarray of float64, shape (2,)
        The least and the largest number of the training images, which the network sees as -1 and 1.
    weights1_, ..., weights9_ : ndarray of float32, shape (kernel * kernel * inputs, filters)
        Of each convolution.
    weights10_ : ndarray of float32, shape (2 * n_filters, n_bits)
        Of the layer that makes the scores.
    bias1_, ..., bias10_ : ndarray of float64, shape (filters,)
    """

    fit_cost = "minutes"
    fitted_arrays: ClassVar[tuple[str, ...]] = ("shape_", "range_", *NAMES)

    height: int | None
    channels: int | None
    n_filters: int

    shape_: NDArray[np.int64]
    range_: NDArray[np.float64]

    def layers(self) -> list[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        """Weights and bias of each convolution, then of the layer that makes the scores."""
        arrays = [getattr(self, name) for name in NAMES]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    def _start(self, rows: Rows, random_state: np.random.RandomState) -> Training:
        """As of a head; batches are rows of pixels between -1 and 1."""
        training = super()._start(rows, random_state)
        check_whole(self.n_filters, "n_filters", least=1)
        self.shape_ = np.array(image_shape(rows.dim, self.height, self.channels))
        extremes = [(block.min(), block.max()) for _, block in training.rows.blocks()]
        low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
        self.range_ = np.array([low, high], np.float64)
        centre, training.scale = middle(self.range_)
        training.mean = np.full(rows.dim, centre)
        return training

    @property
    def _shape(self) -> Shape:
        height, width, channels = self.shape_.tolist()
        return height, width, channels

    def _keep(self, training: Training, trunk: Trunk, last: nn.Linear) -> None:
        """Set the fitted attributes."""
        weights = [training.numpy(layer.weight()) for layer in trunk.layers]
        biases = [training.numpy(layer.bias) for layer in trunk.layers]
        # (filters, inputs, k, k) to (k k inputs, filters): a product with the pixels of a window
        folded = [W.transpose(2, 3, 1, 0).reshape(-1, len(W)) for W in weights]
        folded.append(training.numpy(last.weight).T)
        biases.append(training.numpy(last.bias))
        for number, (W, c) in enumerate(zip(folded, biases, strict=True), start=1):
            setattr(self, f"weights{number}_", np.ascontiguousarray(W, np.float32))
            setattr(self, f"bias{number}_", c.astype(np.float64))
        self._summarize(training)
        self.training_["passes"] = round(
            training.n_steps * min(training.batch_size, len(training.rows)) / len(training.rows), 3
        )

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.floating]:
        # float64, so that the sign of a score does not depend on how BLAS splits the block
        *layers, last = [(W.astype(np.float64), c) for W, c in self.layers()]
        height, width, channels = self._shape
        steps = convolutions(height, width)
        centre, scale = middle(self.range_)
        most = max(len(at.inputs) * len(W) for at, (W, _) in zip(steps, layers, strict=True))
        few = max(1, BYTES // (8 * most))
        scores = np.empty((len(block), self.n_bits))
        for start in range(0, len(block), few):
            x = (block[start : start + few].astype(np.float64) - centre) / scale
            maps = x.reshape(len(x), height * width, channels)
            for step, (W, c) in zip(steps, layers, strict=True):
                maps = convolved(maps, step, W)
                maps += c
                np.maximum(maps, SLOPE * maps, out=maps)
            scores[start : start + few] = maps.mean(axis=1) @ last[0] + last[1]
        return scores


def convolved(
    maps: NDArray[np.float64], step: Convolution, W: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One convolution of maps ``(n, pixels, channels)``."""
    n, _, channels = maps.shape
    if step.inputs.shape[1] > 1:
        maps = np.concatenate([maps, np.zeros((n, 1, channels))], axis=1)
        maps = maps.take(step.inputs.ravel(), axis=1)
    made: NDArray[np.float64] = maps.reshape(n * len(step.inputs), -1) @ W
    return made.reshape(n, len(step.inputs), -1)


def middle(ends: NDArray[np.float64]) -> tuple[float, float]:
    """The middle of an interval, and the half of its length; 1 of an empty one."""
    low, high = ends.tolist()
    return (low + high) / 2, (high - low) / 2 or 1.0
