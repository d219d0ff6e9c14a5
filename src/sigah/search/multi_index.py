"""Multi-index hashing: exact Hamming search that looks at a small part of the codes.

Norouzi, Punjani and Fleet, "Fast exact search in Hamming space with multi-index hashing", PAMI 2014
(arXiv 1307.2982). A code is cut into ``m`` substrings, and a table for each of them lists the codes
by the value of that substring. Two codes at distance ``r`` agree in some substring up to ``r // m``
bits (their Proposition 1), so the buckets around the query's own substrings hold all near codes.

The search widens one table by one bit at a time. After the step of table ``j`` and substring radius
``a``, every code within ``m * a + j`` bits of the query has been met, and the answer is complete
when ``k`` of them are held.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sigah.search.kernels import (
    MISSING_DISTANCE,
    MISSING_ID,
    POSITION_BITS,
    POSITION_MASK,
    compiled,
    ones,
)
from sigah.search.threads import run_together

__all__ = ["MultiIndex"]

BATCH = 32  # buckets that are on their way from memory at the same time
WIDEST_SUBSTRING = 28  # bits; the table of their values takes 1 GiB
SAMPLE = 64  # queries that measure the costs when tables are built, and that one call answers


class MultiIndex:
    """Tables of the substrings of some codes.

    Memory: a table holds every code with its position, in the order of its buckets, so that a
    bucket is read in one go: ``m * (n_bytes padded to 8, + 4)`` bytes a code, and about as many
    bucket addresses (4 bytes each) as there are codes in each table. For 10 million codes of 64
    bits that is 3 tables of 21 or 22 bits, 40 bytes a code.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, n_bytes)
        Fewer than 2**32.
    n_threads : int
        Tables are built side by side.
    scan_costs : tuple of float
        Nanoseconds that a scan of the codes takes: for each query, and once for a batch.

    Attributes
    ----------
    n_tables : int
        ``m``, chosen so that there are about as many values of a substring as codes.
    n_bytes : int
        Memory that the tables take.
    costs : tuple of float
        Measured nanoseconds of visiting a bucket and of meeting a code in it.
    """

    def __init__(
        self, codes: NDArray[np.uint8], *, n_threads: int, scan_costs: tuple[float, float]
    ) -> None:
        n, n_bytes = codes.shape
        if n >= 2**32:
            raise ValueError(f"tables hold fewer than 2**32 codes, got {n:,}")
        self.n_bits = 8 * n_bytes
        widths, self._offsets = cut(self.n_bits, n)
        self.n_tables = len(widths)
        self._widths = widths
        words = as_words(codes)
        self._firsts = np.zeros(self.n_tables + 1, np.int64)  # where each table's buckets begin
        np.cumsum((1 << widths) + 1, out=self._firsts[1:])
        self._starts = np.empty(self._firsts[-1], np.uint32)
        self._positions = np.empty((self.n_tables, n), np.uint32)
        self._words = np.empty((self.n_tables, n, words.shape[1]), np.uint64)
        run_together(
            lambda j: _fill_table(
                words, self._offsets[j], widths[j],
                self._starts[self._firsts[j] : self._firsts[j + 1]],
                self._positions[j], self._words[j],
            ),
            [(j,) for j in range(self.n_tables)],
            n_threads,
        )  # fmt: skip
        self.n_bytes = self._starts.nbytes + self._positions.nbytes + self._words.nbytes
        self.costs = self._measure(words)
        self._scan_costs = scan_costs

    def scan_cost(self, n_queries: int, n_threads: int) -> float:
        """Nanoseconds of one thread that a query may take before a scan is cheaper.

        A scan shares even one query among all threads; tables are read by one thread a query.
        """
        each, once = self._scan_costs
        return (each + once / max(1, n_queries)) * min(n_threads, n_queries) / n_threads

    def describe(self) -> dict[str, Any]:
        """What the tables are, as JSON can hold it."""
        each, once = self._scan_costs
        return {
            "n_tables": self.n_tables,
            "substring_bits": self._widths.tolist(),
            "bucket_ns": round(self.costs[0], 2),
            "code_ns": round(self.costs[1], 2),
            "scan_query_ns": round(each),
            "scan_batch_ns": round(once),
        }

    def nearest(
        self,
        queries: NDArray[np.uint8],
        selected: NDArray[np.uint64],
        k: int,
        *,
        budget: float,
        n_threads: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
        """The ``k`` nearest codes, by distance and then by position, where that is cheap.

        Parameters
        ----------
        queries : ndarray of uint8, shape (q, n_bytes)
        selected : ndarray of uint64
            A bit for each code that may be found.
        k : int
        budget : float
            Nanoseconds after which a query gives up, by the measured costs: what another way to
            answer it takes. It gives up before a step that would exceed them.
        n_threads : int

        Returns
        -------
        distances : ndarray of int32, shape (q, k)
        positions : ndarray of int64, shape (q, k)
        done : ndarray of bool, shape (q,)
            False for queries that gave up; their rows hold nothing.
        """
        words = as_words(queries)
        distances = np.empty((len(queries), k), np.int32)
        positions = np.empty((len(queries), k), np.int64)
        done = np.zeros(len(queries), np.bool_)
        # The first queries tell whether it is worth while for the others.
        pilot = min(len(queries), SAMPLE)
        for first, last in ((0, pilot), (pilot, len(queries))):
            if first == last or (first and 2 * done[:first].sum() < first):
                break
            step = min(SAMPLE, -(-(last - first) // n_threads))
            run_together(
                lambda some: _nearest_of(
                    *self._tables, selected, words[some], k, *self.costs, budget,
                    distances[some], positions[some], done[some],
                ),
                [(slice(a, min(a + step, last)),) for a in range(first, last, step)],
                n_threads,
            )  # fmt: skip
        return distances, positions, done

    def within(
        self,
        queries: NDArray[np.uint8],
        selected: NDArray[np.uint64],
        radius: int,
        *,
        budget: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]] | None:
        """The codes no farther than ``radius``, or None if a query exceeds the budget.

        Returns
        -------
        lims : ndarray of int64, shape (q + 1,)
        distances : ndarray of int32, shape (lims[-1],)
        positions : ndarray of int64, shape (lims[-1],)
        """
        n = self._positions.shape[1]
        found = []
        for words in as_words(queries):
            keys, complete, _, _ = _collect(
                *self._tables, selected, words, n, radius, *self.costs, budget
            )
            if not complete:
                return None
            found.append(keys)
        lims = np.zeros(len(queries) + 1, np.int64)
        np.cumsum([len(keys) for keys in found], out=lims[1:])
        keys = np.concatenate([np.empty(0, np.int64), *found])
        return lims, (keys >> POSITION_BITS).astype(np.int32), keys & POSITION_MASK

    @property
    def _tables(self) -> tuple[NDArray[Any], ...]:
        return (
            self._starts, self._firsts, self._offsets, self._widths, self._positions, self._words
        )  # fmt: skip

    def _measure(self, words: NDArray[np.uint64]) -> tuple[float, float]:
        """Nanoseconds a bucket and a code: a fit to timed searches, half of them of real codes."""
        from scipy.optimize import nnls

        random = np.random.default_rng(0)
        queries = random.integers(0, 2**63, (SAMPLE, words.shape[1]), dtype=np.uint64)
        queries[: SAMPLE // 2] = words[random.integers(0, len(words), SAMPLE // 2)]
        everything = np.full(-(-len(words) // 64), ~np.uint64(0))
        work, nanoseconds = [], []
        for query in [queries[0], *queries]:  # the first one warms up
            began = time.perf_counter_ns()
            _, _, n_buckets, n_met = _collect(
                *self._tables, everything, query, 10, self.n_bits, 10.0, 2.0, 2e5
            )
            nanoseconds.append(time.perf_counter_ns() - began)
            work.append((n_buckets, n_met))
        (bucket, code), _ = nnls(np.array(work[1:], float), np.array(nanoseconds[1:], float))
        return max(bucket, 1.0), max(code, 0.2)


def cut(n_bits: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Widths and offsets of substrings of about ``log2(n)`` bits, which differ by one at most.

    Norouzi et al., section 3.2: the best substrings have about as many values as there are codes.
    """
    width = min(max(math.log2(max(n, 2)), 8), WIDEST_SUBSTRING)
    m = max(1, round(n_bits / width), -(-n_bits // WIDEST_SUBSTRING))
    edges = np.linspace(0, n_bits, m + 1).round().astype(np.int64)
    return np.diff(edges), edges[:-1]


def as_words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Codes as rows of 64-bit words, the last padded with zeros."""
    n, n_bytes = codes.shape
    padded = np.zeros((n, -(-n_bytes // 8) * 8), np.uint8)
    padded[:, :n_bytes] = codes
    return padded.view(np.uint64)


@intrinsic
def _prefetch(typing: Any, array: Any, place: Any) -> Any:
    """Ask for the element at a place, counted flat, of a C-contiguous array; wait for nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from numba.core import cgutils
        from numba.np import arrayobj

        array = arrayobj.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(
            builder.gep(array.data, [arguments[1]]), ir.IntType(8).as_pointer()
        )
        number = ir.IntType(32)
        prefetch = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number]),
            "llvm.prefetch.p0",
        )
        builder.call(prefetch, [pointer, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@compiled
def _substring(word_of: Any, row: int, offset: int, width: int) -> Any:
    """Bits ``offset`` to ``offset + width`` of a row of words."""
    w, shift = offset // 64, np.uint64(offset % 64)
    value = word_of[row, w] >> shift
    if offset % 64 + width > 64:
        value |= word_of[row, w + 1] << (np.uint64(64) - shift)
    return np.int64(value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1)))


@compiled
def _fill_table(
    words: Any, offset: int, width: int, starts: Any, positions: Any, sorted_words: Any
) -> None:
    """List codes by their substring: a counting sort."""
    starts[:] = 0
    for i in range(len(words)):
        starts[_substring(words, i, offset, width) + 1] += 1
    for value in range(1, len(starts)):
        starts[value] += starts[value - 1]
    # from here on: where the next code of each bucket goes, one bucket too early
    nexts = starts[:-1].copy()
    for i in range(len(words)):
        value = _substring(words, i, offset, width)
        place = nexts[value]
        nexts[value] += 1
        positions[place] = i
        for w in range(words.shape[1]):
            sorted_words[place, w] = words[i, w]


@compiled
def _collect(
    starts: Any,
    firsts: Any,
    offsets: Any,
    widths: Any,
    positions: Any,
    words: Any,
    selected: Any,
    query: Any,
    k: int,
    radius: int,
    bucket_cost: float,
    code_cost: float,
    budget: float,
) -> Any:
    """The ``k`` nearest codes within ``radius``, as sorted keys of distance and position.

    Returns the keys, whether they are complete, and how many buckets and codes were met.
    """
    n_tables, n, n_words = words.shape
    n_bits = offsets[-1] + widths[-1]
    own = np.empty(n_tables, np.int64)
    differing = np.empty((1, n_words), np.uint64)
    differing[0] = query
    for j in range(n_tables):
        own[j] = _substring(differing, 0, offsets[j], widths[j])
    keys = np.empty(min(2 * k, 1024), np.int64)
    held: Any = 0
    worst = (radius + 1) << POSITION_BITS  # keys from here on are too far
    near = 0  # keys of codes within the radius completed, found by ``seen``
    seen = np.zeros(n_bits + 1, np.int64)
    batch = np.empty(BATCH, np.int64)
    n_buckets: Any = 0
    n_met: Any = 0
    for r in range(min(radius, n_bits) + 1):
        j, level = r % n_tables, r // n_tables
        width, last = widths[j], np.int64(1) << widths[j]
        if level <= width:
            expected = 1.0
            for i in range(level):
                expected = expected * (width - i) / (i + 1)
            cost = bucket_cost * (n_buckets + expected)
            cost += code_cost * (n_met + expected * n / last)
            if cost > budget:
                return keys[:0], False, n_buckets, n_met
            flips = (np.int64(1) << level) - 1
            more = True
            while more:
                size = 0
                while more and size < BATCH:
                    batch[size] = firsts[j] + (own[j] ^ flips)
                    _prefetch(starts, batch[size])
                    size += 1
                    if level == 0:
                        more = False
                    else:  # the next larger number with as many bits set (Gosper)
                        lowest = flips & -flips
                        ripple = flips + lowest
                        flips = (((ripple ^ flips) >> 2) // lowest) | ripple
                        more = flips < last
                for b in range(size):
                    _prefetch(words, (j * n + np.int64(starts[batch[b]])) * n_words)
                for b in range(size):
                    begin, end = np.int64(starts[batch[b]]), np.int64(starts[batch[b] + 1])
                    n_met += end - begin
                    for e in range(begin, end):
                        d: Any = 0
                        for w in range(n_words):
                            d += np.int64(ones(words[j, e, w] ^ query[w]))
                        if (d << POSITION_BITS) > worst:
                            continue
                        for w in range(n_words):
                            differing[0, w] = words[j, e, w] ^ query[w]
                        if _met_before(differing, offsets, widths, j, level):
                            continue
                        place = np.int64(positions[j, e])
                        key = d << POSITION_BITS | place
                        bit = selected[place // 64] >> np.uint64(place % 64) & np.uint64(1)
                        if key >= worst or bit == 0:
                            continue
                        if held == len(keys):
                            if held < 2 * k:
                                larger = np.empty(min(2 * k, 2 * held), np.int64)
                                larger[:held] = keys
                                keys = larger
                            else:
                                keys.sort()
                                held, worst = k, keys[k - 1]
                                if key >= worst:
                                    continue
                        keys[held] = key
                        held += 1
                        seen[d] += 1
                n_buckets += size
                if bucket_cost * n_buckets + code_cost * n_met > budget:
                    return keys[:0], False, n_buckets, n_met
        near += seen[r]
        if near >= k:
            break
    keys = keys[:held]
    keys.sort()
    return keys[:k], True, n_buckets, n_met


@compiled
def _met_before(differing: Any, offsets: Any, widths: Any, j: int, level: int) -> bool:
    """Whether an earlier step met the code: a table before ``j``, or a later one of less radius."""
    for i in range(len(widths)):
        apart = ones(np.uint64(_substring(differing, 0, offsets[i], widths[i])))
        if i != j and np.int64(apart) <= (level if i < j else level - 1):
            return True
    return False


@compiled
def _nearest_of(
    starts: Any,
    firsts: Any,
    offsets: Any,
    widths: Any,
    positions: Any,
    words: Any,
    selected: Any,
    queries: Any,
    k: int,
    bucket_cost: float,
    code_cost: float,
    budget: float,
    distances: Any,
    found: Any,
    done: Any,
) -> None:
    n_bits = offsets[-1] + widths[-1]
    for q in range(len(queries)):
        keys, complete, _, _ = _collect(
            starts, firsts, offsets, widths, positions, words, selected, queries[q],
            k, n_bits, bucket_cost, code_cost, budget,
        )  # fmt: skip
        done[q] = complete
        for place in range(len(keys)):
            distances[q, place] = keys[place] >> POSITION_BITS
            found[q, place] = keys[place] & POSITION_MASK
        for place in range(len(keys), k):
            distances[q, place] = MISSING_DISTANCE
            found[q, place] = MISSING_ID
