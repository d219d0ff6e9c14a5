"""Multi-index hashing: exact Hamming search that reads a small part of the codes.

Norouzi, Punjani and Fleet, "Fast exact search in Hamming space with multi-index hashing", PAMI 2014
(arXiv 1307.2982). A code is cut into ``m`` substrings, and a table for each of them lists the codes
by the value of that substring. If two codes have distance ``r``, at least one of their substrings
differs in at most ``r // m`` bits (Proposition 1 of the paper). So the buckets around the query's
substrings hold all near codes.

Each step of the search widens the radius in one table by one bit. After the step of table ``j`` and
substring radius ``a``, the search has seen every code within ``m * a + j`` bits of the query. The
answer is complete when there are ``k`` such codes.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.search.compiled import multi_index_kernels
from sigah.search.layout import POSITION_BITS, POSITION_MASK
from sigah.threads import run_together

__all__ = ["MultiIndex", "cut"]

WIDEST_SUBSTRING = 28  # bits; the table of their values takes 1 GiB
SAMPLE = 64  # queries in the timing of new tables, and queries answered by one call


class MultiIndex:
    """Tables of the substrings of some codes.

    Memory: a table holds every code with its position, bucket after bucket, so that a bucket is one
    contiguous read: ``m * (n_bytes padded to 8, + 4)`` bytes a code, and in each table about as
    many bucket addresses (4 bytes each) as there are codes. For 10 million codes of 64 bits that is
    3 tables of 21 or 22 bits, 40 bytes a code.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, n_bytes)
        Fewer than 2**32.
    n_threads : int
        For building tables in parallel.
    scan_costs : tuple of float
        Nanoseconds that a scan of the codes takes: per query, and per batch.

    Attributes
    ----------
    n_tables : int
        ``m``, chosen so that there are about as many values of a substring as codes.
    n_bytes : int
        Memory that the tables take.
    costs : tuple of float
        Measured nanoseconds per bucket visited and per code read in it.
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
            lambda j: multi_index_kernels().fill_table(
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
        """Nanoseconds of one thread that a query may take in tables before a scan is cheaper.

        A scan divides even one query among all threads; tables use one thread per query.
        """
        each, once = self._scan_costs
        return (each + once / max(1, n_queries)) * min(n_threads, n_queries) / n_threads

    def describe(self) -> dict[str, Any]:
        """Describe the tables, in types that JSON has."""
        each, once = self._scan_costs
        return {
            "n_tables": self.n_tables,
            "substring_bits": self._widths.tolist(),
            "bucket_ns": round(self.costs[0], 2),
            "code_ns": round(self.costs[1], 2),
            "scan_query_ns": round(each),
            "scan_batch_ns": round(once),
        }

    def nearest_by_tables(
        self,
        queries: NDArray[np.uint8],
        selected: NDArray[np.uint64],
        k: int,
        *,
        budget: float,
        n_threads: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
        """The ``k`` nearest codes, by distance and then by position, of queries within a budget.

        Parameters
        ----------
        queries : ndarray of uint8, shape (q, n_bytes)
        selected : ndarray of uint64
            A bit for each code that may be found.
        k : int
        budget : float
            Nanoseconds that another method takes for the query. By the measured costs, a query
            gives up before a step that would exceed the budget.
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
        # The first queries show whether the tables pay off for the rest.
        pilot = min(len(queries), SAMPLE)
        for first, last in ((0, pilot), (pilot, len(queries))):
            if first == last or (first and 2 * done[:first].sum() < first):
                break
            step = min(SAMPLE, -(-(last - first) // n_threads))
            run_together(
                lambda some: multi_index_kernels().nearest_of_queries(
                    *self._tables, selected, words[some], k, *self.costs, budget,
                    distances[some], positions[some], done[some],
                ),
                [(slice(a, min(a + step, last)),) for a in range(first, last, step)],
                n_threads,
            )  # fmt: skip
        return distances, positions, done

    def within_by_tables(
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
            keys, complete, _, _ = multi_index_kernels().collect(
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
        """Nanoseconds per bucket and per code, fitted to timed searches, half with real codes."""
        random = np.random.default_rng(0)
        queries = random.integers(0, 2**63, (SAMPLE, words.shape[1]), dtype=np.uint64)
        queries[: SAMPLE // 2] = words[random.integers(0, len(words), SAMPLE // 2)]
        everything = np.full(-(-len(words) // 64), ~np.uint64(0))
        work, nanoseconds = [], []
        for query in [queries[0], *queries]:  # the first one warms up
            began = time.perf_counter_ns()
            _, _, n_buckets, n_met = multi_index_kernels().collect(
                *self._tables, everything, query, 10, self.n_bits, 10.0, 2.0, 2e5
            )
            nanoseconds.append(time.perf_counter_ns() - began)
            work.append((n_buckets, n_met))
        bucket, code = fit_two_costs(np.array(work[1:], float), np.array(nanoseconds[1:], float))
        return max(bucket, 1.0), max(code, 0.2)


def cut(n_bits: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Widths and offsets of substrings of about ``log2(n)`` bits; widths differ by at most one.

    Norouzi et al., section 3.2: the best substrings have about as many values as there are codes.
    """
    width = min(max(math.log2(max(n, 2)), 8), WIDEST_SUBSTRING)
    m = max(1, round(n_bits / width), -(-n_bits // WIDEST_SUBSTRING))
    edges = np.linspace(0, n_bits, m + 1).round().astype(np.int64)
    return np.diff(edges), edges[:-1]


def fit_two_costs(
    work: NDArray[np.float64], nanoseconds: NDArray[np.float64]
) -> tuple[float, float]:
    """Fit two non-negative costs by least squares, so that ``work @ costs`` is close to the times.

    If the unconstrained solution has a negative cost, one cost is 0 at the optimum. The optimum is
    then the better of the two fits with one cost.
    """
    free = np.linalg.lstsq(work, nanoseconds, rcond=None)[0]
    if (free >= 0).all():
        return float(free[0]), float(free[1])
    alone = np.zeros((2, 2))
    for which, column in enumerate(work.T):
        alone[which, which] = max(0.0, column @ nanoseconds / max(column @ column, 1.0))
    errors = np.square(work @ alone.T - nanoseconds[:, None]).sum(axis=0)
    bucket, code = alone[np.argmin(errors)].tolist()
    return bucket, code


def as_words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Codes as rows of 64-bit words, the last padded with zeros."""
    n, n_bytes = codes.shape
    padded = np.zeros((n, -(-n_bytes // 8) * 8), np.uint8)
    padded[:, :n_bytes] = codes
    return padded.view(np.uint64)
