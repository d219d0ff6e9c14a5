"""Recall at a size of the base that was not measured, with an interval.

A uniform sample of one row in ``h`` thins every neighbourhood alike: of the ``s`` rows that an
order puts first, about ``s / h`` are left, and of the ``k`` true neighbours ``k / h``. So the
recall of ``k`` neighbours in a shortlist of ``s`` among ``h n`` rows is about the recall of ``k /
h`` in ``s / h`` among the ``n`` rows of the sample, which can be measured as long as ``h`` is at
most ``k``. Beyond, the trend goes on as a straight line, in logits over doublings.

Small numbers cost a little: ``s / h`` rows are left on average, not always. How much is measured on
the sample, by thinning it once more and comparing with what is known there. Most of that is taken
back; the rest is not certain at another size.

Codebooks know the ``l`` vectors that they were learned from, and those from more vectors are
better. Both effects go with ``1 / l``, and are alike: recall is too high by as much among the
vectors that were learned from as it is too low among others. Both are measured on the sample, so
what codebooks learned from any number of vectors give lies between them (:func:`towards_known`).

The interval has four parts, in logits. Queries: everything is repeated on resampled queries, among
them half a query that finds all and half a query that finds nothing, as in
:func:`sigah.shares.share_interval`: so the interval has a width even if every query finds all.
Size: what these predictions miss a doubling. Thinning: a share of what it loses. Learning: a share
of the distance between known vectors and others. The constants are fitted to the residuals of three
sets in ``benchmarks/advise.py``, and tested on three other ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sigah.shares import ENDS

__all__ = [
    "FITTED",
    "Constants",
    "Interval",
    "predict",
    "resampled",
    "share_found",
    "towards_known",
]

RESAMPLES = 1000
NORMAL = 1.96
SLOPE_STEPS = 2.0  # doublings that the line beyond the last one is taken from

Places = NDArray[np.integer]


@dataclass(frozen=True)
class Constants:
    """What is fitted to residuals, in logits.

    Attributes
    ----------
    taken_back : float
        Share of what thinning loses on the sample.
    per_doubling, of_lost, of_known : float
        Deviations: of each doubling, of what thinning loses, of the distance between vectors that
        codebooks know and others.
    """

    taken_back: float = 0.87
    per_doubling: float = 0.05
    of_lost: float = 0.1
    of_known: float = 0.04


FITTED = Constants()


@dataclass(frozen=True)
class Interval:
    """A recall, with the ends of its 95 % interval."""

    low: float
    expected: float
    high: float


def predict(
    places: Mapping[int, Places],
    shortlist: int,
    n_vectors: int,
    *,
    known: Mapping[int, Places] | None = None,
    towards: float = 0.5,
    seed: int = 0,
    constants: Constants = FITTED,
) -> Interval:
    """Predict the recall of a shortlist among ``n_vectors``.

    Parameters
    ----------
    places : mapping of int to ndarray of int, shape (q, k)
        By size of the base: how many rows an order puts before each true neighbour, nearest first.
        Sizes that are a half, a quarter, ... of the largest one are used.
    shortlist : int
    n_vectors : int
        If it is at most the largest size, nothing is prolonged.
    known : mapping of int to ndarray of int, shape (q, k), optional
        As ``places``, one of its sizes, among rows that codebooks learned from.
    towards : float, default=0.5
        How far the codebooks in use are from ``places`` towards ``known``: :func:`towards_known`.
    seed : int, default=0
    constants : Constants

    Returns
    -------
    Interval

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.advice.prediction import predict
    >>> rng = np.random.default_rng(0)
    >>> places = {n: rng.integers(0, 12, (500, 10)) for n in (1000, 2000, 4000, 8000)}
    >>> measured = predict(places, 10, 8000)
    >>> measured.low < 10 / 12 < measured.high
    True
    >>> predict(places, 10, 64000).low < measured.low
    True
    """
    n = max(places)
    k = places[n].shape[1]
    doublings = max(0.0, math.log2(n_vectors / n))
    weights = resampled(len(places[n]), seed)
    lost = _lost(places, shortlist, weights)

    def at(step: float) -> NDArray[np.float64]:
        """Logits at ``2**step`` times the sample."""
        thinned = share_found(places[n], k / 2**step, shortlist / 2**step)
        return _logits(thinned, weights) - constants.taken_back * _between(step, lost)

    most = math.log2(k)
    at_target = at(min(doublings, most))
    if doublings > most:
        first = most - min(most, SLOPE_STEPS)
        rise = (at_target - at(first)) / (most - first) if most else 0.0
        at_target = at_target + rise * (doublings - most)
    better = np.zeros_like(at_target)
    for size, found in (known or {}).items():
        step = min(max(0.0, math.log2(n_vectors / size)), most)
        in_use, sampled = (
            _logits(share_found(some, k / 2**step, shortlist / 2**step), weights)
            for some in (found, places[size])
        )
        better = np.maximum(0.0, in_use - sampled)
    at_target = at_target + towards * better
    expected = float(at_target[0])
    others = NORMAL * math.hypot(
        constants.per_doubling * doublings,
        constants.of_lost * float(_between(doublings, lost)[0]),
        constants.of_known * float(better[0]),
    )
    low, high = np.quantile(at_target[1:], ENDS)
    return Interval(
        low=_expit(expected - math.hypot(expected - low, others)),
        expected=_expit(expected),
        high=_expit(expected + math.hypot(high - expected, others)),
    )


def towards_known(learned: int, in_use: int, n_vectors: int) -> float:
    """Where codebooks in use stand between vectors that a sample's know (1) and others (0).

    They learn from more vectors, which takes them to the middle, and know some of those that are
    searched, which takes them beyond.

    Parameters
    ----------
    learned, in_use : int
        Vectors learned from: of the sample, and of all.
    n_vectors : int
        All that are searched.

    Examples
    --------
    >>> from sigah.advice.prediction import towards_known
    >>> towards_known(1000, in_use=1000, n_vectors=1000)
    1.0
    >>> towards_known(10_000, in_use=100_000, n_vectors=100_000)
    0.55
    >>> towards_known(50_000, in_use=100_000, n_vectors=10_000_000)
    0.255
    """
    share = min(1.0, in_use / n_vectors)
    return 0.5 + 0.5 * learned / max(learned, in_use) * (2 * share - 1)


def share_found(places: Places, k: float, shortlist: float) -> NDArray[np.float64]:
    """Of each query, the share of its ``k`` nearest that stand in a shortlist.

    Parts of a neighbour, or of a place, count as such a part.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.advice.prediction import share_found
    >>> share_found(np.array([[0, 2, 9]]), k=2, shortlist=2.5)
    array([0.75])
    """
    weights = np.clip(k - np.arange(places.shape[1]), 0, 1)
    whole = int(shortlist)
    hits = (places < whole) + (shortlist - whole) * (places == whole)
    found: NDArray[np.float64] = (hits * weights).sum(axis=1) / k
    return found


@lru_cache(maxsize=2)
def resampled(n_queries: int, seed: int) -> NDArray[np.float64]:
    """Weights of queries, and of two more that count half: ``(1 + resamples, q + 2)``.

    The first row has the queries as they are; in the others, they are drawn as in Rubin, "The
    Bayesian bootstrap", 1981. A recall of 1 in a sample is not certainly 1: so the first of the two
    more finds all, and the second one nothing.
    """
    once = np.append(np.ones(n_queries), (0.5, 0.5))
    drawn = np.random.default_rng(seed).dirichlet(once, RESAMPLES)
    weights = np.vstack([once / once.sum(), drawn])
    weights.flags.writeable = False
    return weights


def _logits(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    found, missed = (
        weights @ np.append(some, ends) for some, ends in ((values, (1, 0)), (1 - values, (0, 1)))
    )
    logits: NDArray[np.float64] = np.log(found) - np.log(missed)
    return logits


def _lost(
    places: Mapping[int, Places], shortlist: int, weights: NDArray[np.float64]
) -> dict[float, NDArray[np.float64]]:
    """By doublings: the logits that thinning loses on the sample itself."""
    n = max(places)
    k = places[n].shape[1]
    direct = _logits(share_found(places[n], k, shortlist), weights)
    lost = {0.0: np.zeros_like(direct)}
    for size in sorted(places, reverse=True)[1:]:
        step = round(math.log2(n / size))
        if 2**step <= k and abs((size << step) - n) <= 1 << step:
            thinned = share_found(places[size], k / 2**step, shortlist / 2**step)
            lost[float(step)] = _logits(thinned, weights) - direct
    return lost


def _between(step: float, lost: Mapping[float, NDArray[np.float64]]) -> NDArray[np.float64]:
    """What is lost at any number of doublings; beyond those known, in proportion."""
    steps = sorted(lost)
    if step >= steps[-1]:
        return lost[steps[-1]] * (step / steps[-1] if steps[-1] else 0.0)
    upper = next(i for i, one in enumerate(steps) if one > step)
    low, high = steps[upper - 1], steps[upper]
    share = (step - low) / (high - low)
    return (1 - share) * lost[low] + share * lost[high]


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x))
