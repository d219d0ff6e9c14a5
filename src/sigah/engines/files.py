"""The base of FAISS and USearch: an index in memory, stored as one file.

Index files cannot store the record about the codes or the labels. These are in a sidecar file,
``TARGET.sqlite``. The index is written first, then the sidecar is committed. After a crash between
the two, the next export puts the labels again.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.engines.base import About, Engine, Rows

__all__ = ["FileEngine"]

TABLES = """
CREATE TABLE IF NOT EXISTS about (text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS label (id INTEGER PRIMARY KEY, label NOT NULL);
CREATE INDEX IF NOT EXISTS of_label ON label (label);
"""


class FileEngine(Engine):
    """An index file and its sidecar; a subclass defines the calls of its library."""

    def __init__(self, target: str, *, kind: str | None = None) -> None:
        super().__init__(target, kind=kind)
        self.path = Path(target)
        self.sidecar = Path(f"{target}.sqlite")
        self._notes: sqlite3.Connection | None = None
        self._index: Any = None
        self._at_rest = True  # whether the file is as new as the memory

    # What a subclass defines ---------------------------------------------------------------------

    @abstractmethod
    def _load(self) -> None:
        """Load the library."""

    @abstractmethod
    def _empty(self, about: About, sample: NDArray[np.uint8]) -> Any:
        """A new index."""

    @abstractmethod
    def _read(self, path: str, about: About) -> Any:
        """The index in a file."""

    @abstractmethod
    def _write(self, path: str) -> None:
        """Write the index to a file."""

    @abstractmethod
    def _held(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which ids the index has."""

    @abstractmethod
    def _codes(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes of ids that the index has."""

    @abstractmethod
    def _add(self, ids: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
        """Add codes under ids that the index does not have."""

    @abstractmethod
    def _remove(self, ids: NDArray[np.int64]) -> None:
        """Remove ids that the index has."""

    # The interface -------------------------------------------------------------------------------

    def failures(self) -> tuple[type[Exception], ...]:
        """The errors of the libraries and of SQLite."""
        return (RuntimeError, sqlite3.Error)

    def read_about(self) -> About | None:
        """Read the record from the sidecar, and the index."""
        self._load()
        if not self.path.resolve().parent.is_dir():
            raise FileNotFoundError(f"{self.path}: its folder does not exist")
        if not self.sidecar.is_file() or not self.sidecar.stat().st_size:
            if self.path.exists():
                raise ValueError(f"{self.path} exists, but `sigah export` did not make it")
            return None
        found = self._sidecar().execute("SELECT text FROM about").fetchone()
        if found is None:
            return None
        about = About.from_json(found[0], self.where)
        if self.path.is_file():
            self._index = self._read(str(self.path), about)
        elif about.complete:
            raise FileNotFoundError(f"{self.path} is missing; only {self.sidecar.name} is there")
        return about

    def create(self, about: About, sample: NDArray[np.uint8]) -> None:
        """Make an empty index in memory, and a sidecar with its record."""
        self._index = self._empty(about, sample)
        self._at_rest = False
        self._sidecar().executescript(TABLES)
        self.write_about(about)

    def write_about(self, about: About) -> None:
        """Commit the record to the sidecar."""
        notes = self._sidecar()
        notes.execute("DELETE FROM about")
        notes.execute("INSERT INTO about VALUES (?)", (about.to_json(),))
        notes.commit()

    def get(self, ids: NDArray[np.int64]) -> Rows:
        """The rows that both the index and the sidecar have."""
        assert self.about is not None
        held = ids[self._held(ids)]
        labels = None
        if self.about.labels is not None:
            known = self.labels_of(held)
            held = held[np.array([one in known for one in held.tolist()], np.bool_)]
            labels = np.array([known[one] for one in held.tolist()], object)
        return Rows(held, self._codes(held), labels)

    def labels_of(self, ids: NDArray[np.int64]) -> dict[int, Any]:
        """The labels in the sidecar."""
        notes = self._sidecar().execute(
            "SELECT id, label FROM label WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids.tolist()),),
        )
        return dict(notes)

    def put(self, rows: Rows) -> None:
        """Add missing or changed codes to the index, then store the labels."""
        held = self._held(rows.ids)
        changed = np.zeros(len(rows), np.bool_)
        changed[held] = (self._codes(rows.ids[held]) != rows.codes[held]).any(axis=1)
        if changed.any():
            self._remove(rows.ids[changed])
        new = ~held | changed
        try:
            self._add(rows.ids[new], rows.codes[new])
        except KeyboardInterrupt:
            # FAISS may stop half way, with more codes than ids: such an index must not be saved
            self._at_rest = True
            raise
        self._at_rest = False
        if rows.labels is not None:
            self._sidecar().executemany(
                "INSERT OR REPLACE INTO label VALUES (?, ?)",
                zip(rows.ids.tolist(), rows.labels.tolist(), strict=True),
            )

    def delete(self, ids: NDArray[np.int64]) -> None:
        """Remove codes from the index, and their labels."""
        self._remove(ids)
        self._at_rest = False
        if self.about is not None and self.about.labels is not None:
            self._sidecar().executemany("DELETE FROM label WHERE id = ?", zip(ids.tolist()))

    def flush(self) -> None:
        """Write the index atomically, then commit the labels."""
        if self._at_rest:
            return
        temporary = self.path.with_name(f".sigah-{secrets.token_hex(8)}.part")
        try:
            self._write(str(temporary))
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._sidecar().commit()
        self._at_rest = True

    def close(self) -> None:
        """Close the sidecar and the index."""
        if self._notes is not None:
            self._notes.close()
        self._notes = self._index = None

    def _ids_with(self, labels: list[Any]) -> NDArray[np.int64]:
        """Ids that have one of these labels."""
        notes = self._sidecar()
        found = [notes.execute("SELECT id FROM label WHERE label = ?", (one,)) for one in labels]
        return np.array([row[0] for rows in found for row in rows], np.int64)

    def _sidecar(self) -> sqlite3.Connection:
        if self._notes is None:
            # any thread may search, one at a time
            self._notes = sqlite3.connect(self.sidecar, check_same_thread=False)
        return self._notes
