"""Hashing as a contrastive information bottleneck.

Z. Qiu, Q. Su, Z. Ou, J. Yu and C. Chen, "Unsupervised hashing with contrastive information
bottleneck", IJCAI 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sigah.checks import check_positive
from sigah.hashers.deep.heads import MLPHead
from sigah.hashers.deep.pairs import passed_through
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CIBHash", "bernoulli_divergence", "contrastive_loss"]

LEAST = 1e-6  # probabilities are at least this far from 0 and 1


def contrastive_loss(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Two views of a vector find each other among all codes of the batch, Eq. (4).

    Softmax cross-entropy over ``cosine / temperature``; each of the 2 B codes has its other view as
    the positive and the other 2 (B - 1) as negatives.
    """
    from torch import arange, cat
    from torch.nn.functional import cross_entropy, normalize

    both = normalize(cat([a, b]))
    logits = (both @ both.T / temperature).fill_diagonal_(float("-inf"))
    partner = arange(len(both), device=both.device).roll(len(a))
    return cross_entropy(logits, partner)


def bernoulli_divergence(p: Tensor, q: Tensor) -> Tensor:
    """``KL(p || q)`` of independent bits, summed over bits, mean over the batch, Eq. (11)."""
    p, q = (each.clamp(LEAST, 1 - LEAST) for each in (p, q))
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    return each.sum(dim=1).mean()


class CIBHash(MLPHead):
    """Codes by which two views of a vector find each other, with little other information.

    The head is one hidden layer with ReLU, then r probabilities p; the bits are ``sgn(p - 1/2)``,
    with the gradient of the identity. A contrastive loss pulls the codes of two views of a vector
    together and all other codes apart (Eq. 4); the divergence of the bit probabilities of the views
    limits what the codes say beyond (Eq. 11). Fitting costs O(B d h) per step of B vectors and h
    hidden units, encoding O(d h) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_hidden : int, default=1024
        Hidden units h.
    n_neighbors : int, default=10
        The second view of a vector is drawn among so many nearest neighbours.
    temperature : float, default=0.3
    beta : float, default=1e-3
        Weight of the divergence.
    n_steps : int or None, default=None
        Batches. None is 4,700, or 6,250 for codes of up to 16 bits: the authors' 60 and 80 passes
        over 5,000 images.
    batch_size : int, default=64
    learning_rate : float, default=1e-3
        Of Adam.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights, the batches and the neighbours.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
    weights1_, weights2_ : ndarray of float32, shapes (d, h) and (h, n_bits)
    bias1_, bias2_ : ndarray of float64, shapes (h,) and (n_bits,)
    history_ : list of dict
        The mean of every loss term, about a hundred entries over the training.
    training_ : dict
        Summary of the fit.

    See Also
    --------
    sigah.CroVCA : Two views of a vector, too, with another loss.

    Notes
    -----
    The paper's views are augmented images. Vectors have none: here the second view is one of the
    nearest neighbours, by cosine at the mean, among 20,000 training vectors. Vectors are centred
    and scaled to unit mean variance; the authors take features after dropout. They choose the best
    epoch on validation labels; here the number of steps is fixed.

    References
    ----------
    Qiu, Su, Ou, Yu and Chen, IJCAI 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import CIBHash
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> CIBHash(n_bits=32, n_hidden=64, n_steps=20, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "cib_hash"
    fit_cost = "minutes"
    activation = "relu"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_hidden: int = 1024,
        n_neighbors: int = 10,
        temperature: float = 0.3,
        beta: float = 1e-3,
        n_steps: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_hidden = n_hidden
        self.n_neighbors = n_neighbors
        self.temperature = temperature
        self.beta = beta
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _default_steps(self) -> int:
        return 6250 if self.n_bits <= 16 else 4700

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        check_positive(self.temperature, "temperature")
        training = self._start(rows, random_state)
        hidden = training.linear(rows.dim, self.n_hidden)
        last = training.linear(self.n_hidden, self.n_bits)

        def loss(x: Tensor, other: Tensor) -> dict[str, Tensor]:
            p, q = (last(hidden(view).relu()).sigmoid() for view in (x, other))
            a, b = (passed_through((each > 0.5).to(x.dtype) * 2 - 1, each) for each in (p, q))
            divergence = (
                bernoulli_divergence(p, q.detach()) + bernoulli_divergence(q, p.detach())
            ) / 2
            return {
                "contrast": contrastive_loss(a, b, self.temperature),
                "divergence": self.beta * divergence,
            }

        optimizer = training.adam([hidden, last], self.learning_rate)
        training.run(loss, optimizer, neighbors=training.nearest(self.n_neighbors))
        self._keep(training, [hidden, last])
