"""BinGAN: bits from a low-dimensional layer of a GAN's discriminator.

M. Zieba, P. Semberecki, T. El-Gaaly and T. Trzcinski, "BinGAN: learning compact binary descriptors
with a regularized GAN", NeurIPS 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sigah.hashers.deep.pixels import PixelHasher
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BinGAN", "distance_matching", "entropy_terms", "realness", "soft_signs"]

N_NOISE = 100  # uniform numbers from which images are made
N_LOGITS = 2  # whose logarithm of summed exponentials says how real an image is
SOFTNESS = 1e-3  # of signs with a gradient
SHARPNESS = 2.0  # beta: how fast the weight of a pair falls with its similarity
FIRST_MOMENT = 0.5
DEVIATION = 0.1  # of the low-dimensional layer and of the logits at the start


def soft_signs(f: Tensor) -> Tensor:
    """``f / (|f| + .001)``: nearly signs, with a gradient."""
    return f / (f.abs() + SOFTNESS)


def similarities(s: Tensor) -> Tensor:
    """Products of all pairs of rows over their length, ``(B, B)``; 0 of a row with itself."""
    products = s @ s.T / s.shape[1]
    return products - products.diag().diag()


def distance_matching(f: Tensor, high: Tensor) -> Tensor:
    """How much similarities of soft codes differ from those of the high-dimensional signs (DMR).

    Mean over pairs of different images. The high-dimensional signs are a target, without gradient.
    """
    n = len(f)
    difference = similarities(high.detach().sign()) - similarities(soft_signs(f))
    return difference.abs().sum() / (n * (n - 1))


def entropy_terms(f: Tensor, high: Tensor) -> Tensor:
    """Squared means of the bits, and similarities of pairs (BRE), the sum of both.

    A pair counts less the more alike its high-dimensional signs are: ``exp(-|cosine| / beta)``.
    """
    n, s = len(f), soft_signs(f)
    weights = (similarities(high.detach().sign()).abs() / -SHARPNESS).exp()
    pairs = (weights * similarities(s).abs()).sum() / (n * (n - 1))
    return s.mean(dim=0).square().mean() + pairs


def realness(real: Tensor, made: Tensor) -> Tensor:
    """The discriminator's loss from the logits ``(B, 2)`` of images and of made ones.

    With ``l = log sum exp`` of an image's logits, the chance that it is real is sigmoid(l).
    """
    from torch.nn.functional import softplus

    of_real, of_made = real.logsumexp(dim=1), made.logsumexp(dim=1)
    return 0.5 * (softplus(of_real) - of_real + softplus(of_made)).mean()


class BinGAN(PixelHasher):
    """Signs of a low-dimensional layer of a network that tells images from generated ones.

    The network's r-dimensional layer follows its high-dimensional one of 192 features. Two terms
    join the discriminator's loss: similarities of codes shall be those of the signs of the high-
    dimensional layer, and bits shall be even and, for images that this layer finds unlike,
    uncorrelated. The generator matches the mean of the low-dimensional layer over images. Encoding
    costs 270 million multiplications for a 32 x 32 image, a training step about nine times as many.

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
        Filters of the first three convolutions; the later ones have twice as many. Fewer make a
        smaller, quicker network than the authors'.
    matching : float, default=0.05
        Weight of the similarities (DMR).
    entropy : float, default=1e-3
        Weight of even, uncorrelated bits (BRE); the authors' on CIFAR-10.
    n_steps : int, default=800000
        Batches: 400 passes over 50,000 images.
    batch_size : int, default=25
    learning_rate : float, default=3e-4
        Of Adam, for both networks.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights, the batches, the noise and dropout.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    shape_ : ndarray of int, shape (3,)
        Height, width and channels.
    range_ : ndarray of float64, shape (2,)
        The least and the largest number of the training images, which the network sees as -1 and 1.
    weights1_, ..., weights10_ : ndarray of float32
        Of the nine convolutions, and of the low-dimensional layer.
    bias1_, ..., bias10_ : ndarray of float64
    history_ : list of dict
        The mean of every loss term, about a hundred entries over the training.
    training_ : dict
        Summary of the fit.

    See Also
    --------
    sigah.HashGAN : The same network, with other terms on the bits.

    Notes
    -----
    Differences from the authors' Theano code. The generator doubles sides with kernels of 4 where
    theirs have 5. Weights are normalised in the convolutions alone. The generator sees the same
    images as the discriminator, not a second batch. Their average of the weights over the training,
    which they compute and never use, is left out. Their mAP on CIFAR-10 looks at 10,000 ranks: it
    is not the mAP@1000 of other papers.

    References
    ----------
    Zieba, Semberecki, El-Gaaly and Trzcinski, NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import BinGAN
    >>> images = np.random.default_rng(0).integers(256, size=(100, 8, 8, 3), dtype=np.uint8)
    >>> rows = images.reshape(100, -1)
    >>> hasher = BinGAN(16, n_filters=4, n_steps=2, random_state=0).fit(rows)
    >>> hasher.transform(rows).shape, hasher.shape_.tolist()
    ((100, 2), [8, 8, 3])
    """

    name: ClassVar[str] = "bin_gan"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        height: int | None = None,
        channels: int | None = None,
        n_filters: int = 96,
        matching: float = 0.05,
        entropy: float = 1e-3,
        n_steps: int = 800_000,
        batch_size: int = 25,
        learning_rate: float = 3e-4,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.height = height
        self.channels = channels
        self.n_filters = n_filters
        self.matching = matching
        self.entropy = entropy
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        training = self._start(rows, random_state)
        from sigah.hashers.deep import trunk as networks

        trunk = networks.Trunk(training, self._shape, self.n_filters)
        generator = networks.Generator(training, N_NOISE, self._shape, self.n_filters)
        low = training.linear(trunk.n_features, self.n_bits)
        logits = training.linear(self.n_bits, N_LOGITS)
        networks.begin_balanced(low, trunk.first_features, DEVIATION)
        networks.begin_balanced(logits, low(trunk.first_features), DEVIATION)
        network, makers = (
            training.adam(modules, self.learning_rate, first_moment=FIRST_MOMENT)
            for modules in ([trunk, low, logits], [generator])
        )

        def loss(x: Tensor) -> dict[str, Tensor]:
            high = trunk(trunk.maps(x))
            f = low(high)
            made = generator(training.uniform(len(x), N_NOISE))
            networks.descend(
                networks.feature_matching(f.detach(), low(trunk(made))), generator, makers
            )
            return {
                "adversarial": realness(logits(f), logits(low(trunk(made.detach())))),
                "matching": self.matching * distance_matching(f, high),
                "entropy": self.entropy * entropy_terms(f, high),
            }

        training.run(loss, network)
        self._keep(training, trunk, low)
