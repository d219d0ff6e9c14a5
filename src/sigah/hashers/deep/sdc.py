"""Similarity distribution calibration.

K. W. Ng, X. Zhu, J. T. Hoe, C. S. Chan, T. Zhang, Y.-Z. Song and T. Xiang, "Unsupervised hashing
with similarity distribution calibration", BMVC 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_positive
from sigah.extras import require
from sigah.hashers.deep.heads import MLPHead
from sigah.hashers.deep.pairs import pair_cosines
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SDC", "beta_quantiles", "calibration_loss", "quantization_loss"]


def beta_quantiles(n_pairs: int, shape: float) -> NDArray[np.float32]:
    """The cosines that ranked pairs should have: quantiles of Beta(shape, shape) on [-1, 1].

    Quantiles at ``(2 k - 1) / (2 n)`` for the ranks k = 1 to n, rising.
    """
    special = require("scipy.special", "fitting SDC", "train")
    levels = (np.arange(n_pairs) + 0.5) / n_pairs
    return np.asarray(2 * special.betaincinv(shape, shape, levels) - 1, np.float32)


def calibration_loss(x: Tensor, v: Tensor, targets: Tensor) -> Tensor:
    """Mean distance of the cosines of pairs of codes from the targets of their ranks.

    Pairs are ranked by the cosines of their vectors. The targets ``(B // 2,)`` rise.
    """
    order = pair_cosines(x).argsort(stable=True)
    return (pair_cosines(v)[order] - targets).abs().mean()


def quantization_loss(v: Tensor) -> Tensor:
    """Mean of ``1 - cos(v, sgn v)``."""
    from torch.nn.functional import cosine_similarity

    return (1 - cosine_similarity(v, (v >= 0).to(v.dtype) * 2 - 1)).mean()


class SDC(MLPHead):
    """Codes whose similarities use the whole range, in the order of the vectors' similarities.

    Cosines of features crowd in a narrow range, where Hamming distances cannot follow them. The
    pairs of a batch are ranked by the cosine of their vectors; the cosine of their codes shall be
    the quantile of a Beta distribution at that rank. The head is one hidden layer of d units with
    GELU, then r logits with batch normalisation. Fitting costs O(B d^2) per step of B vectors,
    encoding O(d^2) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    beta : float, default=5
        Both shapes of the Beta distribution.
    quantization : float, default=1
        Weight of ``1 - cos(v, sgn v)``.
    n_steps : int, default=20000
        Batches. The authors make 100 passes, 78,125 batches of the 50,000 images of CIFAR-10.
    batch_size : int, default=64
    learning_rate : float, default=1e-4
        Of Adam.
    weight_decay : float, default=1e-5
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights and the batches.
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

    Notes
    -----
    Vectors are centred and scaled to unit mean variance. GELU is its approximation by tanh, which
    NumPy has.

    References
    ----------
    Ng et al., BMVC 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import SDC
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> SDC(n_bits=32, n_steps=20, random_state=0).fit(X).transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "sdc"
    fit_cost = "minutes"
    activation = "gelu"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        beta: float = 5.0,
        quantization: float = 1.0,
        n_steps: int = 20_000,
        batch_size: int = 64,
        learning_rate: float = 1e-4,
        weight_decay: float = 1e-5,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.beta = beta
        self.quantization = quantization
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        check_positive(self.beta, "beta")
        training = self._start(rows, random_state)
        from torch import from_numpy
        from torch.nn.functional import gelu

        hidden = training.linear(rows.dim, rows.dim)
        last = training.linear(rows.dim, self.n_bits)
        norm = training.norm(self.n_bits)
        n_pairs = min(self.batch_size, len(rows)) // 2
        targets = from_numpy(beta_quantiles(n_pairs, self.beta)).to(training.device)

        def loss(x: Tensor) -> dict[str, Tensor]:
            v = norm(last(gelu(hidden(x), approximate="tanh")))
            return {
                "calibration": calibration_loss(x, v, targets),
                "quantization": self.quantization * quantization_loss(v),
            }

        optimizer = training.adam([hidden, last, norm], self.learning_rate, self.weight_decay)
        training.run(loss, optimizer)
        self._keep(training, [hidden, last], norm)
