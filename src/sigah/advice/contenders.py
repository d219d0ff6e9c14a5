"""What is compared: methods at several sizes, fitted to a sample."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from sigah.advice.orders import Ids, Order, Vectors
from sigah.advice.rivals import faiss_orders
from sigah.hashers import ITQ, BinaryHasher, SiGAH, SignHashing
from sigah.refinement import VectorIndex
from sigah.refinement.vector_index import CALIBRATION_QUERIES, KEPT, NEAREST, RANKED
from sigah.search import HammingIndex, TwoStageSearch
from sigah.search.layout import MISSING_ID

__all__ = ["FAMILIES", "Contender", "contenders", "families"]

#: Methods from the simplest to the most demanding: of equals, the earlier one is recommended.
FAMILIES = ("sign", "itq", "vectors", "sigah", "sq8", "pq", "opq", "rabitq")
OF_FAISS = ("sq8", "pq", "opq", "rabitq")
WITH_CODEBOOKS = ("vectors", "pq", "opq")
BYTES = (8, 16, 32, 64, 128)
SIGAH_BYTES = (8, 16)  # longer codes take minutes to learn, and gain less or nothing over ITQ
FAISS_BYTES = (8, 16, 32, 64)
FAISS_ROWS = 2 * 256 * 39  # half of them are learned from; from fewer, FAISS warns
#: Rows beyond which a method learns little more: a rotation needs fewer than codebooks do.
ENOUGH_ROWS = {"vectors": 32_768, "pq": 16_384, "opq": 16_384}
ENOUGH_FOR_CODES = 20_000
RABITQ_SIDE_BYTES = 8  # two numbers beside the signs


@dataclass(frozen=True)
class Contender:
    """A method at a size.

    Attributes
    ----------
    family : str
        A name of :data:`FAMILIES`.
    bytes : int
        Kept of every vector, side data too; ids take none as long as they are row numbers.
    bits : int
        Of the hash code; 0 without one.
    """

    family: str
    bytes: int
    bits: int = 0

    @property
    def name(self) -> str:
        """Such as ``itq 16 B``."""
        return f"{self.family} {self.bytes} B"

    @property
    def has_codebooks(self) -> bool:
        """Whether it learns enough to know the rows that it learned from from others."""
        return self.family in WITH_CODEBOOKS

    @property
    def enough_rows(self) -> int:
        """Rows beyond which it learns little more."""
        return ENOUGH_ROWS.get(self.family, ENOUGH_FOR_CODES)

    @property
    def learns_for_long(self) -> bool:
        """Whether learning from all rows takes minutes and gains little."""
        return self.family == "opq"

    def orders(
        self, base: Vectors, learned_from: Vectors, n_full: int, metric: str, seed: int
    ) -> list[Order]:
        """Learn from vectors, and hold a base; the ways to order it, as among ``n_full``."""
        if self.family in OF_FAISS:
            return faiss_orders(self.family, self.bytes, base, learned_from, metric, seed)
        if self.family == "vectors":
            return _orders_of_vectors(self, base, learned_from, n_full, metric, seed)
        return _orders_of_hasher(_hasher(self, metric, seed).fit(learned_from), base)


def families() -> list[str]:
    """The methods that can be measured here: optional libraries decide."""
    lacking = set()
    if importlib.util.find_spec("faiss") is None:
        lacking |= set(OF_FAISS)
    if importlib.util.find_spec("sklearn") is None or importlib.util.find_spec("scipy") is None:
        lacking.add("vectors")
    if importlib.util.find_spec("torch") is None or "vectors" in lacking:
        lacking.add("sigah")
    return [name for name in FAMILIES if name not in lacking]


def contenders(
    dim: int, n_rows: int, chosen: Sequence[str], most_bytes: float = math.inf
) -> Iterator[Contender]:
    """All contenders for vectors of a dimension, family by family, by ascending size."""
    for family in chosen:
        if family in ("pq", "opq") and n_rows < FAISS_ROWS:
            continue
        for n_bytes, bits in _sizes(family, dim):
            if n_bytes <= most_bytes and n_bytes < 4 * dim and n_rows >= 2 * bits:
                yield Contender(family, n_bytes, bits)


def _sizes(family: str, dim: int) -> list[tuple[int, int]]:
    """Bytes of a vector, and bits of its hash code."""
    if family == "sign":
        return [(dim // 8, dim // 8 * 8)] if dim >= 8 else []
    if family == "itq":
        short = [n for n in BYTES if 8 * n <= dim]
        whole = [dim // 8] if dim // 8 < BYTES[-1] and dim // 8 not in short and dim >= 8 else []
        return [(n, 8 * n) for n in (*short, *whole)]
    if family == "vectors":
        return [(n, 8 * min(n // 2, dim // 8)) for n in BYTES] if dim >= 8 else []
    if family == "sigah":
        return [(n, 8 * n) for n in SIGAH_BYTES]
    if family == "sq8":
        return [(dim, 0)]
    if family == "rabitq":
        return [(-(-dim // 8) + RABITQ_SIDE_BYTES, 0)]
    return [(n, 0) for n in FAISS_BYTES if n <= dim and dim % n == 0]


def _hasher(contender: Contender, metric: str, seed: int) -> BinaryHasher:
    if contender.family == "sign":
        return SignHashing(contender.bits, metric=metric)
    if contender.family == "itq":
        return ITQ(contender.bits, metric=metric, random_state=seed)
    return cast(BinaryHasher, SiGAH(contender.bits, metric=metric, random_state=seed))


def _orders_of_hasher(hasher: Any, base: Vectors) -> list[Order]:
    codes = hasher.transform(base)
    whole = HammingIndex.of(hasher)
    whole.add(codes)
    by_score = TwoStageSearch(whole, hasher, "asymmetric", oversampling=math.inf)

    def index_of(size: int) -> HammingIndex:
        if size == len(base):
            return whole
        index = HammingIndex.of(hasher)
        index.add(codes[:size])
        return index

    def hamming(size: int) -> Callable[[Vectors, int], Any]:
        index = index_of(size)
        return lambda queries, k: index.search(hasher.transform(queries), k)

    return [
        Order(
            "hamming",
            lambda queries, depth, size: whole.search(
                hasher.transform(queries), depth, filter=_first(whole, size)
            )[1],
            hamming,
        ),
        Order(
            "asymmetric",
            lambda queries, depth, size: by_score.search(
                queries, depth, filter=_first(whole, size)
            )[1],
            lambda size: (
                TwoStageSearch(index_of(size), hasher, "asymmetric", oversampling=math.inf).search
            ),
            for_vectors=False,
        ),
    ]


def _orders_of_vectors(
    contender: Contender,
    base: Vectors,
    learned_from: Vectors,
    n_full: int,
    metric: str,
    seed: int,
) -> list[Order]:
    held = known = VectorIndex.build(
        learned_from, contender.bytes, metric=metric, random_state=seed
    )
    shares = [one / len(known) for one in (known.shortlist, known.wide_shortlist)]
    if base is not learned_from:
        held = VectorIndex(known.refined)
        held.add(base)
        if n_full > len(base):
            shares = [
                _shortlist(held, learned_from, n_full, seed, n) / len(held)
                for n in (NEAREST, RANKED)
            ]
    return [
        _order_of_vectors(held, known, base, n_full, share, for_vectors=for_vectors)
        for share, for_vectors in zip(shares, (False, True), strict=True)
    ]


def _order_of_vectors(
    held: VectorIndex,
    known: VectorIndex,
    base: Vectors,
    n_full: int,
    share: float,
    *,
    for_vectors: bool,
) -> Order:
    def nearest(index: VectorIndex, queries: Vectors, depth: int, size: int) -> Ids:
        index.shortlist = math.ceil(share * size)
        # a part of few rows has a short shortlist, and finds nothing beyond
        most = min(depth, index.shortlist) if n_full > size else depth
        found = index.search(queries, most, filter=_first(index, size))[1]
        return np.pad(found, ((0, 0), (0, depth - most)), constant_values=MISSING_ID)

    def shorter(size: int) -> Callable[[Vectors, int], Any]:
        other = held
        if size < len(base):
            other = VectorIndex(held.refined)
            other.add(base[:size])
        other.shortlist = math.ceil(share * size)
        return other.search

    return Order("tables", partial(nearest, held), shorter, partial(nearest, known), for_vectors)


def _shortlist(index: VectorIndex, others: Vectors, n_full: int, seed: int, n_best: int) -> int:
    """As long a part of the index as an index of ``n_full`` vectors will choose.

    That one keeps .99 of the ``n_best`` that a whole ranking finds, of which fewer are in a part.
    """
    drawn = np.random.default_rng(seed).choice(len(others), CALIBRATION_QUERIES)
    index.shortlist = len(index)
    best = index.search(others[drawn], max(1, round(n_best * len(index) / n_full)))[1]
    return index.calibrate(others[drawn], best, target_recall=KEPT).shortlist


def _first(index: HammingIndex | VectorIndex, size: int) -> Any:
    return None if size == len(index) else index.select(np.arange(size))
