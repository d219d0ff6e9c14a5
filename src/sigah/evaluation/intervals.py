"""95 % intervals: how much a figure could change with other queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sigah.evaluation.metrics import RankCounts, area, pooled_curve

__all__ = ["mean_interval", "pr_area_interval"]

NORMAL = 1.959963984540054  # the 97.5 % quantile of the normal distribution
RESAMPLES = 400


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of a mean over queries, by the normal approximation.

    Parameters
    ----------
    values : array-like of float, shape (q,)
        One value per query, for example from :func:`~sigah.evaluation.average_precision`.

    Returns
    -------
    low, high : float
        The mean minus and plus 1.96 standard errors (deviation with ddof=1); for one query, its
        value twice.

    Examples
    --------
    >>> from sigah.evaluation import mean_interval
    >>> [round(end, 3) for end in mean_interval([0.0, 0.5, 1.0, 0.5])]
    [0.1, 0.9]
    """
    array = np.asarray(values, np.float64)
    mean = float(array.mean())
    error = float(array.std(ddof=1) / np.sqrt(len(array))) if len(array) > 1 else 0.0
    return mean - NORMAL * error, mean + NORMAL * error


def pr_area_interval(counts: RankCounts, *, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % interval of :func:`~sigah.evaluation.pr_area`, by the bootstrap over queries.

    The area has no value per query, so queries are drawn with replacement; the interval holds the
    middle 95 % of the areas. The draws are always the same.

    Parameters
    ----------
    counts : RankCounts
    resamples : int, default=400

    Returns
    -------
    low, high : float

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import RankCounts, pr_area_interval
    >>> same = RankCounts(np.array([[1, 0, 3]] * 5), np.array([[1, 0, 0]] * 5))
    >>> pr_area_interval(same)
    (1.0, 1.0)
    """
    n_queries = len(counts.total)
    rng = np.random.default_rng(0)
    # how often each query is drawn; sums over the drawn queries are then matrix products
    times = rng.multinomial(n_queries, np.full(n_queries, 1 / n_queries), size=resamples)
    weights = times.astype(np.float64)
    found = (weights @ counts.relevant).cumsum(axis=1)
    retrieved = (weights @ counts.total).cumsum(axis=1)
    areas = [area(*pooled_curve(*pair)) for pair in zip(found, retrieved, strict=True)]
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(low), float(high)
