"""Vectors that need not fit into memory: rows that are sliced, or batches that come one by one.

*Rows* are arrays, memory maps, files and folders, and anything with ``shape``, ``dtype`` and row
slices. *Batches* are an iterable of arrays ``(m, d)`` whose number nobody knows, or a function
that returns one. Both are read here as blocks, once and in order, while the previous block is used.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sigah.rows.blocks import BLOCK_BYTES, Rows, RowSource, finite, is_row_source
from sigah.rows.dtypes import as_array, check_rows
from sigah.rows.lazy import LazyRows
from sigah.rows.mapped import memory_map_of, prefetch_pages, release_pages

__all__ = ["Batches", "Block", "as_rows", "files_of", "identity", "read_blocks"]

Block = tuple[slice, NDArray[np.float32]]
Batches = Iterable[Any] | Callable[[], Iterable[Any]]

BLOCKS_AHEAD = 2  # read while one is used
PROBES = 16  # rows by which a source without a file is recognised


def as_rows(source: Any) -> RowSource | None:
    """The source if it has rows to slice, as an array if it is a table or a list; else None.

    Raises
    ------
    ValueError
        If it has rows, but not of numbers, as :func:`sigah.rows.check_rows` says.
    """
    if (
        is_row_source(source)
        or hasattr(source, "__array__")
        or hasattr(source, "tocsr")
        or (isinstance(source, (list, tuple)) and not _is_list_of_batches(source))
    ):
        return check_rows(source, "source")
    return None


def read_blocks(
    source: RowSource | Batches, first: int = 0, *, keep: int = 0
) -> Generator[Block, None, None]:
    """Yield ``(slice, finite float32 block)`` in order; a thread reads ahead of what is used.

    A block stays valid until ``keep`` more blocks have been used and the next one is requested.
    Then its pages of a memory map are given back.

    Parameters
    ----------
    source : rows or batches
    first : int
        Rows before it are not read; batches cannot be entered in their middle.
    keep : int, default=0
        How many more blocks a block must outlast: those that are in work at the same time.

    Raises
    ------
    ValueError
        If a value is not finite, or a batch is not a table of numbers as wide as the first.
    """
    rows = as_rows(source)
    mapped = rows if isinstance(rows, np.ndarray) and memory_map_of(rows) is not None else None
    blocks = (
        Rows(rows).blocks(first) if rows is not None else _blocks_of_batches(cast(Batches, source))
    )
    with ThreadPoolExecutor(1, thread_name_prefix="sigah-read") as reader:
        # one thread, so the blocks are read one after the other and in order
        waiting = deque(reader.submit(next, blocks, None) for _ in range(BLOCKS_AHEAD))
        kept: deque[slice] = deque()
        try:
            while (item := waiting.popleft().result()) is not None:
                where = item[0]
                if mapped is not None:
                    ahead = where.stop + BLOCKS_AHEAD * (where.stop - where.start)
                    prefetch_pages(mapped[where.stop : ahead])
                yield item
                kept.append(where)
                if len(kept) > keep and mapped is not None:
                    release_pages(mapped[kept.popleft()])
                waiting.append(reader.submit(next, blocks, None))
        finally:
            reader.shutdown(wait=True, cancel_futures=True)


def files_of(rows: Any) -> list[Path]:
    """The files that rows are read from, in order; none of an array in memory."""
    if isinstance(rows, LazyRows):
        return [file.resolve() for file in rows.files]
    mapped = memory_map_of(rows) if isinstance(rows, np.ndarray) else None
    return [] if mapped is None or not mapped.filename else [Path(mapped.filename).resolve()]


def identity(rows: RowSource) -> dict[str, Any]:
    """An identity of the rows that JSON can hold, made without reading all of them.

    For files: path, size and time of the last change. For arrays: a checksum of a few rows.
    """
    files = files_of(rows)
    probed = [0] if files else np.unique(np.linspace(0, rows.shape[0] - 1, PROBES).astype(int))
    digest = hashlib.sha256()
    for row in probed:
        digest.update(np.ascontiguousarray(as_array(rows[int(row) : int(row) + 1])).tobytes())
    states = [(file, file.stat()) for file in files]
    return {
        "shape": [int(length) for length in rows.shape],
        "dtype": str(rows.dtype),
        "files": [[str(file), state.st_size, state.st_mtime_ns] for file, state in states],
        "rows": digest.hexdigest(),
    }


def _is_list_of_batches(source: list[Any] | tuple[Any, ...]) -> bool:
    return len(source) > 0 and len(getattr(source[0], "shape", ())) == 2


def _blocks_of_batches(batches: Batches) -> Iterator[Block]:
    """Blocks of one size, however large or small the batches are."""
    if not callable(batches) and not isinstance(batches, Iterable):
        raise ValueError(
            "vectors must be an array, rows with shape, dtype and slices, or batches: an iterable"
            f" of arrays (m, d) or a function that returns one; got {type(batches).__name__}"
        )
    at, filled, block = 0, 0, np.empty((0, 0), np.float32)
    for batch in _checked(batches() if callable(batches) else batches):
        d = batch.shape[1]
        while len(batch):
            if not filled:
                block = np.empty((max(1, BLOCK_BYTES // (4 * d)), d), np.float32)
            # copied at once, because whoever makes the batches may fill the same array again
            some, batch = np.split(batch, [len(block) - filled])
            block[filled : filled + len(some)] = some
            filled += len(some)
            if filled == len(block):
                yield slice(at, at + filled), block
                at, filled = at + filled, 0
    if filled:
        yield slice(at, at + filled), block[:filled]


def _checked(batches: Iterable[Any]) -> Iterator[NDArray[np.float32]]:
    """Batches as finite float32 arrays of one width."""
    width, at = None, 0
    for number, batch in enumerate(batches):
        if _is_empty(batch):
            continue
        rows = check_rows(batch, f"batch {number}")
        width = width or rows.shape[1]
        if rows.shape[1] != width:
            raise ValueError(
                f"batch {number} has dimension {rows.shape[1]}, but the first has {width}"
            )
        array = finite(rows[:], at)
        yield array
        at += len(array)


def _is_empty(batch: Any) -> bool:
    shape = getattr(batch, "shape", None)
    return tuple(shape[:1]) == (0,) if isinstance(shape, tuple) else batch in ([], ())
