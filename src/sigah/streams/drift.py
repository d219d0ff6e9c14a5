"""Whether a hasher still serves: new vectors beside those that it was trained for.

Samples of the old and of the new vectors are encoded, and what tells good codes from bad is
measured on both. How large a difference must be to mean anything is measured too: pairs of samples
are drawn from the old one, with repetition (Efron's bootstrap), and compared with each other in the
same way. Only a difference beyond all that the old vectors show among themselves counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_random_state
from sigah.codes import unpack
from sigah.evaluation import exact_neighbors, rank_counts, recall_at
from sigah.hashers import BinaryHasher, DecoderMixin, ScoringHasher
from sigah.rows.blocks import RowSource
from sigah.rows.sampling import sample
from sigah.rows.sources import Batches

__all__ = ["Comparison", "Drift", "drift"]

NEIGHBORS = 10  # of a canary, looked for among as many candidates as two-stage search takes
CANDIDATES = 10 * NEIGHBORS
NEAR = 0.05  # the share of the old scores that is called near the threshold
TINY = float(np.finfo(float).tiny)
FEWEST = 4 * CANDIDATES  # so that chance finds no more than half of the neighbours

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """One statistic of the codes of old and new vectors.

    Attributes
    ----------
    old, new : float
    z : float
        How much worse the new value is, in standard deviations of what two samples of the old
        vectors differ by; negative where it is better.
    """

    old: float
    new: float
    z: float


@dataclass(frozen=True)
class Drift:
    """What :func:`drift` found.

    Attributes
    ----------
    verdict : {"keep", "rebuild"}
        "rebuild" if bits are left unused (entropy) or what codes are for, recall or reconstruction,
        is worse by more than ``limit``. The other statistics say why.
    changed : bool
        Whether the balance of the bits says that the vectors are others than before, be they
        harder for the hasher or not.
    decisive : tuple of str
        The statistics that the verdict looks at.
    limit : float
        The largest z of any statistic among all comparisons of old with old.
    comparisons : dict of str to Comparison
        ``entropy``: mean entropy of a bit. ``error``: of reconstruction, relative to the variance
        of the vectors; of methods that cannot rebuild, of the scores by their signs.
        ``near_threshold``: share of scores that a small change of the vector would turn over.
        ``recall``: of the 10 true neighbours of canaries among 100 candidates.
    balance : ndarray of float64, shape (2, n_bits)
        Share of ones in every bit, old and new.
    balance_change : float
        Of the bit that changed most.
    balance_z : float
        The same as z, beside the largest changes between samples of the old vectors.
    n : int
        Vectors of each kind that were looked at.
    """

    verdict: str
    changed: bool
    decisive: tuple[str, ...]
    limit: float
    comparisons: dict[str, Comparison]
    balance: Float
    balance_change: float
    balance_z: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return {
            "verdict": self.verdict,
            "changed": self.changed,
            "decisive": list(self.decisive),
            "limit": self.limit,
            "n": self.n,
            "comparisons": {name: vars(one) for name, one in self.comparisons.items()},
            "balance": self.balance.tolist(),
            "balance_change": self.balance_change,
            "balance_z": self.balance_z,
        }


def drift(
    hasher: BinaryHasher,
    old: RowSource | Batches,
    new: RowSource | Batches,
    *,
    n: int = 2000,
    n_resamples: int = 199,
    random_state: Any = 0,
) -> Drift:
    """Compare new vectors with those that a hasher was trained for, and say whether it serves.

    Parameters
    ----------
    hasher : BinaryHasher
        Fitted.
    old, new : array-like, rows or batches
        As for :func:`sigah.rows.sample`. Old ones are best vectors like those of the training
        set that were not learned from: a model fits what it learned from a little better than
        anything else, the more so the fewer there were.
    n : int, default=2000
        Vectors to draw of each, at most; more make smaller changes visible.
    n_resamples : int, default=199
        Comparisons of old with old. Without drift, the verdict is "rebuild" about once in
        ``n_resamples + 1`` times.
    random_state : int, RandomState or None, default=0

    Returns
    -------
    Drift

    Raises
    ------
    ValueError
        If there are too few vectors, or they are not what the hasher was fitted for.

    Notes
    -----
    A verdict of "rebuild" says that the codes serve the new vectors worse than the old. If the new
    vectors are harder for every model, a new one will not bring all of it back.

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
    generator = check_random_state(random_state)
    drawn = [generator.permutation(sample(source, n, generator)) for source in (old, new)]
    m = min(map(len, drawn)) // 2 * 2  # the canaries need two halves
    if m < FEWEST:
        raise ValueError(
            f"{FEWEST} vectors of each kind are needed to compare them, there are"
            f" {len(drawn[0])} old and {len(drawn[1])} new"
        )
    samples = [rows[:m] for rows in drawn]
    scale = _Scale(hasher, samples[0])
    features = [scale.features(rows) for rows in samples]
    of_old, of_new = (scale.statistics(some.mean(axis=0)[None]) for some in features)
    pairs = [
        scale.statistics(generator.multinomial(m, np.full(m, 1 / m), n_resamples) @ features[0] / m)
        for _ in range(2)
    ]
    comparisons, noise = {}, np.full(n_resamples, -np.inf)
    for name, sign in scale.worse.items():
        among_old = sign * (pairs[1][name] - pairs[0][name])
        unit = float(np.sqrt(np.mean(among_old**2))) or TINY
        before, after = float(of_old[name][0]), float(of_new[name][0])
        comparisons[name] = Comparison(before, after, sign * (after - before) / unit)
        noise = np.maximum(noise, among_old / unit)
    limit = float(noise.max())

    among_old = np.abs(pairs[1]["balance"] - pairs[0]["balance"]).max(axis=1)
    change = float(np.abs(of_new["balance"] - of_old["balance"]).max())
    return Drift(
        verdict="rebuild"
        if max(comparisons[name].z for name in scale.decisive) > limit
        else "keep",
        changed=bool(change > among_old.max()),
        decisive=scale.decisive,
        limit=limit,
        comparisons=comparisons,
        balance=np.concatenate([of_old["balance"], of_new["balance"]]),
        balance_change=change,
        balance_z=float((change - among_old.mean()) / (among_old.std() or TINY)),
        n=m,
    )


class _Scale:
    """What is measured of a vector, and how statistics follow from the means over vectors."""

    def __init__(self, hasher: BinaryHasher, old: NDArray[np.float32]) -> None:
        self.hasher = hasher
        self.decodes = isinstance(hasher, DecoderMixin)
        self.centre = old.mean(axis=0, dtype=np.float64)
        self.worse = {"entropy": -1}  # by the sign of a change for the worse
        if self.decodes or isinstance(hasher, ScoringHasher):
            self.worse["error"] = 1
        if isinstance(hasher, ScoringHasher):
            sizes = np.abs(hasher.project(old))
            self.near, self.level = np.quantile(sizes, NEAR, axis=0), sizes.mean(axis=0)
            self.worse["near_threshold"] = 1
        self.worse["recall"] = -1
        self.decisive = ("entropy", "recall", *(["error"] if self.decodes else []))

    def features(self, rows: NDArray[np.float32]) -> Float:
        """What is averaged: ``(n, columns)``, the bits first."""
        codes = self.hasher.transform(rows)
        near = np.zeros(len(rows))
        target = rows - self.centre
        error = square = near
        if isinstance(self.hasher, ScoringHasher):
            scores = self.hasher.project(rows).astype(np.float64)
            near = (np.abs(scores) < self.near).mean(axis=1)
            error = np.square(np.abs(scores) - self.level).sum(axis=1)
            square = np.square(scores).sum(axis=1)
        if isinstance(self.hasher, DecoderMixin):
            decoded = self.hasher.reconstruct(codes)
            error = np.square(rows - decoded, dtype=np.float64).sum(axis=1)
            square = np.square(target).sum(axis=1)
        recall = canary_recall(rows, codes)
        return np.column_stack([unpack(codes), near, recall, error, square, target])

    def statistics(self, means: Float) -> dict[str, Float]:
        """Statistics ``(samples,)``, and the balance ``(samples, n_bits)``."""
        ones = means[:, : self.hasher.n_bits]
        near, recall, error, square = means[:, self.hasher.n_bits :][:, :4].T
        if self.decodes:  # the variance is about the mean of these vectors, not of the old ones
            square = square - np.square(means[:, self.hasher.n_bits + 4 :]).sum(axis=1)
        return {
            "balance": ones,
            "entropy": (surprise(ones) + surprise(1 - ones)).mean(axis=1),
            "error": error / np.maximum(square, TINY),
            "near_threshold": near,
            "recall": recall,
        }


def surprise(share: Float) -> Float:
    """``-p log2 p``, and its limit 0 at 0: the entropy that an event of some share brings, bits."""
    return -share * np.log2(share, out=np.zeros_like(share), where=share > 0)


def canary_recall(rows: NDArray[np.float32], codes: NDArray[np.uint8]) -> Float:
    """Recall of the true neighbours of every vector in the other half of the vectors, ``(n,)``."""
    half = len(rows) // 2
    found = []
    for queries, base in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        truth = exact_neighbors(rows[base], rows[queries], NEIGHBORS).ids
        counts = rank_counts(codes[base], codes[queries], truth, ks=[NEIGHBORS])[NEIGHBORS]
        found.append(recall_at(counts, CANDIDATES))
    return np.concatenate(found)
