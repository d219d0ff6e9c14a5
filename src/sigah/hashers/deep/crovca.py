"""Cross-view code alignment.

"CroVCA", arXiv 2510.27584, 2025.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sigah.hashers.deep.heads import MLPHead
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CroVCA", "alignment", "coding_rate"]

DISTORTION = 0.05  # squared distortion of the coding rate


def alignment(u: Tensor, other: Tensor) -> Tensor:
    """Binary cross-entropy of the logits of one view with the bits of the other, both ways."""
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    bits, other_bits = ((v > 0).to(u.dtype) for v in (u, other))
    return (cross_entropy(u, other_bits) + cross_entropy(other, bits)) / 2


def coding_rate(u: Tensor) -> Tensor:
    """The rate ``1/2 logdet(I + r / (.05 B) Z^T Z)`` times ``(r + B) / (r B)``.

    Z holds the logits ``(B, r)`` with rows of unit length. The rate is large if the logits fill all
    directions.
    """
    from torch import eye
    from torch.nn.functional import normalize

    B, r = u.shape
    Z = normalize(u)
    # the smaller of the two Gram matrices has the same determinant
    gram = Z.T @ Z if r <= B else Z @ Z.T
    inner = eye(len(gram), dtype=u.dtype, device=u.device) + r / (DISTORTION * B) * gram
    return 0.5 * inner.logdet() * (r + B) / (r * B)


class CroVCA(MLPHead):
    """Bits on which two views of a vector agree, kept apart by a coding rate.

    The head is one hidden layer of d units with ReLU, then r logits with batch normalisation. The
    logits of a view must predict the bits of the other view (binary cross-entropy), and the logits
    of a batch must fill all directions (maximal coding rate). Fitting costs O(B d^2) per step of B
    vectors, encoding O(d^2) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_neighbors : int, default=10
        The second view of a vector is drawn among so many nearest neighbours.
    n_steps : int, default=1000
        Batches: the authors' five passes over 50,000 vectors.
    batch_size : int, default=256
    learning_rate : float, default=1e-3
        Of AdamW; a half cosine takes it to a thousandth.
    weight_decay : float, default=1e-2
    rate_weight : float, default=0.1
        Weight of the coding rate.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights, the batches and the neighbours.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
    weights1_, weights2_ : ndarray of float32, shapes (d, d) and (d, n_bits)
    bias1_, bias2_ : ndarray of float64, shapes (d,) and (n_bits,)
    history_ : list of dict
        The mean of every loss term, about a hundred entries over the training.
    training_ : dict
        Summary of the fit.

    See Also
    --------
    sigah.CIBHash : Two views of a vector, too, with another loss.

    Notes
    -----
    The paper's views are augmented images. Vectors have none: here the second view is one of the
    nearest neighbours, by cosine at the mean, among 20,000 training vectors. Vectors are centred
    and scaled to unit mean variance.

    References
    ----------
    "CroVCA", arXiv 2510.27584, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import CroVCA
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> CroVCA(n_bits=32, n_steps=20, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "crovca"
    activation = "relu"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_neighbors: int = 10,
        n_steps: int = 1000,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        rate_weight: float = 0.1,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_neighbors = n_neighbors
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.rate_weight = rate_weight
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        training = self._start(rows, random_state)
        hidden = training.linear(rows.dim, rows.dim)
        last = training.linear(rows.dim, self.n_bits)
        norm = training.norm(self.n_bits)

        def logits(x: Tensor) -> Tensor:
            u: Tensor = norm(last(hidden(x).relu()))
            return u

        def loss(x: Tensor, other: Tensor) -> dict[str, Tensor]:
            u, v = logits(x), logits(other)
            rate = (coding_rate(u) + coding_rate(v)) / 2
            return {"alignment": alignment(u, v), "rate": -self.rate_weight * rate}

        optimizer = training.adam(
            [hidden, last, norm], self.learning_rate, self.weight_decay, decoupled=True
        )
        training.run(
            loss,
            optimizer,
            rate=lambda done: 1e-3 + (1 - 1e-3) * (1 + math.cos(math.pi * done)) / 2,
            neighbors=training.nearest(self.n_neighbors),
        )
        self._keep(training, [hidden, last], norm)
