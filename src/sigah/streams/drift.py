"""Drift: how much recall a hasher loses on new vectors.

The measure is recall, which is what codes are for. A sample is drawn from the old vectors, and
another from the new. Recall counts how many true nearest neighbours within a sample are found by
Hamming distance. The loss is the recall of the old vectors minus that of the new. Its interval
comes from drawing the vectors again, with repetition, many times (Efron's bootstrap). A loss counts
when the whole interval lies above the tolerated loss. Other statistics of the codes are only
reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_nonnegative, check_whole
from sigah.codes import unpack
from sigah.evaluation import exact_neighbors, rank_counts, recall_at
from sigah.hashers import BinaryHasher, DecoderMixin, ScoringHasher
from sigah.metric import as_compared
from sigah.rows.blocks import RowSource
from sigah.rows.sampling import sample
from sigah.rows.sources import Batches

__all__ = ["FEWEST", "Drift", "drift"]

NEIGHBORS = 10
FEWEST = 400  # least vectors of each kind: fewer have no real neighbours
RESAMPLES = 999
NEAR = 0.05  # the share of the old scores that counts as near the threshold

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """The result of :func:`drift`.

    Attributes
    ----------
    verdict : {"keep", "rebuild"}
        "rebuild" if the whole interval of the loss is above ``max_loss``.
    loss : float
        Recall of the old vectors minus recall of the new; negative if the new vectors are found
        better.
    low, high : float
        The interval of the loss, at the level ``confidence``.
    max_loss, confidence : float
        The arguments.
    recall : tuple of float
        Recall10@10 of the old and of the new vectors: the share of the 10 true neighbours of a
        vector by the hasher's metric, in the other half of its sample, that are among its 10
        nearest codes.
    statistics : dict of str to tuple of float
        Values for the old and the new vectors. ``entropy``: mean entropy of a bit. ``error``: of
        reconstruction, relative to the variance of the vectors (methods that decode).
        ``near_threshold``: share of scores whose sign a small change of the vector would flip
        (methods with scores).
    balance : ndarray of float64, shape (2, n_bits)
        Share of ones in every bit, old and new.
    n : int
        Number of vectors of each kind.
    """

    verdict: str
    loss: float
    low: float
    high: float
    max_loss: float
    confidence: float
    recall: tuple[float, float]
    statistics: dict[str, tuple[float, float]]
    balance: Float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """The report in types that JSON has."""
        return asdict(self) | {"balance": self.balance.tolist()}


def drift(
    hasher: BinaryHasher,
    old: RowSource | Batches,
    new: RowSource | Batches,
    *,
    n: int = 2000,
    max_loss: float = 0.03,
    confidence: float = 0.95,
    random_state: int = 0,
) -> Drift:
    """Estimate how much recall a hasher loses on new vectors, and say whether to keep it.

    Parameters
    ----------
    hasher : BinaryHasher
        Fitted.
    old, new : array-like, rows or batches
        As for :func:`sigah.rows.sample`. The best old vectors are similar to the training set but
        not part of it: a model fits its training vectors a little better than others, the more so
        if they were few.
    n : int, default=2000
        Most vectors to draw from each; more vectors give a narrower interval.
    max_loss : float, default=0.03
        Loss of recall that is tolerated.
    confidence : float, default=0.95
        Of the interval.
    random_state : int, default=0
        The same seed draws the same samples.

    Returns
    -------
    Drift

    Raises
    ------
    ValueError
        If there are too few vectors, or they have another dimension or are not finite.

    Notes
    -----
    Recall is measured among a thousand vectors, not among the whole collection, where it is lower.
    If the new vectors are harder for every model, a new model will not recover all of the loss.

    References
    ----------
    Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics, 1979.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import ITQ
    >>> from sigah.streams import drift
    >>> rng = np.random.default_rng(0)
    >>> shape = rng.normal(size=(8, 32))
    >>> learned, old, same = rng.normal(size=(3, 2000, 8)) @ shape
    >>> other = rng.normal(size=(2000, 8)) @ rng.normal(size=(8, 32))
    >>> hasher = ITQ(8, random_state=0).fit(learned)
    >>> drift(hasher, old, same).verdict, drift(hasher, old, other).verdict
    ('keep', 'rebuild')
    """
    n = check_whole(n, "n", least=FEWEST)
    max_loss = check_nonnegative(max_loss, "max_loss")
    if not 0 < check_nonnegative(confidence, "confidence") < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}")
    random_state = check_whole(random_state, "random_state", least=0)
    generator = np.random.default_rng(random_state)
    drawn = []
    for name, source in (("old", old), ("new", new)):
        with _naming(name):
            drawn.append(generator.permutation(sample(source, n, random_state)))
    m = min(map(len, drawn)) // 2 * 2  # for two equal halves
    if m < FEWEST:
        raise ValueError(
            f"{FEWEST} vectors of each kind are needed to compare them, but there are"
            f" {len(drawn[0]):,} old and {len(drawn[1]):,} new"
        )
    rows = [some[:m] for some in drawn]
    codes = [hasher.transform(some) for some in rows]
    found = [half_recall(*pair, hasher.metric) for pair in zip(rows, codes, strict=True)]
    losses = np.array(
        [
            np.subtract(*(some[generator.integers(m, size=m)].mean() for some in found))
            for _ in range(RESAMPLES)
        ]
    )
    low, high = np.quantile(losses, [(1 - confidence) / 2, (1 + confidence) / 2])
    before, after = (float(some.mean()) for some in found)
    return Drift(
        verdict="rebuild" if low > max_loss else "keep",
        loss=before - after,
        low=float(low),
        high=float(high),
        max_loss=max_loss,
        confidence=confidence,
        recall=(before, after),
        statistics=statistics(hasher, rows, codes),
        balance=np.stack([unpack(some).mean(axis=0) for some in codes]),
        n=m,
    )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say which of the two sources an error is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def half_recall(rows: NDArray[np.float32], codes: NDArray[np.uint8], metric: str) -> Float:
    """Recall10@10 of every vector in the other half of the vectors, ``(n,)``."""
    half = len(rows) // 2
    found = []
    for queries, base in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        truth = exact_neighbors(rows[base], rows[queries], NEIGHBORS, metric).ids
        counts = rank_counts(codes[base], codes[queries], truth, ks=[NEIGHBORS])[NEIGHBORS]
        found.append(recall_at(counts, NEIGHBORS))
    return np.concatenate(found)


def statistics(
    hasher: BinaryHasher, rows: list[NDArray[np.float32]], codes: list[NDArray[np.uint8]]
) -> dict[str, tuple[float, float]]:
    """Statistics of the codes of old and new vectors."""
    pairs = {"entropy": [entropy(unpack(some).mean(axis=0)) for some in codes]}
    if isinstance(hasher, DecoderMixin):
        compared = [as_compared(some, hasher.metric) for some in rows]
        pairs["error"] = [
            float(np.square(some - hasher.reconstruct(code), dtype=np.float64).sum())
            / max(len(some) * float(some.var(axis=0, dtype=np.float64).sum()), 1e-300)
            for some, code in zip(compared, codes, strict=True)
        ]
    if isinstance(hasher, ScoringHasher):
        sizes = [np.abs(hasher.project(some)) for some in rows]
        near = np.quantile(sizes[0], NEAR, axis=0)
        pairs["near_threshold"] = [float((some < near).mean()) for some in sizes]
    return {name: (before, after) for name, (before, after) in pairs.items()}


def entropy(ones: Float) -> float:
    """Mean entropy, in bits, of bits with these probabilities of 1."""
    shares = np.stack([ones, 1 - ones])
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return float(-(shares * logs).sum(axis=0).mean())
