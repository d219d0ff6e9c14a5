"""The metrics: what "near" means for vectors, defined in one place.

========== ============================== ===================================
metric     distance of x from a query q   what hashers learn from and encode
========== ============================== ===================================
``l2``     ``||x - q||^2``                vectors as they are
``cosine`` ``1 - cos(x, q)``, from 0 to 2 vectors scaled to unit length
``ip``     ``-<x, q>``, of either sign    vectors as they are
========== ============================== ===================================

Smaller is nearer, for every metric. A vector of zeros has no direction: its cosine with every
vector is 0, so its distance is 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "METRICS",
    "as_compared",
    "check_metric",
    "check_same_metric",
    "distances_from",
    "normalized",
    "unit_rows",
]

METRICS = ("l2", "cosine", "ip")


def check_metric(value: object, name: str = "metric") -> str:
    """Return the name of a metric, or say which names there are.

    Examples
    --------
    >>> from sigah.metric import check_metric
    >>> check_metric("cosine")
    'cosine'
    """
    if not isinstance(value, str) or value not in METRICS:
        raise ValueError(f"{name} must be one of {', '.join(METRICS)}, got {value!r}")
    return value


def check_same_metric(hasher: Any, metric: str, what: str) -> None:
    """Refuse to measure a hasher by a metric that is not its own.

    Parameters
    ----------
    hasher : object
        Its attribute ``metric`` is compared; without one, it is ``"l2"``.
    metric : str
    what : str
        What has this metric, for the message.

    Raises
    ------
    ValueError
        If the metrics differ.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from sigah.metric import check_same_metric
    >>> check_same_metric(SimpleNamespace(name="itq", metric="ip"), "l2", "the truth")
    Traceback (most recent call last):
    ValueError: the hasher (itq) has the metric ip, but the truth has l2; use one metric for both
    """
    own = getattr(hasher, "metric", "l2")
    if own != metric:
        name = getattr(hasher, "name", type(hasher).__name__)
        raise ValueError(
            f"the hasher ({name}) has the metric {own}, but {what} has {metric}; use one metric for"
            " both"
        )


def normalized(block: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows scaled to unit length, as float32; a row of zeros stays as it is.

    The result of a row depends on that row alone. Lengths are float64, so no float32 overflows.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.metric import normalized
    >>> normalized(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """
    # in the order of rows: the sum of a row must not depend on the layout of its block
    rows = np.ascontiguousarray(block, np.float32)
    lengths = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
    lengths[lengths == 0] = 1
    units = np.empty_like(rows)
    return np.divide(rows, lengths, out=units, dtype=np.float64, casting="same_kind")


def unit_rows(block: NDArray[Any]) -> NDArray[np.float64]:
    """Rows scaled to unit length, as float64, whatever their magnitude; zeros stay zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.metric import unit_rows
    >>> unit_rows(np.array([[3e-200, 4e-200], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    rows = np.array(block, np.float64, order="C")
    # powers of two change no digit and keep squares from overflow and underflow
    rows = np.ldexp(rows, -np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1])
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    lengths[lengths == 0] = 1
    rows /= lengths
    return rows


def as_compared(block: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """Rows in the form that hashers of a metric learn from and encode."""
    return normalized(block) if metric == "cosine" else block


def distances_from(
    query: NDArray[np.floating], rows: NDArray[np.floating], metric: str
) -> NDArray[np.float64]:
    """Distances ``(m,)`` of one query ``(d,)`` from rows ``(m, d)``, summed in float64.

    For ``cosine``, query and rows must come from :func:`unit_rows`. The distance is then half of
    the squared Euclidean one, which keeps all digits of small distances. Equal rows have equal
    distances.
    """
    # Ties must stay ties: einsum and BLAS may add up equal rows in different orders.
    if metric == "ip":
        return 0 - np.multiply(rows, query, dtype=np.float64, order="C").sum(axis=1)
    difference = np.subtract(rows, query, dtype=np.float64, order="C")
    distances: NDArray[np.float64] = np.square(difference, out=difference).sum(axis=1)
    if metric == "cosine":
        distances /= 2
        distances[~rows.any(axis=1)] = 1
        if not query.any():
            distances[:] = 1
    return distances
