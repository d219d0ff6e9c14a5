"""Keys of the user, which are strings, around an index whose ids are whole numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.files import FileFormatError
from sigah.files.indexes import IndexFile
from sigah.search.index import HammingIndex
from sigah.search.keys import KEY_ARRAYS, KeyTable, check_keys
from sigah.search.selection import Selection

__all__ = ["KeyFilter", "Keyed", "check_unique", "key_table_of"]

Index = TypeVar("Index")
KeyFilter = ArrayLike | Callable[[NDArray[np.str_]], ArrayLike]


class Keyed(ABC, Generic[Index]):
    """What indexes with keys share.

    Inside, each key has a whole number as its id, in the order in which keys came: the first is 0.
    ``index`` is the index of these ids; neighbours at the same distance are in their order.

    Any number of threads may search while one adds, updates or removes.

    Attributes
    ----------
    index : HammingIndex or VectorIndex

    See Also
    --------
    KeyedIndex : Of codes.
    sigah.KeyedVectorIndex : Of vectors.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import KeyedIndex
    >>> index = KeyedIndex(n_bits=8)
    >>> index.add(np.array([[7], [9]], np.uint8), ["a", "b"])
    >>> index.holds(["b", "c"]), index.ids_of(["b"]), index.keys_of([[1, -1]])
    (array([ True, False]), array([1]), array([['b', '']], dtype='<U1'))
    >>> index.remove(["a"])
    >>> index.keys
    array(['b'], dtype='<U1')
    """

    index: Index
    _table: KeyTable

    @property
    @abstractmethod
    def _codes(self) -> HammingIndex:
        """What holds the rows of the index."""

    @property
    def keys(self) -> NDArray[np.str_]:
        """The keys that are in the index, in the order of their ids."""
        return self._keys.keys_of(self._codes.ids)

    def __len__(self) -> int:
        return len(self._codes)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key != "" and bool(self._held([key])[0] >= 0)

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        with self._codes._writing:
            twin.index, twin._table = copy(self.index), copy(self._table)
        return twin

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        return self.__copy__().__dict__  # of one moment, whatever another thread writes

    def remove(self, keys: ArrayLike) -> None:
        """Remove by key: all of them, or none if there is an error.

        Raises
        ------
        ValueError
            If a key is not in the index, or is given twice.
        """
        texts = check_unique(check_keys(keys))
        with self._codes._writing:
            self._codes.remove(self._known(texts))

    def holds(self, keys: ArrayLike) -> NDArray[np.bool_]:
        """Which keys are in the index, for each of them."""
        return self._held(check_keys(keys)) >= 0

    def select(self, filter: KeyFilter) -> Selection:
        """Prepare a filter for many searches of this index, or of ``index``."""
        return self._codes.select(self._ids(filter))

    def ids_of(self, keys: ArrayLike) -> NDArray[np.int64]:
        """The ids of ``index`` for keys, in the same shape.

        Raises
        ------
        ValueError
            If a key is not in the index.
        """
        wanted = np.asarray(keys, object)
        return self._known(check_keys(wanted.ravel())).reshape(wanted.shape)

    def keys_of(self, ids: ArrayLike) -> NDArray[np.str_]:
        """The keys of ids that a search of ``index`` found, in the same shape; "" for -1."""
        return self._keys.keys_of(ids)

    def compact(self) -> None:
        """Merge everything into one segment: :meth:`HammingIndex.compact`."""
        self._codes.compact()

    def _add(self, rows: NDArray[np.uint8], texts: list[str]) -> None:
        with self._codes._writing:
            held = self._held(texts)
            if (taken := np.flatnonzero(held >= 0)).size:
                raise ValueError(
                    f"keys must be unique in the index, but {texts[taken[0]]!r} is repeated: the"
                    " index has it already (upsert replaces what a key has)"
                )
            self._codes.add(rows, self._ids_for(texts))

    def _upsert(self, rows: NDArray[np.uint8], texts: list[str]) -> None:
        with self._codes._writing:
            self._codes.upsert(rows, self._ids_for(texts))

    def _update(self, rows: NDArray[np.uint8], texts: list[str]) -> None:
        with self._codes._writing:
            self._codes.update(rows, self._known(texts))

    @property
    def _keys(self) -> KeyTable:
        """The keys; a mapped file is verified before its first use."""
        _ = self._codes._segments
        return self._table

    def _held(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Ids of keys that are in the index; -1 for the others."""
        ids = self._keys.ids_of(texts)
        return np.where(self._codes.holds(ids), ids, -1)

    def _known(self, texts: list[str]) -> NDArray[np.int64]:
        ids = self._held(texts)
        if (missing := np.flatnonzero(ids < 0)).size:
            raise ValueError(f"key {texts[missing[0]]!r} is not in the index")
        return ids

    def _ids_for(self, texts: list[str]) -> NDArray[np.int64]:
        """Ids of keys; new keys get new ids."""
        ids = self._keys.ids_of(texts)
        new = np.flatnonzero(ids < 0)
        ids[new] = self._table.extend([texts[row] for row in new.tolist()])
        return ids

    def _chosen(self, filter: KeyFilter | Selection | None) -> Any:
        """What a search of ``index`` takes in place of a filter of keys."""
        return filter if filter is None or isinstance(filter, Selection) else self._ids(filter)

    def _ids(self, filter: KeyFilter) -> Any:
        """A filter of keys as one of ids."""
        if callable(filter):
            return partial(self._answers, filter)  # can be pickled, if the function can
        ids = self._keys.ids_of(check_keys(filter, name="filter"))
        return ids[ids >= 0]

    def _answers(
        self, of_keys: Callable[[NDArray[np.str_]], ArrayLike], ids: NDArray[np.int64]
    ) -> ArrayLike:
        """What a function of keys says of ids."""
        return of_keys(self.keys_of(ids))

    def _file_of_keys(self) -> dict[str, NDArray[Any]]:
        """The keys of what is in the index, as arrays of a file."""
        return self._keys.arrays(self._codes.ids)

    def _into_memory(self) -> None:
        """Copy what is mapped from a file."""
        self._codes.into_memory()
        kept = self._file_of_keys()
        self._table = KeyTable({name: array.copy() for name, array in kept.items()})


def check_unique(keys: list[str]) -> list[str]:
    """Keys, or an error that names one that is given twice."""
    seen = set[str]()
    for key in keys:
        if key in seen:
            raise ValueError(f"key {key!r} is given twice")
        seen.add(key)
    return keys


def key_table_of(opened: IndexFile, instead: str) -> KeyTable:
    """The keys in an index file; ``instead`` opens a file without keys."""
    path = opened.file.path
    if not opened.has_keys:
        raise FileFormatError(f"cannot open {path}: its ids are numbers, not keys; use {instead}")
    try:
        return KeyTable({name: opened.arrays[name] for name in KEY_ARRAYS})
    except (KeyError, ValueError) as error:
        raise FileFormatError(f"cannot open {path}: {error}") from error
