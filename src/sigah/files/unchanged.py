"""Notice when a mapped file is written into."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from sigah.files.atomic import StrPath
from sigah.files.errors import FileFormatError

__all__ = ["Unchanged"]


class Unchanged:
    """A file as it was when it was opened; asking again costs a system call, of a microsecond.

    The file itself is watched, not its name: a file that takes over the name is another one, and
    the first stays as it is for whoever has it open.

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
        """Raise a FileFormatError if the file was written into since.

        A map of a file that was cut off must not be read: the system ends the process (SIGBUS).
        """
        if self._now() != self._state:
            raise FileFormatError(
                f"cannot use {self.path}: somebody wrote into the file while it was open; open it"
                " again, and replace files by moving a new one to their name"
            )

    def _now(self) -> tuple[int, int]:
        state = os.fstat(self._descriptor)
        return state.st_size, state.st_mtime_ns
