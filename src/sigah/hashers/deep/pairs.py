"""Neurons and losses that several papers share: signs with gradients, cosines of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["halves", "pair_cosines", "passed_through", "similarity_loss", "straight_through_sign"]


def passed_through(values: Tensor, source: Tensor) -> Tensor:
    """``values``, exactly; gradients pass on to ``source`` unchanged (straight-through)."""
    return values.detach() + (source - source.detach())


def straight_through_sign(u: Tensor) -> Tensor:
    """sgn(u) with sgn(0) = +1; its gradient is the identity."""
    return passed_through((u >= 0).to(u.dtype) * 2 - 1, u)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second half of a batch: row i of one is paired with row i of the other."""
    n_pairs = len(x) // 2
    return x[:n_pairs], x[n_pairs : 2 * n_pairs]


def pair_cosines(x: Tensor) -> Tensor:
    """Cosines of the pairs of a batch, ``(B // 2,)``; 0 for a vector of zeros."""
    from torch.nn.functional import cosine_similarity

    return cosine_similarity(*halves(x))


def similarity_loss(x: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference between cosines of codes and cosines of vectors, over pairs.

    Eq. (12) of GreedyHash and Eq. (10) of Bi-half.
    """
    return (pair_cosines(b) - pair_cosines(x)).square().mean()
