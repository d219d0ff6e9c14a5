"""A search of the command line: a model, its codes, and how candidates are ranked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from sigah import files
from sigah.cli.inputs import naming, read_index, read_model, reading
from sigah.hashers import BinaryHasher
from sigah.search import HammingIndex, TwoStageSearch

__all__ = ["RANKINGS", "Opened", "check_ranking", "check_raw", "open_codes_of_model"]

RANKINGS = ("asymmetric", "spherical", "decoded", "raw")

Find = Callable[[Any, int], tuple[NDArray[Any], NDArray[np.int64]]]


def check_ranking(by: str) -> str:
    """Refuse an unknown ranking."""
    if by not in ("hamming", *RANKINGS):
        raise typer.BadParameter(f"{by!r} is not one of hamming, {', '.join(RANKINGS)}.")
    return by


def check_raw(by: str, vectors: str | None) -> None:
    """Refuse raw ranking without vectors."""
    if by == "raw" and vectors is None:
        raise ValueError("--by raw needs --vectors, the vectors that were encoded")


@dataclass(frozen=True, eq=False)
class Opened:
    """A model and an index of codes that it made."""

    hasher: BinaryHasher
    index: HammingIndex

    def search(
        self, by: str, oversampling: float, vectors: Any = None, allowed: Any = None
    ) -> Find:
        """A function from queries and ``k`` to distances and ids.

        ``vectors`` are needed for raw ranking only; ``allowed`` is a filter of the index.
        """
        if by == "hamming":
            index, hasher = self.index, self.hasher
            return lambda some, k: index.search(hasher.transform(some), k, filter=allowed)
        rows = vectors if by == "raw" else None
        with naming("--by", by):
            ranked = TwoStageSearch(
                self.index, self.hasher, by, oversampling=oversampling, vectors=rows
            )
        return lambda some, k: ranked.search(some, k, filter=allowed)


def open_codes_of_model(model: Path, base: Path) -> Opened:
    """Open MODEL and CODES|INDEX, and check that they belong together."""
    hasher = read_model(model)
    index = _open_any(base)
    with naming("CODES|INDEX", base):
        if index.n_bits != hasher.n_bits:
            raise ValueError(
                f"its codes have {index.n_bits} bits, but those of MODEL have {hasher.n_bits}"
            )
        if index.fingerprint is not None:
            made_by = {"fingerprint": index.fingerprint}
            files.check_same_model(made_by, {"fingerprint": hasher.fingerprint})
        else:
            typer.echo(f"warning: {base} does not name the model that made it", err=True)
    return Opened(hasher, index)


def _open_any(path: Path) -> HammingIndex:
    """Open an index file, or make an index from a file of codes."""
    if files.kind_of(path) == "index":
        return read_index(path)
    with reading(path, "CODES|INDEX", "codes"):
        return HammingIndex.of_codes(path)
