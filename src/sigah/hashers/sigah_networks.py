"""Networks and losses of SiGAH (arXiv 2306.06928), beside its equations.

====== ============================================ ===================
paper  here                                         shape
====== ============================================ ===================
x      vectors, centred, unit mean variance         (B, d)
W, c   projection and bias of the hash layer        (d, r), (r,)
b      codes, binary or relaxed                     (B, r)
V, g   weights and bias of the generator's layer    (r, n), (n,)
z      sparse representation G(b)                   (B, n)
A      dictionary, Gaussian and fixed unless told   (d, n)
x^     synthetic vectors A G(b)                     (B, d)
D(x)   energy                                       (B,)
====== ============================================ ===================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sigah.hashers.sigah_decoder import LEAKY_SLOPE

__all__ = [
    "SELF_COSINE",
    "SELF_DISTANCE",
    "Discriminator",
    "Generator",
    "HashLayer",
    "discriminator_loss",
    "graph_loss",
    "kth_smallest",
    "neighbor_loss",
    "pair_loss",
    "squared_distances",
]

# What a batch's matrices hold on the diagonal, so that no vector is its own neighbour: the weight
# of such a pair and its gradients come out as exactly 0.
SELF_DISTANCE, SELF_COSINE = float("inf"), -1e4
EPSILON = 1e-5  # added to variances of logits


# ---------------------------------------------------------------- networks


class StraightThroughSign(torch.autograd.Function):
    """sgn(u) forward, with sgn(0) = +1; the gradient of tanh(u) backward."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        return torch.where(logits >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        return gradient * (1 - torch.tanh(logits).square())


class HashLayer(nn.Module):
    """x -> b: the linear hash function of Eq. (2), relaxed for training."""

    mean: Tensor  # of logits, and their variance: running ones, for vectors that are not learned
    variance: Tensor

    def __init__(
        self,
        W: Tensor,
        relaxation: str,
        *,
        learn_threshold: bool = True,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.W = nn.Parameter(W)
        # Eq. (2) has none: vectors are centred
        self.c = nn.Parameter(W.new_zeros(W.shape[1]), requires_grad=learn_threshold)
        self.relaxation = relaxation
        self.normalize = normalize
        self.register_buffer("mean", W.new_zeros(W.shape[1]))
        self.register_buffer("variance", W.new_ones(W.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        """Relaxed or binary codes, ``(B, r)``; where gradients are taken, of a training batch."""
        logits = x @ self.W
        if self.normalize:
            learn = torch.is_grad_enabled()
            logits = F.batch_norm(logits, self.mean, self.variance, training=learn, eps=EPSILON)
        logits = logits + self.c
        if self.relaxation == "tanh":
            return torch.tanh(logits)  # Eq. (18)
        return StraightThroughSign.apply(logits)

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """W and c of the same layer without normalisation."""
        if not self.normalize:
            return self.W, self.c
        deviation = (self.variance + EPSILON).sqrt()
        return self.W / deviation, self.c - self.mean / deviation


class Generator(nn.Module):
    """b -> (z, x^): one sparse layer, then the dictionary, Eq. (5).

    The dictionary is fixed; for Fig. 8 (d) it may be learned, or left out (None).
    """

    def __init__(
        self, V: Tensor, A: Tensor | None, activation: str, *, learn: bool = False
    ) -> None:
        super().__init__()
        self.V = nn.Parameter(V)
        self.g = nn.Parameter(V.new_zeros(V.shape[1]))
        self.A: Tensor | None
        if learn and A is not None:
            self.A = nn.Parameter(A)
        else:
            self.register_buffer("A", A)
        self.phi = activation_function(activation)

    def forward(self, b: Tensor) -> tuple[Tensor, Tensor]:
        """The sparse representation ``(B, n)`` and the synthetic vectors ``(B, d)``."""
        z = self.phi(torch.addmm(self.g, b, self.V))
        return z, z if self.A is None else z @ self.A.T


class Discriminator(nn.Module):
    """x -> D(x): the reconstruction error of a three-layer auto-encoder, Eq. (14)."""

    def __init__(self, d: int, generator: torch.Generator, *, gaussian: bool = False) -> None:
        super().__init__()
        width = max(1, d // 2)
        # drawn from our own stream, and nothing from torch's global one
        self.encoder = nn.utils.skip_init(nn.Linear, d, width)
        self.decoder = nn.utils.skip_init(nn.Linear, width, d)
        for layer in (self.encoder, self.decoder):
            if gaussian:
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
            else:
                nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Energies, ``(B,)``."""
        rebuilt = self.decoder(F.leaky_relu(self.encoder(x), LEAKY_SLOPE))
        return (x - rebuilt).square().mean(dim=1)


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """The generator's phi by name."""
    return {
        "leaky_relu": lambda u: F.leaky_relu(u, LEAKY_SLOPE),
        "relu": F.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "silu": F.silu,
        "identity": lambda u: u,
    }[name]


# ------------------------------------------------------------------ losses


def squared_distances(x: Tensor) -> Tensor:
    """``||x_i - x_j||^2`` between all rows of a batch, through one matrix product."""
    norms = torch.linalg.vector_norm(x, dim=1).square()
    return torch.addmm(norms + norms[:, None], x, x.T, alpha=-2).clamp_(min=0)


def graph_loss(b: Tensor, distances: Tensor, sigma2: float) -> Tensor:
    """In-batch similarity graph, Eq. (17): mean of ``S_ij ||b_i - b_j||^2 / r``."""
    similarity = torch.exp(-distances / (2 * sigma2))
    return (similarity * squared_distances(b)).mean() / b.shape[1]


def discriminator_loss(real: Tensor, synthetic: Tensor, margin: float) -> Tensor:
    """Eq. (21) from the energies of real and synthetic vectors."""
    return real.mean() + F.relu(margin - synthetic).mean()


def kth_smallest(distances: Tensor, k: int) -> Tensor:
    """The k-th smallest number of each row, ``(B, 1)``."""
    if distances.device.type == "cpu":  # NumPy selects five times faster than torch
        chosen = np.partition(distances.numpy(), k - 1, axis=1)[:, k - 1 : k]
        return torch.from_numpy(chosen)
    return distances.topk(k, dim=1, largest=False).values[:, -1:]


def neighbor_loss(logits: Tensor, distances: Tensor, radius: Tensor) -> Tensor:
    """Cross-entropy between each row's neighbour distributions in vector and in code space.

    The first is a softmax of ``-3 (distance - nearest) / (radius - nearest)``, with the distance of
    each row's last neighbour in ``radius``, ``(B, 1)``; the second of ``logits``.
    """
    nearest = distances.amin(dim=1, keepdim=True)
    spread = (radius - nearest).clamp(min=torch.finfo(radius.dtype).tiny)
    target = torch.softmax(-3 * (distances - nearest) / spread, dim=1)
    return -(target * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()


def pair_loss(logits: Tensor, distances: Tensor, radius: Tensor) -> Tensor:
    """Log-loss of "j is among the neighbours of i", over all pairs, per positive pair."""
    positive = (distances <= radius).to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(logits, positive, reduction="sum")
    return losses / positive.sum()
