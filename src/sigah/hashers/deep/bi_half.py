"""Bi-half coding.

Y. Li and J. van Gemert, "Deep unsupervised image hashing by maximizing bit entropy", AAAI 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sigah.hashers.deep.heads import LinearHead
from sigah.hashers.deep.pairs import passed_through, similarity_loss
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BiHalf", "bi_half", "distance_to_half"]


def bi_half(u: Tensor) -> Tensor:
    """Each bit is +1 for the upper half of the batch and -1 for the rest, Eq. (5).

    This is the optimal transport of the logits to a fair coin. Ties are broken by order. Gradients
    pass on unchanged.
    """
    from torch import full_like

    upper = u.argsort(dim=0, descending=True, stable=True)[: len(u) // 2]
    return passed_through(full_like(u, -1).scatter(0, upper, 1.0), u)


def distance_to_half(u: Tensor, b: Tensor) -> Tensor:
    """Half the mean of ``(u - b)^2``: its gradient is ``(u - b) / size``, as in Eq. (8)."""
    return 0.5 * (u - b.detach()).square().mean()


class BiHalf(LinearHead):
    """Signs of one layer, trained with every bit exactly half +1 in every batch.

    A bit carries most when half of the vectors have it. In training, the layer of Eq. (5) gives +1
    to the upper half of the logits of each bit; gradients pass it with an added pull of the logits
    towards their bits (Eq. 8). Pairs of a batch are asked for ``cos(b_i, b_j) = cos(x_i, x_j)``
    (Eq. 10). A new vector is encoded by the signs of its logits. Fitting costs O(B d r) per step of
    B vectors, encoding O(d r) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_steps : int, default=12000
        Batches: 60 passes over 50,000 vectors. The authors make 300. On Fashion-MNIST, held-out
        label mAP@1000 was .390 after 1,200 batches and .392 after 4,000.
    batch_size : int, default=256
        Even, for exact halves.
    learning_rate : float, default=8e-4
        Of stochastic gradient descent with momentum 0.9, for 4,096 features; with d features it
        is multiplied by 4,096 / d. It is divided by 10 after each 40 % of the steps, as in the
        authors' code.
    weight_decay : float, default=5e-4
    gamma : float, default=6
        Strength of the pull towards the bits.
    threshold : {"zero", "median"}, default="zero"
        Where a bit of a new vector changes: at logit 0, as in the authors' code, or at the median
        of the training logits, which keeps every bit at one half.
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
    sigah.GreedyHash : The same without exact halves.

    Notes
    -----
    Vectors are centred and scaled to unit mean variance; the authors take features after dropout.
    They train with batches of 32 and a rate of 1e-4; the defaults are eight times both.

    References
    ----------
    Li and van Gemert, AAAI 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import BiHalf
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> BiHalf(n_bits=32, n_steps=50, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "bi_half"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_steps: int = 12_000,
        batch_size: int = 256,
        learning_rate: float = 8e-4,
        weight_decay: float = 5e-4,
        gamma: float = 6.0,
        threshold: str = "zero",
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
        self.gamma = gamma
        self.threshold = threshold
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        if self.threshold not in ("zero", "median"):
            raise ValueError(f"threshold must be 'zero' or 'median', got {self.threshold!r}")
        training = self._start(rows, random_state)
        layer = training.linear(rows.dim, self.n_bits)

        def loss(x: Tensor) -> dict[str, Tensor]:
            u = layer(x)
            b = bi_half(u)
            return {
                "similarity": similarity_loss(x, b),
                "pull": self.gamma * distance_to_half(u, b),
            }

        optimizer = training.sgd(layer, self.learning_rate, self.weight_decay)
        training.run(loss, optimizer, rate=lambda done: 0.1 ** int(done / 0.4))
        self._keep(training, layer)
        if self.threshold == "median":
            self.thresholds_ = self._medians(rows)

    def _medians(self, rows: Rows) -> Any:
        """The median of each projection of the training vectors."""
        projected = np.empty((self.n_bits, len(rows)), np.float32)
        for where, block in rows.blocks():
            projected[:, where] = (block @ self.weights_).T
        return np.median(projected, axis=1).astype(np.float64)
