"""Greedy hash, unsupervised.

S. Su, C. Zhang, K. Han and Y. Tian, "Greedy hash: towards fast optimization for accurate hash
coding in CNN", NeurIPS 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sigah.hashers.deep.heads import LinearHead
from sigah.hashers.deep.pairs import similarity_loss, straight_through_sign
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GreedyHash", "cubic_penalty"]


def cubic_penalty(u: Tensor) -> Tensor:
    """Mean of ``||u| - 1|^3``, Eq. (11): logits stay near the corners of the cube."""
    return (u.abs() - 1).abs().pow(3).mean()


class GreedyHash(LinearHead):
    """Signs of one layer whose cosines repeat the cosines of the vectors.

    The code is ``b = sgn(W^T x + c)``, with the gradient of the identity (Eq. 7). Pairs of a batch
    are asked for ``cos(b_i, b_j) = cos(x_i, x_j)`` (Eq. 12), and logits for magnitude 1 (Eq. 11).
    Fitting costs O(B d r) per step of B vectors, encoding O(d r) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_steps : int or None, default=None
        Batches. None is 11,719, or 58,594 for codes of up to 16 bits: the authors' 60 and 300
        passes over the 50,000 images of CIFAR-10.
    batch_size : int, default=256
    learning_rate : float, default=8e-4
        Of stochastic gradient descent with momentum 0.9, for 4,096 features; with d features it
        is multiplied by 4,096 / d.
    weight_decay : float, default=5e-4
    penalty : float, default=0.1
        Weight of ``||u| - 1|^3``.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights and the batches.
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
    sigah.BiHalf : The same with bits of exactly half of each batch.

    Notes
    -----
    Vectors are centred and scaled to unit mean variance; the authors take them as they are. The
    cosines of features after ReLU lie in a narrow range above 0, which codes can follow only by
    becoming nearly equal: on such features the method collapses unless they are centred.

    The authors compute the cosines from features after dropout, which makes targets noisy, and
    report the best of all evaluations on the test queries. Neither is done here: features are used
    as given, and the number of steps is fixed.

    The authors train with batches of 32 and a rate of 1e-4. The defaults are the same passes with
    eight times both, an eighth of the steps: after 32 passes over 5,000 images of Fashion-MNIST at
    32 bits, label mAP@1000 of held-out images was .370 with the former and .372 with the latter
    (rates not multiplied).

    References
    ----------
    Su, Zhang, Han and Tian, NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import GreedyHash
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> GreedyHash(n_bits=32, n_steps=50, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "greedy_hash"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_steps: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 8e-4,
        weight_decay: float = 5e-4,
        penalty: float = 0.1,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.penalty = penalty
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _default_steps(self) -> int:
        return 58_594 if self.n_bits <= 16 else 11_719

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        training = self._start(rows, random_state)
        layer = training.linear(rows.dim, self.n_bits)

        def loss(x: Tensor) -> dict[str, Tensor]:
            u = layer(x)
            return {
                "similarity": similarity_loss(x, straight_through_sign(u)),
                "penalty": self.penalty * cubic_penalty(u),
            }

        training.run(loss, training.sgd(layer, self.learning_rate, self.weight_decay))
        self._keep(training, layer)
