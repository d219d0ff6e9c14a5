"""Distances between codes, of all pairs: Hamming and spherical."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.codes import check_codes
from sigah.search.compiled import kernels
from sigah.search.layout import MAX_BITS, to_planes
from sigah.search.scan import share_queries, useful_threads
from sigah.threads import available_threads, run_together

__all__ = ["distance_counts", "hamming_distances", "spherical_distances"]

PAIRS_PER_BLOCK = 1 << 17  # their 64-bit words fill 1 MiB, which stays in a core's own cache


def hamming_distances(base: ArrayLike, queries: ArrayLike) -> NDArray[np.uint16]:
    """Count the differing bits of every query and every base code.

    Parameters
    ----------
    base : array-like of uint8, shape (n, n_bytes)
    queries : array-like of uint8, shape (q, n_bytes)

    Returns
    -------
    distances : ndarray of uint16, shape (q, n)

    Raises
    ------
    ValueError
        If either is not packed codes, the widths differ or exceed 65,528 bits.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import hamming_distances
    >>> hamming_distances(np.array([[0b1010], [0b1100]], np.uint8), np.array([[0b1100]], np.uint8))
    array([[2, 0]], dtype=uint16)
    """
    base_codes = check_codes(base, name="base codes")
    query_codes = check_codes(queries, n_bits=base_codes.shape[1] * 8, name="queries")
    distances = np.empty((len(query_codes), len(base_codes)), np.uint16)
    for query, row in _scan(_as_words(base_codes), _as_words(query_codes)):
        distances[query] = row
    return distances


def distance_counts(base: ArrayLike, queries: ArrayLike) -> NDArray[np.int64]:
    """Count the base codes at each Hamming distance from every query.

    Parameters
    ----------
    base : array-like of uint8, shape (n, n_bytes)
    queries : array-like of uint8, shape (q, n_bytes)

    Returns
    -------
    counts : ndarray of int64, shape (q, 8 * n_bytes + 1)

    Raises
    ------
    ValueError
        If either is not packed codes, the widths differ or exceed 65,528 bits.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import distance_counts
    >>> base = np.array([[0b1010], [0b1100], [0b0011]], np.uint8)
    >>> distance_counts(base, np.array([[0b1100]], np.uint8))
    array([[1, 0, 1, 0, 1, 0, 0, 0, 0]])
    """
    base_codes = check_codes(base, name="base codes")
    n_bits = base_codes.shape[1] * 8
    query_codes = check_codes(queries, n_bits=n_bits, name="queries")
    if n_bits > MAX_BITS:
        raise ValueError(f"codes can have at most {MAX_BITS} bits, got {n_bits}")
    planes = to_planes(base_codes)
    counts = np.zeros((len(query_codes), n_bits + 1), np.int64)
    n_parts = useful_threads(planes.nbytes, len(query_codes), available_threads())
    run_together(
        lambda some: kernels().count_at_distances(
            planes, len(base_codes), query_codes[some], counts[some]
        ),
        share_queries(planes.nbytes, len(query_codes), n_parts, len(query_codes)),
        n_parts,
    )
    return counts


def spherical_distances(base: ArrayLike, queries: ArrayLike) -> NDArray[np.float32]:
    """Divide the differing bits by the shared ones, for every query and every base code.

    The spherical Hamming distance of Heo et al., "Spherical hashing", CVPR 2012, section 3:
    ``|a xor b| / |a and b|``. The more spheres hold both vectors, the smaller the region they lie
    in. As in the authors' code, 0.1 is added to the number of shared ones, which keeps the
    distance finite.

    Parameters
    ----------
    base : array-like of uint8, shape (n, n_bytes)
    queries : array-like of uint8, shape (q, n_bytes)

    Returns
    -------
    distances : ndarray of float32, shape (q, n)
        The nearest float32 to the ratio: pairs of equal ratios have equal distances.

    Raises
    ------
    ValueError
        If either is not packed codes, the widths differ or exceed 65,528 bits.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import spherical_distances
    >>> base = np.array([[0b0011], [0b1000]], np.uint8)
    >>> spherical_distances(base, np.array([[0b0111]], np.uint8)).round(2)
    array([[ 0.48, 40.  ]], dtype=float32)
    """
    base_codes = check_codes(base, name="base codes")
    query_codes = check_codes(queries, n_bits=base_codes.shape[1] * 8, name="queries")
    distances = np.empty((len(query_codes), len(base_codes)), np.float32)
    for query, differing, shared in _scan_shared(_as_words(base_codes), _as_words(query_codes)):
        distances[query] = _ratios(differing, shared)
    return distances


def _ratios(differing: NDArray[np.uint16], shared: NDArray[np.uint16]) -> NDArray[np.float32]:
    # d / (s + 0.1) = 10 d / (10 s + 1), of whole numbers that float32 holds exactly
    ten = np.float32(10)
    return ten * differing / (ten * shared + np.float32(1))


def _scan_shared(
    base: NDArray[np.uint64], queries: NDArray[np.uint64]
) -> Iterator[tuple[int, NDArray[np.uint16], NDArray[np.uint16]]]:
    """Yield each query's number, its differing bits and its shared ones with each base code."""
    ones = np.bitwise_count(base).sum(axis=0, dtype=np.int32)
    for query, differing in _scan(base, queries):
        # |a and b| = (|a| + |b| - |a xor b|) / 2
        both = np.bitwise_count(queries[:, query]).sum(dtype=np.int32) + ones - differing
        yield query, differing, (both // 2).astype(np.uint16)


def _as_words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Codes ``(n, n_bytes)`` as 64-bit words ``(n_words, n)``, the last padded with zeros."""
    n, n_bytes = codes.shape
    if n_bytes * 8 > MAX_BITS:
        raise ValueError(f"codes can have at most {MAX_BITS} bits, got {n_bytes * 8}")
    padded = np.zeros((n, -(-n_bytes // 8) * 8), np.uint8)
    padded[:, :n_bytes] = codes
    return np.ascontiguousarray(padded.view(np.uint64).T)


def _scan(
    base: NDArray[np.uint64], queries: NDArray[np.uint64]
) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """Yield each query's number and its distances to all base codes, ``uint16 (n,)``."""
    n_queries, n = queries.shape[1], base.shape[1]
    step = max(1, PAIRS_PER_BLOCK // max(1, n))  # queries that share a block
    for start in range(0, n_queries, step):
        some = queries[:, start : start + step, None]
        rows = np.zeros((some.shape[1], n), np.uint16)
        for left in range(0, n, PAIRS_PER_BLOCK):
            where = slice(left, left + PAIRS_PER_BLOCK)
            for query_word, base_word in zip(some, base[:, where], strict=True):
                rows[:, where] += np.bitwise_count(query_word ^ base_word)
        yield from enumerate(rows, start)
