"""Sets that nobody may hand out: their user puts the files in place, and they are read from there.

The place is the folder ``supplied`` in the set's folder of the cache. What is in it is never
changed or removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sigah.lab.datasets.downloads import Progress
from sigah.lab.datasets.sources import Arrays
from sigah.rows.lazy import Array, naming
from sigah.rows.readers import open_array

__all__ = ["SuppliedMatrix", "SuppliedSet"]

PARTS = ("base", "queries", "base_labels", "query_labels")
CONTAINERS = (".h5", ".hdf5", ".mat", ".npz")
SPLIT_SEED = 0


@dataclass(frozen=True)
class SuppliedSet:
    """Four arrays in one file, or one ``.npy`` file each.

    ``reason`` says why they must be supplied, as the beginning of a sentence.
    """

    reason: str

    def __str__(self) -> str:
        return "files that you supply"

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Find the file, or the four."""
        place = _place(folder)
        found = sorted(file for file in place.iterdir() if file.suffix.lower() in CONTAINERS)
        if len(found) > 1:
            raise ValueError(f"{place} holds {', '.join(file.name for file in found)}: keep one")
        files = {part: f"{found[0]}:{part}" if found else place / f"{part}.npy" for part in PARTS}
        if not found and not all(Path(file).exists() for file in files.values()):
            raise FileNotFoundError(
                f"{self.reason}. Put one file ({', '.join(CONTAINERS)}) into {place} that holds"
                " `base` and `queries`, one vector a row, and `base_labels` and `query_labels`,"
                " classes from 0 up; or these four as .npy files"
            )
        arrays: Arrays = {part: open_array(file) for part, file in files.items()}
        for part in ("base_labels", "query_labels"):
            arrays[part] = np.ravel(np.asarray(arrays[part]))  # MATLAB has them as a matrix
        return arrays


@dataclass(frozen=True)
class SuppliedMatrix:
    """One matrix of vectors without a split: rows of zeros are dropped and queries are drawn.

    The ``n_queries`` rows are drawn by a fixed seed, so that everyone's split is the same; both
    parts keep the order of the file.
    """

    reason: str
    file: str
    variable: str
    dim: int
    n_queries: int

    def __str__(self) -> str:
        return "a file that you supply"

    def read(self, folder: Path, progress: Progress) -> Arrays:
        """Find the file, and split its rows."""
        file = _place(folder) / self.file
        if not file.exists():
            raise FileNotFoundError(
                f"{self.reason}. Put {self.file}, with the variable {self.variable} of"
                f" {self.dim}-dimensional vectors, into {file.parent}"
            )
        vectors = np.asarray(open_array(f"{file}:{self.variable}"))
        with naming(file):
            base, queries = self._split(vectors)
        return {"base": base, "queries": queries}

    def _split(self, vectors: Array) -> tuple[Array, Array]:
        if vectors.ndim == 2 and self.dim == vectors.shape[0] != vectors.shape[1]:
            vectors = vectors.T  # one vector a column
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ValueError(f"{self.variable} has shape {vectors.shape}, expected (n, {self.dim})")
        vectors = vectors[vectors.any(axis=1)]
        if len(vectors) <= self.n_queries:
            raise ValueError(f"{len(vectors)} rows are too few to draw {self.n_queries} queries")
        order = np.random.RandomState(SPLIT_SEED).permutation(len(vectors))  # a frozen stream
        drawn = np.zeros(len(vectors), bool)
        drawn[order[: self.n_queries]] = True
        return vectors[~drawn], vectors[drawn]


def _place(folder: Path) -> Path:
    place = folder.parent / "supplied"
    place.mkdir(parents=True, exist_ok=True)
    return place
