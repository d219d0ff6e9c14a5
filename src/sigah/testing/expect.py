"""Assertions that hold under ``python -O`` too, and say what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["expect", "refused"]


def expect(condition: object, message: str) -> None:
    """Raise an AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


@contextmanager
def refused(what: str, pattern: str, kind: type[Exception] = ValueError) -> Iterator[None]:
    """Expect an error whose message has the pattern."""
    try:
        yield
    except kind as error:
        expect(
            re.search(pattern, str(error)),
            f"{what}: the message {str(error)!r} does not say {pattern!r}",
        )
    else:
        raise AssertionError(f"{what} is accepted; {kind.__name__} with {pattern!r} is due")
