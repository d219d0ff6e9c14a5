"""Retrieval with labels as the truth: results of the same class are relevant."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_whole
from sigah.codes import signs
from sigah.evaluation.metrics import before, expected_sums
from sigah.search import hamming_distances

__all__ = ["asymmetric_label_precision", "class_shares", "label_average_precision"]

PAIRS_PER_BLOCK = 1 << 24  # 32 MiB of distances
SCORES_PER_BLOCK = 1 << 22  # 16 MiB of scores

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def label_average_precision(
    base_codes: ArrayLike,
    query_codes: ArrayLike,
    base_labels: ArrayLike,
    query_labels: ArrayLike,
    *,
    depth: int = 1000,
    divisor: Literal["relevant", "hits"] = "relevant",
) -> Float:
    """Average precision of the first ``depth`` codes, with labels as the truth.

    The precisions at the ranks of relevant codes are added up and divided. Two divisors are in use
    and give different figures: report which one you used.

    Codes at the same distance count as randomly ordered: the result is the mean over all orders, in
    closed form.

    Parameters
    ----------
    base_codes, query_codes : array-like of uint8, shapes (n, n_bytes) and (q, n_bytes)
    base_labels, query_labels : array-like, shapes (n,) and (q,)
    depth : int, default=1000
        Ranks that count; the whole ranking if the base is smaller.
    divisor : {"relevant", "hits"}
        ``relevant``: ``min(relevant codes in the base, depth)``, so 1 means that no relevant code
        is missed. ``hits``: the relevant codes among the first ``depth``, as in the programs of
        many papers; a query that finds one relevant code, at rank 1, then scores 1.

    Returns
    -------
    ndarray of float64, shape (q,)
        0 for a query that finds no relevant code.

    Raises
    ------
    ValueError
        If labels do not fit the codes, ``depth`` is not positive, or the divisor is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import label_average_precision
    >>> base = np.array([[0b0], [0b1], [0b11]], np.uint8)
    >>> label_average_precision(base, base[:1], ["cat", "dog", "cat"], ["cat"])
    array([0.83333333])
    >>> labels = ["cat", "dog", "cat"], ["cat"]
    >>> [label_average_precision(base, base[:1], *labels, depth=2, divisor=by)[0]
    ...  for by in ("relevant", "hits")]
    [np.float64(0.5), np.float64(1.0)]
    """
    base, queries = np.asarray(base_codes), np.asarray(query_codes)
    of_base = _checked(base_labels, base, "base_labels", "base_codes")
    of_queries = _checked(query_labels, queries, "query_labels", "query_codes")
    depth = check_whole(depth, "depth", least=1)
    _check_divisor(divisor)
    n_radii = 8 * base.shape[1] + 1
    total = np.empty((len(queries), n_radii), np.int64)
    right = np.empty_like(total)
    step = max(1, PAIRS_PER_BLOCK // len(base))
    for start in range(0, len(queries), step):
        distances = hamming_distances(base, queries[start : start + step])
        for query, row in enumerate(distances, start):
            total[query] = np.bincount(row, minlength=n_radii)
            same = of_base == of_queries[query]
            right[query] = np.bincount(row[same], minlength=n_radii)
    depth = min(depth, len(base))
    if divisor == "relevant":
        return _over_relevant(total, right, depth)
    return _over_hits(total, right, depth)


def asymmetric_label_precision(
    base_codes: ArrayLike,
    projections: ArrayLike,
    base_labels: ArrayLike,
    query_labels: ArrayLike,
    *,
    depth: int = 1000,
    divisor: Literal["relevant", "hits"] = "relevant",
) -> Float:
    """Average precision of the first ``depth`` codes by the asymmetric distance.

    The queries are real-valued, only the base is binary: see
    :func:`sigah.search.asymmetric_distances`. It ranks better than the Hamming distance, and costs
    more; some papers report it under the Hamming distance's name. Equal codes are tied, as in
    :func:`label_average_precision`.

    Parameters
    ----------
    base_codes : array-like of uint8, shape (n, n_bytes)
    projections : array-like of float, shape (q, n_bits)
        Queries, as ``hasher.project`` returns them.
    base_labels, query_labels : array-like, shapes (n,) and (q,)
    depth : int, default=1000
    divisor : {"relevant", "hits"}
        As in :func:`label_average_precision`.

    Returns
    -------
    ndarray of float64, shape (q,)

    Raises
    ------
    ValueError
        If labels or projections do not fit the codes, ``depth`` is not positive, or the divisor is
        unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import asymmetric_label_precision
    >>> base = np.array([[0b0], [0b1], [0b11]], np.uint8)
    >>> query = np.array([[-1.0] * 6 + [-0.2, -0.1]])  # closest to 0b0, then 0b1, then 0b11
    >>> asymmetric_label_precision(base, query, ["cat", "dog", "cat"], ["cat"])
    array([0.83333333])
    """
    base, scores = np.asarray(base_codes), np.asarray(projections, np.float32)
    of_base = _checked(base_labels, base, "base_labels", "base_codes")
    of_queries = _checked(query_labels, scores, "query_labels", "projections")
    depth = min(check_whole(depth, "depth", least=1), len(base))
    _check_divisor(divisor)
    if scores.ndim != 2 or scores.shape[1] != 8 * base.shape[1]:
        raise ValueError(
            f"projections have shape {scores.shape}, but the codes {8 * base.shape[1]} bits"
        )
    codes, code_of = np.unique(base, axis=0, return_inverse=True)
    classes, class_of = np.unique(of_base, return_inverse=True)
    in_class = np.zeros((len(classes) + 1, len(codes)), np.int64)  # the last row: no class
    np.add.at(in_class, (class_of, code_of.ravel()), 1)
    sizes = in_class.sum(axis=0)
    corners = signs(codes).T
    found = np.empty(len(scores))
    for start in range(0, len(scores), step := max(1, SCORES_PER_BLOCK // len(codes))):
        nearness = scores[start : start + step] @ corners
        for query, row in enumerate(nearness, start):
            place = int(np.searchsorted(classes, of_queries[query]))
            known = place < len(classes) and classes[place] == of_queries[query]
            right = in_class[place if known else -1]
            total, hits = _blocks_of_ties(-row, sizes, right, depth)
            measure = _over_relevant if divisor == "relevant" else _over_hits
            found[query] = measure(total[None], hits[None], depth)[0]
    return found


def class_shares(
    base_codes: ArrayLike,
    query_codes: ArrayLike,
    base_labels: ArrayLike,
    *,
    depth: int = 100,
) -> tuple[NDArray[np.generic], Float]:
    """Which classes a query finds: the share of each among the first ``depth`` codes.

    Codes at the same distance count as randomly ordered, as in :func:`label_average_precision`.

    Parameters
    ----------
    base_codes, query_codes : array-like of uint8, shapes (n, n_bytes) and (q, n_bytes)
    base_labels : array-like, shape (n,)
    depth : int, default=100
        Ranks that count; the whole ranking if the base is smaller.

    Returns
    -------
    classes : ndarray, shape (c,)
        The labels of the base, each once, in ascending order.
    shares : ndarray of float64, shape (q, c)
        Rows sum to 1.

    Raises
    ------
    ValueError
        If labels do not fit the codes, or ``depth`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.evaluation import class_shares
    >>> base = np.array([[0b0], [0b1], [0b11], [0b11]], np.uint8)
    >>> class_shares(base, base[:1], ["cat", "dog", "cat", "dog"], depth=3)
    (array(['cat', 'dog'], dtype='<U3'), array([[0.5, 0.5]]))
    """
    base, queries = np.asarray(base_codes), np.asarray(query_codes)
    of_base = _checked(base_labels, base, "base_labels", "base_codes")
    depth = min(check_whole(depth, "depth", least=1), len(base))
    classes, class_of = np.unique(of_base, return_inverse=True)
    n_radii = 8 * base.shape[1] + 1
    shares = np.empty((len(queries), len(classes)))
    step = max(1, PAIRS_PER_BLOCK // len(base))
    for start in range(0, len(queries), step):
        distances = hamming_distances(base, queries[start : start + step])
        for query, row in enumerate(distances, start):
            cells = row.astype(np.int64) * len(classes) + class_of
            counts = np.bincount(cells, minlength=n_radii * len(classes)).reshape(n_radii, -1)
            total = counts.sum(axis=1)
            taken = np.clip(depth - (total.cumsum() - total), 0, total)
            shares[query] = (taken / np.maximum(total, 1)) @ counts / depth
    return classes, shares


def _blocks_of_ties(
    distances: NDArray[np.float32], sizes: Int, right: Int, depth: int
) -> tuple[Int, Int]:
    """Sizes and relevant items of the nearest blocks of ties; the last block is all the rest."""
    n_needed = min(depth, len(distances))  # each code has at least one item
    reach = np.partition(distances, n_needed - 1)[n_needed - 1]
    near = np.flatnonzero(distances <= reach)
    near = near[np.argsort(distances[near], kind="stable")]
    begins = np.flatnonzero(np.diff(distances[near], prepend=-np.inf))
    total, hits = (np.add.reduceat(values[near], begins) for values in (sizes, right))
    return (
        np.append(total, sizes.sum() - total.sum()),
        np.append(hits, right.sum() - hits.sum()),
    )


def _checked(
    labels: ArrayLike, rows: NDArray[np.generic], name: str, of: str
) -> NDArray[np.generic]:
    array = np.asarray(labels)
    if array.shape != (len(rows),):
        raise ValueError(f"{name} has shape {array.shape}, but there are {len(rows)} {of}")
    return array


def _check_divisor(divisor: str) -> None:
    if divisor not in ("relevant", "hits"):
        raise ValueError(f"divisor must be 'relevant' or 'hits', got {divisor!r}")


def _over_relevant(total: Int, right: Int, depth: int) -> Float:
    seen, found = before(total), before(right)
    taken = np.clip(depth - seen, 0, total)
    sums = expected_sums(seen, found, total, right, taken).sum(axis=1)
    return sums / np.maximum(np.minimum(right.sum(axis=1), depth), 1)


def _over_hits(total: Int, right: Int, depth: int) -> Float:
    """If ``depth`` cuts a block of ties, the number of hits is random: averages over it, too."""
    seen, found = before(total), before(right)
    whole = seen + total <= depth
    sums = np.where(whole, expected_sums(seen, found, total, right), 0).sum(axis=1)
    hits = np.where(whole, right, 0).sum(axis=1)
    values = sums / np.maximum(hits, 1)
    queries, radii = np.nonzero((seen < depth) & ~whole)
    for query, radius in zip(queries, radii, strict=True):
        size, of_them = total[query, radius], right[query, radius]
        taken = depth - seen[query, radius]
        m, share = _hypergeometric(int(size), int(of_them), int(taken))
        # given m hits among the codes taken, these codes are a block of ties
        inside = expected_sums(seen[query, radius], found[query, radius], np.full_like(m, taken), m)
        n_hits = hits[query] + m
        values[query] = share @ ((sums[query] + inside) / np.maximum(n_hits, 1))
    return values


def _hypergeometric(size: int, right: int, taken: int) -> tuple[Int, Float]:
    """Numbers of relevant codes in ``taken`` out of ``size``, and their probabilities."""
    m = np.arange(max(0, taken - (size - right)), min(right, taken) + 1)
    # the ratio of consecutive probabilities needs no factorials
    up = (right - m[:-1]) * (taken - m[:-1])
    down = (m[:-1] + 1) * (size - right - taken + m[:-1] + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(up) - np.log(down))])
    shares = np.exp(logs - logs.max())
    return m, shares / shares.sum()
