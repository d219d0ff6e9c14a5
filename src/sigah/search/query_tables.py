"""Tables of queries, from codebooks in whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.search.compiled import product_kernels
from sigah.search.layout import OUTPUTS, TERMS
from sigah.threads import run_together

__all__ = ["QueryTables"]

MOST_SUM = 2**31 - 1  # of products
LEAST = float(np.finfo(np.float32).tiny) * 2**15  # its unit, a part of it, is no float32 otherwise
SMALL = 1 << 18  # numbers of all codewords: two bytes for each are then read as fast as one
FEWEST = 8  # queries that are worth a thread


class QueryTables:
    """Makes the tables of queries: products with all codewords, and an offset for each.

    Queries are taken from an origin on, near which they lie: what all of them have in common would
    leave the differences between them few of their bits.

    Codewords are rounded to whole numbers, each in a unit of its own: of one byte, or of two if
    there are few. Queries and axes have as many bits as sums of 32 bits allow. Rounding errors are
    small beside what codes lose, and many dimensions average them out.

    Parameters
    ----------
    origin : ndarray of float32, shape (d,)
        Subtracted from queries; its products are not in the tables, unless the offsets have them.
    mean : ndarray of float32, shape (d,)
        Added to every sum of codewords.
    axes : ndarray of float32, shape (d, p)
    codebooks : ndarray of float32, shape (n_bytes, 256, p)
    offsets : ndarray of float32, shape (n_bytes, 256)
        What each value of each byte adds to the score, whatever the query.
    factor : float
        Of the products.
    unit : bool
        Whether queries are scaled to unit length first; one of zeros has tables of zeros then.
    """

    def __init__(
        self,
        origin: NDArray[np.float32],
        mean: NDArray[np.float32],
        axes: NDArray[np.float32],
        codebooks: NDArray[np.float32],
        offsets: NDArray[np.float32],
        *,
        factor: float,
        unit: bool,
    ) -> None:
        n_bytes, n_values, p = codebooks.shape
        self.n_bytes, self.unit, self.factor = n_bytes, unit, float(factor)
        self.origin = np.ascontiguousarray(origin, np.float32)
        outputs = np.vstack([axes.T, mean])
        self.most = most_of_both(len(mean))
        self.axis_units = largest(outputs, 1) / self.most
        self.axes = blocks(outputs / self.axis_units[:, np.newaxis], np.int16)
        narrow = codebooks.size > SMALL
        most = 127 if narrow else most_of_both(p)
        self.most_of_views = min(2**15 - 1, MOST_SUM // (most * (p + 1)))
        self.codeword_units = (largest(codebooks, 2) / most).astype(np.float32)
        scaled = codebooks / self.codeword_units[:, :, np.newaxis]
        dtype = np.int8 if narrow else np.int16
        self.codewords = blocks(scaled.reshape(n_bytes * n_values, p), dtype)
        self.offsets = np.ascontiguousarray(offsets, np.float32)

    def of(
        self, vectors: NDArray[np.float32], n_threads: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Tables ``(q, n_bytes, 256)`` of queries ``(q, d)``, and their squares from the origin."""
        queries = vectors
        if not (queries.flags.c_contiguous and queries.flags.writeable):
            queries = np.array(vectors, np.float32, order="C")
        tables = np.empty((len(queries), self.n_bytes, 256), np.float32)
        squares = np.empty(len(queries), np.float32)
        n_parts = max(1, min(n_threads, len(queries) // FEWEST))
        cuts = [len(queries) * part // n_parts for part in range(n_parts + 1)]

        def make(some: slice) -> None:
            product_kernels().query_tables(
                queries[some], self.unit, self.origin, self.factor, self.axes, self.axis_units,
                self.most, self.codewords, self.codeword_units, self.most_of_views, self.offsets,
                tables[some], squares[some],
            )  # fmt: skip

        if n_parts == 1:
            make(slice(None))
            return tables, squares
        run_together(make, [(slice(*cuts[i : i + 2]),) for i in range(n_parts)], n_parts)
        return tables, squares


def most_of_both(n: int) -> int:
    """The largest magnitude of whole numbers of which ``n`` products add up to at most 2^31 - 1."""
    return min(2**15 - 1, int(np.sqrt(MOST_SUM / (n + 1))))


def largest(numbers: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """The largest magnitudes along an axis; 1 where all are 0, or as good as that."""
    found = np.abs(numbers).max(axis=axis).astype(np.float64)
    found[found < LEAST] = 1
    return found


def blocks(outputs: NDArray[Any], dtype: type) -> NDArray[Any]:
    """Rows ``(n, m)`` of weights as kernels take them; zeros fill up."""
    n, m = outputs.shape
    padded = np.zeros((-(-n // OUTPUTS) * OUTPUTS, -(-m // TERMS) * TERMS), dtype)
    padded[:n, :m] = np.rint(outputs)
    split = padded.reshape(len(padded) // OUTPUTS, OUTPUTS, -1, 2)
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3))
