"""What `sigah evaluate` measures: an index of codes, an index of vectors, or codes in an engine."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from copy import copy
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.cli.searching import Find, Opened, check_ranking, holds_text
from sigah.engines import Engine, VectorSearch
from sigah.refinement import KeyedVectorIndex, VectorIndex

__all__ = ["CodeSubject", "EngineSubject", "Subject", "VectorSubject"]


class Subject(ABC):
    """Something that answers queries.

    Attributes
    ----------
    n, dim : int
        Vectors that it holds, and their dimensions.
    name : str
        Its method.
    metric : str
        By which it finds neighbours.
    what : str
        Of what it is, for a title.
    """

    n: int
    dim: int
    name: str
    metric: str
    what: str

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """The method and all sizes, as JSON can hold them."""

    def ranking(self, by: str | None) -> str:
        """How it ranks, by its own name; None: by what it holds."""
        return check_ranking(by or "hamming")

    @abstractmethod
    def search(self, by: str, oversampling: float | None, rows: Any) -> Find:
        """A function from queries and ``k`` to distances and ids.

        ``oversampling`` is None if nothing says how many candidates are ranked.
        """

    @abstractmethod
    def has_rows_as_ids(self, n: int) -> bool:
        """Whether its ids are the row numbers of ``n`` vectors."""

    def named(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Row numbers as results name them."""
        return ids

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Whether it may find what a file of texts names so."""

    @abstractmethod
    def first(self) -> list[Any]:
        """Some of its ids, for messages."""


class CodeSubject(Subject):
    """Codes and the model that made them."""

    def __init__(self, opened: Opened, model: Path) -> None:
        hasher = opened.hasher
        self.opened, self.model = opened, model
        self.n, self.dim = len(opened.index), int(hasher.n_features_in_)
        self.name, self.metric = hasher.name, getattr(hasher, "metric", "l2")
        self.what = f"codes of {hasher.n_bits} bits ({hasher.name}, {self.metric})"

    def about(self) -> dict[str, Any]:
        stats = self.opened.index.stats()
        kept = sum(size for name, size in stats.items() if name.endswith("_bytes"))
        return {
            "model": str(self.model),
            "method": self.name,
            "metric": self.metric,
            "model_bytes": self.model.stat().st_size,
            **stats,
            "bytes_per_vector": float(kept / max(1, self.n)),
        }

    def search(self, by: str, oversampling: float | None, rows: Any) -> Find:
        return self.opened.search(by, oversampling, rows)

    def has_rows_as_ids(self, n: int) -> bool:
        return np.array_equal(self.opened.numbered.ids, np.arange(n))

    def named(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        return self.opened.named(ids)

    def holds(self, name: str) -> bool:
        return self.opened.holds(name)

    def first(self) -> list[Any]:
        found: list[Any] = self.opened.named(self.opened.numbered.ids[:3]).tolist()
        return found


class VectorSubject(Subject):
    """An index of vectors, which has its model in it."""

    def __init__(self, held: VectorIndex | KeyedVectorIndex, path: Path) -> None:
        self.keyed = held if isinstance(held, KeyedVectorIndex) else None
        self.index = index = held.index if isinstance(held, KeyedVectorIndex) else held
        self.path, self.bytes_per_vector = path, held.bytes_per_vector
        self.n, self.dim, self.metric = len(index), index.refined.n_features, index.metric
        self.name = index.refined.method
        self.what = f"vectors in {index.n_bytes} bytes each ({self.name}, {self.metric})"

    def about(self) -> dict[str, Any]:
        per_vector = self.bytes_per_vector
        return {
            "model": None,
            "method": self.name,
            "metric": self.metric,
            "n_bytes": self.index.n_bytes,
            "shortlist": self.index.shortlist,
            "wide_shortlist": self.index.wide_shortlist,
            "model_bytes": max(0, self.path.stat().st_size - round(per_vector * self.n)),
            "n_codes": self.n,
            "bytes_per_vector": per_vector,
        }

    def ranking(self, by: str | None) -> str:
        if by in (None, "tables"):
            return "tables"
        if check_ranking(by) != "raw":
            raise ValueError(
                f"--by {by}: an index of vectors ranks by its bytes; leave --by out, or say --by"
                " raw to rank the best by --vectors once more"
            )
        return by

    def search(self, by: str, oversampling: float | None, rows: Any) -> Find:
        index = copy(self.index)  # with a shortlist of its own

        def find(some: Any, k: int) -> Any:
            how: dict[str, Any] = {}
            if oversampling is not None:
                ranked = math.ceil(round(oversampling * k, 6))
                if by == "raw":
                    how = {"vectors": rows, "n_ranked": ranked}
                else:
                    index.shortlist = ranked
            distances, ids = index.search(some, k, **how)
            return distances, self.named(ids)

        return find

    def has_rows_as_ids(self, n: int) -> bool:
        return np.array_equal(self.index.ids, np.arange(n))

    def named(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        return ids if self.keyed is None else self.keyed.keys_of(ids)

    def holds(self, name: str) -> bool:
        return holds_text(self.index if self.keyed is None else self.keyed, name)

    def first(self) -> list[Any]:
        found: list[Any] = self.named(self.index.ids[:3]).tolist()
        return found


class EngineSubject(Subject):
    """Codes in an engine; it is asked one question at a time, as one connection allows."""

    def __init__(self, engine: Engine, hasher: Any, kind: str, target: str, model: Path) -> None:
        self.engine = VectorSearch(engine, hasher)
        self.kind, self.target, self.model = kind, target, model
        self.n, self.dim = len(engine), int(hasher.n_features_in_)
        self.name, self.metric = hasher.name, getattr(hasher, "metric", "l2")
        self.what = f"codes of {hasher.n_bits} bits in {kind} ({hasher.name}, {self.metric})"
        self._lock = Lock()

    def about(self) -> dict[str, Any]:
        file = Path(self.target)
        size = file.stat().st_size if file.is_file() else None
        return {
            "model": str(self.model),
            "engine": self.kind,
            "kind": getattr(self.engine.engine.about, "kind", None),
            "method": self.name,
            "metric": self.metric,
            "model_bytes": self.model.stat().st_size,
            "n_codes": self.n,
            "n_bits": self.engine.hasher.n_bits,
            "file_bytes": size,
            "bytes_per_vector": None if size is None else size / max(1, self.n),
        }

    def ranking(self, by: str | None) -> str:
        if by not in (None, "hamming"):
            raise ValueError(f"--by {by}: an engine ranks by Hamming distance; leave --by out")
        return "hamming"

    def search(self, by: str, oversampling: float | None, rows: Any) -> Find:
        def find(some: Any, k: int) -> Any:
            with self._lock:
                return self.engine.search(some, k)

        return find

    def has_rows_as_ids(self, n: int) -> bool:
        about = self.engine.engine.about
        # as `sigah export` gives them; an engine does not list its ids
        return self.n == n and not (about is not None and about.keys)

    def holds(self, name: str) -> bool:
        return True  # it cannot be asked

    def first(self) -> list[Any]:
        return []
