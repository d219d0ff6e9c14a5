"""Numbers and seeds as arguments, checked in one place."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

import numpy as np

__all__ = [
    "check_flag",
    "check_nonnegative",
    "check_positive",
    "check_random_state",
    "check_whole",
    "plain",
]

MOST = 2**63 - 1  # what ids, counts and steps are held in


def plain(value: Any) -> Any:
    """A NumPy scalar, or an array that holds a single one, as Python's; all else as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.checks import plain
    >>> plain(np.float32(0.5)), plain(np.array(8)), plain("tight")
    (0.5, 8, 'tight')
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.longdouble):  # has no other type to become
        return float(value)
    return value.item() if isinstance(value, np.generic) else value


def check_random_state(seed: Any) -> np.random.RandomState:
    """A generator from a seed; None is NumPy's global one.

    ``RandomState`` is used throughout because NumPy guarantees that its stream never changes.

    Parameters
    ----------
    seed : int, RandomState or None
        A ``RandomState`` is returned as it is: successive calls continue its stream.

    Raises
    ------
    ValueError
        If the seed is anything else, or out of range.

    Examples
    --------
    >>> from sigah.checks import check_random_state
    >>> check_random_state(0).randint(100)
    44
    """
    if isinstance(seed, np.random.RandomState):
        return seed
    if seed is None:
        generator: np.random.RandomState = np.random.mtrand._rand
        return generator
    try:
        return np.random.RandomState(check_whole(seed, "random_state", least=0))
    except ValueError as error:
        raise ValueError(
            "random_state must be None, a RandomState or a whole number from 0 to 4294967295,"
            f" got {seed!r}"
        ) from error


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
        If the value is no whole number, is smaller than ``least``, or leaves 64 bits.

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
    if number > MOST:
        raise ValueError(f"{name} must be a whole number from {least} to {MOST}")
    return number


def check_nonnegative(value: object, name: str) -> float:
    """Return ``value`` as a finite float of at least 0, or say what is wrong with it.

    Examples
    --------
    >>> from sigah.checks import check_nonnegative
    >>> check_nonnegative(0.5, "weight")
    0.5
    """
    number = _as_float(value, otherwise=-1.0)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")
    return number


def check_positive(value: object, name: str, *, or_else: str = "") -> float:
    """Return ``value`` as a finite float above 0, or say what is wrong with it.

    ``or_else`` is what the argument may be instead, for the message.

    Examples
    --------
    >>> from sigah.checks import check_positive
    >>> check_positive(0.01, "learning_rate")
    0.01
    """
    number = _as_float(value, otherwise=0.0)
    if not 0 < number < math.inf:
        allowed = f"{or_else} or a positive number" if or_else else "a positive number"
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return number


def check_flag(value: object, name: str) -> bool:
    """Return ``value`` if it is True or False, and say what is wrong with it otherwise.

    Examples
    --------
    >>> from sigah.checks import check_flag
    >>> check_flag(True, "verbose")
    True
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def _as_float(value: object, *, otherwise: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        return otherwise
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf
