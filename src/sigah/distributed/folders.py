"""Folders that appear whole or not at all, and the manifest in them that says what they hold."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from sigah.codes import check_n_bits
from sigah.files import FileFormatError, atomic_write

__all__ = ["Manifest", "new_folder", "read_manifest", "write_manifest"]

MANIFEST = "_sigah.json"  # readers of Parquet folders pass over names that begin so
VERSION = 1

Manifest = dict[str, Any]


@contextmanager
def new_folder(path: str | PathLike[str]) -> Iterator[Path]:
    """A folder that appears whole at ``path`` when the block ends, or not at all.

    Raises
    ------
    OSError
        If ``path`` exists already, or its own folder does not.
    """
    target = Path(path).resolve()
    if target.exists():
        raise FileExistsError(f"{path} exists already; remove it or choose another name")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: its folder does not exist; create it first")
    folder = target.with_name(f".sigah-{secrets.token_hex(8)}.part")
    folder.mkdir()
    try:
        yield folder
        folder.rename(target)
    except BaseException:  # an interrupt, too, must leave nothing behind
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_manifest(
    folder: Path, kind: str, content: Mapping[str, Any], files: Mapping[str, int]
) -> Manifest:
    """Write what a folder holds beside its files, and return it.

    ``content`` has at least ``n_bits`` and ``fingerprint``; ``files`` are names and their codes.
    """
    manifest = {
        "format": kind,
        "format_version": VERSION,
        **content,
        "count": sum(files.values()),
        "files": [{"file": file, "count": count} for file, count in files.items()],
    }
    with atomic_write(folder / MANIFEST) as stream:
        stream.write(json.dumps(manifest, indent=2).encode())
    return manifest


def read_manifest(folder: str | PathLike[str], kind: str) -> Manifest:
    """What a folder says that it holds.

    Raises
    ------
    FileFormatError
        If its manifest is damaged, of another kind of folder, or of a newer format.
    OSError
        If the folder has none.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: there is no such folder of sigah, with a {MANIFEST}")
    try:
        manifest: Manifest = json.loads(path.read_bytes())
        stated = manifest["format"], manifest["format_version"]
        if stated != (kind, VERSION):
            raise ValueError(f"it is of the format {stated}, not {(kind, VERSION)}")
        check_n_bits(manifest["n_bits"])
        names = [Path(entry["file"]) for entry in manifest["files"]]
        counts = [entry["count"] for entry in manifest["files"]]
        if any(str(name) != name.name for name in names) or sum(counts) != manifest["count"]:
            raise ValueError("its list of files is damaged")
        if not isinstance(manifest["fingerprint"], str | None):
            raise ValueError("its fingerprint is damaged")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise FileFormatError(f"cannot open {path}: {reason}") from error
    return manifest
