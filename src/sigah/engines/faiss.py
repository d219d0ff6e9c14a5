"""FAISS: the reference library for vector search, and its file format.

Douze et al., "The Faiss library", arXiv 2401.08281. The target is a file for
``faiss.read_index_binary``. Bits are in the order of :func:`numpy.packbits`, because FAISS compares
whole bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.engines.base import About, require
from sigah.engines.files import FileEngine

__all__ = ["Faiss"]


class Faiss(FileEngine):
    """A binary index of FAISS in one file.

    Parameters
    ----------
    target : str
        The file.
    kind : {"flat", "ivf", "hnsw"}, optional
        An exact scan; inverted lists, exact if all are probed; or an approximate graph, in which
        codes cannot be replaced.
    lists : int, optional
        Inverted lists of kind ivf; by default the square root of the number of codes in the first
        export, at most 316.
    probes : int
        Lists that a search of kind ivf reads.
    links : int
        Neighbours of a code in the graph of kind hnsw.
    expansion : int
        Candidates that a search of kind hnsw keeps, at least k.
    """

    name = "faiss"
    kinds = ("flat", "ivf", "hnsw")

    def __init__(
        self,
        target: str,
        *,
        kind: str | None = None,
        lists: int | None = None,
        probes: int = 16,
        links: int = 32,
        expansion: int = 128,
    ) -> None:
        super().__init__(target, kind=kind)
        self.lists = None if lists is None else check_whole(lists, "lists", least=1)
        self.probes = check_whole(probes, "probes", least=1)
        self.links = check_whole(links, "links", least=2)
        self.expansion = check_whole(expansion, "expansion", least=1)
        self._faiss: Any = None
        self._ids: NDArray[np.int64] | None = None  # ascending; read when first needed

    def _load(self) -> None:
        self._faiss = require("faiss", "FAISS", "faiss")

    def _empty(self, about: About, sample: NDArray[np.uint8]) -> Any:
        faiss = self._faiss
        if about.kind == "flat":
            return faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(about.n_bits))
        if about.kind == "hnsw":
            return faiss.IndexBinaryIDMap2(faiss.IndexBinaryHNSW(about.n_bits, self.links))
        # FAISS recommends at least 39 training codes per list
        lists = self.lists or max(1, min(int(len(sample) ** 0.5), len(sample) // 39))
        lists = max(1, min(lists, len(sample)))
        quantizer = faiss.IndexBinaryFlat(about.n_bits)
        index = faiss.IndexBinaryIVF(quantizer, about.n_bits, lists)
        index.train(sample)
        index.set_direct_map_type(faiss.DirectMap.Hashtable)  # codes by id
        return index

    def _read(self, path: str, about: About) -> Any:
        index = self._faiss.read_index_binary(path)
        if index.d != about.n_bits:
            raise ValueError(
                f"{path} holds codes of {index.d} bits, its sidecar says {about.n_bits}"
            )
        return index

    def _write(self, path: str) -> None:
        self._faiss.write_index_binary(self._index, path)

    def __len__(self) -> int:
        return 0 if self._index is None else int(self._index.ntotal)

    def _held(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self._ids is None:
            self._ids = np.sort(self._all_ids())
        if not len(self._ids):
            return np.zeros(len(ids), np.bool_)
        places = np.searchsorted(self._ids, ids)
        return self._ids[np.minimum(places, len(self._ids) - 1)] == ids

    def _all_ids(self) -> NDArray[np.int64]:
        faiss, index = self._faiss, self._index
        if isinstance(index, faiss.IndexBinaryIDMap2):
            return faiss.vector_to_array(index.id_map)
        lists = index.invlists
        filled = [one for one in range(index.nlist) if lists.list_size(one)]
        views = [faiss.rev_swig_ptr(lists.get_ids(one), lists.list_size(one)) for one in filled]
        return np.concatenate([np.empty(0, np.int64), *views])

    def _codes(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        codes = np.empty((len(ids), self._index.d // 8), np.uint8)
        for row, one in enumerate(ids.tolist()):
            codes[row] = self._index.reconstruct(one)
        return codes

    def _add(self, ids: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
        self._index.add_with_ids(np.ascontiguousarray(codes), ids)
        if self._ids is not None:
            self._ids = np.insert(self._ids, np.searchsorted(self._ids, ids), ids)

    def _remove(self, ids: NDArray[np.int64]) -> None:
        assert self.about is not None
        faiss = self._faiss
        # inverted lists with a hash table accept only arrays; for other kinds, batches are faster
        select = faiss.IDSelectorArray if self.about.kind == "ivf" else faiss.IDSelectorBatch
        self._index.remove_ids(select(ids))
        if self._ids is not None:
            self._ids = np.delete(self._ids, np.searchsorted(self._ids, ids))

    @property
    def filter_refusal(self) -> str | None:
        """FAISS's inverted lists of binary codes do not accept a selection of ids."""
        if self.about is not None and self.about.kind == "ivf":
            return "FAISS's IndexBinaryIVF accepts no selection of ids; export with kind=flat"
        return None

    @property
    def replace_refusal(self) -> str | None:
        """A graph of FAISS cannot remove codes."""
        if self.about is not None and self.about.kind == "hnsw":
            return "FAISS cannot remove a code from its graph"
        return None

    def _nearest(
        self, codes: NDArray[np.uint8], k: int, labels: list[Any] | None
    ) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        assert self.about is not None
        faiss = self._faiss
        chosen: dict[str, Any] = {}
        if labels is not None:
            chosen = {"sel": faiss.IDSelectorBatch(self._ids_with(labels))}
        if self.about.kind == "ivf":
            params = faiss.SearchParametersIVF(nprobe=min(self.probes, self._index.nlist))
        elif self.about.kind == "hnsw":
            params = faiss.SearchParametersHNSW(efSearch=max(self.expansion, k), **chosen)
        else:
            params = faiss.SearchParameters(**chosen) if chosen else None
        k = max(1, min(k, len(self)))
        distances, ids = self._index.search(codes, k, params=params)
        return distances, ids
