"""Bulk load in batches, with retries after temporary failures and without duplicate rows.

Ids are the key. The rows of each batch are first read from the target, and only missing or
different rows are written. So an interrupted export resumes, and the same export again changes
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.codes import check_codes
from sigah.engines.base import HALF, About, Engine, Rows, check_labels, ids_of_keys
from sigah.engines.registry import make_engine
from sigah.engines.vectors import connect
from sigah.files import Codes
from sigah.progress import bar
from sigah.rows.blocks import Rows as Blocks
from sigah.rows.blocks import finite
from sigah.rows.dtypes import check_rows
from sigah.search.checks import check_ids
from sigah.search.keyed import check_unique
from sigah.search.keys import are_keys, check_keys

__all__ = ["Exported", "export", "remove"]

T = TypeVar("T")

WAITS = (0.5, 1.0, 2.0, 4.0)  # seconds before each retry after a temporary failure
REST = 30.0  # least seconds between two flushes; longer if a flush takes long
SAMPLE = 100_000  # most codes for training an index


class Exported(NamedTuple):
    """The result of an export.

    Attributes
    ----------
    codes : int
        Codes that were given.
    written : int
        How many of them were new to the target or changed.
    """

    codes: int
    written: int


def export(
    name: str,
    target: str | PathLike[str],
    codes: ArrayLike | Codes,
    *,
    fingerprint: str | None = None,
    ids: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    vectors: ArrayLike | None = None,
    show: bool = False,
    **settings: Any,
) -> Exported:
    """Load codes into an engine, with their ids, and one label and vector each.

    Codes with other ids stay in the target.

    Parameters
    ----------
    name : str
        A name of :data:`ENGINES`.
    target : str or path-like
        A path or an address, in the form that the engine uses.
    codes : array-like of uint8, shape (n, n_bits // 8), or Codes
        :func:`sigah.files.load_codes` gives codes with their ids and fingerprint.
    fingerprint : str, optional
        Of the model that made the codes (``hasher.fingerprint``); needed for arrays.
    ids : array-like of int or str, shape (n,), optional
        Unique and not negative; by default those of ``codes``, if it has ids, or 0, 1, 2, ...
        Strings are keys: searches find them, and the engine keeps them in the place of labels.
    labels : array-like of int or str, shape (n,), optional
        Searches can filter by them. Not with keys.
    vectors : array-like of float, shape (n, d), optional
        The vectors behind the codes, which rank candidates (:class:`VectorSearch`). pgvector and
        LanceDB keep them, as float16.
    show : bool
        Draw a progress bar.
    **settings
        Of the engine: ``kind`` and the other settings of its class.

    Returns
    -------
    Exported
        The number of codes, and how many of them were new to the target or changed.

    Raises
    ------
    ValueError
        If the codes, ids, labels, vectors or settings are invalid, no fingerprint is known, the
        engine keeps no vectors, or the target holds codes of another model, another width, or
        something that sigah did not make.
    OSError
        If the engine is not installed, cannot be reached, or fails.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sigah.engines import connect, export
    >>> codes = np.array([[0b0000], [0b0111], [0b0001]], np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "codes.faiss"
    ...     export("faiss", target, codes, fingerprint="c0ffee", ids=[10, 20, 30])
    ...     with connect("faiss", target) as engine:
    ...         engine.search(np.array([[0b0011]], np.uint8), k=2)
    Exported(codes=3, written=3)
    (array([[1, 1]], dtype=int32), array([[20, 30]]))
    """
    if isinstance(codes, Codes):
        if fingerprint not in (None, codes.fingerprint):
            raise ValueError(
                f"the codes were made by another model (fingerprint {codes.fingerprint}, not"
                f" {fingerprint}); leave fingerprint out, or give the codes of that model"
            )
        fingerprint, ids = codes.fingerprint, codes.ids if ids is None else ids
        codes = codes.codes
    if fingerprint is None:
        raise ValueError("fingerprint is missing: the codes do not say which model made them")
    packed = check_codes(codes)
    if not len(packed):
        raise ValueError("there are no codes to export")
    keyed = False
    if ids is not None and are_keys(ids):
        keyed = True
        if labels is not None:
            raise ValueError(
                "labels: an engine keeps one text beside a code, and here it is its key (ids are"
                " strings); leave labels out, or give numbers as ids"
            )
        labels, ids = ids, _ids_of_keys(check_keys(ids, len(packed), name="ids"))
    given_ids, order = _ordered(ids, len(packed))
    given_labels, label_type = (None, None) if labels is None else check_labels(labels, len(packed))
    given_vectors = None if vectors is None else _checked_vectors(vectors, len(packed))
    with make_engine(name, target, **settings) as engine:
        about = _retrying(engine, engine.read_about)
        wanted = About(
            n_bits=8 * packed.shape[1],
            fingerprint=fingerprint,
            kind=engine.kind or (engine.kinds[0] if about is None else about.kind),
            labels=label_type,
            dim=None if given_vectors is None else given_vectors.shape[1],
            keys=keyed,
        )
        if given_vectors is not None and not engine.keeps_vectors:
            raise ValueError(
                f"vectors: {name} keeps codes only; leave the vectors out, or export to pgvector or"
                " lancedb"
            )
        if about is not None:
            _check_same(engine, about, wanted)
        engine.about = about or wanted
        if about is None or not _retrying(engine, engine.__len__):
            step = -(-len(packed) // SAMPLE)
            _retrying(engine, lambda: engine.create(wanted, packed[::step]))
            about = engine.about = wanted
        rows = Rows(given_ids, packed, given_labels, given_vectors)
        written = _load(engine, rows, order, show=show)
        if written or not about.complete:
            _retrying(engine, engine.finish)
            _retrying(engine, engine.flush)
            _retrying(engine, lambda: engine.write_about(replace(wanted, complete=True)))
    return Exported(len(packed), written)


def remove(name: str, target: str | PathLike[str], ids: ArrayLike, **settings: Any) -> int:
    """Remove codes from an engine by id, with their labels and vectors.

    The same call again, after an interruption, removes the rest.

    Parameters
    ----------
    name : str
        A name of :data:`ENGINES`.
    target : str or path-like
    ids : array-like of int or str, shape (m,)
        Ids, or keys if the target has keys; those that it does not hold are ignored.
    **settings
        Of the engine.

    Returns
    -------
    int
        How many codes were removed.

    Raises
    ------
    ValueError
        If ids are of another kind than those of the target, the kind of index cannot remove codes,
        or the target's export was interrupted.
    OSError
        If the engine is not installed, cannot be reached, or fails, or the target does not exist.

    See Also
    --------
    export : adds and replaces codes.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sigah.engines import export, remove
    >>> codes = np.array([[0b0000], [0b0111], [0b0001]], np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "codes.faiss"
    ...     export("faiss", target, codes, fingerprint="c0ffee", ids=[10, 20, 30])
    ...     remove("faiss", target, [20, 30, 40])
    Exported(codes=3, written=3)
    2
    """
    removed = 0
    with connect(name, target, **settings) as engine:
        unwanted = np.unique(engine.ids_of(ids))
        if engine.replace_refusal is not None:
            raise ValueError(
                f"{engine.where}: {engine.replace_refusal}; export what is left to another target"
            )
        for start in range(0, len(unwanted), engine.batch):
            batch = unwanted[start : start + engine.batch]
            held = np.sort(_retrying(engine, partial(engine.get, batch)).ids)
            if len(held):
                _retrying(engine, partial(engine.delete, held))
                removed += len(held)
        if removed:
            _retrying(engine, engine.flush)
    return removed


def _load(engine: Engine, rows: Rows, order: NDArray[Any] | None, *, show: bool) -> int:
    """Put the rows that the target lacks, and count them."""
    written = 0
    due = time.monotonic() + REST
    with bar(show=show) as progress:
        task = progress.add_task(f"export to {engine.name}", total=len(rows), detail="")
        try:
            for start in range(0, len(rows), engine.batch):
                stop = start + engine.batch
                batch = rows.take(slice(start, stop) if order is None else order[start:stop])
                if batch.vectors is not None:
                    halves = finite(batch.vectors, start, largest=HALF, name="vectors")
                    batch = replace(batch, vectors=halves.astype(np.float16))
                new = _lacking(engine, batch)
                if len(new):
                    _mark_incomplete(engine)
                    _retrying(engine, lambda new=new: engine.put(new))  # type: ignore[misc]
                    written += len(new)
                progress.advance(task, len(batch))
                if (now := time.monotonic()) > due:
                    _retrying(engine, engine.flush)
                    took = time.monotonic() - now
                    due = now + took + max(REST, 10 * took)
        except BaseException:
            with suppress(Exception):  # save the rows so far; report the first failure
                engine.flush()
            raise
    return written


def _lacking(engine: Engine, batch: Rows) -> Rows:
    """The rows of a batch that the target lacks or holds differently."""
    held = _retrying(engine, lambda: engine.get(batch.ids))
    places = np.searchsorted(batch.ids, held.ids)
    same = (held.codes == batch.codes[places]).all(axis=1)
    if engine.replace_refusal is not None and not same.all():
        raise ValueError(
            f"{engine.where}: the code of id {held.ids[~same][0]} has changed, and"
            f" {engine.replace_refusal}; export to another target"
        )
    if batch.labels is not None:
        assert held.labels is not None and engine.about is not None
        other = held.labels != batch.labels[places]
        if engine.about.keys and other.any():
            raise ValueError(
                f"{engine.where}: the keys {batch.labels[places][other][0]!r} and"
                f" {held.labels[other][0]!r} have the same hash; rename one of them"
            )
        same &= ~other
    if batch.vectors is not None:
        assert held.vectors is not None
        same &= (held.vectors == batch.vectors[places]).all(axis=1)
    lacking = np.ones(len(batch), np.bool_)
    lacking[places[same]] = False
    return batch.take(lacking)


def _mark_incomplete(engine: Engine) -> None:
    assert engine.about is not None
    if engine.about.complete:
        engine.about = replace(engine.about, complete=False)
        about = engine.about
        _retrying(engine, lambda: engine.write_about(about))


def _retrying(engine: Engine, act: Callable[[], T]) -> T:
    """Call, with retries after temporary failures; other failures become errors of one line."""
    with engine.errors_as_one_line():
        for wait in WAITS:
            try:
                return act()
            except engine.transient():
                time.sleep(wait)
                with suppress(*engine.transient()):
                    engine.reconnect()
        return act()


def _checked_vectors(vectors: ArrayLike, n: int) -> NDArray[Any]:
    """Vectors whose rows can be taken in any order; a source that cannot is read."""
    source = check_rows(vectors, "vectors")
    if source.shape[0] != n:
        raise ValueError(
            f"vectors must have {n} rows, one for each code, got {source.shape[0]} rows"
        )
    held: NDArray[Any] = Blocks(source, name="vectors").in_memory().source  # type: ignore[assignment]
    return held


def _ids_of_keys(keys: list[str]) -> NDArray[np.int64]:
    """Ids of keys, all different."""
    ids = ids_of_keys(check_unique(keys))
    ascending, counts = np.unique(ids, return_counts=True)
    if len(ascending) < len(ids):
        same = np.flatnonzero(ids == ascending[counts.argmax()])
        raise ValueError(
            f"the keys {keys[same[0]]!r} and {keys[same[1]]!r} have the same hash; rename one"
        )
    return ids


def _ordered(ids: ArrayLike | None, n: int) -> tuple[NDArray[np.int64], NDArray[np.intp] | None]:
    """Ids, and the order in which they ascend; None if they already do."""
    if ids is None:
        return np.arange(n, dtype=np.int64), None
    given = check_ids(ids, n)
    if (np.diff(given) > 0).all():
        return given, None
    order = np.argsort(given, kind="stable")
    ascending = given[order]
    repeated = ascending[1:][ascending[1:] == ascending[:-1]]
    if len(repeated):
        raise ValueError(f"ids must be unique, but {repeated[0]} is repeated")
    return given, order


def _check_same(engine: Engine, about: About, wanted: About) -> None:
    """Refuse codes that do not match the codes in the target."""
    if about.n_bits != wanted.n_bits:
        problem = f"holds codes of {about.n_bits} bits, but these have {wanted.n_bits}"
    elif about.fingerprint != wanted.fingerprint:
        problem = (
            f"holds codes of another model (fingerprint {about.fingerprint}; these have"
            f" {wanted.fingerprint})"
        )
    elif about.kind != wanted.kind:
        problem = f"has an index of kind {about.kind}, not {wanted.kind}"
    elif about.keys != wanted.keys:
        kinds = ("numbers", "keys (strings)")
        problem = f"has {kinds[about.keys]} as ids, but these codes have {kinds[wanted.keys]}"
    elif about.labels != wanted.labels:
        problem = (
            f"has labels of type {about.labels or 'none'}, but these are of type"
            f" {wanted.labels or 'none'}"
        )
    elif about.dim != wanted.dim:
        problem = (
            f"has vectors of {about.dim or 'no'} dimensions, but these have {wanted.dim or 'none'}"
        )
    else:
        return
    raise ValueError(f"{engine.where} {problem}; export to another target")
