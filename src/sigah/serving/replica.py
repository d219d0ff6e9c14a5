"""A generation in this process, and how far it has read the log of changes."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from sigah.files import FileFormatError
from sigah.serving.changes import ChangeLog
from sigah.serving.generation import Generation
from sigah.serving.manifest import Entry, Manifest, log_path

__all__ = ["Replica"]


class Replica:
    """A generation with the changes of a log up to a position.

    One thread at a time may let it follow; searches go on meanwhile.

    Attributes
    ----------
    generation : Generation
    log : ChangeLog
    position : int
        All changes before it are in the index.
    """

    def __init__(self, generation: Generation, folder: Path, log: int, position: int) -> None:
        self.generation = generation
        self.position = position
        self.log = ChangeLog(log_path(folder, log))
        self._folder, self._number = folder, log

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, entry: Entry, *, n_threads: int | None) -> Self:
        """Map a generation and let it take in the changes.

        Raises
        ------
        FileNotFoundError
            If a writer has replaced the manifest since, and deleted what it names.
        """
        generation = Generation.open(folder, entry.number, manifest.kind, n_threads=n_threads)
        replica = cls(generation, folder, manifest.log, entry.position)
        replica.follow(manifest.log)
        return replica

    def is_behind(self) -> bool:
        """Whether the log has changes that are not in the index."""
        return self.log.size != self.position

    def follow(self, log: int) -> bool:
        """Take in all changes, going on to the next log; False if a log in between was missed.

        A log ends before the manifest names the next one, and all generations have its changes
        then, in the index or in a file.
        """
        self._read()
        if log == self._number + 1:
            self.log = ChangeLog(log_path(self._folder, log))
            self._number, self.position = log, ChangeLog.start
            self._read()
        return log == self._number

    def _read(self) -> None:
        for change in self.log.read(self.position):
            try:
                self.generation.apply(change)
            except FileFormatError:
                raise  # of the index, which it names
            except (TypeError, ValueError, OverflowError) as error:
                raise self.log.damaged(self.position, error) from error
            self.position = change.end
