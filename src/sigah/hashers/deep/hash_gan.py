"""HashGAN: an encoder that shares its network with the discriminator of a GAN.

K. Ghasedi Dizaji, F. Zheng, N. Sadoughi, Y. Yang, C. Deng and H. Huang, "Unsupervised deep
generative adversarial hashing network", CVPR 2018.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sigah.hashers.deep.pixels import PixelHasher
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HashGAN", "consistency", "dependence", "entropy", "realness", "recovery", "unevenness"]

N_NOISE = 128  # uniform numbers beside the bits, from which images are made
DEGREES, SHIFT = 10.0, 0.1  # of the small transforms, which also mirror
MIN_ENTROPY, RECOVERY = 0.01, 0.1  # weights of these terms; the others have 1
ADVERSARIAL_ALONE = 0.1  # of the steps, before the terms on bits join
LAST_RATE = 1 / 3  # of the first one; it falls in five stages
FIRST_MOMENT = 0.5


def realness(real: Tensor, made: Tensor) -> Tensor:
    """Cross-entropy of the discriminator from its logits: 1 for images, 0 for what is made."""
    from torch.nn.functional import softplus

    return softplus(-real).mean() + softplus(made).mean()


def entropy(u: Tensor) -> Tensor:
    """Mean entropy of bits with logits u, in nats: 0 where they are certain.

    ``-p log p - (1 - p) log(1 - p)`` with ``log p = -softplus(-u)``, which is finite for any u.
    """
    from torch.nn.functional import softplus

    p = u.sigmoid()
    return (p * softplus(-u) + (1 - p) * softplus(u)).mean()


def unevenness(u: Tensor) -> Tensor:
    """Minus the entropy of each bit's frequency in the batch, mean over bits; least if even.

    Logarithms of mean chances are taken from logits, so a bit that is constant has a gradient.
    """
    from torch.nn.functional import logsigmoid

    p, n = u.sigmoid().mean(dim=0), len(u)
    log_p, log_q = (logsigmoid(each).logsumexp(dim=0) - math.log(n) for each in (u, -u))
    return (p * log_p + (1 - p) * log_q).mean()


def consistency(u: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference between the bits of images and of the transformed ones."""
    return (u.sigmoid() - other.sigmoid()).square().mean()


def dependence(W: Tensor) -> Tensor:
    """Mean squared distance of ``W W^T`` from the identity; a row of W makes a bit."""
    import torch

    identity = torch.eye(len(W), dtype=W.dtype, device=W.device)
    return (W @ W.T - identity).square().mean()


def recovery(u: Tensor, b: Tensor) -> Tensor:
    """``||p - b||^2`` of the bits that made an image and those it gets, mean over the batch."""
    return (u.sigmoid() - b).square().sum(dim=1).mean()


class HashGAN(PixelHasher):
    """Bits from a network that also tells images from generated ones.

    A generator makes images from uniform numbers and random bits. A convolutional network sees
    images and made ones, and has two outputs: whether an image is real, and r logits, whose signs
    are the bits. Bits shall be certain, each set in half of the images, the same after a small
    rotation, shift or mirroring, independent of each other, and, for a made image, those that it
    was made from. The generator matches the mean features of images. Encoding costs 270 million
    multiplications for a 32 x 32 image, a training step about twelve times as many.

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
    n_steps : int, default=50000
        Batches: 100 passes over 50,000 images. The terms on bits join after a tenth of them.
    batch_size : int, default=100
    learning_rate : float, default=9e-4
        Of Adam, for both networks; it falls to a third in five stages.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights, the batches, the noise, the transforms and dropout.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    shape_ : ndarray of int, shape (3,)
        Height, width and channels.
    range_ : ndarray of float64, shape (2,)
        The least and the largest number of the training images, which the network sees as -1 and 1.
    weights1_, ..., weights10_ : ndarray of float32
        Of the nine convolutions, and of the layer that makes the logits.
    bias1_, ..., bias10_ : ndarray of float64
    history_ : list of dict
        The mean of every loss term, about a hundred entries over the training.
    training_ : dict
        Summary of the fit.

    See Also
    --------
    sigah.BinGAN : The same network, with other terms on the bits.

    Notes
    -----
    No code of the authors is public. Sizes, weights and schedule are those of a public port, whose
    author did not reach the published figures. Three of its faults are avoided here. Its term on
    independent bits compares a matrix of rank r with the identity of the 192 features, which it
    cannot become; ours has the size of the bits. Its transform is one for the whole batch; ours is
    one for each image. Its entropies take logarithms of numbers below what float32 holds; ours are
    computed from logits. It also keeps the pass that is best on test images; we keep the last.

    Filters are scaled at the start as in BinGAN, and each bit begins balanced.

    References
    ----------
    Ghasedi Dizaji, Zheng, Sadoughi, Yang, Deng and Huang, CVPR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import HashGAN
    >>> images = np.random.default_rng(0).integers(256, size=(100, 8, 8, 3), dtype=np.uint8)
    >>> rows = images.reshape(100, -1)
    >>> hasher = HashGAN(16, n_filters=4, n_steps=2, batch_size=20, random_state=0).fit(rows)
    >>> hasher.transform(rows).shape, hasher.shape_.tolist()
    ((100, 2), [8, 8, 3])
    """

    name: ClassVar[str] = "hash_gan"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        height: int | None = None,
        channels: int | None = None,
        n_filters: int = 96,
        n_steps: int = 50_000,
        batch_size: int = 100,
        learning_rate: float = 9e-4,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.height = height
        self.channels = channels
        self.n_filters = n_filters
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
        n_inputs = N_NOISE + self.n_bits
        generator = networks.Generator(training, n_inputs, self._shape, self.n_filters)
        bits = training.linear(trunk.n_features, self.n_bits)
        judge = training.linear(trunk.n_features, 1)
        networks.begin_balanced(bits, trunk.first_features)
        network, makers = (
            training.adam(modules, self.learning_rate, first_moment=FIRST_MOMENT)
            for modules in ([trunk, bits, judge], [generator])
        )
        steps = 0

        def loss(x: Tensor) -> dict[str, Tensor]:
            nonlocal steps
            makers.param_groups[0]["lr"] = self.learning_rate * rate(steps / training.n_steps)
            steps += 1
            images = trunk.maps(x)
            features = trunk(images)
            b = (training.uniform(len(x), self.n_bits) < 0.5).to(x.dtype)
            made = generator(torch.cat([training.uniform(len(x), N_NOISE), b], dim=1))
            networks.descend(
                networks.feature_matching(features.detach(), trunk(made)), generator, makers
            )
            of_made = trunk(made.detach())
            terms = {"adversarial": realness(judge(features), judge(of_made))}
            if steps > ADVERSARIAL_ALONE * training.n_steps:
                u = bits(features)
                other = networks.moved(training, images, degrees=DEGREES, shift=SHIFT, flip=True)
                terms |= {
                    "entropy": MIN_ENTROPY * entropy(u),
                    "unevenness": unevenness(u),
                    "consistency": consistency(u, bits(trunk(other))),
                    "dependence": dependence(bits.weight),
                    "recovery": RECOVERY * recovery(bits(of_made), b),
                }
            return terms

        training.run(loss, network, rate=rate)
        self._keep(training, trunk, bits)


def rate(done: float) -> float:
    """The share of the first learning rate, by the share of steps done: five stages."""
    return 1 + (LAST_RATE - 1) * int(5 * done) / 4
