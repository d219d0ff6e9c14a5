"""Checks of outputs: what exists at a path, and whether it may be replaced.

A file of the same kind as the output is replaced, so a command can be run again. A file of another
kind is replaced only if the user asks for it; an input is never replaced.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors import safe_open

from sigah.files.atomic import StrPath
from sigah.files.errors import DAMAGE
from sigah.files.npy_files import END_OF_SEAL
from sigah.files.seals import CODES_FORMAT, INDEX_FORMAT, METADATA_KEY, MODEL_FORMAT, VECTORS_FORMAT

__all__ = ["KINDS", "check_target", "kind_of"]

KINDS = {  # names in messages
    "model": "a model",
    "codes": "codes",
    "index": "an index",
    "vectors": "an index of vectors",
    "neighbours": "neighbours",
    "graph": "an ONNX graph",
    "results": "results",
    "drift": "a drift report",
    "page": "a page of sigah",
    "advice": "advice of sigah",
    "recipe": "a recipe of sigah",
}


def kind_of(path: StrPath) -> str | None:
    """Recognise the kind of a file by its first bytes and its name, without verifying it.

    Returns
    -------
    str or None
        A key of :data:`KINDS`; None for other files, and if there is no file.

    Examples
    --------
    >>> from sigah.files.targets import kind_of
    >>> kind_of("no such file") is None
    True
    """
    file = Path(path)
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        head = stream.read(4096)
    for start, recognise in RECOGNISERS:
        if start(head):
            return recognise(file, head)
    return None


def check_target(
    path: StrPath,
    *,
    kind: str,
    inputs: Iterable[StrPath] = (),
    overwrite: bool = False,
    name: str | None = None,
) -> None:
    """Refuse an output that cannot or must not be written, before any work is done.

    Parameters
    ----------
    path : path-like
        The output. A file of the same kind, or an empty file, may be replaced.
    kind : str
        The kind of the output, a key of :data:`KINDS`.
    inputs : iterable of path-like
        Files and folders that are read. They are never replaced, even with ``overwrite``.
    overwrite : bool, default=False
        Whether a file of another kind may be replaced.
    name : str, optional
        Name of the file in errors; default: ``path``.

    Raises
    ------
    ValueError
        If the file is one of the inputs, or an existing file is of another kind.
    OSError
        If the folder is missing or cannot be written to, or ``path`` is not a regular file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sigah.files import check_target
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     note = Path(folder, "note.txt")
    ...     check_target(note, kind="model")
    ...     _ = note.write_text("read me")
    ...     try:
    ...         check_target(note, kind="model", name="note.txt")
    ...     except ValueError as error:
    ...         print(error)
    note.txt exists and is not a model: choose another name, or say --overwrite (overwrite=True)
    """
    name = name or str(path)
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{name}: its folder does not exist; create it first")
    size = _size(target, name)
    if size is not None:
        if any(_contains(source, target) for source in map(Path, inputs)):
            raise ValueError(f"{name} is one of the inputs; choose another name")
        found = kind_of(target)
        if not overwrite and size and found != kind:
            holds = "" if found is None else f", it holds {KINDS[found]}"
            raise ValueError(
                f"{name} exists and is not {KINDS[kind]}{holds}: choose another name, or say"
                " --overwrite (overwrite=True)"
            )
    _try_to_write(target, name)


def _size(target: Path, name: str) -> int | None:
    """Bytes of an existing file, or None if there is none; raises an error if it is not a file."""
    try:
        state = target.stat()
    except FileNotFoundError:
        return None
    except OSError as error:  # a name that is too long, or a link to itself
        raise OSError(f"{name}: {os.strerror(error.errno or errno.EINVAL)}") from None
    if target.is_dir():
        raise IsADirectoryError(f"{name} is a folder; name a file in it")
    if not target.is_file():
        raise OSError(f"{name} is not a regular file; choose another name")
    return state.st_size


def _contains(source: Path, target: Path) -> bool:
    """Whether a file is the source (also under another name), or in the source folder."""
    if source.is_dir():
        return any(file.is_file() and file.samefile(target) for file in source.rglob("*"))
    return source.exists() and source.samefile(target)


def _try_to_write(target: Path, name: str) -> None:
    """Create a file beside the target, as :func:`atomic_write` will, and remove it again."""
    trial = target.with_name(f".sigah-{secrets.token_hex(8)}.part")
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        reason = os.strerror(error.errno or errno.EACCES)
        raise OSError(f"{name}: its folder cannot be written to ({reason})") from None


def _safetensors(file: Path, head: bytes) -> str | None:
    formats = {
        MODEL_FORMAT: "model",
        CODES_FORMAT: "codes",
        INDEX_FORMAT: "index",
        VECTORS_FORMAT: "vectors",
    }
    try:
        with safe_open(file, framework="np") as content:
            seal = json.loads((content.metadata() or {})[METADATA_KEY])
        return formats.get(seal["header"]["format"])
    except DAMAGE:
        return None


def _npy(file: Path, head: bytes) -> str | None:
    with file.open("rb") as stream:
        stream.seek(-min(file.stat().st_size, 128), os.SEEK_END)
        return "codes" if END_OF_SEAL.search(stream.read()) else None


def _parquet(file: Path, head: bytes) -> str | None:
    # its metadata is at the end, where the seal is plain text
    with file.open("rb") as stream:
        stream.seek(-min(file.stat().st_size, 1 << 16), os.SEEK_END)
        return "codes" if CODES_FORMAT.encode() in stream.read() else None


def _archive(file: Path, head: bytes) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return None
    return "neighbours" if names == {"distances.npy", "ids.npy"} else None


def _json(file: Path, head: bytes) -> str | None:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return None
    if str(content.get("format")).startswith(("sigah advice ", "sigah recipe ")):
        return str(content["format"]).split()[1]
    keys = set(content)
    if "results" in keys or {"runs", "data"} <= keys or {"measurements", "data"} <= keys:
        return "results"
    return "drift" if {"verdict", "balance"} <= keys else None


def _page(file: Path, head: bytes) -> str | None:
    return "page" if b"<title>sigah" in head else None


def _graph(file: Path, head: bytes) -> str | None:
    return "graph" if b"sigah" in head[:32] else None


# by the first bytes of a file; the first match decides
RECOGNISERS: tuple[tuple[Callable[[bytes], bool], Callable[[Path, bytes], str | None]], ...] = (
    (lambda head: head.startswith(b"\x93NUMPY"), _npy),
    (lambda head: head.startswith(b"PAR1"), _parquet),
    (lambda head: head.startswith(b"PK"), _archive),
    # the length of a header is below 2**48; eight letters as a number are not
    (lambda head: head[6:9] == b"\0\0{", _safetensors),
    (lambda head: head.lstrip().startswith(b"{"), _json),
    (lambda head: head.lstrip().lower().startswith((b"<!doctype html", b"<html")), _page),
    (lambda head: head.startswith(b"\x08"), _graph),
)
