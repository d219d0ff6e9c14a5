"""Deep binary descriptor with multi-quantization.

Y. Duan, J. Lu, Z. Wang, J. Feng and J. Zhou, "Learning deep binary descriptor with
multi-quantization", CVPR 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.hashers.base import ScoringHasher
from sigah.hashers.deep.heads import BLOCK, TrainedHead
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DBDMQ", "assigned_error", "energy", "imbalance", "rebuilt"]


def rebuilt(u: Tensor, coders: Tensor) -> Tensor:
    """Each element as the two auto-encoders of its bit rebuild it, ``(2, B, r)``.

    An auto-encoder has one hidden unit and tied weights: ``e + w tanh(w u + v)``. ``coders``,
    ``(2, 3, r)``, holds e, w and v of both.
    """
    e, w, v = (coders[:, i, None] for i in range(3))
    return e + w * (w * u + v).tanh()


def assigned_error(u: Tensor, coders: Tensor) -> Tensor:
    """Mean squared error of each element under the auto-encoder that rebuilds it best.

    The gradient reaches that auto-encoder alone, as in k-means.
    """
    errors: Tensor = (rebuilt(u, coders) - u).square()
    return errors.amin(dim=0).mean()


def energy(u: Tensor) -> Tensor:
    """Mean variance of the elements over the batch."""
    return (u - u.mean(dim=0)).square().mean()


def imbalance(u: Tensor) -> Tensor:
    """Mean square of the elements' means: at 0, both auto-encoders get their share."""
    return u.mean(dim=0).square().mean()


class DBDMQ(TrainedHead, ScoringHasher):
    """Bits that say which of two auto-encoders rebuilds an element better.

    One layer makes r elements, ``u = tanh(W^T x + c)``. **What is rebuilt is each element, a single
    number**, by the two auto-encoders of its bit (K = 2, the paper's best); the bit is the one with
    the smaller error. So where a bit changes is learned, and is not the sign. Layer and
    auto-encoders are trained together: each element counts under its better auto-encoder, as in
    k-means, with a reward for variance and a penalty for means other than 0. Fitting costs O(B d r)
    per step of B vectors, encoding O(d r) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    energy : float, default=0.1
        Weight of the variance.
    balance : float, default=1
        Weight of the squared means.
    decay : float, default=0.1
        Weight of the auto-encoders' squared w. Without it, one auto-encoder could rebuild every
        element, and bits would mean nothing; at much more, both are constants, as in k-means.
    n_steps : int, default=10000
    batch_size : int, default=128
    learning_rate : float, default=1e-3
        Of Adam.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights and the batches.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
    weights_ : ndarray of float32, shape (d, n_bits)
        The scale of the data is folded in.
    bias_ : ndarray of float64, shape (n_bits,)
    coders_ : ndarray of float64, shape (2, 3, n_bits)
        e, w and v of the auto-encoders of bit 0 and of bit 1.
    history_ : list of dict
        The mean of every loss term, about a hundred entries over the training.
    training_ : dict
        Summary of the fit.

    Notes
    -----
    No code of the authors is public, and we have lost the numbers of their paper: the form of the
    auto-encoders, all weights and the schedule are ours, and figures are not those of the paper.
    The paper trains the whole network on images; here features are fixed. Vectors are centred and
    scaled to unit mean variance.

    References
    ----------
    Duan, Lu, Wang, Feng and Zhou, CVPR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import DBDMQ
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> DBDMQ(n_bits=32, n_steps=50, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "dbd_mq"
    fitted_arrays = ("mean_", "weights_", "bias_", "coders_")

    mean_: NDArray[np.float64]
    weights_: NDArray[np.float32]
    bias_: NDArray[np.float64]
    coders_: NDArray[np.float64]

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        energy: float = 0.1,
        balance: float = 1.0,
        decay: float = 0.1,
        n_steps: int = 10_000,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.energy = energy
        self.balance = balance
        self.decay = decay
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        training = self._start(rows, random_state)
        layer = training.linear(rows.dim, self.n_bits)
        coders = training.parameter(start(self.n_bits))

        def loss(x: Tensor) -> dict[str, Tensor]:
            u = layer(x).tanh()
            return {
                "error": assigned_error(u, coders),
                "energy": -self.energy * energy(u),
                "imbalance": self.balance * imbalance(u),
                "decay": self.decay * coders[:, 1].square().mean(),
            }

        optimizer = training.adam([layer], self.learning_rate)
        optimizer.add_param_group({"params": [coders]})
        training.run(loss, optimizer)
        self.mean_ = training.mean
        W = training.numpy(layer.weight).T / training.scale
        self.weights_ = np.ascontiguousarray(W, np.float32)
        self.bias_ = training.numpy(layer.bias).astype(np.float64)
        self.coders_ = training.numpy(coders).astype(np.float64)
        self._summarize(training)

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.floating]:
        # float64, so that the sign of a score does not depend on how BLAS splits the block
        W = self.weights_.astype(np.float64)
        scores = np.empty((len(block), self.n_bits))
        for start in range(0, len(block), BLOCK):
            u = np.tanh((block[start : start + BLOCK] - self.mean_) @ W + self.bias_)
            zero, one = (np.abs(e + w * np.tanh(w * u + v) - u) for e, w, v in self.coders_)
            scores[start : start + BLOCK] = zero - one
        return scores


def start(n_bits: int) -> NDArray[np.float32]:
    """Auto-encoders that rebuild elements near -1/2 and near 1/2."""
    coders = np.zeros((2, 3, n_bits), np.float32)
    coders[:, 0] = np.array([[-0.5], [0.5]])
    coders[:, 1] = 0.5
    return coders
