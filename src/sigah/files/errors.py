"""Foreign and damaged files: all errors of parsers become one error that names the file."""

from __future__ import annotations

import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from sigah.files.atomic import StrPath

__all__ = ["DAMAGE", "FileFormatError", "reading"]

# errors of the parsers of safetensors, .npy headers and JSON for foreign bytes
DAMAGE = (SafetensorError, ValueError, TypeError, KeyError, RecursionError, tokenize.TokenError)


class FileFormatError(ValueError):
    """A file is damaged, too new, or of another kind than expected."""

    __module__ = "sigah.files"  # the public place, shown in tracebacks


@contextmanager
def reading(path: StrPath) -> Iterator[None]:
    """Turn any error about a foreign or damaged file into one error that names the file."""
    if Path(path).exists() and not Path(path).is_file():  # opening a pipe would wait for ever
        raise FileFormatError(f"cannot open {path}: it is not a regular file")
    try:
        yield
    except DAMAGE as error:
        if str(error).startswith(f"cannot open {path}: "):
            raise  # it is told already
        reason: object = f"it lacks {error}" if isinstance(error, KeyError) else error
        if isinstance(error, SafetensorError):
            detail = str(error).removeprefix("Error while deserializing header: ")
            reason = f"it is damaged, or a file of another kind: {detail}"
        raise FileFormatError(f"cannot open {path}: {reason}") from error
