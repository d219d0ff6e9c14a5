"""The small file of a deployment that says what serves; it is replaced in one step."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sigah.files import atomic_write
from sigah.files.errors import reading

__all__ = ["KINDS", "MANIFEST", "Entry", "Manifest", "log_path", "sweep"]

MANIFEST = "deployment.json"
FORMAT = "sigah deployment 1"
#: What an index is of, and the ending of its file.
KINDS = {"ids": "index", "keys": "index", "vectors": "vectors", "keyed vectors": "vectors"}


@dataclass(frozen=True)
class Entry:
    """A generation: a model and its index.

    Attributes
    ----------
    number : int
    position : int
        The place in the log up to which the file of the index has taken in the changes.
    """

    number: int
    position: int


@dataclass(frozen=True)
class Manifest:
    """What serves.

    Attributes
    ----------
    kind : {"ids", "keys", "vectors", "keyed vectors"}
    log : int
        The number of the log of changes.
    current : Entry
    previous, next : Entry or None
        What served before; what is ready to serve.
    pending : dict or None
        The re-encoding that has begun: its ``number``, and the ``task``, model and vectors.
    """

    kind: str
    log: int
    current: Entry
    previous: Entry | None = None
    next: Entry | None = None
    pending: dict[str, Any] | None = None

    @property
    def entries(self) -> dict[str, Entry]:
        """The generations that exist, by their part."""
        parts = {"current": self.current, "previous": self.previous, "next": self.next}
        return {name: entry for name, entry in parts.items() if entry is not None}

    @property
    def new_number(self) -> int:
        """A number that no generation has, nor one that was begun: its files may be there."""
        begun = 0 if self.pending is None else self.pending["number"]
        return 1 + max(begun, *(entry.number for entry in self.entries.values()))

    def write(self, folder: Path) -> None:
        """Replace the manifest of a folder in one step."""
        with atomic_write(folder / MANIFEST) as file:
            file.write(json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode() + b"\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises
        ------
        FileFormatError
            If it is damaged, or of a newer format.
        OSError
            If there is none.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: there is no deployment of sigah ({MANIFEST})")
        with reading(path):
            told = json.loads(path.read_bytes())
            if told["format"] != FORMAT:
                raise ValueError(f"its format is {told['format']!r}; this sigah reads {FORMAT}")
            parts: dict[str, Any] = {
                name: None if told[name] is None else Entry(**told[name])
                for name in ("current", "previous", "next")
            }
            numbers = [told["log"]]
            for entry in filter(None, parts.values()):
                numbers += [entry.number, entry.position]
            pending = told["pending"]
            if pending is not None:
                numbers.append(pending["number"])
            if (
                told["kind"] not in KINDS
                or parts["current"] is None
                or not (pending is None or isinstance(pending["task"], dict))
                or not all(type(number) is int and number >= 0 for number in numbers)
            ):
                raise ValueError("it contradicts itself")
        return cls(told["kind"], told["log"], pending=pending, **parts)


def log_path(folder: Path, number: int) -> Path:
    """The file of a log of changes."""
    return folder / f"{number}.changes"


def sweep(folder: Path, manifest: Manifest) -> None:
    """Delete the files of generations and logs that the manifest does not name any more.

    Processes that have them mapped keep their content; where the system refuses, a later sweep
    deletes them.
    """
    numbers = {entry.number for entry in manifest.entries.values()}
    if manifest.pending is not None:
        numbers.add(manifest.pending["number"])
    kept = {log_path(folder, manifest.log).name}
    kept |= {f"{number}.{kind}" for number in numbers for kind in ("model", *KINDS.values())}
    for file in folder.iterdir():
        kind = file.suffix.removeprefix(".")
        ours = file.stem.isdecimal() and kind in ("model", "changes", *KINDS.values())
        if ours and file.name not in kept:
            with suppress(PermissionError):
                file.unlink(missing_ok=True)
