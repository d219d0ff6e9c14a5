"""Auto-encoding twin-bottleneck hashing.

Y. Shen, J. Qin, J. Chen, M. Yu, L. Liu, F. Zhu, F. Shen and L. Shao, "Auto-encoding twin-bottleneck
hashing", CVPR 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sigah.hashers.deep.heads import MLPHead
from sigah.hashers.deep.pairs import passed_through
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TBH", "code_graph", "fooling", "normalized_adjacency", "realness"]

POWER = 1.4  # of similarities in the graph, as in the authors' code


def code_graph(b: Tensor) -> Tensor:
    """Adjacency of a batch from its codes in {0, 1}, Eq. (2): ``(1 - hamming / r)^1.4``.

    Hamming distances are ``b_i (1 - b_j) + (1 - b_i) b_j`` summed over bits, so gradients reach the
    codes.
    """
    distances = b @ (1 - b).T + (1 - b) @ b.T
    return (1 - distances / b.shape[1]).clamp(min=0) ** POWER


def normalized_adjacency(A: Tensor) -> Tensor:
    """``D^-1/2 A D^-1/2`` with the row sums D, Eq. (3)."""
    roots = A.sum(dim=1).rsqrt()
    return roots[:, None] * A * roots


def realness(prior: Tensor, made: Tensor) -> Tensor:
    """The loss of a discriminator from its logits: 1 for draws of the prior, 0 for what is made.

    Cross-entropy, Eq. (6) and (7).
    """
    from torch.nn.functional import softplus

    return softplus(-prior).mean() + softplus(made).mean()


def fooling(made: Tensor) -> Tensor:
    """The network's loss from the same logits: it wants to be taken for the prior.

    Its gradient does not vanish where the discriminator is sure, as that of Eq. (6) and (7) does.
    """
    from torch.nn.functional import softplus

    return softplus(-made).mean()


class TBH(MLPHead):
    """Bits from which, through a graph of the batch, the vectors are rebuilt.

    One hidden layer leads to two bottlenecks: r bits, and a real representation. The codes of a
    batch make a graph (Eq. 2). A graph convolution passes the real representation over that graph
    (Eq. 3), and a decoder rebuilds the vectors from it; so the codes of similar vectors must be
    similar. Two discriminators draw the codes towards fair coins and the convolved representation
    towards uniform numbers (Eq. 6 and 7). Fitting costs O(B d h + B^2 m) per step of B vectors,
    with h hidden and m real units; encoding O(d h) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    n_hidden : int, default=1024
        Units of the hidden layers of encoder and decoder.
    n_latent : int, default=512
        Units of the real bottleneck.
    adversarial : float, default=1
        Weight of the discriminators beside the error, which is summed over dimensions.
    n_steps : int, default=3000
        Batches. The authors make up to 100,000, at a rate of 1e-4.
    batch_size : int, default=400
    learning_rate : float, default=3e-4
        Of Adam, for the network and for the discriminators.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to train. "auto" takes a GPU when torch finds one.
    random_state : int, RandomState or None, default=None
        Draws the first weights, the batches and the priors.
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

    Notes
    -----
    Differences from the authors' code. Vectors are centred and scaled to unit mean variance, so the
    decoder ends without ReLU, which rebuilds features that are never negative only. The error is a
    mean over the batch where theirs is a sum, with which the weight of the discriminators depends
    on the batch size. The network's adversarial loss does not saturate. In training a neuron is
    ``[sigmoid(u) > e]`` with a uniform random ``e``, and has the gradient of the sigmoid; in trials
    without the noise, codes found no more than chance. Biases of the bits start where a thousand
    vectors have mean logit 0.

    References
    ----------
    Shen et al., CVPR 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import TBH
    >>> X = np.random.default_rng(0).normal(size=(500, 16))
    >>> TBH(n_bits=32, n_hidden=64, n_latent=32, n_steps=20, random_state=0).fit_transform(X).shape
    (500, 4)
    """

    name: ClassVar[str] = "tbh"
    revision = 2  # 1 had no noise in training
    fit_cost = "minutes"
    activation = "relu"

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        n_hidden: int = 1024,
        n_latent: int = 512,
        adversarial: float = 1.0,
        n_steps: int = 3000,
        batch_size: int = 400,
        learning_rate: float = 3e-4,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.n_hidden = n_hidden
        self.n_latent = n_latent
        self.adversarial = adversarial
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        training = self._start(rows, random_state)
        d, h, m, r = rows.dim, self.n_hidden, self.n_latent, self.n_bits
        hidden, bits, latent = (training.linear(*sizes) for sizes in ((d, h), (h, r), (h, m)))
        convolution, decoder, output = (
            training.linear(*sizes) for sizes in ((m, m), (m, h), (h, d))
        )
        # ReLU units have means above 0, which would make bits constant: begin with balanced ones
        some = training.vectors(np.sort(random_state.permutation(len(rows))[:1000]))
        bits.requires_grad_(False)
        bits.bias.copy_(-hidden(some).relu().mean(dim=0).detach() @ bits.weight.T)
        bits.requires_grad_(True)
        critic_of_codes, critic_of_latent = training.linear(r, 1), training.linear(m, 1)
        critics = training.adam([critic_of_codes, critic_of_latent], self.learning_rate)

        def judged(b: Tensor, z: Tensor) -> Tensor:
            coins = (training.uniform(*b.shape) > 0.5).to(b.dtype)
            of_codes = realness(critic_of_codes(coins), critic_of_codes(b))
            uniform = training.uniform(*z.shape)
            return of_codes + realness(critic_of_latent(uniform), critic_of_latent(z))

        def loss(x: Tensor) -> dict[str, Tensor]:
            units = hidden(x).relu()
            p = bits(units).sigmoid()
            b = passed_through((p > training.uniform(*p.shape)).to(p.dtype), p)
            graph = normalized_adjacency(code_graph(b))
            z = convolution(graph @ latent(units).sigmoid()).sigmoid()
            error = 0.5 * (output(decoder(z).relu()) - x).square().sum(dim=1).mean()
            # first the discriminators' step on the same batch, then what they say to the network
            critics.zero_grad()
            judged(b.detach(), z.detach()).backward()
            critics.step()
            fooled = fooling(critic_of_codes(b)) + fooling(critic_of_latent(z))
            return {"reconstruction": error, "adversarial": self.adversarial * fooled}

        network = [hidden, bits, latent, convolution, decoder, output]
        training.run(loss, training.adam(network, self.learning_rate))
        self._keep(training, [hidden, bits])
