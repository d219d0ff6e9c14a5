"""Notice changes of a mapped file."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from sigah.files.atomic import StrPath
from sigah.files.errors import FileFormatError

__all__ = ["Unchanged"]


class Unchanged:
    """The state of a file when it was opened; a check costs one system call (a microsecond).

    The file itself is watched, not its name: if another file gets the name, an open file does not
    change.

    Parameters
    ----------
    path : path-like

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sigah.files.unchanged import Unchanged
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "file")
    ...     _ = file.write_bytes(b"old")
    ...     watched = Unchanged(file)
    ...     watched.check()
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self._state = self._now()

    def check(self) -> None:
        """Raise a FileFormatError if the file has been modified since.

        The map of a truncated file must not be read: the system would end the process (SIGBUS).
        """
        if self._now() != self._state:
            raise FileFormatError(
                f"cannot use {self.path}: somebody wrote into the file while it was open; open it"
                " again, and replace files by moving a new one to their name"
            )

    def has_its_name(self) -> bool:
        """Whether no other file has got the name since."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except FileNotFoundError:
            return True

    def _now(self) -> tuple[int, int]:
        state = os.fstat(self._descriptor)
        return state.st_size, state.st_mtime_ns
