"""Additive codebooks: a vector is the sum of one codeword for each byte of its row.

A row is a code, which searches scan, followed by refinement bytes. The code is given: its codewords
are only fitted, one for each of the 256 values of a byte. The refinement bytes are chosen so that
the sum of codewords comes near to the vector. Codewords and choices improve each other in turn,
byte by byte, and no step raises the squared error plus the weighed squared lengths of the codewords
(Babenko and Lempitsky, "Additive quantization for extreme vector compression", CVPR 2014, with
plain coordinate descent as in Martinez, Zakhmi, Hoos and Little, "LSQ++", ECCV 2018).

Codewords of the code are fitted in two steps: first a sum of two, one for each *half* of the byte,
then what is left for the whole byte. Few vectors are enough to know 32 codewords of halves, and the
256 of bytes stay near to their sums unless many vectors speak for more.

If no hasher makes the code, it is learned in the same way, by halves alone. Scans read tables of
halves, which fit into a register (Andre, Kermarrec and Le Scouarnec, "Cache locality is not enough:
high-performance nearest neighbor search with product quantization fast scan", VLDB 2015), and lose
little of such codes.

Throughout, ``rows`` is ``uint8 (n, n_bytes)``, ``codebooks`` is ``float32 (n_bytes, 256, p)``,
``halves`` is ``float32 (n_bytes, 2, 16, p)``, and ``residual`` is ``float32 (n, p)``: what the sum
of codewords leaves of the vectors. ``sizes`` says how many values each byte may take.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sigah.extras import require
from sigah.hashers.kmeans import balanced_subspaces

__all__ = [
    "HALF",
    "VALUES",
    "choose",
    "choose_halves",
    "decoded",
    "improve",
    "improve_halves",
    "of_halves",
    "product_starts",
    "starts_of_halves",
]

VALUES = 256  # of a byte
HALF = 16  # values of half a byte
BLOCK = 8192  # rows whose distances to all codewords of a byte are in memory at a time
KMEANS_ITERATIONS = 10  # codewords go on moving in later rounds
# Each codeword is the mean of its vectors and so many zeros: few vectors are not trusted. That
# of the code is what sums of halves leave, and is missed least.
ZEROS, ZEROS_OF_CODE, ZEROS_OF_HALVES = 4, 32, 1

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def decoded(rows: Bytes, codebooks: Floats) -> Floats:
    """Sums of codewords, ``float32 (n, p)``."""
    total = np.zeros((len(rows), codebooks.shape[2]), np.float32)
    for values, codewords in zip(rows.T, codebooks, strict=True):
        total += codewords[values]
    return total


def improve(
    residual: Floats, rows: Bytes, codebooks: Floats, n_code: int, sizes: Sequence[int]
) -> None:
    """One round over all bytes: choose the values of refinement bytes, then move the codewords.

    ``residual``, ``rows`` and ``codebooks`` are changed in place.
    """
    for byte in range(rows.shape[1]):
        codewords = codebooks[byte]
        residual += codewords[rows[:, byte]]
        if byte >= n_code:
            rows[:, byte] = nearest(residual, codewords[: sizes[byte]])
        zeros = ZEROS if byte >= n_code else ZEROS_OF_CODE
        codewords[:] = means_by_value(residual, rows[:, byte], zeros)
        residual -= codewords[rows[:, byte]]


def choose(
    residual: Floats,
    rows: Bytes,
    codebooks: Floats,
    n_code: int,
    sizes: Sequence[int],
    *,
    anew: bool = False,
) -> None:
    """One round over the refinement bytes: choose their values; codewords stay as they are.

    ``residual`` and ``rows`` are changed in place. ``anew``, each byte quantises what the bytes
    before it leave: the residual is that of the code alone.
    """
    for byte in range(n_code, rows.shape[1]):
        if not anew:
            residual += codebooks[byte, rows[:, byte]]
        rows[:, byte] = nearest(residual, codebooks[byte, : sizes[byte]])
        residual -= codebooks[byte, rows[:, byte]]


def of_halves(halves: Floats) -> Floats:
    """Codewords ``(n_bytes, 256, p)``: a sum for each high and each low half."""
    sums = halves[:, 0, :, np.newaxis] + halves[:, 1, np.newaxis]
    return sums.reshape(len(halves), VALUES, halves.shape[3])


def improve_halves(residual: Floats, rows: Bytes, halves: Floats, *, given: bool = False) -> None:
    """One round over all bytes: choose their values, then move the codewords of their halves.

    ``given``, the rows stay as they are.
    """
    for byte, own in enumerate(halves):
        if not given:
            residual += _sums(own, rows[:, byte])
            rows[:, byte] = _nearest_sum(residual, own)
            residual -= _sums(own, rows[:, byte])
        for half, values in enumerate(_halves_of(rows[:, byte])):
            residual += own[half, values]
            own[half] = means_by_value(residual, values, ZEROS_OF_HALVES)[:HALF]
            residual -= own[half, values]


def choose_halves(residual: Floats, rows: Bytes, halves: Floats, *, anew: bool = False) -> None:
    """One round over all bytes: choose their values; ``anew`` as in :func:`choose`."""
    for byte, own in enumerate(halves):
        if not anew:
            residual += _sums(own, rows[:, byte])
        rows[:, byte] = _nearest_sum(residual, own)
        residual -= _sums(own, rows[:, byte])


def _halves_of(values: Bytes) -> tuple[Bytes, Bytes]:
    return values // np.uint8(HALF), values % np.uint8(HALF)


def _sums(own: Floats, values: Bytes) -> Floats:
    high, low = _halves_of(values)
    return own[0, high] + own[1, low]


def _nearest_sum(vectors: Floats, own: Floats) -> NDArray[np.intp]:
    """As :func:`nearest`, of all sums of two halves ``(2, 16, p)``, from 32 products of each."""
    half_norms = np.square(of_halves(own[np.newaxis])[0]).sum(axis=1).reshape(HALF, HALF) / 2
    found = np.empty(len(vectors), np.intp)
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        products = vectors[block] @ own.reshape(2 * HALF, -1).T
        scores = products[:, :HALF, np.newaxis] + products[:, np.newaxis, HALF:]
        scores -= half_norms
        found[block] = np.argmax(scores.reshape(-1, VALUES), axis=1)
    return found


def nearest(vectors: Floats, codewords: Floats) -> NDArray[np.intp]:
    """The nearest codeword of each vector."""
    half_norms = np.square(codewords).sum(axis=1) / 2
    found = np.empty(len(vectors), np.intp)
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        found[block] = np.argmax(vectors[block] @ codewords.T - half_norms, axis=1)
    return found


def means_by_value(vectors: Floats, values: Bytes, zeros: int) -> Floats:
    """The mean ``(256, p)`` of the vectors of each value and of so many zeros."""
    sparse = require("scipy.sparse", "refining codes", "train")
    n = len(values)
    # a column for each vector, with a 1 in the row of its value
    members = sparse.csc_array((np.ones(n, np.float32), values, np.arange(n + 1)), (VALUES, n))
    counts = np.bincount(values, minlength=VALUES)[:, np.newaxis] + zeros
    means: Floats = (members @ vectors / counts).astype(np.float32)
    return means


def product_starts(
    residual: Floats, sizes: Sequence[int], axes: Floats, random_state: np.random.RandomState
) -> Iterator[tuple[Bytes, Floats]]:
    """Rows and codebooks to start from: product quantisation of the residual, in one or two ways.

    K-means finds the codewords of each subspace. Subspaces are

    - principal axes of the residual, dealt to subspaces with about equal products of variances
      (Ge, He, Ke and Sun, "Optimized product quantization", CVPR 2013);
    - if there are axes for all dimensions, also consecutive dimensions, which belong together in
      descriptors such as SIFT (Jegou, Douze and Schmid, "Product quantization for nearest neighbor
      search", TPAMI 2011).

    Which one is better shows after some rounds. If there are more bytes than axes, further bytes
    quantise what the first ones leave.

    Parameters
    ----------
    residual : ndarray of float32, shape (n, p)
    sizes : sequence of int
    axes : ndarray of float32, shape (d, p)
        The axes of the residual among the dimensions of vectors.
    random_state : RandomState

    Yields
    ------
    rows : ndarray of uint8, shape (n, len(sizes))
    codebooks : ndarray of float32, shape (len(sizes), 256, p)
    """
    d, p = axes.shape
    for by_dimensions in (False, True)[: 1 + (p == d)]:
        rows = np.zeros((len(residual), len(sizes)), np.uint8)
        codebooks = np.zeros((len(sizes), VALUES, p), np.float32)
        rest = residual.copy()
        for first in range(0, len(sizes), p):
            here = range(first, min(first + p, len(sizes)))
            bases = _dimensions(axes, len(here)) if by_dimensions else _dealt(rest, len(here))
            for byte, basis in zip(here, bases, strict=True):
                values, centres = _kmeans(rest @ basis, sizes[byte], random_state)
                rows[:, byte] = values
                codebooks[byte, : len(centres)] = centres @ basis.T
            rest -= decoded(rows[:, here.start : here.stop], codebooks[here.start : here.stop])
        yield rows, codebooks


def starts_of_halves(
    residual: Floats, n_bytes: int, axes: Floats, random_state: np.random.RandomState
) -> Iterator[tuple[Bytes, Floats]]:
    """As :func:`product_starts`, two subspaces for a byte: rows and ``halves``."""
    sizes = [HALF] * (2 * n_bytes)
    for values, codebooks in product_starts(residual, sizes, axes, random_state):
        rows = values[:, 0::2] * np.uint8(HALF) + values[:, 1::2]
        yield rows, codebooks[:, :HALF].reshape(n_bytes, 2, HALF, -1).copy()


def _dealt(rest: Floats, n: int) -> list[Floats]:
    """Bases ``(p, m)`` of ``n`` subspaces of principal axes."""
    p = rest.shape[1]
    variances, axes = np.linalg.eigh(np.cov(rest.T, bias=True).reshape(p, p))
    dealt = balanced_subspaces(np.maximum(variances[::-1][: p // n * n], 0), n)
    return [axes[:, ::-1][:, some].astype(np.float32) for some in dealt]


def _dimensions(axes: Floats, n: int) -> list[Floats]:
    """Bases ``(p, m)`` of ``n`` subspaces of consecutive dimensions."""
    return [axes[some].T for some in np.array_split(np.arange(len(axes)), n)]


def _kmeans(
    vectors: Floats, size: int, random_state: np.random.RandomState
) -> tuple[NDArray[np.intp], Floats]:
    """Centres, no more than there are distinct vectors, and the centre of each vector."""
    cluster, exceptions = (
        require(f"sklearn.{module}", "refining codes", "train")
        for module in ("cluster", "exceptions")
    )
    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= size:
        return nearest(vectors, distinct), distinct
    model = cluster.KMeans(
        size,
        init="random",
        n_init=1,
        max_iter=KMEANS_ITERATIONS,
        tol=0,
        random_state=random_state.randint(2**31 - 1),
    )
    with warnings.catch_warnings():  # vectors that are equal but for rounding leave centres alone
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        model.fit(vectors)
    centres = np.asarray(model.cluster_centers_, np.float32)
    return nearest(vectors, centres), centres
