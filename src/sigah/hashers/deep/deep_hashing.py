"""Deep hashing for compact binary codes.

V. E. Liong, J. Lu, G. Wang, P. Moulin and J. Zhou, "Deep hashing for compact binary codes
learning", CVPR 2015.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.hashers.deep.heads import MLPHead
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

__all__ = ["DeepHashing", "layer_widths", "orthogonality", "quantization", "size", "variance"]


def layer_widths(n_bits: int) -> tuple[int, int, int]:
    """Units of the three layers: 60-30-16, 80-50-32 and 100-80-64, interpolated in between.

    Examples
    --------
    >>> from sigah.hashers.deep.deep_hashing import layer_widths
    >>> layer_widths(32), layer_widths(128)
    ((80, 50, 32), (128, 128, 128))
    """
    first, second = (
        max(n_bits, round(float(np.interp(n_bits, (16, 32, 64), widths))))
        for widths in ((60, 80, 100), (30, 50, 80))
    )
    return first, second, n_bits


def quantization(h: Tensor) -> Tensor:
    """``1/2 ||b - h||^2`` of a vector, mean over the batch, with ``b = sgn(h)``."""
    b = (h.detach() >= 0).to(h.dtype) * 2 - 1
    return 0.5 * (b - h).square().sum(dim=1).mean()


def variance(h: Tensor) -> Tensor:
    """``1/(2 B) tr(H_c H_c^T)``: half the variances of the outputs, summed."""
    return 0.5 * (h - h.mean(dim=0)).square().sum() / len(h)


def orthogonality(weights: Iterable[Tensor]) -> Tensor:
    """``1/2 sum ||W W^T - I||^2``; W has a row for each output.

    A layer of more outputs than inputs cannot have orthogonal rows; its columns are compared.
    """
    from torch import eye, stack

    losses = []
    for W in weights:
        gram = W @ W.T if W.shape[0] <= W.shape[1] else W.T @ W
        losses.append(0.5 * (gram - eye(len(gram), dtype=W.dtype, device=W.device)).square().sum())
    return stack(losses).sum()


def size(weights: Iterable[Tensor]) -> Tensor:
    """``1/2 sum (||W||^2 + ||c||^2)``."""
    from torch import stack

    return 0.5 * stack([each.square().sum() for each in weights]).sum()


class DeepHashing(MLPHead):
    """Signs of three layers of tanh, with large variance and nearly orthogonal weights.

    ``h = tanh(W3 tanh(W2 tanh(W1 x + c1) + c2) + c3)`` and ``b = sgn(h)``, with little quantisation
    loss, much variance of each output, and rows of the weights nearly orthogonal (Eq. 6). Fitting
    costs O(B d w) per step of B vectors and w units in the first layer, encoding O(d w) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    variance : float, default=100
        Weight of the variance, the paper's lambda_1; divided by the number of training vectors.
    orthogonality : float, default=0.1
        The paper's lambda_2.
    size : float, default=1e-3
        Weight of the squared weights, the paper's lambda_3.
    n_steps : int, default=20000
        Batches: 40 passes over 50,000 vectors.
    batch_size : int, default=100
    learning_rate : float, default=1e-4
        Of Adam.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the rotation and the batches.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
    weights1_, weights2_, weights3_ : ndarray of float32, shape (inputs, units)
    bias1_, bias2_, bias3_ : ndarray of float64, shape (units,)
    history_ : list of dict
        The mean of every loss term, about a hundred entries over the training.
    training_ : dict
        Summary of the fit.

    Notes
    -----
    No code of the authors is public. In the paper the quantisation loss is a sum over all N
    training vectors, and the variance is a mean. Batches estimate that objective divided by N, so
    the weight of the variance is divided by N here. Where a batch takes the place of the N vectors,
    the weight 100 drives all outputs to 1 and -1 along one direction: with batches of 100, 5,000
    images got 3 different codes. A known port also leaves the variance uncentred, which rewards
    outputs that are always 1; here it is centred, as in the paper. The paper's weight .001 of the
    other terms is quoted from memory. With .001 for the orthogonality, the first principal
    direction took over most bits (label mAP of Fashion-MNIST .304, with .1 .332).

    The paper's first weights are an identity matrix, cut to size, which would keep the first
    dimensions of the vectors only. Here they are one in principal coordinates: W1 starts at the
    principal directions, of which the first r are rotated, with units of unit mean variance.
    Vectors are centred and scaled.

    References
    ----------
    Liong, Lu, Wang, Moulin and Zhou, CVPR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import DeepHashing
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> DeepHashing(n_bits=32, n_steps=50, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "deep_hashing"
    activation = "tanh"
    fitted_arrays = (*MLPHead.fitted_arrays, "weights3_", "bias3_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        variance: float = 100.0,
        orthogonality: float = 0.1,
        size: float = 1e-3,
        n_steps: int = 20_000,
        batch_size: int = 100,
        learning_rate: float = 1e-4,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.variance = variance
        self.orthogonality = orthogonality
        self.size = size
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        training = self._start(rows, random_state)
        from torch import from_numpy

        n = len(rows)
        widths = layer_widths(self.n_bits)
        _, covariance = training.rows.mean_and_covariance()
        first = start(covariance / training.scale**2, widths, random_state)
        starts = [first, *(np.eye(b, a) for a, b in itertools.pairwise(widths))]
        layers = [training.linear(W.shape[1], W.shape[0]) for W in starts]
        for layer, W in zip(layers, starts, strict=True):
            layer.requires_grad_(False)
            layer.weight.copy_(from_numpy(W))
            layer.bias.zero_()
            layer.requires_grad_(True)
        weights = [layer.weight for layer in layers]
        everything = [*weights, *(layer.bias for layer in layers)]

        def loss(x: Tensor) -> dict[str, Tensor]:
            h = x
            for layer in layers:
                h = layer(h).tanh()
            return {
                "quantization": quantization(h),
                "variance": -self.variance / n * variance(h),
                "orthogonality": self.orthogonality * orthogonality(weights),
                "size": self.size * size(everything),
            }

        training.run(loss, training.adam(layers, self.learning_rate))
        self._keep(training, layers)


def start(
    covariance: NDArray[np.float64],
    widths: tuple[int, int, int],
    random_state: np.random.RandomState,
) -> NDArray[np.float64]:
    """Principal directions as rows, scaled to units of unit mean variance.

    The first r of them, which lead to the bits, are rotated at random, so that they share the
    variance. Beyond the dimension of the vectors, random directions follow.
    """
    directions = np.linalg.eigh(covariance)[1].T[::-1][: widths[0]]
    n_rotated = min(widths[-1], len(directions))
    rotation, _ = np.linalg.qr(random_state.standard_normal((n_rotated, n_rotated)))
    directions = np.concatenate([rotation @ directions[:n_rotated], directions[n_rotated:]])
    more = random_state.standard_normal((widths[0] - len(directions), len(covariance)))
    rows = np.concatenate([directions, more / np.sqrt(len(covariance))])
    variances = np.einsum("ij,jk,ik->i", rows, covariance, rows, optimize=True)
    scale = np.sqrt(variances.mean())
    return rows / (scale if scale > 0 else 1.0)
