"""What is known of a named set before it is fetched, and what it is once it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigah.lab.datasets.sources import Source, TextSource
from sigah.rows.lazy import is_numeric

__all__ = ["Build", "Dataset", "KnownTexts", "Split", "Texts"]

SAME_MEAN = 1e-5  # relative; processors change the last digits of a value, never its fifth


class Split(NamedTuple):
    """A data set: vectors to search in, vectors to search with, and their labels.

    Attributes
    ----------
    base : ndarray of float32, shape (n_base, dim)
    queries : ndarray of float32, shape (n_queries, dim)
        Sets that are stored as float32 are read-only memory maps, others are in memory.
    base_labels : ndarray of uint8 (int32 above 256 classes), shape (n_base,), or None
    query_labels : ndarray of uint8 (int32 above 256 classes), shape (n_queries,), or None
        None where the set has no labels.
    """

    base: NDArray[np.float32]
    queries: NDArray[np.float32]
    base_labels: NDArray[Any] | None
    query_labels: NDArray[Any] | None


class Texts(NamedTuple):
    """The texts that the vectors of a set were made of, in the order of the vectors.

    Attributes
    ----------
    base : list of str, length n_base
    queries : list of str, length n_queries
    """

    base: list[str]
    queries: list[str]


@dataclass(frozen=True)
class KnownTexts:
    """Where the texts of a set come from.

    Attributes
    ----------
    source : TextSource
    sha256 : str
        Of all texts in UTF-8, one a line, those of the base first.
    """

    source: TextSource
    sha256: str


@dataclass(frozen=True)
class Build:
    """One build of a set that is computed, and whose last digits depend on the processor.

    Results are filed under the checksums of this build, wherever the set is computed again.

    Attributes
    ----------
    base_sha256, queries_sha256 : str
        Checksums of its vectors, as :func:`sigah.evaluation.content_hash` gives them.
    base_mean, queries_mean : float
        Means over all values; they tell a build of the same photographs from other data.
    """

    base_sha256: str
    queries_sha256: str
    base_mean: float
    queries_mean: float

    @property
    def checksums(self) -> dict[str, str]:
        """What a description of the data names."""
        return {"base_sha256": self.base_sha256, "queries_sha256": self.queries_sha256}

    def equals(self, base: NDArray[np.float32], queries: NDArray[np.float32]) -> bool:
        """Whether vectors are those of this build, but for their last digits."""
        found = [float(np.mean(X, dtype=np.float64)) for X in (base, queries)]
        return np.allclose(found, [self.base_mean, self.queries_mean], rtol=SAME_MEAN, atol=0)


@dataclass(frozen=True)
class Dataset:
    """One entry of the catalogue.

    Attributes
    ----------
    name, summary, licence, reference : str
        What to call it, what it is, on what terms it may be used, and the paper to cite.
    n_base, n_queries, dim : int or None
        Number of base vectors and of queries, and their dimension; None where only the fetch
        tells.
    sources : tuple of Source
        Where to fetch it, in the order to try: places to download from, or builders.
    dtype : {"float32", "uint8"}
        What the vectors are stored as.
    divisor : int
        Stored vectors are divided by it when they are loaded, as in pixels / 255.
    n_classes : int
        Labels are below it; 0 for a set without labels.
    sha256 : mapping of str to str
        The checksum of the raw bytes of each array, by its name. For an array that is not listed,
        the checksum that it has when it is fetched is kept beside it.
    stand_in_for : str
        The set that this one is taken instead of, and must not be taken for.
    build : Build or None
        The build under whose checksums results are filed, where builds differ in last digits.
    texts : KnownTexts or None
        The texts that the vectors were made of, where they can be had; needs ``n_base``.
    """

    name: str
    summary: str
    licence: str
    reference: str
    n_base: int | None
    n_queries: int | None
    dim: int | None
    sources: tuple[Source, ...]
    dtype: str = "float32"
    divisor: int = 1
    n_classes: int = 0
    sha256: Mapping[str, str] = field(default_factory=dict)
    stand_in_for: str = ""
    build: Build | None = None
    texts: KnownTexts | None = None

    @property
    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """The shape of each array, by its name; None for a length that is not known."""
        shapes: dict[str, tuple[int | None, ...]] = {
            "base": (self.n_base, self.dim),
            "queries": (self.n_queries, self.dim),
        }
        if self.n_classes:
            shapes |= {"base_labels": (self.n_base,), "query_labels": (self.n_queries,)}
        return shapes

    @property
    def dtypes(self) -> dict[str, np.dtype[Any]]:
        """The dtype in which each array is stored, by its name."""
        labels = np.dtype(np.uint8 if self.n_classes <= 256 else np.int32)
        vectors = np.dtype(self.dtype)
        return {part: labels if part.endswith("labels") else vectors for part in self.shapes}

    def check(self, arrays: Mapping[str, Any]) -> None:
        """Raise a ValueError if arrays are not those of the set, by all but their contents."""
        if set(arrays) != set(self.shapes):
            raise ValueError(f"there are {', '.join(arrays)}, expected {', '.join(self.shapes)}")
        for part, array in arrays.items():
            self._check_form(part, array)
        base, queries = arrays["base"].shape, arrays["queries"].shape
        if base[1] != queries[1]:
            raise ValueError(f"base has {base[1]} dimensions, queries have {queries[1]}")
        if self.n_classes:
            for part, vectors in (("base_labels", base), ("query_labels", queries)):
                if len(arrays[part]) != vectors[0]:
                    raise ValueError(f"{part} has {len(arrays[part])} labels, not {vectors[0]}")
                lowest, highest = np.min(arrays[part]), np.max(arrays[part])
                if not 0 <= lowest <= highest < self.n_classes:
                    raise ValueError(
                        f"{part} has labels from {lowest} to {highest}, not 0 to"
                        f" {self.n_classes - 1}"
                    )

    def _check_form(self, part: str, array: Any) -> None:
        expected, found = self.shapes[part], tuple(array.shape)
        fits = len(found) == len(expected) and all(
            n > 0 and known in (None, n) for n, known in zip(found, expected, strict=True)
        )
        if not fits or not is_numeric(array.dtype):
            shape = str(expected).replace("None", "n")
            raise ValueError(
                f"{part} is {array.dtype} of shape {found}, expected {self.dtypes[part]} of shape"
                f" {shape}"
            )
