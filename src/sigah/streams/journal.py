"""Work that can stop and resume: a partial file of codes, and a journal of its finished blocks.

``NAME.partial``, beside the output, holds the codes so far. ``NAME.journal`` has one line of JSON
that names the model and the vectors, and one line for every finished block, with the checksum of
its codes. A line is written after its codes. After a kill or a power cut, the finished blocks are
those before the first block that is missing, truncated or different from its checksum.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from numpy.typing import NDArray

__all__ = ["Journal"]

VERSION = 1
BYTES_PER_READ = 1 << 22


class Journal:
    """The finished codes of an incomplete file; used as a context.

    Parameters
    ----------
    out : Path
        The output; the other two files are beside it.
    task : dict
        The model and the vectors of the codes; JSON.
    width : int
        Bytes per code.
    offset : int
        Bytes of the partial file before the codes.
    resume : bool, default=True
        Whether codes of an earlier run may be used.

    Attributes
    ----------
    n_rows : int
        Number of finished codes.
    refused : str or None
        Why the codes of an earlier run were discarded.
    """

    def __init__(
        self, out: Path, task: dict[str, Any], width: int, offset: int, *, resume: bool = True
    ) -> None:
        self.out = out
        self.partial = out.with_name(out.name + ".partial")
        self.lines = out.with_name(out.name + ".journal")
        self.task = {"version": VERSION, **task}
        self.width, self.offset = width, offset
        self.resume = resume
        self.n_rows = 0
        self.refused: str | None = None

    def __enter__(self) -> Self:
        # unbuffered: the system has all written bytes, even after a kill
        self._files = ExitStack()
        with self._files:
            self._lock()
            self._journal = self._files.enter_context(self.lines.open("ab", buffering=0))
            self.partial.touch()
            self._codes = self._files.enter_context(self.partial.open("r+b", buffering=0))
            end = self._recover() if self.resume else 0
            self._journal.truncate(end)
            if not end:
                self._note(self.task)
            self._codes.truncate(self._end)
            self._files = self._files.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()

    def append(self, codes: NDArray[np.uint8]) -> None:
        """Write the codes of a block, then its line."""
        content = np.ascontiguousarray(codes).reshape(-1).data
        self._write(self._end, content)
        self._note({"rows": len(codes), "crc32": zlib.crc32(content)})
        self.n_rows += len(codes)

    def chunks(self) -> Iterator[bytes]:
        """The finished codes in order, a few MiB at a time and whole codes each."""
        step = max(1, BYTES_PER_READ // self.width)
        for start in range(0, self.n_rows, step):
            self._codes.seek(self.offset + start * self.width)
            yield self._codes.read((min(start + step, self.n_rows) - start) * self.width)

    def become(self, head: bytes, tail: bytes) -> None:
        """Write the head and the tail, and rename the partial file to the output."""
        if len(head) != self.offset:
            raise ValueError(f"{self.offset} bytes were reserved for a head of {len(head)} bytes")
        self._write(self._end, tail)
        self._write(0, head)
        os.fsync(self._codes.fileno())
        self.partial.replace(self.out)
        self.lines.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the partial file and the journal: the codes are stored elsewhere."""
        self.partial.unlink(missing_ok=True)
        self.lines.unlink(missing_ok=True)

    @property
    def _end(self) -> int:
        return self.offset + self.n_rows * self.width

    def _note(self, entry: dict[str, Any]) -> None:
        with self._naming():
            _write_all(self._journal, json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def _write(self, at: int, content: bytes | memoryview) -> None:
        with self._naming():
            self._codes.seek(at)
            _write_all(self._codes, content)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"Cannot write ({error.strerror}); the finished part is kept, run it again to"
                " resume",
                str(self.out),
            ) from error

    def _lock(self) -> None:
        """Lock the file against other writers; the system releases the lock of a killed process."""
        lock = FileLock(self.out.with_name(self.out.name + ".lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise OSError(f"{self.out}: another process is writing this file") from None
        self._files.callback(self._unlock, lock)

    @staticmethod
    def _unlock(lock: BaseFileLock) -> None:
        with suppress(OSError):  # before the release: a waiting process then makes a new lock file
            Path(lock.lock_file).unlink()
        lock.release()

    def _recover(self) -> int:
        """Count the finished blocks of an earlier run; return the length of their lines."""
        first, *lines = self.lines.read_bytes().splitlines(keepends=True) or [b""]
        if not first:
            return 0
        task = _entry(first)
        if task is None:
            self.refused = "its journal is damaged"
            return 0
        if task != self.task:
            told = [key for key in self.task if task.get(key) != self.task[key]]
            self.refused = " and ".join(f"its {key} is another" for key in told)
            return 0
        end = len(first)
        size = self.partial.stat().st_size
        for line in lines:
            entry = _entry(line)
            if entry is None or not isinstance(rows := entry.get("rows"), int) or rows < 1:
                break
            if self._end + rows * self.width > size:
                break
            self._codes.seek(self._end)
            if zlib.crc32(self._codes.read(rows * self.width)) != entry.get("crc32"):
                break
            self.n_rows += rows
            end += len(line)
        return end


def _write_all(file: io.FileIO, content: bytes | memoryview) -> None:
    """Write everything to an unbuffered file, which may write only a part per call."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _entry(line: bytes) -> dict[str, Any] | None:
    """The content of a line of the journal; None if it is truncated or invalid."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
