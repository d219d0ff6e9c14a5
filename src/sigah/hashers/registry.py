"""Methods as words name them: ``sigah``, ``sigah.paper``, ``sigah:pair=0:n_steps=500``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sigah.hashers import METHODS, BinaryHasher

__all__ = ["METHOD_NAMES", "make_hasher"]

METHOD_NAMES = ("sigah", "sigah.paper", *[name for name in METHODS if name != "sigah"])


def make_hasher(
    method: str, n_bits: int, seed: int | None, settings: Iterable[str] = ()
) -> BinaryHasher:
    """An unfitted hasher from the words that name it.

    Parameters
    ----------
    method : str
        A name of :data:`METHOD_NAMES`; ``sigah.paper`` is the literal reading of the paper.
        Settings may follow it after colons, as in ``sigah:pair=0:n_steps=500``.
    n_bits : int
    seed : int or None
        Ignored by the few methods that draw nothing.
    settings : iterable of str
        More ``name=value`` pairs.

    Raises
    ------
    ValueError
        If there is no such method or setting.

    Examples
    --------
    >>> from sigah.hashers.registry import make_hasher
    >>> make_hasher("sigah:pair=0", 32, 0).pair
    0
    """
    label, *attached = method.split(":")
    name, _, variant = label.partition(".")
    if name not in METHODS or variant not in ("", "paper") or (variant and name != "sigah"):
        raise ValueError(f"unknown method {label!r}; known: {', '.join(METHOD_NAMES)}")
    make: Any = METHODS[name].paper if variant else METHODS[name]
    hasher: BinaryHasher = make(n_bits)
    if "random_state" in hasher.get_params():  # a few methods draw nothing
        hasher.set_params(random_state=seed)
    for setting in [*attached, *settings]:
        key, equals, value = setting.partition("=")
        if not equals or key not in hasher.get_params():
            raise ValueError(
                f"{setting!r} is no setting; {label} has {', '.join(hasher.get_params())}"
            )
        try:
            hasher.set_params(**{key: json.loads(value.lower())})
        except json.JSONDecodeError:
            hasher.set_params(**{key: value})
    return hasher
