"""Files that a command reads; errors begin with the argument as the user wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah import files
from sigah.files.folders import is_code_folder
from sigah.files.targets import KINDS
from sigah.hashers import BinaryHasher, load
from sigah.refinement import KeyedVectorIndex, VectorIndex
from sigah.rows import MissingLibraryError, open_array
from sigah.search import HammingIndex, KeyedIndex
from sigah.search.checks import check_ids
from sigah.search.keyed import Keyed
from sigah.search.keys import check_keys

__all__ = [
    "check_file",
    "has_keys",
    "naming",
    "naming_originals",
    "read_chosen",
    "read_codes",
    "read_ids",
    "read_ids_for",
    "read_index",
    "read_keys",
    "read_model",
    "read_numbered_codes",
    "read_vector_index",
    "reading",
]

NUMBERS = re.compile(r"[\s,]*\d+([\s,]+\d+)*[\s,]*")
MADE_BY = {
    "model": "`sigah fit` makes models; MODEL comes before vectors and codes",
    "codes": "`sigah encode` makes codes from vectors",
    "index": "`sigah index build` makes an index from codes",
    "vectors": "`sigah vectors build` makes an index of vectors",
}
SEARCHED_BY = {  # an index of another kind than a command takes, by the kind
    "index": "`sigah search` and `sigah index` work with it",
    "vectors": "`sigah vectors` works with it",
}


@contextmanager
def naming(name: str, argument: object, only: str = "") -> Iterator[None]:
    """Prefix errors with the argument that they are about.

    Only errors that begin with ``only`` are changed; other errors are about something else.
    """
    try:
        yield
    except MissingLibraryError:
        raise
    except (ValueError, OSError) as error:
        reason = str(error)
        if not reason.startswith(only) or reason.startswith(f"{name} "):
            raise
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror.lower()
        file = str(argument).rpartition(":")[0]
        for prefix in (f"{name.lower()}: ", "cannot open ", f"{argument}: ", f"{file}: "):
            reason = reason.removeprefix(prefix)
        reason = re.sub(
            "^(Input (X|vectors|queries) contains?|vectors contain) ", "it contains ", reason
        )
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"{name} {argument}: {reason}") from error


@contextmanager
def naming_originals(name: str, argument: object) -> Iterator[None]:
    """Prefix errors about the vectors that rank candidates with the argument that gave them."""
    with (
        naming(name, argument, only="the index holds the id"),
        naming(name, argument, only="vectors contain"),
    ):
        yield


def check_file(path: Path, name: str, kind: str) -> None:
    """Refuse a file that is missing or of another kind."""
    if kind == "codes" and is_code_folder(path):
        return
    if not path.exists():
        raise FileNotFoundError(f"{name} {path}: no such file")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not a regular file"
        raise OSError(f"{name} {path} is {what}, not {KINDS[kind]}")
    if not path.stat().st_size:
        raise ValueError(f"{name} {path}: the file is empty")
    found = files.kind_of(path)
    if found not in (kind, None):
        other_index = found in SEARCHED_BY and kind != "model" and "vectors" in (found, kind)
        cure = SEARCHED_BY[str(found)] if other_index else MADE_BY[kind]
        raise ValueError(f"{name} {path} holds {KINDS[str(found)]}, not {KINDS[kind]}; {cure}")


@contextmanager
def reading(path: Path, name: str, kind: str) -> Iterator[None]:
    """Check a file, then prefix errors of its reader with the argument."""
    check_file(path, name, kind)
    with naming(name, path):
        try:
            yield
        except ValueError as error:
            if files.kind_of(path) == kind:  # damaged or too new: keep the reader's message
                raise
            reason = str(error).removeprefix("cannot open ").removeprefix(f"{path}: ")
            raise ValueError(
                f"it does not hold {KINDS[kind]} ({reason}); {MADE_BY[kind]}"
            ) from error


def read_model(path: Path, name: str = "MODEL") -> BinaryHasher:
    """The hasher in a model file."""
    with reading(path, name, "model"):
        return load(path)


def read_index(path: Path, name: str = "INDEX") -> HammingIndex | KeyedIndex:
    """The index in a file, mapped; its ids are numbers or keys."""
    with reading(path, name, "index"):
        keyed = files.open_index(path).has_keys
        return KeyedIndex.open(path) if keyed else HammingIndex.open(path)


def read_codes(path: Path, name: str = "CODES") -> files.Codes:
    """Codes with their ids, if any."""
    with reading(path, name, "codes"):
        return files.open_codes(path)


def read_numbered_codes(path: Path, ids: str | None = None, name: str = "CODES") -> files.Codes:
    """Codes with the ids in ``ids`` or, by default, in the file: numbers, or strings as keys."""
    stored = read_codes(path, name)
    return stored if ids is None else replace(stored, ids=read_ids(ids))


def has_keys(codes: files.Codes) -> bool:
    """Whether the ids of codes are strings."""
    return codes.ids is not None and codes.ids.dtype.kind not in "iu"


def read_keys(argument: str, name: str) -> NDArray[np.object_]:
    """Keys: strings separated by commas, or the keys in a file, one in each line."""
    path = Path(argument)
    if not is_file(path):
        keys = [key.strip() for key in argument.split(",")]
    else:
        with naming(name, argument):
            if path.suffix.lower() == ".npy":
                keys = np.asarray(open_array(path)).tolist()
            else:
                try:
                    keys = path.read_text(encoding="utf-8-sig").splitlines()
                except UnicodeDecodeError:
                    raise ValueError("it is neither a .npy file nor text") from None
    with naming(name, argument, only="keys"):
        return np.array(check_keys(keys), object)


def read_vector_index(path: Path, name: str = "INDEX") -> VectorIndex | KeyedVectorIndex:
    """The index of vectors in a file, mapped; its ids are numbers or keys."""
    with reading(path, name, "vectors"):
        keyed = files.open_index(path, kind="vectors").has_keys
        return KeyedVectorIndex.open(path) if keyed else VectorIndex.open(path)


def read_chosen(argument: str, index: Any, name: str) -> NDArray[Any]:
    """Ids or keys, whichever an index has."""
    return read_keys(argument, name) if isinstance(index, Keyed) else read_ids(argument, name)


def read_ids_for(argument: str, index: Any, n: int, *, note: str = "") -> NDArray[Any]:
    """The ids or keys of ``n`` vectors, whichever an index has, from ``--ids``."""
    keyed = isinstance(index, Keyed)
    named = read_keys(argument, "--ids") if keyed else read_ids(argument, note=note)
    if len(named) != n:
        raise ValueError(
            f"--ids {argument[:60]}: there are {len(named):,} ids for {n:,} vectors{note}"
        )
    return named


def read_ids(argument: str, name: str = "--ids", *, note: str = "") -> NDArray[np.int64]:
    """Ids: whole numbers separated by commas, or the ids in a file.

    ``note`` ends the error about a word that is neither.
    """
    if not argument.strip():
        raise ValueError(f"{name} is empty; give ids: whole numbers separated by commas")
    if NUMBERS.fullmatch(argument):  # first: a list may be too long for a file name
        return check_ids(_numbers([argument]), name=name)
    path = Path(argument)
    if not is_file(path):
        raise ValueError(
            f"{name} {argument[:60]}: no such file, and not a list of ids; give whole numbers"
            f" separated by commas, a .npy file, or a text file with one id per line{note}"
        )
    with naming(name, argument):
        if path.suffix.lower() == ".npy":
            return check_ids(np.asarray(open_array(path)))
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise ValueError("it is neither a .npy file nor text") from None
        return check_ids(_numbers(lines))


def is_file(path: Path) -> bool:
    """Whether there is a file; False if the name is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def _numbers(lines: list[str]) -> list[int]:
    """The whole numbers of each line; errors count the lines from 1."""
    numbers = []
    for place, line in enumerate(lines, 1):
        for word in line.replace(",", " ").split():
            if not word.isdecimal():
                raise ValueError(
                    f"line {place}: {word!r} is not an id (a whole number of at least 0)"
                )
            numbers.append(int(word))
    return numbers
