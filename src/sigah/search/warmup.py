"""Compile every kernel for all kinds of arrays that searches give to it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sigah.codes import pack, signs

if TYPE_CHECKING:
    from sigah.search.index import HammingIndex

__all__ = ["compile_kernels"]


def compile_kernels() -> int:
    """Compile the kernels, or load them from the cache; returns the number of variants.

    A kernel is compiled for the types of its arguments, and arrays mapped from a file have another
    type than arrays in memory. So this function searches both, by every method.
    """
    from sigah.search import multi_index_kernels  # noqa: F401  searches begin without the kernels
    from sigah.search.distances import distance_counts
    from sigah.search.index import HammingIndex
    from sigah.search.kernel_cache import KERNELS

    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for n_bits in (64, 512):  # distances of 8 and of 16 bits
            codes = random.integers(0, 256, (2000, n_bits // 8), np.uint8)
            queries = random.integers(0, 256, (40, n_bits // 8), np.uint8)
            for ids in (None, np.arange(0, 6000, 3)):
                index = HammingIndex(n_bits)
                index.add(codes, ids)
                file = Path(folder, f"{n_bits}-{ids is None}.index")
                index.save(file)
                for some in (index, HammingIndex.open(file)):
                    _search_in_every_way(some, queries)
            distance_counts(codes, queries)
        _search_rows(random.integers(0, 256, (2000, 16), np.uint8), Path(folder, "rows"))
    _rank_in_every_way(random.normal(size=(50, 8)).astype(np.float32))
    return sum(len(kernel.signatures) for kernel in KERNELS)


def _search_in_every_way(index: HammingIndex, queries: NDArray[np.uint8]) -> None:
    held = index.ids
    for tables in (False, True):
        if tables:
            index.build_tables()
        for chosen in (None, _even, held[:900], held[:5]):
            index.search(queries, 5, filter=chosen)
            index.search(queries[:1], 5, filter=chosen)
            index.range_search(queries, 20, filter=chosen)
    index.search(queries, 5, metric="spherical")
    entries = np.zeros((len(queries), index.n_bits // 8, 256), np.float32)
    projections = np.zeros((len(queries), index.n_bits), np.float32)
    index.search_tables(entries, 5)
    index.search_tables(entries, 5, codes=queries[:, :-1], shortlist=10)
    index.search_asymmetric(projections, 5)
    index.search_asymmetric(projections, 5, codes=queries, shortlist=10)
    index.remove(held[:10])
    index.add(queries, held[-1] + 1 + np.arange(len(queries)))  # a second segment
    index.search(queries, 5)
    index.range_search(queries, 20)
    index.search_tables(entries, 5, codes=queries[:, :-1], shortlist=10)
    index.search_asymmetric(projections, 5)
    index.search_asymmetric(projections, 5, codes=queries, shortlist=10)


def _search_rows(rows: NDArray[np.uint8], file: Path) -> None:
    """Search as an index of vectors does, in memory and in a file."""
    from sigah.files import save_index
    from sigah.files.indexes import open_index
    from sigah.search.index import HammingIndex
    from sigah.search.query_tables import QueryTables

    index = HammingIndex(64, n_extra=8)
    index.add(rows)
    header, arrays = index.content()
    save_index(file, header | {"refined": {"hasher": None}}, arrays, kind="vectors")
    mapped = HammingIndex.of_file(open_index(file, kind="vectors"), n_threads=None, n_extra=8)
    for p in (4, 128):  # codewords of two bytes a number, and of one
        axes, codebooks = np.eye(p, dtype=np.float32), np.ones((16, 256, p), np.float32)
        offsets = np.zeros((16, 256), np.float32)
        made = QueryTables(axes[0], axes[0], axes, codebooks, offsets, factor=1, unit=True)
        tables, _ = made.of(axes[:3], 1)
        for some in (index, mapped):
            for few in (tables, tables[:1]):
                some.search_tables(few, 5)
                some.search_tables(few, 5, shortlist=10)
                some.search_tables(few, 5, shortlist=10, filter=_even)
            some.get([1, 2])
    index.add(rows[:20])  # a second segment
    index.search_tables(tables, 5, shortlist=10)


def _rank_in_every_way(vectors: NDArray[np.float32]) -> None:
    from sigah.search.index import HammingIndex
    from sigah.search.rerank import TwoStageSearch
    from sigah.search.scoring import NEEDS, asymmetric_distances

    hasher = SimpleNamespace(
        transform=lambda rows: pack(rows >= 0), project=lambda rows: rows, reconstruct=signs
    )
    codes = hasher.transform(vectors)
    index = HammingIndex(8)
    index.add(codes)
    asymmetric_distances(codes, vectors)
    mapped = vectors.copy()
    mapped.flags.writeable = False  # as the arrays of a file are
    for by in NEEDS:
        for rows in (vectors, mapped, vectors.astype(np.float64)) if by == "raw" else (None,):
            search = TwoStageSearch(index, hasher, by, vectors=rows)
            search.search(vectors, 2)
            search.calibrate(vectors, np.arange(len(vectors))[:, None])


def _even(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    return ids % 2 == 0
