"""What a mean of shares says about other queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["ENDS", "share_interval"]

ENDS = (0.025, 0.975)  # quantiles of an interval of 95 %
DRAWS = 20_000


def share_interval(shares: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of a mean of shares, such as recall, on other queries of the same kind.

    Half a query that finds all and half a query that finds nothing are added to those measured, and
    the mean is taken to have a beta distribution. Of shares that are 0 or 1, this is Jeffreys'
    interval (Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", 2001). So it
    has a width even if every query finds all: of m such queries, it begins at about 1 - 2.5 / m.

    Parameters
    ----------
    shares : array-like of float, shape (q,)
        One value between 0 and 1 for each query.

    Returns
    -------
    low, high : float
        They enclose the mean of the shares.

    Examples
    --------
    >>> from sigah.shares import share_interval
    >>> [round(end, 3) for end in share_interval([1.0] * 100)]
    [0.975, 1.0]
    >>> [round(end, 2) for end in share_interval([0.5, 1.0] * 50)]
    [0.7, 0.8]
    """
    values = np.asarray(shares, np.float64)
    n = len(values)
    mean = (values.sum() + 0.5) / (n + 1)
    variance = ((values @ values + 0.5) / (n + 1) - mean**2) / (n + 2)
    trials = mean * (1 - mean) / variance - 1
    rng = np.random.default_rng(0)
    low, high = np.quantile(rng.beta(mean * trials, (1 - mean) * trials, DRAWS), ENDS)
    return min(float(low), float(values.mean())), max(float(high), float(values.mean()))
