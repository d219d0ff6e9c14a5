"""A model and the index of its codes, which answer together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.hashers import BinaryHasher, load
from sigah.refinement import KeyedVectorIndex, RefinedCodes, VectorIndex
from sigah.rows.blocks import LARGEST, finite
from sigah.rows.dtypes import check_rows
from sigah.search import HammingIndex, KeyedIndex
from sigah.search.checks import check_ids
from sigah.search.keyed import Keyed
from sigah.search.keys import check_keys
from sigah.serving.changes import Change
from sigah.serving.manifest import KINDS

__all__ = ["TYPES", "Generation", "OfVectors", "checked_ids", "kind_of_index"]

Index = KeyedIndex | HammingIndex | VectorIndex | KeyedVectorIndex
OfVectors = VectorIndex | KeyedVectorIndex
#: The class of an index, by its kind: a key of :data:`KINDS`.
TYPES: dict[str, Any] = {
    "ids": HammingIndex,
    "keys": KeyedIndex,
    "vectors": VectorIndex,
    "keyed vectors": KeyedVectorIndex,
}


def kind_of_index(index: object) -> str:
    """A key of :data:`KINDS`."""
    for name, kind in TYPES.items():
        if isinstance(index, kind):
            return name
    raise ValueError(
        "index must be a HammingIndex, a KeyedIndex, a VectorIndex or a KeyedVectorIndex, got"
        f" {type(index).__name__}"
    )


def checked_ids(kind: str, ids: ArrayLike, n: int | None = None) -> list[Any]:
    """Ids or keys of an index, each once."""
    keyed = issubclass(TYPES[kind], Keyed)
    checked: list[Any] = check_keys(ids, n) if keyed else check_ids(ids, n).tolist()
    seen = set()
    for one in checked:
        if one in seen:
            raise ValueError(f"{'key' if keyed else 'id'} {one!r} is given twice")
        seen.add(one)
    return checked


@dataclass(frozen=True, eq=False)
class Generation:
    """A model and the index of its codes.

    Changes reach the index while a generation serves; its model never changes. So a query that is
    encoded by ``model`` and searched in ``index`` is always answered by one model.

    Attributes
    ----------
    number : int
        1 for the first of a deployment.
    model : BinaryHasher or RefinedCodes
        RefinedCodes if the index is one of vectors.
    index : HammingIndex, KeyedIndex, VectorIndex or KeyedVectorIndex
        For searches, such as :class:`~sigah.search.TwoStageSearch`; change the deployment instead.
    """

    number: int
    model: BinaryHasher | RefinedCodes
    index: Index

    @classmethod
    def open(cls, folder: Path, number: int, kind: str, *, n_threads: int | None = None) -> Self:
        """Map the files of a generation."""
        path = folder / f"{number}.{KINDS[kind]}"
        index: Index = TYPES[kind].open(path, n_threads=n_threads)
        if isinstance(index, OfVectors):
            return cls(number, index.refined, index)
        model = load(folder / f"{number}.model")
        index.check_model(model)
        return cls(number, model, index)

    def save(self, folder: Path) -> None:
        """Write the files of a generation; the model is written once."""
        model = folder / f"{self.number}.model"
        if isinstance(self.model, BinaryHasher) and not model.exists():
            self.model.save(model)
        self.index.save(folder / f"{self.number}.{KINDS[kind_of_index(self.index)]}")

    @property
    def dim(self) -> int:
        """Dimensions of the vectors."""
        model = self.model
        return int(model.n_features if isinstance(model, RefinedCodes) else model.n_features_in_)

    def search(
        self, queries: ArrayLike, k: int = 10, **options: Any
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the ``k`` nearest of each query.

        Parameters
        ----------
        queries : array-like, shape (q, d)
            Vectors, not codes.
        k : int, default=10
        **options
            Of the search of the index, such as ``filter``.

        Returns
        -------
        distances, ids : ndarray, shape (q, k)
            As the index returns them; ids are keys if it has keys.
        """
        if isinstance(self.index, OfVectors):
            return self.index.search(queries, k, **options)
        assert isinstance(self.model, BinaryHasher)
        return self.index.search(self.model.transform(queries), k, **options)

    def check(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Vectors in memory that this model and any later one can encode, or an error."""
        largest = LARGEST if isinstance(self.index, OfVectors) else np.inf
        rows = finite(check_rows(vectors, "vectors")[:], 0, largest=largest, name="vectors")
        if rows.shape[1] != self.dim:
            raise ValueError(
                f"vectors have {rows.shape[1]} dimensions, but the model was fitted on {self.dim}"
            )
        return rows

    def held(self, ids: Sequence[Any]) -> NDArray[np.bool_]:
        """Which of some ids or keys are in the index."""
        return self.index.holds(ids)

    def apply(self, change: Change) -> None:
        """Take in a change; to take it in again, in the order of the log, changes nothing."""
        if change.vectors is None:
            present = self.held(change.ids)
            self.index.remove([one for one, held in zip(change.ids, present, strict=True) if held])
        elif isinstance(self.index, OfVectors):
            self.index.upsert(change.vectors, change.ids)
        elif isinstance(self.model, BinaryHasher):
            self.index.upsert(self.model.transform(change.vectors), change.ids)

    def warm_up(self) -> None:
        """Verify the mapped file and load the kernels, so that the first query need not."""
        self.search(np.ones((1, self.dim), np.float32), 1)
