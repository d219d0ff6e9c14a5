"""Encode vectors that need not fit into memory into a file, block by block.

Three steps run in parallel: one thread reads the next blocks, one thread per core encodes blocks,
and the calling thread writes the codes in order. The codes go to a partial file with a journal
(``journal.py``). At the end, this file becomes the output: a ``.npy`` file with the same bytes as
from :func:`sigah.files.save_codes`, or a Parquet file with the ids of the vectors.
"""

from __future__ import annotations

import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sigah import files
from sigah.files.parquet import id_type, write_parquet
from sigah.hashers import BinaryHasher
from sigah.progress import bar
from sigah.rows.blocks import RowSource
from sigah.rows.ids import IdColumn
from sigah.rows.sources import Batches, as_rows, files_of, identity, read_blocks
from sigah.streams.journal import Journal
from sigah.threads import available_threads

__all__ = ["Encoded", "encode"]


@dataclass(frozen=True)
class Encoded:
    """The result of :func:`encode`.

    Attributes
    ----------
    n_rows : int
        Codes in the file.
    resumed : int
        How many of these are from an earlier run.
    refused : str or None
        Why the codes of an earlier run were discarded; None if they were not.
    seconds : float
        Of this run.
    """

    n_rows: int
    resumed: int
    refused: str | None
    seconds: float


def encode(
    hasher: BinaryHasher,
    source: RowSource | Batches,
    out: str | os.PathLike[str],
    *,
    ids: str | None = None,
    overwrite: bool = False,
    show: bool = False,
) -> Encoded:
    """Encode vectors into a file of codes; the same call resumes after an interruption.

    Memory holds a few blocks, for any number of vectors. Finished codes lie in ``OUT.partial`` and
    ``OUT.journal``; the same call resumes there after Ctrl-C, a kill or a full disk. ``OUT``
    appears when it is complete. Codes of a different model or of different vectors are discarded;
    ``refused`` then gives the reason.

    Parameters
    ----------
    hasher : BinaryHasher
        Fitted.
    source : array-like, rows or batches
        As for :func:`sigah.rows.sample`. Batches start over after an interruption, because
        sigah cannot tell whether they are the same.
    out : path-like
        ``.npy``, or ``.parquet`` (with ``sigah[data]``): the columns ``id`` and ``code``, fixed
        bytes, and sigah's sealed header in the metadata of the file.
    ids : str, optional
        For Parquet: the column of ids (whole numbers or strings) in a Parquet or Arrow source (a
        file or a folder); default: row numbers.
    overwrite : bool, default=False
        Whether a file that does not hold codes may be replaced. Files of the vectors are never
        replaced.
    show : bool, default=False
        Show vectors per second and the time left.

    Returns
    -------
    Encoded

    Raises
    ------
    ValueError
        If the vectors have another dimension than the hasher or are not finite, the suffix is
        unknown, there is no such column of ids, or ``out`` is a file of the vectors or a file
        without codes.
    OSError
        If a file cannot be read or written, or another process is writing ``out``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sigah import LSH, streams
    >>> X = np.random.default_rng(0).normal(size=(1000, 32)).astype("float32")
    >>> hasher = LSH(64, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "codes.npy")
    ...     batches = (X[start : start + 99] for start in range(0, 1000, 99))
    ...     done = streams.encode(hasher, batches, file)
    ...     done.n_rows, bool((np.load(file) == hasher.transform(X)).all())
    (1000, True)
    """
    began = time.perf_counter()
    target = Path(os.path.realpath(out))
    kind = target.suffix.lower()
    if kind not in (".npy", ".parquet"):
        raise ValueError(f"codes are streamed to .npy or .parquet, got {out}")
    rows = as_rows(source)
    files.check_target(
        target, kind="codes", inputs=files_of(rows), overwrite=overwrite, name=str(out)
    )
    columns = None
    if kind == ".parquet":
        columns = IdColumn.of(rows, ids)
        kind_of_ids = id_type(columns.type(), f"the column {ids!r} of ids")
    elif ids is not None:
        raise ValueError("ids are kept in .parquet files only; a .npy file holds codes and no ids")
    header = {"method": hasher.name, "fingerprint": hasher.fingerprint}
    width = hasher.n_bits // 8
    if rows is not None:
        hasher.transform(rows[0:1])  # checks the vectors before a file is made
    task = {"model": header["fingerprint"], "source": None if rows is None else identity(rows)}
    head = b"" if columns else files.npy_head((0, width))
    with Journal(target, task, width, len(head), resume=rows is not None) as journal:
        resumed = journal.n_rows
        _encode_rest(hasher, source if rows is None else rows, journal, show)
        shape = (journal.n_rows, width)
        if not journal.n_rows:
            journal.remove()
            raise ValueError("there are no vectors: the batches have no rows")
        if columns is None:
            seal = files.seal_codes(header, shape, journal.chunks())
            journal.become(files.npy_head(shape), files.npy_tail(seal))
        else:
            take = columns.reader()
            codes = (np.frombuffer(c, np.uint8).reshape(-1, width) for c in journal.chunks())
            batches = ((some, take(len(some))) for some in codes)
            write_parquet(target, header, shape, batches, kind_of_ids)
            journal.remove()
    return Encoded(journal.n_rows, resumed, journal.refused, time.perf_counter() - began)


def _encode_rest(hasher: BinaryHasher, source: Any, journal: Journal, show: bool) -> None:
    """Encode the remaining vectors, and append every finished block to the journal."""
    total = None if as_rows(source) is None else int(source.shape[0])
    if journal.n_rows == total:
        return
    with bar(show=show) as progress:
        task = progress.add_task("encode", total=total, completed=journal.n_rows, detail="")
        began, first = time.perf_counter(), journal.n_rows
        workers = available_threads()
        waiting: deque[tuple[int, Future[NDArray[np.uint8]]]] = deque()

        def write_oldest() -> None:
            stop, codes = waiting[0]
            journal.append(codes.result())
            waiting.popleft()  # only now: after a failure, no block may be skipped
            speed = (stop - first) / (time.perf_counter() - began)
            progress.update(task, completed=stop, detail=f"{speed:,.0f} vectors/s")

        with (
            closing(read_blocks(source, first, keep=workers)) as blocks,
            # one block per core: threads that share one product wait for each other and for the
            # reader
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(workers, thread_name_prefix="sigah-encode") as pool,
        ):
            try:
                for where, block in blocks:
                    waiting.append((where.stop, pool.submit(hasher._codes, block)))
                    if len(waiting) > workers:
                        write_oldest()
            finally:  # also blocks in work when the reader failed, or at Ctrl-C
                while waiting:
                    write_oldest()
