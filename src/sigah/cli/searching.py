"""A search of the command line: a model, its codes, and how candidates are ranked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import typer
from numpy.typing import NDArray

from sigah import files
from sigah.cli.inputs import has_keys, naming, read_codes, read_index, read_model
from sigah.hashers import BinaryHasher
from sigah.search import HammingIndex, KeyedIndex, TwoStageSearch
from sigah.search.keyed import Keyed

__all__ = [
    "DEFAULT_OVERSAMPLING",
    "RANKINGS",
    "Opened",
    "check_has_candidates",
    "check_ranking",
    "check_raw",
    "index_of",
    "open_codes_of_model",
]

RANKINGS = ("asymmetric", "spherical", "decoded", "raw")
DEFAULT_OVERSAMPLING = 10.0

Find = Callable[[Any, int], tuple[NDArray[Any], NDArray[Any]]]


def check_ranking(by: str) -> str:
    """Refuse an unknown ranking."""
    if by not in ("hamming", *RANKINGS):
        raise typer.BadParameter(
            f"{by!r} is not one of hamming, {', '.join(RANKINGS)}.", param_hint="'--by'"
        )
    return by


def check_raw(by: str, vectors: str | None) -> None:
    """Refuse raw ranking without vectors."""
    if by == "raw" and vectors is None:
        raise ValueError("--by raw needs --vectors, the vectors that were encoded")


def check_has_candidates(by: str, oversampling: object) -> None:
    """Refuse a number of candidates where Hamming distances rank all codes."""
    if by == "hamming":
        raise ValueError(
            f"--oversampling {oversampling}: ranking by Hamming distance has no candidates; leave"
            " it out, or say with --by what ranks them"
        )


@dataclass(frozen=True, eq=False)
class Opened:
    """A model and an index of codes that it made."""

    hasher: BinaryHasher
    index: HammingIndex | KeyedIndex

    @property
    def numbered(self) -> HammingIndex:
        """The index of the ids, which are the rows of the encoded vectors if it has keys."""
        return self.index.index if isinstance(self.index, KeyedIndex) else self.index

    def named(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """The keys of ids, or the ids themselves."""
        return self.index.keys_of(ids) if isinstance(self.index, KeyedIndex) else ids

    def holds(self, name: str) -> bool:
        """Whether the index has an id or a key, as a file of texts names it."""
        return holds_text(self.index, name)

    def search(
        self, by: str, oversampling: float | None, vectors: Any = None, allowed: Any = None
    ) -> Find:
        """A function from queries and ``k`` to distances and ids or keys.

        ``oversampling`` is None by default, and for Hamming distances. ``vectors`` are needed for
        raw ranking only; ``allowed`` is a filter of the index.
        """
        if by == "hamming":
            index, hasher = self.index, self.hasher
            return lambda some, k: index.search(hasher.transform(some), k, filter=allowed)
        rows = vectors if by == "raw" else None
        with naming("--by", by):
            ranked = TwoStageSearch(
                self.numbered,
                self.hasher,
                by,
                oversampling=oversampling or DEFAULT_OVERSAMPLING,
                vectors=rows,
            )

        def find(some: Any, k: int) -> Any:
            distances, ids = ranked.search(some, k, filter=allowed)
            return distances, self.named(ids)

        return find


def holds_text(index: Any, name: str) -> bool:
    """Whether an index has an id or a key, as a file of texts names it."""
    if isinstance(index, Keyed):
        return name in index
    # 007 is not 7: rankings and judgements are compared as texts
    return len(name) < 20 and name.isdecimal() and str(int(name)) == name and int(name) in index


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


def _open_any(path: Path) -> HammingIndex | KeyedIndex:
    """Open an index file, or make an index from a file of codes."""
    if files.kind_of(path) == "index":
        return read_index(path)
    stored = read_codes(path, "CODES|INDEX")
    with naming("CODES|INDEX", path):
        return index_of(stored)


def index_of(codes: files.Codes) -> HammingIndex | KeyedIndex:
    """An index of codes: with keys if their ids are strings."""
    kind: Any = KeyedIndex if has_keys(codes) else HammingIndex
    index = kind(codes.n_bits, fingerprint=codes.fingerprint)
    index.add(codes.codes, codes.ids)
    return cast("HammingIndex | KeyedIndex", index)
