"""Assertions that also work under ``python -O``, and say what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["expect", "refused"]


def expect(condition: object, message: str) -> None:
    """Raise an AssertionError with the message if the condition is false."""
    if not condition:
        raise AssertionError(message)


@contextmanager
def refused(what: str, pattern: str, kind: type[Exception] = ValueError) -> Iterator[None]:
    """Expect an error whose message matches the pattern."""
    try:
        yield
    except kind as error:
        expect(
            re.search(pattern, str(error)),
            f"{what}: the message {str(error)!r} does not match {pattern!r}",
        )
    else:
        raise AssertionError(f"{what} is accepted; expected {kind.__name__} with {pattern!r}")
