"""Keys of the user, which are strings, for the ids of an index.

An id is the place of its key: 0, 1, 2, ... in the order in which keys came. A key keeps its id, so
readers need no lock while a writer gives ids to new keys.

A file holds the keys as one run of UTF-8 with the end of each, and their hashes in ascending order:
it can be mapped, and a key is found in it without reading the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["KEY_ARRAYS", "KeyTable", "are_keys", "check_keys", "hash_keys"]

Arrays = dict[str, NDArray[Any]]

#: The arrays of :meth:`KeyTable.arrays`. All but the last have items of 8 bytes.
KEY_ARRAYS = {
    "key_ends": np.int64,
    "key_hashes": np.uint64,
    "key_ids": np.int64,
    "key_texts": np.uint8,
}


def are_keys(ids: Any) -> bool:
    """Whether ids are strings rather than numbers; :func:`check_keys` tells what is wrong."""
    array = ids if isinstance(ids, np.ndarray) else np.asarray(ids, object)
    return array.dtype.kind == "U" or any(isinstance(one, str) for one in array.ravel()[:1])


def check_keys(keys: ArrayLike, n: int | None = None, *, name: str = "keys") -> list[str]:
    """Return keys as a list of strings, or raise an error that says what is wrong with them."""
    # an array of str would drop zeros at the end of a string, and turn numbers into strings
    array = keys if isinstance(keys, np.ndarray) else np.asarray(keys, object)
    if array.ndim != 1 or (n is not None and len(array) != n):
        wanted = "(n,)" if n is None else f"({n},), one for each row"
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    texts: list[str] = array.tolist()
    for place, text in enumerate(texts):
        if not isinstance(text, str) or not text or text.endswith("\0") or not _is_unicode(text):
            raise ValueError(
                f"{name} must be strings of Unicode, not empty and without a zero at their end,"
                f" got {text!r} at place {place}"
            )
    return texts


def _is_unicode(text: str) -> bool:
    """Whether a string has no half of a surrogate pair."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


class KeyTable:
    """Strings for the ids 0, 1, 2, ... of an index.

    Parameters
    ----------
    arrays : dict of str to ndarray, optional
        From :meth:`arrays` of another table; they are not copied.

    Raises
    ------
    ValueError
        If the arrays contradict each other.

    Examples
    --------
    >>> from sigah.search.keys import KeyTable
    >>> table = KeyTable()
    >>> table.extend(["a", "b"])
    array([0, 1])
    >>> table.ids_of(["b", "c"]), table.keys_of([1, -1])
    (array([ 1, -1]), array(['b', ''], dtype='<U1'))
    """

    def __init__(self, arrays: Arrays | None = None) -> None:
        if arrays is None:
            arrays = {name: np.empty(0, dtype) for name, dtype in KEY_ARRAYS.items()}
        ends, hashes, ids, texts = (arrays[name] for name in KEY_ARRAYS)
        for name, dtype in KEY_ARRAYS.items():
            if arrays[name].dtype != dtype or arrays[name].ndim != 1:
                raise ValueError(f"its array {name} is damaged")
        if len(hashes) != len(ids) or len(ids) > len(ends):
            raise ValueError("its keys contradict each other")
        self._ends, self._hashes, self._ids, self._texts = ends, hashes, ids, texts
        self._new: dict[str, int] = {}
        self._new_keys: list[str] = []

    def __len__(self) -> int:
        """How many ids are given; the next key gets this id."""
        return len(self._ends) + len(self._new_keys)

    def __copy__(self) -> KeyTable:
        twin = KeyTable(dict(zip(KEY_ARRAYS, self._parts(), strict=True)))
        twin._new, twin._new_keys = dict(self._new), list(self._new_keys)
        return twin

    def check(self) -> None:
        """Raise a ValueError if stored keys contradict each other; reads all but the texts."""
        ends, hashes, ids, texts = self._parts()
        if (np.diff(ends, prepend=0) < 0).any() or int(ends[-1:].sum()) != len(texts):
            raise ValueError("the ends of its keys are damaged")
        if (hashes[1:] < hashes[:-1]).any() or (
            len(ids) and not 0 <= ids.min() <= ids.max() < len(ends)
        ):
            raise ValueError("the order of its keys is damaged")

    def ids_of(self, keys: ArrayLike) -> NDArray[np.int64]:
        """The id of each key; -1 for keys that have none."""
        texts = check_keys(keys)
        found = np.fromiter((self._new.get(text, -1) for text in texts), np.int64, len(texts))
        if not len(self._ids):
            return found
        hashes = hash_keys(texts)
        places = np.searchsorted(self._hashes, hashes)
        for row in np.flatnonzero(found < 0):
            place = int(places[row])
            while place < len(self._hashes) and self._hashes[place] == hashes[row]:
                if self._stored(int(self._ids[place])) == texts[row]:
                    found[row] = self._ids[place]
                    break
                place += 1  # another key with the same hash
        return found

    def keys_of(self, ids: ArrayLike) -> NDArray[np.str_]:
        """The key of each id, in the shape of ``ids``; "" for -1."""
        wanted = np.asarray(ids)
        n_stored = len(self._ends)
        if wanted.size and wanted.max() >= len(self):
            raise ValueError(f"no key has the id {wanted.max()}: ids are from 0 to {len(self) - 1}")
        names = [
            ""
            if one < 0
            else self._stored(one)
            if one < n_stored
            else self._new_keys[one - n_stored]
            for one in wanted.ravel().tolist()
        ]
        return np.array(names, np.str_).reshape(wanted.shape)

    def extend(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Give ids to new keys, which must be new and different; returns them."""
        first = len(self)
        self._new_keys.extend(keys)  # first: a reader may ask for the key of an id, not the reverse
        self._new.update(zip(keys, range(first, first + len(keys)), strict=True))
        return np.arange(first, first + len(keys))

    def arrays(self, kept: NDArray[np.int64]) -> Arrays:
        """The keys of some ids as arrays for a file; other ids stay without a key.

        Parameters
        ----------
        kept : ndarray of int64
            Ascending.
        """
        ends, hashes, ids, texts = self._parts()
        if not self._new_keys and len(kept) == len(ids):
            return dict(zip(KEY_ARRAYS, (ends, hashes, ids, texts), strict=True))
        n_stored = len(ends)
        is_kept = np.zeros(len(self), np.bool_)
        is_kept[kept] = True
        lengths = np.diff(ends, prepend=0)
        stored = texts[np.repeat(is_kept[:n_stored], lengths)]
        encoded = [
            key.encode() if keep else b""
            for key, keep in zip(self._new_keys, is_kept[n_stored:].tolist(), strict=True)
        ]
        new_lengths = np.array([len(one) for one in encoded], np.int64)
        all_lengths = np.r_[np.where(is_kept[:n_stored], lengths, 0), new_lengths]
        new_ids = np.flatnonzero(new_lengths) + n_stored
        new_hashes = hash_keys([self._new_keys[one - n_stored] for one in new_ids.tolist()])
        still = is_kept[ids]
        all_hashes, all_ids = np.r_[hashes[still], new_hashes], np.r_[ids[still], new_ids]
        order = np.argsort(all_hashes, kind="stable")
        return {
            "key_ends": np.cumsum(all_lengths),
            "key_hashes": all_hashes[order],
            "key_ids": all_ids[order],
            "key_texts": np.r_[stored, np.frombuffer(b"".join(encoded), np.uint8)],
        }

    @property
    def n_bytes(self) -> int:
        """Bytes of the arrays, mapped or in memory, and of new keys as UTF-8."""
        parts = sum(part.nbytes for part in self._parts())
        return parts + sum(len(key.encode()) for key in self._new_keys)

    def _parts(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        return self._ends, self._hashes, self._ids, self._texts

    def _stored(self, place: int) -> str:
        start = int(self._ends[place - 1]) if place else 0
        return self._texts[start : int(self._ends[place])].tobytes().decode()


def hash_keys(keys: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits of BLAKE2b of each key, the same on every machine."""
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(digests, "<u8").astype(np.uint64)
