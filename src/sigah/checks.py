"""Numbers as arguments, checked in one place."""

from __future__ import annotations

import math
import operator
from numbers import Real

__all__ = ["check_nonnegative", "check_whole"]


def check_whole(value: object, name: str, *, least: int = 1) -> int:
    """Return ``value`` as an int, or say what is wrong with it.

    Parameters
    ----------
    value : object
        Python's and NumPy's integers pass; booleans and floats do not.
    name : str
        What the caller calls the argument.
    least : int, default=1

    Raises
    ------
    ValueError
        If the value is no whole number, or is smaller than ``least``.

    Examples
    --------
    >>> from sigah.checks import check_whole
    >>> check_whole(5, "k")
    5
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return number


def check_nonnegative(value: object, name: str) -> float:
    """Return ``value`` as a finite float of at least 0, or say what is wrong with it.

    Examples
    --------
    >>> from sigah.checks import check_nonnegative
    >>> check_nonnegative(0.5, "weight")
    0.5
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")
    return number
