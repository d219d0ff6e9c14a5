"""Folders that appear completely or not at all, and the manifest of their content."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sigah.codes import check_n_bits
from sigah.files.atomic import StrPath, atomic_write
from sigah.files.errors import FileFormatError

__all__ = [
    "CODES_FOLDER",
    "SHARDS_FOLDER",
    "Manifest",
    "is_code_folder",
    "new_folder",
    "read_manifest",
    "write_manifest",
]

MANIFEST = "_sigah.json"  # readers of Parquet folders ignore names that begin with _
CODES_FOLDER = "sigah-encoded"
SHARDS_FOLDER = "sigah-shards"
# The last version is written. Version 1 of codes: ids under their own name, and no checksum.
VERSIONS = {CODES_FOLDER: (1, 2), SHARDS_FOLDER: (1,)}

Manifest = dict[str, Any]


@contextmanager
def new_folder(path: StrPath) -> Iterator[Path]:
    """A folder that appears at ``path`` only when the block ends without an error.

    Raises
    ------
    OSError
        If ``path`` exists already, or its own folder does not or cannot be written to.
    """
    target = Path(path).resolve()
    if target.exists():
        raise FileExistsError(f"{path} exists already; remove it or choose another name")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: its folder does not exist; create it first")
    folder = target.with_name(f".sigah-{secrets.token_hex(8)}.part")
    try:
        folder.mkdir()
    except OSError as error:
        raise OSError(f"{path}: its folder cannot be written to ({error.strerror})") from None
    try:
        yield folder
        folder.rename(target)
    except BaseException:  # clean up after an interrupt, too
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_manifest(
    folder: Path, kind: str, content: Mapping[str, Any], files: Mapping[str, int]
) -> Manifest:
    """Write the manifest of a folder beside its files, and return it.

    ``content`` has at least ``n_bits`` and ``fingerprint``; ``files`` are names and their codes.
    """
    manifest = {
        "format": kind,
        "format_version": VERSIONS[kind][-1],
        **content,
        "count": sum(files.values()),
        "files": [{"file": file, "count": count} for file, count in files.items()],
    }
    with atomic_write(folder / MANIFEST) as stream:
        stream.write(json.dumps(manifest, indent=2).encode())
    return manifest


def is_code_folder(path: StrPath) -> bool:
    """Whether a path is a folder with a manifest of sigah, which is not read."""
    return (Path(path) / MANIFEST).is_file()


def read_manifest(folder: StrPath, kind: str) -> Manifest:
    """Read the manifest of a folder.

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
        stated, version = manifest["format"], manifest["format_version"]
        if stated != kind:
            raise ValueError(f"it is of the format {stated!r}, not {kind!r}")
        if type(version) is not int or version not in VERSIONS[kind]:
            raise ValueError(
                f"it has version {version} of the format {kind}, which this sigah does not know"
                f" (it reads up to version {VERSIONS[kind][-1]}); upgrade sigah"
            )
        if version == 1 and kind == CODES_FOLDER and not isinstance(manifest["ids"], str):
            raise ValueError("the name of its ids is damaged")
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
