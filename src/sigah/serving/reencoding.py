"""The vectors of an index encoded by a new model, block by block, so that it can resume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah import files
from sigah.hashers import BinaryHasher
from sigah.refinement import KeyedVectorIndex, RefinedCodes, VectorIndex
from sigah.rows.blocks import RowSource
from sigah.rows.ids import IdColumn
from sigah.rows.sources import as_rows, identity
from sigah.search.keyed import Keyed
from sigah.serving.generation import TYPES, Generation, OfVectors, checked_ids
from sigah.streams import encode

__all__ = ["Reencoding", "forget_codes"]

CODES = "next.npy"


@dataclass(frozen=True, eq=False)
class RefinedRows:
    """Refined codes in the form of a hasher that :func:`sigah.streams.encode` takes."""

    refined: RefinedCodes
    name = "vectors"

    @property
    def n_bits(self) -> int:
        return 8 * self.refined.n_bytes

    @property
    def fingerprint(self) -> str:
        return self.refined.fingerprint

    def transform(self, X: ArrayLike) -> NDArray[np.uint8]:
        return self.refined.encode(X)

    _codes = transform


@dataclass(frozen=True, eq=False)
class Reencoding:
    """A new model and the vectors that it encodes, checked.

    Attributes
    ----------
    kind : {"ids", "keys", "vectors", "keyed vectors"}
        Of the index.
    model : BinaryHasher or VectorIndex
    rows : RowSource
    ids : list of int or of str
        Of the rows.
    """

    kind: str
    model: BinaryHasher | VectorIndex
    rows: RowSource
    ids: list[Any]

    @classmethod
    def of(cls, serving: Generation, kind: str, model: Any, vectors: Any, ids: Any) -> Reencoding:
        """Check what a new generation shall be made of.

        Raises
        ------
        ValueError
            If the model or the ids are of another kind than the index, or the vectors of another
            dimension.
        """
        wanted, what = (
            (OfVectors, "a VectorIndex, such as one built on a sample")
            if issubclass(TYPES[kind], OfVectors)
            else (BinaryHasher, "a fitted hasher")
        )
        if not isinstance(model, wanted):
            raise ValueError(f"model must be {what}, got {type(model).__name__}")
        if isinstance(model, KeyedVectorIndex):
            model = model.index  # its keys are not wanted
        dim = model.refined.n_features if isinstance(model, VectorIndex) else model.n_features_in_
        if dim != serving.dim:
            raise ValueError(
                f"model was fitted on {dim} dimensions, but the vectors of the index have"
                f" {serving.dim}"
            )
        rows = as_rows(vectors)
        if rows is None:
            raise ValueError("vectors must be rows, not batches: an array, a file or a folder")
        if rows.shape[1] != dim:
            raise ValueError(f"vectors have {rows.shape[1]} dimensions, but the model needs {dim}")
        return cls(kind, model, rows, _ids_of(rows, kind, ids))

    @property
    def task(self) -> dict[str, Any]:
        """An identity of the work, which JSON can hold."""
        return {"model": self._encoder.fingerprint, "source": identity(self.rows)}

    @property
    def _encoder(self) -> Any:
        model = self.model
        return RefinedRows(model.refined) if isinstance(model, VectorIndex) else model

    def encode(self, folder: Path, *, show: bool) -> NDArray[np.uint8]:
        """The codes of all rows; those of an earlier call are kept if its task was the same."""
        path = folder / CODES
        if not path.exists():
            encode(self._encoder, self.rows, path, show=show)
        return files.open_codes(path).codes

    def generation(
        self, number: int, codes: NDArray[np.uint8], held: NDArray[np.bool_]
    ) -> Generation:
        """A generation of those rows whose ids the index holds."""
        ids = [one for one, kept in zip(self.ids, held.tolist(), strict=True) if kept]
        index = TYPES[self.kind].of(self.model)
        if isinstance(self.model, VectorIndex):
            index.add_rows(codes[held], ids)
            return Generation(number, index.refined, index)
        index.add(codes[held], ids)
        return Generation(number, self.model, index)


def forget_codes(folder: Path) -> None:
    """Delete what an encoding, finished or not, has left."""
    for file in folder.glob(f"{CODES}*"):
        file.unlink(missing_ok=True)


def _ids_of(rows: RowSource, kind: str, ids: Any) -> list[Any]:
    """Ids or keys of rows: a column, an array, or row numbers."""
    n, keyed = rows.shape[0], issubclass(TYPES[kind], Keyed)
    if isinstance(ids, str):
        ids = IdColumn.of(rows, ids).reader()(n).to_pylist()
    elif ids is None:
        if keyed:
            raise ValueError("ids: the index has keys; give them, or the name of their column")
        ids = np.arange(n)
    if not keyed and len(ids) and isinstance(ids[0], str):
        raise ValueError("ids: the index has whole numbers as ids, not keys (strings)")
    return checked_ids(kind, ids, n)
