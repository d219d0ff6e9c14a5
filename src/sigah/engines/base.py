"""The contract of an engine: everything that all engines share.

A file of an engine holds only its calls. It derives from :class:`Engine` and fills in the hooks:
``read_about``, ``create`` and ``write_about`` (what the target says of itself), ``get`` and ``put``
(rows by id), ``__len__`` and ``_nearest``; and, where the engine needs them, ``flush``,
``finish``, ``reconnect`` and ``close``. Its constructor only stores settings; ``read_about`` is the
hook that is called first, loads the library (by :func:`require`, never at the top of the file) and
reaches the target. The hooks may raise what their library raises, if ``failures`` names it.
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
from sigah.search.layout import MISSING_DISTANCE, MISSING_ID

__all__ = ["About", "Engine", "Rows", "check_labels", "require"]

Found = tuple[NDArray[np.integer], NDArray[np.integer]]


@dataclass(frozen=True)
class About:
    """What a target records about its codes; the target keeps it as one JSON text."""

    n_bits: int
    fingerprint: str  # of the model that made the codes
    kind: str  # of the engine's index
    labels: str | None = None  # "int", "str", or None: the codes have none
    complete: bool = False  # False while an export is under way, or was interrupted

    def to_json(self) -> str:
        """The text that a target keeps."""
        return json.dumps({"format": "sigah-engine", "format_version": 1, **asdict(self)})

    @classmethod
    def from_json(cls, text: str, where: str) -> About:
        """Read the text again; ``where`` is the target's name in an error message."""
        try:
            told = json.loads(text)
            if (told.pop("format"), told.pop("format_version")) != ("sigah-engine", 1):
                raise ValueError("it is of another format")
            return cls(**told)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{where}: what it says of its codes is damaged or too new ({error}); export to"
                " another target"
            ) from error


@dataclass(frozen=True, eq=False)
class Rows:
    """Codes with ids and labels, row by row."""

    ids: NDArray[np.int64]  # (n,)
    codes: NDArray[np.uint8]  # (n, n_bits // 8)
    labels: NDArray[Any] | None = None  # (n,), of int64 or of str (dtype object)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, where: NDArray[Any] | slice) -> Rows:
        """Some of the rows, by a mask, a slice or positions."""
        labels = None if self.labels is None else self.labels[where]
        return Rows(self.ids[where], self.codes[where], labels)


class Engine(ABC):
    """A target that holds packed codes, their ids and one label each.

    Parameters
    ----------
    target : str
        A path or an address, as the engine has them.
    kind : str, optional
        Which index of :attr:`kinds` is built; by default the first, or that which the target has.

    Attributes
    ----------
    about : About or None
        What the target holds; None until it is opened or made.
    """

    name: ClassVar[str]  # on the command line
    kinds: ClassVar[tuple[str, ...]]  # of index; the first is the default
    batch: ClassVar[int] = 10_000  # rows that `put` and `get` are given at once

    about: About | None = None

    def __init__(self, target: str, *, kind: str | None = None) -> None:
        if kind is not None and kind not in self.kinds:
            raise ValueError(f"kind must be one of {', '.join(self.kinds)}, got {kind!r}")
        self.target = str(target)
        self.kind = kind

    # What an engine fills in ---------------------------------------------------------------------

    @abstractmethod
    def read_about(self) -> About | None:
        """What the target says of itself; None if nothing is there.

        Raises
        ------
        OSError
            If the target cannot be reached.
        ValueError
            If something is there that sigah did not make: it is never written over.
        """

    @abstractmethod
    def create(self, about: About, sample: NDArray[np.uint8]) -> None:
        """Make an empty collection with the record ``about``; an existing part of it stays.

        ``sample`` are codes for kinds of index that are trained. An export that was interrupted
        before its first row was saved calls this again.
        """

    @abstractmethod
    def write_about(self, about: About) -> None:
        """Replace what the target says of itself."""

    @abstractmethod
    def get(self, ids: NDArray[np.int64]) -> Rows:
        """Those rows of ``ids`` (ascending) that the target holds, in any order."""

    @abstractmethod
    def put(self, rows: Rows) -> None:
        """Insert rows, ids ascending; those whose id is held already are replaced."""

    @abstractmethod
    def __len__(self) -> int:
        """How many codes the target holds."""

    @abstractmethod
    def _nearest(
        self, codes: NDArray[np.uint8], k: int, labels: list[Any] | None
    ) -> Found | Sequence[Sequence[tuple[int, int]]]:
        """Neighbours of queries: distances and ids, each ``(q, <= k)``, or (distance, id) pairs.

        They need not be sorted. An id of -1 stands for none. ``labels``, if given, are those that
        may be found.
        """

    def flush(self) -> None:
        """Save the rows; for engines that hold them in memory until then."""

    def finish(self) -> None:
        """Build the index after the last row, if it does not grow with the rows."""

    def reconnect(self) -> None:
        """Called before a transient failure is tried again."""

    def close(self) -> None:
        """Let go of files and connections."""

    @property
    def filter_refusal(self) -> str | None:
        """Why this kind of index cannot filter by label, in a clause; None if it can."""
        return None

    @property
    def replace_refusal(self) -> str | None:
        """Why a code cannot be replaced under its id, in a clause; None if it can."""
        return None

    def failures(self) -> tuple[type[Exception], ...]:
        """The errors of the engine's library; users see one line, an OSError.

        It is asked after anything was raised, also where the library is not installed.
        """
        return (RuntimeError,)

    def transient(self) -> tuple[type[Exception], ...]:
        """Temporary failures: a later try may succeed."""
        return (ConnectionError, TimeoutError)

    @property
    def where(self) -> str:
        """The target in messages; an engine whose addresses have passwords leaves them out."""
        return self.target

    # What is shared ------------------------------------------------------------------------------

    def search(self, codes: ArrayLike, k: int, *, filter: Any = None) -> Any:
        """Find the ``k`` nearest codes of each query.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Packed queries, made by the model whose codes the target holds (``about.fingerprint``);
            :class:`VectorSearch` sees to that.
        k : int
            Neighbours wanted, at least 1.
        filter : str, int or a list of them, optional
            Find only codes that have (one of) these labels.

        Returns
        -------
        distances : ndarray of int32, shape (q, k)
            Ascending. Places beyond the number of codes found hold 2147483647.
        ids : ndarray of int64, shape (q, k)
            Where distances tie, ids ascend. Places beyond the number found hold -1.

        Raises
        ------
        ValueError
            If the codes are not packed codes of the target's width, ``k`` is not a positive whole
            number, or the labels do not fit, or the engine cannot filter.
        OSError
            If the engine fails.
        """
        if self.about is None:
            raise ValueError(f"{self.where} is not open; sigah.engines.connect opens it")
        queries = check_codes(codes, n_bits=self.about.n_bits, name="queries")
        k = check_whole(k, "k", least=1)
        labels = None if filter is None else self._wanted(filter)
        distances = np.full((len(queries), k), MISSING_DISTANCE, np.int32)
        ids = np.full((len(queries), k), MISSING_ID, np.int64)
        if len(queries) and labels != []:
            with self.errors_as_one_line():
                found = self._nearest(queries, k, labels)
                if not isinstance(found, tuple):
                    found = _padded(found)
            some_distances, some_ids = (part[:, :k] for part in found)
            held = some_ids >= 0
            width = some_ids.shape[1]
            distances[:, :width][held] = some_distances[held]
            ids[:, :width][held] = some_ids[held]
            order = np.lexsort((ids, distances), axis=1)
            distances = np.take_along_axis(distances, order, axis=1)
            ids = np.take_along_axis(ids, order, axis=1)
        return distances, ids

    def _wanted(self, filter: Any) -> list[Any]:
        """The labels of a filter, as the target has them."""
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
            raise ValueError(
                f"filter: {self.where} has labels of type {self.about.labels}, got {filter!r}"
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


def _padded(found: Sequence[Sequence[tuple[int, int]]]) -> Found:
    """Lists of (distance, id) pairs as arrays."""
    width = max((len(pairs) for pairs in found), default=0)
    array = np.full((len(found), width, 2), MISSING_ID, np.int64)
    for row, pairs in enumerate(found):
        if pairs:
            array[row, : len(pairs)] = pairs
    return array[..., 0], array[..., 1]


def check_labels(labels: ArrayLike, n: int) -> tuple[NDArray[Any], str]:
    """Labels as int64 or as an object array of str, and which of them: "int" or "str".

    Raises
    ------
    ValueError
        If they are anything else, not one a code, or text that engines cannot keep.

    Examples
    --------
    >>> from sigah.engines.base import check_labels
    >>> check_labels(["cat", "dog"], 2)
    (array(['cat', 'dog'], dtype=object), 'str')
    """
    # as objects, for numpy would make text of a number among words
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
    """Load the library of an engine, or raise an OSError that tells how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise OSError(
            f"{title} is not installed; install it with `pip install 'sigah[{extra}]'`"
        ) from error
