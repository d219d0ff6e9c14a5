"""USearch: one file for many languages (C++, Rust, Java, JavaScript, Go, SQLite, ...).

Vardanian, USearch, github.com/unum-cloud/usearch. The target is a file for
``usearch.index.Index.restore``; codes are its ``b1`` scalars.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.engines.base import About, require
from sigah.engines.files import FileEngine

__all__ = ["USearch"]


class USearch(FileEngine):
    """An index of USearch in one file.

    Parameters
    ----------
    target : str
        The file.
    kind : {"hnsw"}, optional
        A graph, which is approximate.
    links : int
        Neighbours of a code in the graph.
    expansion : int
        Candidates kept while the graph is built and searched.
    exact : bool
        Search by a scan of all codes instead of the graph.
    """

    name = "usearch"
    kinds = ("hnsw",)

    def __init__(
        self,
        target: str,
        *,
        kind: str | None = None,
        links: int = 32,
        expansion: int = 128,
        exact: bool = False,
    ) -> None:
        super().__init__(target, kind=kind)
        self.links = check_whole(links, "links", least=2)
        self.expansion = check_whole(expansion, "expansion", least=1)
        if not isinstance(exact, (bool, np.bool_)):
            raise ValueError(f"exact must be true or false, got {exact!r}")
        self.exact = bool(exact)
        self._usearch: Any = None

    def _load(self) -> None:
        self._usearch = require("usearch.index", "USearch", "usearch")

    def _empty(self, about: About, sample: NDArray[np.uint8]) -> Any:
        return self._usearch.Index(
            ndim=about.n_bits,
            metric=self._usearch.MetricKind.Hamming,
            dtype="b1",
            connectivity=self.links,
            expansion_add=self.expansion,
            expansion_search=self.expansion,
        )

    def _read(self, path: str, about: About) -> Any:
        index = self._empty(about, np.empty((0, about.n_bits // 8), np.uint8))
        index.load(path)
        if index.ndim != about.n_bits:
            raise ValueError(
                f"{path} holds codes of {index.ndim} bits, its sidecar says {about.n_bits}"
            )
        index.expansion_add = index.expansion_search = self.expansion
        return index

    def _write(self, path: str) -> None:
        self._index.save(path)

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._index)

    def _held(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(self._index.contains(ids.astype(np.uint64)), np.bool_)

    def _codes(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        if not len(ids):
            return np.empty((0, self._index.ndim // 8), np.uint8)
        return np.asarray(self._index.get(ids.astype(np.uint64)), np.uint8).reshape(len(ids), -1)

    def _add(self, ids: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
        if not len(ids):
            return
        try:
            self._index.add(ids.astype(np.uint64), np.ascontiguousarray(codes))
        except RuntimeError as error:
            if "has been terminated" in str(error):  # its error after Ctrl-C
                raise KeyboardInterrupt from error
            raise

    def _remove(self, ids: NDArray[np.int64]) -> None:
        self._index.remove(ids.astype(np.uint64))

    @property
    def filter_refusal(self) -> str | None:
        """USearch's search has no such argument."""
        return "USearch's search accepts no selection of ids in Python"

    def _nearest(
        self, codes: NDArray[np.uint8], k: int, labels: list[Any] | None
    ) -> list[list[tuple[int, int]]]:
        k = max(1, min(k, len(self)))
        found = self._index.search(codes, k, exact=self.exact)
        each = [found] if len(codes) == 1 else found  # USearch takes a batch of one for one query
        return [[(int(distance), int(one)) for one, distance in of.to_list()] for of in each]
