"""Downloads that break off and go on, checksums, and archives.

A file is written as ``NAME.part`` and renamed when it is whole. What of it is there is kept
through failures and interruptions, and only the rest is asked for (HTTP ranges).
"""

from __future__ import annotations

import gzip
import hashlib
import http
import http.client
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["Progress", "check_sha256", "download", "unpack"]

#: Called with a label, the work done so far and the whole of it (bytes; None where unknown).
Progress = Callable[[str, int, int | None], None]

SILENCE_SECONDS = 5.0  # of a host, when connecting and within a transfer
BLOCK = 1 << 18


def check_sha256(file: Path, expected: str) -> None:
    """Raise a ValueError if a file does not have this checksum."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise ValueError(f"{file.name} has sha256 {found}, expected {expected}")


def download(
    url: str,
    file: Path,
    progress: Progress,
    *,
    sha256: str | None = None,
    n_bytes: int | None = None,
) -> None:
    """Bring ``url``, or its first ``n_bytes``, to ``file``, which appears only whole.

    Raises
    ------
    ValueError
        If the content does not have the checksum.
    OSError
        If the host does not answer or the transfer does not move on.
    """
    part = file.with_name(file.name + ".part")
    while not file.exists():
        start = part.stat().st_size if part.exists() else 0
        try:
            _transfer(url, part, start, n_bytes, progress)
        except (OSError, http.client.HTTPException) as error:
            if part.exists() and part.stat().st_size > start:
                continue  # it broke off, but it had moved: go on from there
            raise OSError(f"{file.name}: {error}") from error
        if sha256 is not None:
            check_sha256(part, sha256)
        part.replace(file)


def _transfer(url: str, part: Path, start: int, n_bytes: int | None, progress: Progress) -> None:
    """Append to ``part`` what follows its first ``start`` bytes, or write it anew."""
    if start == n_bytes:
        return None
    if n_bytes is not None and start > n_bytes:
        start = 0
    headers = {"User-Agent": "sigah"}
    if start or n_bytes is not None:
        headers["Range"] = f"bytes={start}-{'' if n_bytes is None else n_bytes - 1}"
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=SILENCE_SECONDS
        )
    except urllib.error.HTTPError as error:
        with error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
                raise
            if error.headers["Content-Range"] == f"bytes */{start}":
                return None  # all of it is here
        return _transfer(url, part, 0, n_bytes, progress)
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0
        length = response.headers["Content-Length"]
        total = None if length is None else start + int(length)
        if n_bytes is not None:  # a host without ranges sends more
            total = n_bytes if total is None else min(total, n_bytes)
        done = start
        with part.open("ab" if start else "wb") as stream:
            while block := response.read(BLOCK if total is None else min(BLOCK, total - done)):
                stream.write(block)
                done += len(block)
                progress(part.stem, done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection broke after {done} of {total} bytes")
    return None


def unpack(archive: Path, members: Mapping[str, Path], progress: Progress) -> None:
    """Write members of a gzipped tar file, by their names, to files of your choice.

    The archive is read once from end to end, which also verifies its own checksum.

    Raises
    ------
    ValueError
        If the archive is damaged, or lacks a member.
    """
    missing = dict(members)
    try:
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                target = missing.pop(member.name.removeprefix("./"), None)
                content = tar.extractfile(member) if target and member.isfile() else None
                if target is None or content is None:
                    continue
                with content, target.open("wb") as out:
                    while block := content.read(BLOCK):
                        out.write(block)
                        progress(f"unpacking {target.name}", out.tell(), member.size)
            while stream.read(BLOCK):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{archive.name} is damaged: {error}") from error
    if missing:
        raise ValueError(f"{archive.name} lacks {', '.join(missing)}")
