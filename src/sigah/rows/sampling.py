"""A uniform sample of rows, drawn in one pass, to learn from more rows than memory holds.

Vitter, "Random sampling with a reservoir", ACM TOMS 1985, Algorithm R, a block at a time. Row
``i`` (from 0) draws a whole number below ``i + 1``, and takes the place of that number in the
sample if there is one. So after every row, each row so far is in the sample with the same
probability, without knowing how many are to come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_random_state
from sigah.rows.blocks import Rows, RowSource, finite
from sigah.rows.mapped import release_pages
from sigah.rows.sources import Batches, as_rows, read_blocks

__all__ = ["Reservoir", "most_rows", "sample", "sample_rows", "training_rows"]

TRAINING_BYTES = 1 << 30  # of float32: more is sampled, unless asked for
ROWS_PER_DRAW = 1 << 17


class Reservoir:
    """Which of the rows that pass are kept, and where.

    The draws depend on the seed and the number of rows only, not on how they come in blocks.

    Parameters
    ----------
    n : int
        Places for rows.
    random_state : int, RandomState or None
    """

    def __init__(self, n: int, random_state: Any = None) -> None:
        self.n = n
        self.seen = 0
        self.random_state = check_random_state(random_state)

    def offer(self, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pass ``count`` more rows; returns the places to fill and by which of these rows.

        A place may be named several times: the last row remains.
        """
        rows = np.arange(self.seen, self.seen + count)
        places = (self.random_state.random_sample(count) * (rows + 1)).astype(np.intp)
        places = np.where(rows < self.n, rows, places)  # the first n rows fill the places
        kept = np.flatnonzero(places < self.n)
        self.seen += count
        return places[kept], kept


def sample(
    source: RowSource | Batches, n: int | None = None, random_state: Any = None
) -> NDArray[np.float32]:
    """Draw rows uniformly and without repetition, reading the source once and holding ``n`` rows.

    The same rows give the same sample under a seed, whether they come as an array, as a file or
    in batches of any size. Blocks of a file of which no row is drawn are not read.

    Parameters
    ----------
    source : array-like, rows or batches
        An array, a memory map, what :func:`sigah.rows.load_vectors` returns, anything with
        ``shape``, ``dtype`` and row slices; an iterable of arrays ``(m, d)``, or a function that
        returns one.
    n : int, optional
        Rows to draw, by default as many as 1 GiB of float32 holds; a source that has no more is
        returned whole and in order.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    ndarray of float32, shape (min(n, rows), d)

    Raises
    ------
    ValueError
        If ``n`` is not a positive whole number, the source is empty, or what was read of it is not
        finite numbers of one dimension.

    References
    ----------
    Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical Software, 1985.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.rows import sample
    >>> rows = np.arange(20000.0).reshape(10000, 2)
    >>> drawn = sample(rows, 3, random_state=0)
    >>> batches = (rows[start : start + 100] for start in range(0, 10000, 100))
    >>> drawn.shape, bool((sample(batches, 3, random_state=0) == drawn).all())
    ((3, 2), True)
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1):
        raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
    rows = as_rows(source)
    if rows is not None:
        return sample_rows(Rows(rows), n or most_rows(rows.shape[1]), random_state)
    held = None
    for _, block in read_blocks(source):
        if held is None:
            reservoir = Reservoir(n or most_rows(block.shape[1]), random_state)
            # the system hands out its pages as they are filled
            held = np.empty((reservoir.n, block.shape[1]), np.float32)
        places, kept = reservoir.offer(len(block))
        held[places] = block[kept]
    if held is None:
        raise ValueError("there are no vectors: the batches have no rows")
    return held[: reservoir.seen]


def sample_rows(rows: Rows, n: int, random_state: Any = None) -> NDArray[np.float32]:
    """As :func:`sample`, of rows as they are given; errors name the rows as ``rows`` does."""
    return _gather(rows, _drawn(Reservoir(n, random_state), len(rows)))


def training_rows(source: RowSource | Batches, n: int | None = None, random_state: Any = 0) -> Any:
    """What to fit on: the source itself, or a uniform sample where it is too large for memory.

    Parameters
    ----------
    source : array-like, rows or batches
        As for :func:`sample`.
    n : int, optional
        Rows to learn from; by default as many as 1 GiB of float32 holds.
    random_state : int, RandomState or None, default=0

    Returns
    -------
    The source, if it has rows to slice and no more than ``n`` of them; otherwise a sample.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import ITQ
    >>> from sigah.rows import training_rows
    >>> batches = (np.random.default_rng(i).normal(size=(500, 16)) for i in range(10))
    >>> ITQ(16, random_state=0).fit(training_rows(batches, 2000)).n_features_in_
    16
    """
    rows = as_rows(source)
    if rows is not None and rows.shape[0] <= (n or most_rows(rows.shape[1])):
        return rows
    return sample(source, n, random_state)


def most_rows(d: int) -> int:
    """How many vectors of a dimension are learned from by default."""
    return max(1, TRAINING_BYTES // (4 * int(d)))


def _drawn(reservoir: Reservoir, n_rows: int) -> NDArray[np.intp]:
    """The row in each place after ``n_rows`` rows have passed, without reading any."""
    drawn = np.empty(min(reservoir.n, n_rows), np.intp)
    for start in range(0, n_rows, ROWS_PER_DRAW):
        places, kept = reservoir.offer(min(ROWS_PER_DRAW, n_rows - start))
        drawn[places] = start + kept
    return drawn


def _gather(rows: Rows, drawn: NDArray[np.intp]) -> NDArray[np.float32]:
    """Rows by number, from the blocks that hold one, each read once and in order."""
    held = np.empty((len(drawn), rows.dim), np.float32)
    order = np.argsort(drawn)
    in_order = drawn[order]
    for number in np.unique(in_order // rows.block_rows):
        start = int(number) * rows.block_rows
        stop = min(start + rows.block_rows, len(rows))
        some = slice(*np.searchsorted(in_order, (start, stop)))
        block = rows.source[start:stop]
        sound = finite(block, start, largest=rows.largest, name=rows.name)
        held[order[some]] = sound[in_order[some] - start]
        release_pages(block)
    return held
