"""DeepBit: balanced, invariant bits with little quantisation loss.

K. Lin, J. Lu, C.-S. Chen and J. Zhou, "Learning compact binary descriptors with unsupervised deep
neural networks", CVPR 2016.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sigah.hashers.deep.heads import LinearHead
from sigah.hashers.deep.pairs import passed_through
from sigah.hashers.deep.pixels import PixelHasher
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DeepBit", "PixelDeepBit", "balance", "invariance", "quantization"]

LAST_STAGE = 1 / 11  # of the steps: the authors make 50,000, then 5,000 with all terms
FULL_RATE = 5 / 11  # of the steps; the rest have a tenth of the rate
DEGREES = 10.0  # by which images are rotated at most


def threshold(y: Tensor) -> Tensor:
    """Bits ``[y > 1/2]`` in {0, 1}, without gradient."""
    return (y.detach() > 0.5).to(y.dtype)


def quantization(y: Tensor) -> Tensor:
    """``||b - y||^2 / 2`` of a vector, mean over the batch, Eq. (2)."""
    return 0.5 * (threshold(y) - y).square().sum(dim=1).mean()


def balance(y: Tensor) -> Tensor:
    """``(mean of a bit - 1/2)^2 / 2``, summed over bits, Eq. (3).

    Gradients pass the threshold unchanged: the mean of bits has none of its own.
    """
    b = passed_through(threshold(y), y)
    return 0.5 * (b.mean(dim=0) - 0.5).square().sum()


def invariance(y: Tensor, other: Tensor) -> Tensor:
    """``||y - y'||^2`` of two views of a vector, mean over the batch, Eq. (4)."""
    return (y - other).square().sum(dim=1).mean()


class DeepBit(LinearHead):
    """Balanced bits with little quantisation loss, similar for two views of a vector.

    The head is one layer with ReLU, ``y = max(0, W^T x + c)``, and the bits are ``[y > 1/2]``. Its
    loss is the error of quantising y (Eq. 2) and the imbalance of the bits (Eq. 3); in the last
    eleventh of the steps also the difference of y between two views (Eq. 4). Fitting costs O(B d r)
    per step of B vectors, encoding O(d r) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_neighbors : int, default=10
        The second view of a vector is drawn among so many nearest neighbours.
    invariance : float, default=1e-3
        Weight of the difference between the views.
    n_steps : int, default=55000
        Batches, as the authors make: 50,000 in the first stage and 5,000 in the second.
    batch_size : int, default=32
    learning_rate : float, default=1e-3
        Of stochastic gradient descent with momentum 0.9, for 4,096 features; with d features it
        is multiplied by 4,096 / d. Divided by 10 after half of the first stage.
    weight_decay : float, default=5e-4
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights, the batches and the neighbours.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (d, n_bits)
    thresholds_ : ndarray of float64, shape (n_bits,)
    history_ : list of dict
        The mean of every loss term, about a hundred entries over the training.
    training_ : dict
        Summary of the fit.

    See Also
    --------
    sigah.PixelDeepBit : A network on pixels, with the same losses.

    Notes
    -----
    The authors train the whole network on images, and the second view is the rotated image. Here
    features are fixed, and the second view is one of the nearest neighbours, by cosine at the mean,
    among 20,000 training vectors. Vectors are centred and scaled to unit mean variance.

    In the authors' Caffe layers, the backward pass of the first two losses is one number, copied to
    every unit: it is not their gradient. Here it is.

    References
    ----------
    Lin, Lu, Chen and Zhou, CVPR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import DeepBit
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> DeepBit(n_bits=32, n_steps=50, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "deep_bit"
    fit_cost = "minutes"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_neighbors: int = 10,
        invariance: float = 1e-3,
        n_steps: int = 55_000,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        weight_decay: float = 5e-4,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_neighbors = n_neighbors
        self.invariance = invariance
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        training = self._start(rows, random_state)
        layer = training.linear(rows.dim, self.n_bits)
        steps = 0

        def loss(x: Tensor, other: Tensor) -> dict[str, Tensor]:
            nonlocal steps
            steps += 1
            y = layer(x).relu()
            terms = {"quantization": quantization(y), "balance": balance(y)}
            if steps > (1 - LAST_STAGE) * training.n_steps:
                terms["invariance"] = self.invariance * invariance(y, layer(other).relu())
            return terms

        training.run(
            loss,
            training.sgd(layer, self.learning_rate, self.weight_decay),
            rate=lambda done: 1.0 if done < FULL_RATE else 0.1,
            neighbors=training.nearest(self.n_neighbors),
        )
        self._keep(training, layer)
        self.thresholds_ = self.thresholds_ + 0.5  # the bit is the sign of W^T x + c - 1/2


class PixelDeepBit(PixelHasher):
    """DeepBit on images: a convolutional network makes the bits, and the views are rotated images.

    Losses and stages are those of :class:`DeepBit`, whose head learns from vectors of any kind. The
    two are separate classes because they learn different things: one layer on fixed features there,
    a network on pixels here, with parameters for the shape of the images. Encoding costs 270
    million multiplications for a 32 x 32 image, a training step three to six times as many.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    height : int, optional
        Of the images, in pixels; by default they are square. A vector is an image row by row, a
        pixel's channels side by side: ``images.reshape(len(images), -1)`` of ``(n, height, width,
        channels)``.
    channels : int, optional
        By default three or one, whichever makes the images square.
    n_filters : int, default=96
        Filters of the first three convolutions; the later ones have twice as many.
    invariance : float, default=1e-3
        Weight of the difference between the views.
    n_steps : int, default=55000
        Batches, as the authors make: 50,000 in the first stage and 5,000 in the second.
    batch_size : int, default=32
    learning_rate : float, default=1e-4
        Of Adam. Divided by 10 after half of the first stage.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights, the batches and the rotations.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    shape_ : ndarray of int, shape (3,)
        Height, width and channels.
    range_ : ndarray of float64, shape (2,)
        The least and the largest number of the training images, which the network sees as -1 and 1.
    weights1_, ..., weights10_ : ndarray of float32
        Of the nine convolutions, and of the layer that makes the bits.
    bias1_, ..., bias10_ : ndarray of float64
    history_ : list of dict
        The mean of every loss term, about a hundred entries over the training.
    training_ : dict
        Summary of the fit.

    See Also
    --------
    sigah.DeepBit : One layer on vectors of any kind, with the same losses.

    Notes
    -----
    The authors begin with VGG16 as trained on ImageNet. Here the network is the one of
    :class:`~sigah.HashGAN`, without dropout, and begins with random weights, so nothing but the
    images is learned from, and figures are not those of the paper. A network that begins so needs
    another optimizer than their gradient descent. Images are rotated by up to ten degrees.

    References
    ----------
    Lin, Lu, Chen and Zhou, CVPR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import PixelDeepBit
    >>> images = np.random.default_rng(0).integers(256, size=(100, 8, 8, 3), dtype=np.uint8)
    >>> rows = images.reshape(100, -1)
    >>> PixelDeepBit(16, n_filters=4, n_steps=2, random_state=0).fit(rows).transform(rows).shape
    (100, 2)
    """

    name: ClassVar[str] = "pixel_deep_bit"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        height: int | None = None,
        channels: int | None = None,
        n_filters: int = 96,
        invariance: float = 1e-3,
        n_steps: int = 55_000,
        batch_size: int = 32,
        learning_rate: float = 1e-4,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.height = height
        self.channels = channels
        self.n_filters = n_filters
        self.invariance = invariance
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        training = self._start(rows, random_state)
        import torch

        from sigah.hashers.deep import trunk as networks

        trunk = networks.Trunk(training, self._shape, self.n_filters)
        layer = training.linear(trunk.n_features, self.n_bits)
        networks.begin_balanced(layer, trunk.first_features, 0.5)
        with torch.no_grad():
            layer.bias.add_(0.5)  # the bit is [y > 1/2]
        steps = 0

        def loss(x: Tensor) -> dict[str, Tensor]:
            nonlocal steps
            steps += 1
            images = trunk.maps(x)
            y = layer(trunk(images, drop=False)).relu()
            terms = {"quantization": quantization(y), "balance": balance(y)}
            if steps > (1 - LAST_STAGE) * training.n_steps:
                other = networks.moved(training, images, degrees=DEGREES, shift=0, flip=False)
                again = layer(trunk(other, drop=False)).relu()
                terms["invariance"] = self.invariance * invariance(y, again)
            return terms

        optimizer = training.adam([trunk, layer], self.learning_rate)
        training.run(loss, optimizer, rate=lambda done: 1.0 if done < FULL_RATE else 0.1)
        with torch.no_grad():
            layer.bias.sub_(0.5)  # scores are y - 1/2
        self._keep(training, trunk, layer)
