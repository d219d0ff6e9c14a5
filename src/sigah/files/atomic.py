"""Write a file completely or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["StrPath", "atomic_write"]

StrPath = str | os.PathLike[str]


@contextmanager
def atomic_write(path: StrPath) -> Iterator[BinaryIO]:
    """Open a file that is written completely or not at all.

    The bytes go to a temporary file beside ``path``. If the block ends without an exception, the
    temporary file replaces ``path``; otherwise it is removed and ``path`` does not change.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists; a symbolic link is followed.

    Yields
    ------
    file : binary file object

    Raises
    ------
    OSError
        If the directory is missing, ``path`` is not a regular file, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sigah.files import atomic_write
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "note.txt"
    ...     with atomic_write(path) as file:
    ...         _ = file.write(b"whole")
    ...     path.read_bytes()
    b'whole'
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such directory", str(target.parent))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "Cannot replace what is not a regular file", str(target))
    temporary = target.with_name(f".sigah-{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:  # clean up after an interrupt, too
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            reason = f"Cannot write ({error.strerror})"
            raise OSError(error.errno, reason, str(target)) from error
        raise
