"""The log of changes: what was added, replaced and removed, with the vectors.

A new model can take in the changes of the log, because it has vectors and not codes. A record is a
head (the length and the checksum of what follows, and a checksum of the head itself), a line of
JSON, and the vectors. A kill or a power cut may leave an incomplete record at the end: readers stop
before it, and the next writer overwrites it. It was never confirmed to anybody.
"""

from __future__ import annotations

import json
import os
import struct
import weakref
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.files import FileFormatError

__all__ = ["Change", "ChangeLog"]

HEAD = struct.Struct("<QII")  # length of the rest, its CRC-32, CRC-32 of these twelve bytes
MAGIC = b"sigah changes 1\n"


@dataclass(frozen=True, eq=False)
class Change:
    """One record.

    Attributes
    ----------
    ids : list of int or of str
    vectors : ndarray of float32, shape (n, d), or None
        The new vectors of the ids; None: the ids are removed.
    end : int
        Where the next record begins.
    """

    ids: list[Any]
    vectors: NDArray[np.float32] | None
    end: int


class ChangeLog:
    """A file of changes; it stays readable while this object exists, even if it is deleted.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    start : int
        Where the first record begins.
    """

    start = len(MAGIC)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("r+b" if os.access(path, os.W_OK) else "rb", buffering=0)
        weakref.finalize(self, self._file.close)
        if self._file.read(len(MAGIC)) != MAGIC:
            raise FileFormatError(f"cannot open {path}: it is not a log of changes")

    @staticmethod
    def create(path: Path) -> None:
        """Write an empty log."""
        with path.open("wb") as file:
            file.write(MAGIC)
            os.fsync(file.fileno())

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, start: int) -> Iterator[Change]:
        """The whole records from a place on.

        Raises
        ------
        FileFormatError
            If a record is damaged that is not the last one, or the place is outside of the file.
        """
        size = self.size
        if not self.start <= start <= size:
            raise self.unusable(f"it has {size:,} bytes, so no record begins at byte {start:,}")
        while start + HEAD.size <= size:
            self._file.seek(start)
            head = self._file.read(HEAD.size)
            length, checksum, own = HEAD.unpack(head)
            if zlib.crc32(head[:-4]) != own:
                if any(head) or any(self._file.read(size - start)):
                    raise self.damaged(start)
                return  # zeros: the system had not written the end before a power cut
            end = start + HEAD.size + length
            if end > size:
                return
            content = self._file.read(length)
            if len(content) != length or zlib.crc32(content) != checksum:
                if end < size:
                    raise self.damaged(start)
                return
            yield self._change(content, start, end)
            start = end

    def append(self, at: int, ids: Sequence[Any], vectors: NDArray[np.float32] | None) -> None:
        """Write a record after the last whole one, which ends ``at``; it is on the disk then.

        Only one writer at a time.
        """
        shape = None if vectors is None else list(vectors.shape)
        line = json.dumps({"ids": list(ids), "shape": shape}).encode() + b"\n"
        content = line if vectors is None else line + vectors.astype("<f4").tobytes()
        head = struct.pack("<QI", len(content), zlib.crc32(content))
        rest = memoryview(head + struct.pack("<I", zlib.crc32(head)) + content)
        self._file.truncate(at)
        self._file.seek(at)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
        os.fsync(self._file.fileno())

    def _change(self, content: bytes, start: int, end: int) -> Change:
        line, _, rest = content.partition(b"\n")
        try:
            told = json.loads(line)
            ids, shape = told["ids"], told["shape"]
            vectors = None if shape is None else np.frombuffer(rest, "<f4").reshape(shape)
            if not isinstance(ids, list) or (vectors is not None and len(vectors) != len(ids)):
                raise ValueError("it has other ids than vectors")
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise self.damaged(start) from error
        return Change(ids, None if vectors is None else vectors.astype(np.float32), end)

    def damaged(self, start: int, why: object = "") -> FileFormatError:
        """The error of a record that cannot be taken in."""
        reason = f": {why}" if why else ""
        return self.unusable(f"its record at byte {start} is damaged{reason}")

    def unusable(self, why: str) -> FileFormatError:
        """The error of a log that cannot be used."""
        return FileFormatError(f"cannot use {self.path}: {why}")
