"""The interface of an engine, and the code that all engines share.

An engine's file holds only the calls of its library. Its class derives from :class:`Engine` and
defines the hooks: ``read_about``, ``create`` and ``write_about`` (the target's record), ``get``,
``put`` and ``delete`` (rows by id), ``__len__`` and ``_nearest``; and, if the engine needs them,
``flush``, ``finish``, ``reconnect`` and ``close``. An engine that also keeps the vectors says so
(``keeps_vectors``) and defines ``_ranked``. The constructor only stores settings. ``read_about`` is
called first: it loads the library (by :func:`require`, never at the top of the file) and connects
to the target. Hooks may raise the library's errors that ``failures`` names.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_whole
from sigah.codes import check_codes
from sigah.metric import check_metric
from sigah.rows.blocks import finite
from sigah.search.checks import check_ids
from sigah.search.keys import check_keys, hash_keys
from sigah.search.layout import MISSING_DISTANCE, MISSING_ID

__all__ = ["About", "Engine", "Rows", "check_labels", "ids_of_keys", "require"]

HALF = 65504.0  # the largest float16

Found = tuple[NDArray[np.integer], NDArray[np.integer]]


@dataclass(frozen=True)
class About:
    """The record of a target about its codes, stored in the target as one JSON text.

    Attributes
    ----------
    n_bits : int
        Width of the codes.
    fingerprint : str
        Of the model that made the codes.
    kind : str
        The kind of index.
    labels : {"int", "str"} or None
        The type of the labels; None: no labels.
    complete : bool
        False during an export, and after an interrupted one.
    dim : int or None
        Dimensions of the vectors beside the codes; None: no vectors.
    keys : bool
        Whether the labels are keys of the user, and ids are made of them.
    """

    n_bits: int
    fingerprint: str
    kind: str
    labels: str | None = None
    complete: bool = False
    dim: int | None = None
    keys: bool = False

    def to_json(self) -> str:
        """The text that a target stores; what earlier versions lack is written only if it is so."""
        told = asdict(self)
        for name in ("dim", "keys"):
            if not told[name]:
                del told[name]
        return json.dumps({"format": "sigah-engine", "format_version": 1, **told})

    @classmethod
    def from_json(cls, text: str, where: str) -> About:
        """Parse the text; ``where`` is the target's name in error messages."""
        try:
            told = json.loads(text)
            if (told.pop("format"), told.pop("format_version")) != ("sigah-engine", 1):
                raise ValueError("it is of another format")
            return cls(**told)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{where}: its record about the codes is damaged or too new ({error}); export to"
                " another target"
            ) from error


@dataclass(frozen=True, eq=False)
class Rows:
    """Codes with ids, labels and vectors, row by row.

    Attributes
    ----------
    ids : ndarray of int64, shape (n,)
    codes : ndarray of uint8, shape (n, n_bits // 8)
    labels : ndarray of int64, or of str (dtype object), shape (n,), or None
    vectors : ndarray, shape (n, dim), or None
        float16 for the hooks of an engine.
    """

    ids: NDArray[np.int64]
    codes: NDArray[np.uint8]
    labels: NDArray[Any] | None = None
    vectors: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, where: NDArray[Any] | slice) -> Rows:
        """Some of the rows, by a mask, a slice or positions."""
        labels = None if self.labels is None else self.labels[where]
        vectors = None if self.vectors is None else self.vectors[where]
        return Rows(self.ids[where], self.codes[where], labels, vectors)


class Engine(ABC):
    """A target that holds packed codes, their ids and one label each.

    Parameters
    ----------
    target : str
        A path or an address, in the form that the engine uses.
    kind : str, optional
        The kind of index to build, one of :attr:`kinds`; by default the kind of an existing target,
        or the first.

    Attributes
    ----------
    about : About or None
        The target's record; None until the target is opened or made.
    """

    name: ClassVar[str]  # on the command line
    kinds: ClassVar[tuple[str, ...]]  # of index; the first is the default
    batch: ClassVar[int] = 10_000  # rows in one call of `put`, `get` or `delete`
    keeps_vectors: ClassVar[bool] = False  # beside the codes, as float16

    about: About | None = None

    def __init__(self, target: str, *, kind: str | None = None) -> None:
        if kind is not None and kind not in self.kinds:
            raise ValueError(f"kind must be one of {', '.join(self.kinds)}, got {kind!r}")
        self.target = str(target)
        self.kind = kind

    # What an engine defines ----------------------------------------------------------------------

    @abstractmethod
    def read_about(self) -> About | None:
        """The record of the target; None if the target does not exist.

        Raises
        ------
        OSError
            If the target cannot be reached.
        ValueError
            If sigah did not make the existing target: it is never overwritten.
        """

    @abstractmethod
    def create(self, about: About, sample: NDArray[np.uint8]) -> None:
        """Make an empty collection with the record ``about``; existing parts of it are kept.

        ``sample`` are codes for training an index. After an export that was interrupted before its
        first row was saved, this is called again.
        """

    @abstractmethod
    def write_about(self, about: About) -> None:
        """Replace the record of the target."""

    @abstractmethod
    def get(self, ids: NDArray[np.int64]) -> Rows:
        """The rows of those ``ids`` (ascending) that the target holds, in any order."""

    def labels_of(self, ids: NDArray[np.int64]) -> dict[int, Any]:
        """The labels of those ``ids`` (ascending) that the target holds."""
        rows = self.get(ids)
        return dict(zip(rows.ids.tolist(), rows.labels, strict=True))  # type: ignore[arg-type]

    @abstractmethod
    def put(self, rows: Rows) -> None:
        """Insert rows, ids ascending; rows with an existing id replace the old ones."""

    @abstractmethod
    def delete(self, ids: NDArray[np.int64]) -> None:
        """Delete the rows of ``ids`` (ascending), all of which the target holds."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of codes in the target."""

    @abstractmethod
    def _nearest(
        self, codes: NDArray[np.uint8], k: int, labels: list[Any] | None
    ) -> Found | Sequence[Sequence[tuple[float, int]]]:
        """Neighbours of queries: distances and ids, each ``(q, <= k)``, or (distance, id) pairs.

        They need not be sorted. An id of -1 means no neighbour. If ``labels`` are given, only codes
        with these labels may be found.
        """

    def _ranked(
        self,
        codes: NDArray[np.uint8],
        vectors: NDArray[np.float32],
        k: int,
        n_ranked: int,
        metric: str,
        labels: list[Any] | None,
    ) -> Sequence[Sequence[tuple[float, int]]]:
        """The ``k`` nearest by vectors among the ``n_ranked`` nearest codes, of each query.

        (distance, id) pairs, not necessarily sorted; l2 is the squared distance. Only engines that
        keep vectors need it.
        """
        raise NotImplementedError

    def flush(self) -> None:
        """Save the rows, for engines that first collect them in memory."""

    def finish(self) -> None:
        """Build the index after the last row, if it is not built row by row."""

    def reconnect(self) -> None:
        """Connect again; called before a retry after a temporary failure."""

    def close(self) -> None:
        """Close files and connections."""

    @property
    def filter_refusal(self) -> str | None:
        """A clause that says why this kind of index cannot filter by label; None if it can."""
        return None

    @property
    def replace_refusal(self) -> str | None:
        """A clause that says why a code cannot be replaced or deleted; None if it can."""
        return None

    def failures(self) -> tuple[type[Exception], ...]:
        """The errors of the engine's library; users see an OSError of one line.

        This is called after every error, even if the library is not installed.
        """
        return (RuntimeError,)

    def transient(self) -> tuple[type[Exception], ...]:
        """Temporary failures: a retry may succeed."""
        return (ConnectionError, TimeoutError)

    @property
    def where(self) -> str:
        """The target in messages, without a password."""
        return self.target

    # What engines share --------------------------------------------------------------------------

    def search(self, codes: ArrayLike, k: int, *, filter: Any = None) -> Any:
        """Find the ``k`` nearest codes of each query.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Packed queries, made by the model of the target's codes (``about.fingerprint``);
            :class:`VectorSearch` checks that.
        k : int
            Neighbours wanted, at least 1.
        filter : str, int or a list of them, optional
            Find only codes with one of these labels.

        Returns
        -------
        distances : ndarray of int32, shape (q, k)
            Ascending. If fewer than ``k`` codes are found, the rest is 2147483647.
        ids : ndarray of int64, or of str, shape (q, k)
            If distances tie, ids ascend. The rest is -1. If the target has keys, these; the rest
            is "".

        Raises
        ------
        ValueError
            If the codes are not packed codes of the target's width, ``k`` is not a positive whole
            number, the labels do not fit, or the engine cannot filter.
        OSError
            If the engine fails.
        """
        queries, k, labels = self._checked(codes, k, filter)
        distances = np.full((len(queries), k), MISSING_DISTANCE, np.int32)
        if not len(queries) or labels == []:
            return distances, self.named(np.full((len(queries), k), MISSING_ID))
        with self.errors_as_one_line():
            found = self._nearest(queries, k, labels)
        distances, ids = _in_order(found if isinstance(found, tuple) else _padded(found), distances)
        return distances, self.named(ids)

    def search_vectors(
        self,
        codes: ArrayLike,
        vectors: ArrayLike,
        k: int,
        *,
        n_ranked: int,
        metric: str,
        filter: Any = None,
    ) -> Any:
        """Rank the nearest codes of each query by the vectors that the target keeps.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Packed queries, as for :meth:`search`.
        vectors : array-like, shape (q, d)
            The same queries.
        k : int
            Neighbours wanted, at least 1.
        n_ranked : int
            Codes that are ranked for each query, at least ``k``.
        metric : {"l2", "cosine", "ip"}
            Of the model: squared distances, ``1 - cos``, or ``-<q, x>``.
        filter : str, int or a list of them, optional
            Find only vectors with one of these labels.

        Returns
        -------
        distances : ndarray of float32, shape (q, k)
            Ascending, from the vectors as the target keeps them (float16). If fewer than ``k`` are
            found, the rest is infinity.
        ids : ndarray of int64, or of str, shape (q, k)
            Ids or keys, as :meth:`search` gives them.

        Raises
        ------
        ValueError
            If the target keeps no vectors, the queries do not fit its codes or vectors, or
            ``n_ranked`` is less than ``k``; otherwise as :meth:`search`.
        OSError
            If the engine fails.
        """
        queries, k, labels = self._checked(codes, k, filter)
        n_ranked = check_whole(n_ranked, "n_ranked", least=k)
        metric = check_metric(metric)
        assert self.about is not None
        if self.about.dim is None:
            raise ValueError(
                f"{self.where} keeps no vectors that could rank codes; export them with its codes"
            )
        looked_up = finite(vectors, 0, largest=HALF, name="queries")
        if looked_up.shape != (len(queries), self.about.dim):
            raise ValueError(
                f"queries must have shape ({len(queries)}, {self.about.dim}), as many as codes and"
                f" as wide as the vectors of {self.where}, got {looked_up.shape}"
            )
        distances = np.full((len(queries), k), np.inf, np.float32)
        if not len(queries) or labels == []:
            return distances, self.named(np.full((len(queries), k), MISSING_ID))
        with self.errors_as_one_line():
            found = self._ranked(queries, looked_up, k, n_ranked, metric, labels)
        distances, ids = _in_order(_padded(found), distances)
        return distances, self.named(ids)

    def ids_of(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Ids that a user names, as the hooks take them: numbers, or made of keys."""
        if self.about is None or not self.about.keys:
            return check_ids(ids)
        return ids_of_keys(check_keys(ids, name="ids"))

    def named(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Ids ``(q, k)`` as a user names them: the same, or the keys that they were made of."""
        if self.about is None or not self.about.keys:
            return ids
        wanted, where = np.unique(ids, return_inverse=True)
        names = np.full(len(wanted), "", object)
        held = wanted != MISSING_ID
        for start in range(0, int(held.sum()), self.batch):
            with self.errors_as_one_line():
                found = self.labels_of(wanted[held][start : start + self.batch])
            names[np.searchsorted(wanted, list(found))] = list(found.values())
        return names[where].reshape(ids.shape).astype(np.str_)

    def _checked(
        self, codes: ArrayLike, k: int, filter: Any
    ) -> tuple[NDArray[np.uint8], int, list[Any] | None]:
        """The queries, ``k`` and the labels of a search."""
        if self.about is None:
            raise ValueError(f"{self.where} is not open; sigah.engines.connect opens it")
        queries = check_codes(codes, n_bits=self.about.n_bits, name="queries")
        k = check_whole(k, "k", least=1)
        return queries, k, None if filter is None else self._wanted(filter)

    def _wanted(self, filter: Any) -> list[Any]:
        """The labels of a filter, in the type of the target's labels."""
        assert self.about is not None
        if self.about.labels is None:
            raise ValueError(f"{self.where} has no labels to filter by; export them with its codes")
        if self.filter_refusal is not None:
            raise ValueError(f"filter: {self.name} cannot, for {self.filter_refusal}")
        several: list[Any] = (
            [filter] if isinstance(filter, (str, int, np.integer)) else list(filter)
        )
        if not several:
            return []
        array, kind = check_labels(several, len(several))
        if kind != self.about.labels:
            held = "keys, which are" if self.about.keys else "labels of"
            raise ValueError(
                f"filter: {self.where} has {held} type {self.about.labels}, got {filter!r}"
            )
        return sorted(set(array.tolist()))

    @contextmanager
    def errors_as_one_line(self) -> Iterator[None]:
        """Turn the errors of the engine's library into one line."""
        try:
            yield
        except (*self.failures(), *self.transient()) as error:
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise OSError(f"{self.name}: {self.where}: {line}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _padded(found: Sequence[Sequence[tuple[float, int]]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lists of (distance, id) pairs as arrays."""
    shape = len(found), max((len(pairs) for pairs in found), default=0)
    distances, ids = np.full(shape, MISSING_ID, np.float64), np.full(shape, MISSING_ID, np.int64)
    for row, pairs in enumerate(found):
        if pairs:
            some_distances, some_ids = zip(*pairs, strict=True)
            distances[row, : len(pairs)], ids[row, : len(pairs)] = some_distances, some_ids
    return distances, ids


def _in_order(
    found: tuple[NDArray[Any], NDArray[Any]], distances: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Neighbours ``(q, <= k)`` in order, with ``distances`` ``(q, k)`` where there is none."""
    ids = np.full(distances.shape, MISSING_ID, np.int64)
    some_distances, some_ids = (part[:, : distances.shape[1]] for part in found)
    held = some_ids >= 0
    width = some_ids.shape[1]
    distances[:, :width][held] = some_distances[held]
    ids[:, :width][held] = some_ids[held]
    order = np.lexsort((ids, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(ids, order, axis=1)


def ids_of_keys(keys: Sequence[str]) -> NDArray[np.int64]:
    """Ids that stand for keys in engines, whose ids are numbers: 63 bits of a hash of each.

    Of ten million keys, two have the same one with a probability of 5e-6; an export then refuses.

    Examples
    --------
    >>> from sigah.engines.base import ids_of_keys
    >>> ids_of_keys(["doc/1", "doc/2"])
    array([6929946686748663581, 6759391498408728676])
    """
    return (hash_keys(keys) >> np.uint64(1)).astype(np.int64)


def check_labels(labels: ArrayLike, n: int) -> tuple[NDArray[Any], str]:
    """Labels as int64 or as an object array of str, and their type: "int" or "str".

    Raises
    ------
    ValueError
        If labels have another type, are not one per code, or are text that engines cannot store.

    Examples
    --------
    >>> from sigah.engines.base import check_labels
    >>> check_labels(["cat", "dog"], 2)
    (array(['cat', 'dog'], dtype=object), 'str')
    """
    # as objects, because NumPy would turn a number among words into text
    array = labels if isinstance(labels, np.ndarray) else np.asarray(labels, object)
    if array.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), one for each code, got {array.shape}")
    words = array.tolist()
    if all(isinstance(word, (int, np.integer)) and not isinstance(word, bool) for word in words):
        try:
            return np.array(words, np.int64), "int"
        except OverflowError:
            raise ValueError("labels that are numbers must fit in 64 bits (int64)") from None
    if not all(isinstance(word, str) for word in words):
        raise ValueError("labels must be all whole numbers or all text (str)")
    try:
        kept = b"\0" not in "".join(words).encode()
    except UnicodeEncodeError:
        kept = False
    if not kept:
        raise ValueError("labels must be text without null characters and lone surrogates")
    plain = np.empty(n, object)
    plain[:] = words
    return plain, "str"


def require(module: str, title: str, extra: str) -> Any:
    """Load the library of an engine, or raise an OSError that says how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise OSError(
            f"{title} is not installed; install it with `pip install 'sigah[{extra}]'`"
        ) from error
