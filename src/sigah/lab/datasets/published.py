"""The forms in which benchmark sets are published: archives, HDF5, billion-scale binaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sigah.lab.datasets.downloads import Progress, download, unpack
from sigah.lab.datasets.sources import Arrays, load_array_pickle
from sigah.rows.formats.binary import read_bin
from sigah.rows.lazy import Array, naming, require
from sigah.rows.readers import open_vectors

__all__ = ["AnnBenchmark", "BillionScale", "CifarArchive", "VectorArchive"]


@dataclass(frozen=True)
class VectorArchive:
    """A gzipped tar file of vector files, as the TEXMEX corpora come.

    ``members`` has the name of the file in the archive by the name of the array.
    """

    url: str
    members: Mapping[str, str]
    sha256: str | None = None

    def __str__(self) -> str:
        return self.url

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Download and unpack; the arrays are memory maps where the format allows."""
        archive = folder / Path(self.url).name
        download(self.url, archive, progress, sha256=self.sha256)
        files = {part: folder / Path(member).name for part, member in self.members.items()}
        unpack(archive, {self.members[part]: file for part, file in files.items()}, progress)
        return {part: open_vectors(file) for part, file in files.items()}


@dataclass(frozen=True)
class AnnBenchmark:
    """One HDF5 file in the layout of ann-benchmarks: base in ``train``, queries in ``test``."""

    url: str
    sha256: str | None = None

    def __str__(self) -> str:
        return self.url

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Download the file; its rows stay on disk."""
        require("h5py", "HDF5 files")  # before gigabytes are brought
        file = folder / Path(self.url).name
        download(self.url, file, progress, sha256=self.sha256)
        return {"base": open_vectors(f"{file}:train"), "queries": open_vectors(f"{file}:test")}


@dataclass(frozen=True)
class BillionScale:
    """The first rows of a billion-scale ``.fbin`` file and all of its queries.

    Only the beginning of the base is asked for, by an HTTP range.
    """

    url: str
    base: str
    queries: str
    n_base: int
    dim: int

    def __str__(self) -> str:
        return self.url

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Download the beginning of the base, and the queries; the arrays are memory maps."""
        base, queries = folder / self.base, folder / self.queries
        n_bytes = 8 + self.n_base * self.dim * np.dtype(np.float32).itemsize
        download(self.url + self.base, base, progress, n_bytes=n_bytes)
        download(self.url + self.queries, queries, progress)
        with naming(base):
            first = read_bin(base, "<f4", first=self.n_base)
        return {"base": first, "queries": open_vectors(queries)}


@dataclass(frozen=True)
class CifarArchive:
    """The Python version of CIFAR-10: five pickled batches to search in, one to search with.

    The pickles may name NumPy's array constructors only.
    """

    url: str
    sha256: str

    def __str__(self) -> str:
        return self.url

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Download, unpack and read the batches."""
        archive = folder / Path(self.url).name
        download(self.url, archive, progress, sha256=self.sha256)
        names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
        unpack(archive, {f"cifar-10-batches-py/{name}": folder / name for name in names}, progress)
        batches = [_cifar_batch(folder / name) for name in names]
        return {
            "base": np.concatenate([pixels for pixels, _ in batches[:-1]]),
            "queries": batches[-1][0],
            "base_labels": np.concatenate([labels for _, labels in batches[:-1]]),
            "query_labels": batches[-1][1],
        }


def _cifar_batch(file: Path) -> tuple[Array, Array]:
    with naming(file):
        batch = load_array_pickle(file.read_bytes())
        return np.asarray(batch["data"]), np.asarray(batch["labels"])
