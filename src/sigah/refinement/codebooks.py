"""Additive codebooks: a vector is the sum of one codeword for each byte of its row.

A row is the hash code of a vector, followed by refinement bytes. The hash bytes are given: their
codewords are only fitted, one for each of the 256 values of a byte. The refinement bytes are chosen
so that the sum of codewords comes near to the vector. Codewords and choices improve each other in
turn, byte by byte, and no step raises the squared error plus the squared lengths of the codewords
(Babenko and Lempitsky, "Additive quantization for extreme vector compression", CVPR 2014, with
plain coordinate descent as in Martinez, Zakhmi, Hoos and Little, "LSQ++", ECCV 2018).

Throughout, ``rows`` is ``uint8 (n, n_bytes)``, ``codebooks`` is ``float32 (n_bytes, 256, p)``, and
``residual`` is ``float32 (n, p)``: what the sum of codewords leaves of the vectors. ``sizes`` says
how many values each byte may take.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sigah.extras import require
from sigah.hashers.kmeans import balanced_subspaces

__all__ = ["VALUES", "choose", "decoded", "improve", "product_codebooks"]

VALUES = 256  # of a byte
BLOCK = 8192  # rows whose distances to all codewords of a byte are in memory at a time
KMEANS_ITERATIONS = 10  # codewords go on moving in later rounds

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def decoded(rows: Bytes, codebooks: Floats) -> Floats:
    """Sums of codewords, ``float32 (n, p)``."""
    total = np.zeros((len(rows), codebooks.shape[2]), np.float32)
    for values, codewords in zip(rows.T, codebooks, strict=True):
        total += codewords[values]
    return total


def improve(
    residual: Floats, rows: Bytes, codebooks: Floats, n_hash: int, sizes: Sequence[int]
) -> None:
    """One round over all bytes: choose the values of refinement bytes, then move the codewords.

    ``residual``, ``rows`` and ``codebooks`` are changed in place.
    """
    for byte in range(rows.shape[1]):
        codewords = codebooks[byte]
        residual += codewords[rows[:, byte]]
        if byte >= n_hash:
            rows[:, byte] = nearest(residual, codewords[: sizes[byte]])
        sums, counts = sums_by_value(residual, rows[:, byte])
        # one more vector, of zeros, for each: what is seen once or twice is not trusted
        codewords[:] = sums / (counts[:, np.newaxis] + 1)
        residual -= codewords[rows[:, byte]]


def choose(
    residual: Floats,
    rows: Bytes,
    codebooks: Floats,
    n_hash: int,
    sizes: Sequence[int],
    *,
    anew: bool = False,
) -> None:
    """One round over the refinement bytes: choose their values; codewords stay as they are.

    ``residual`` and ``rows`` are changed in place. ``anew``, each byte quantises what the bytes
    before it leave: the residual is that of the hash bytes alone.
    """
    for byte in range(n_hash, rows.shape[1]):
        if not anew:
            residual += codebooks[byte, rows[:, byte]]
        rows[:, byte] = nearest(residual, codebooks[byte, : sizes[byte]])
        residual -= codebooks[byte, rows[:, byte]]


def nearest(vectors: Floats, codewords: Floats) -> NDArray[np.intp]:
    """The nearest codeword of each vector."""
    half_norms = np.square(codewords).sum(axis=1) / 2
    found = np.empty(len(vectors), np.intp)
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        found[block] = np.argmax(vectors[block] @ codewords.T - half_norms, axis=1)
    return found


def sums_by_value(vectors: Floats, values: Bytes) -> tuple[Floats, NDArray[np.intp]]:
    """Sums ``(256, p)`` of the vectors of each value, and how many there are."""
    sparse = require("scipy.sparse", "refining codes", "train")
    n = len(values)
    # a column for each vector, with a 1 in the row of its value
    members = sparse.csc_array((np.ones(n, np.float32), values, np.arange(n + 1)), (VALUES, n))
    return members @ vectors, np.bincount(values, minlength=VALUES)


def product_codebooks(
    residual: Floats, sizes: Sequence[int], random_state: np.random.RandomState
) -> tuple[Bytes, Floats]:
    """Refinement bytes to start from: product quantisation of the residual.

    The principal axes of the residual are dealt to subspaces with about equal products of
    variances, and k-means finds the codewords of each subspace (Ge, He, Ke and Sun, "Optimized
    product quantization", CVPR 2013). If there are more bytes than axes, further bytes quantise
    what the first ones leave.

    Returns
    -------
    rows : ndarray of uint8, shape (n, len(sizes))
    codebooks : ndarray of float32, shape (len(sizes), 256, p)
    """
    cluster = require("sklearn.cluster", "refining codes", "train")
    n, p = residual.shape
    rows = np.zeros((n, len(sizes)), np.uint8)
    codebooks = np.zeros((len(sizes), VALUES, p), np.float32)
    rest = residual.copy()
    for first in range(0, len(sizes), p):
        here = range(first, min(first + p, len(sizes)))
        variances, axes = np.linalg.eigh(np.cov(rest.T, bias=True).reshape(p, p))
        n_axes = p // len(here) * len(here)
        dealt = balanced_subspaces(np.maximum(variances[::-1][:n_axes], 0), len(here))
        for byte, subspace in zip(here, dealt, strict=True):
            basis = axes[:, ::-1][:, subspace].astype(np.float32)
            values, centres = _kmeans(cluster, rest @ basis, sizes[byte], random_state)
            rows[:, byte] = values
            codebooks[byte, : len(centres)] = centres @ basis.T
        rest -= decoded(rows[:, here.start : here.stop], codebooks[here.start : here.stop])
    return rows, codebooks


def _kmeans(
    cluster: object, vectors: Floats, size: int, random_state: np.random.RandomState
) -> tuple[NDArray[np.intp], Floats]:
    """Centres, no more than there are distinct vectors, and the centre of each vector."""
    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= size:
        return nearest(vectors, distinct), distinct
    model = cluster.KMeans(  # type: ignore[attr-defined]
        size,
        init="random",
        n_init=1,
        max_iter=KMEANS_ITERATIONS,
        tol=0,
        random_state=random_state.randint(2**31 - 1),
    )
    model.fit(vectors)
    centres = np.asarray(model.cluster_centers_, np.float32)
    return nearest(vectors, centres), centres
