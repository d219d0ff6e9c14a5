"""An index whose codes have keys of the user: strings such as names of documents."""

from __future__ import annotations

from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.codes import check_codes
from sigah.files import open_codes, open_index, save_index
from sigah.search.index import HammingIndex
from sigah.search.keyed import Keyed, KeyFilter, check_unique, key_table_of
from sigah.search.keys import KeyTable, check_keys
from sigah.search.selection import Selection

__all__ = ["KeyedIndex"]


class KeyedIndex(Keyed[HammingIndex]):
    """A :class:`HammingIndex` of codes that have strings as keys.

    Inside, each key has a whole number as its id, in the order in which keys came: the first is 0.
    ``index`` is the index of these ids; neighbours at the same distance are in their order. For
    keys that are whole numbers from 0, use a :class:`HammingIndex`: its ids are such keys.

    Any number of threads may search while one adds, updates or removes.

    Parameters
    ----------
    n_bits, n_threads, fingerprint
        As for :class:`HammingIndex`.

    Attributes
    ----------
    index : HammingIndex
        For searches only, such as :class:`TwoStageSearch`; :meth:`keys_of` names what it finds.

    See Also
    --------
    HammingIndex : Whole numbers as ids.
    sigah.KeyedVectorIndex : Vectors in, and keys found.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import KeyedIndex
    >>> index = KeyedIndex(n_bits=8)
    >>> index.add(np.array([[0b0000], [0b0111], [0b0001]], np.uint8), ["a", "b", "c"])
    >>> distances, keys = index.search(np.array([[0b0011]], np.uint8), k=2)
    >>> distances, keys
    (array([[1, 1]], dtype=int32), array([['b', 'c']], dtype='<U1'))
    >>> index.remove(["b"])
    >>> index.upsert(np.array([[0b0011], [0b0011]], np.uint8), ["c", "d"])
    >>> index.search(np.array([[0b0011]], np.uint8), k=3)[1]
    array([['c', 'd', 'a']], dtype='<U1')

    Vectors rank candidates by the ids of ``index``, which are rows of what was encoded:

    >>> from sigah import ITQ, TwoStageSearch
    >>> vectors = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    >>> hasher = ITQ(n_bits=16, random_state=0).fit(vectors)
    >>> index = KeyedIndex.of(hasher)
    >>> index.add(hasher.transform(vectors), [f"row {row}" for row in range(200)])
    >>> search = TwoStageSearch(index.index, hasher, by="raw", vectors=vectors)
    >>> distances, ids = search.search(vectors[7:8], k=1)
    >>> index.keys_of(ids)
    array([['row 7']], dtype='<U5')
    """

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_threads: int | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.index = HammingIndex(n_bits, n_threads=n_threads, fingerprint=fingerprint)
        self._table = KeyTable()

    @classmethod
    def of(cls, hasher: Any, *, n_threads: int | None = None) -> Self:
        """An empty index for the codes of a fitted hasher, with its width and its fingerprint."""
        return cls(hasher.n_bits, n_threads=n_threads, fingerprint=hasher.fingerprint)

    @classmethod
    def of_codes(cls, path: str | PathLike[str], *, n_threads: int | None = None) -> Self:
        """An index of the codes and keys in a Parquet file or folder of codes.

        Ids are the rows of the file, so ``vectors`` of :class:`TwoStageSearch` may be the vectors
        that were encoded.

        Raises
        ------
        FileFormatError
            If the file is damaged, or does not hold packed codes.
        ValueError
            If the file has no keys, or one is repeated.
        OSError
            If the file cannot be read.
        """
        stored = open_codes(path)
        if stored.ids is None or stored.ids.dtype.kind in "iu":
            raise ValueError(
                f"{path}: its codes have no strings as ids; use HammingIndex.of_codes, or encode"
                " with the column of keys (ids=)"
            )
        index = cls(stored.n_bits, n_threads=n_threads, fingerprint=stored.fingerprint)
        index.add(stored.codes, stored.ids)
        return index

    @property
    def n_bits(self) -> int:
        """Width of the codes."""
        return self.index.n_bits

    @property
    def fingerprint(self) -> str | None:
        """Identity of the model that made the codes; None if it is not known."""
        return self.index.fingerprint

    @property
    def _codes(self) -> HammingIndex:
        return self.index

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} codes of {self.n_bits} bits>"

    def add(self, codes: ArrayLike, keys: ArrayLike, *, fingerprint: str | None = None) -> None:
        """Add codes with new keys: all of them, or none if there is an error.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, n_bits // 8)
        keys : array-like of str, shape (n,)
            Unique in the index and not empty.
        fingerprint : str, optional
            Of the model that made these codes.

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, a key is not a string, is empty or
            already taken, or the codes were made by another model.
        """
        self._add(*self._check(codes, keys, fingerprint))

    def upsert(self, codes: ArrayLike, keys: ArrayLike, *, fingerprint: str | None = None) -> None:
        """Replace the codes of keys in the index, and add the others; searches see all or none.

        Parameters and errors are the same as for :meth:`add`, but keys may be in the index.
        """
        self._upsert(*self._check(codes, keys, fingerprint))

    def update(self, codes: ArrayLike, keys: ArrayLike) -> None:
        """Replace the codes of keys in the index; a search sees all of the new codes or none.

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, or a key is not in the index or is
            given twice.
        """
        self._update(*self._check(codes, keys, None))

    def get(self, keys: ArrayLike) -> NDArray[np.uint8]:
        """Codes by key, in any order; a key may be given more than once.

        Raises
        ------
        ValueError
            If a key is not in the index.
        """
        return self.index.get(self._known(check_keys(keys)))

    def search(
        self,
        codes: ArrayLike,
        k: int,
        *,
        filter: KeyFilter | Selection | None = None,
        **options: Any,
    ) -> tuple[NDArray[Any], NDArray[np.str_]]:
        """Find the ``k`` nearest codes of each query.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Queries.
        k : int
            Neighbours wanted, at least 1.
        filter : array-like of str, callable or Selection, optional
            Keys that may be found; keys that are not in the index are ignored. Or a function from
            an array of keys to a boolean for each; or either of them prepared by :meth:`select`.
        **options
            As for :meth:`HammingIndex.search`.

        Returns
        -------
        distances : ndarray, shape (q, k)
            Ascending.
        keys : ndarray of str, shape (q, k)
            "" where fewer than ``k`` codes may be found.

        Raises
        ------
        ValueError
            As :meth:`HammingIndex.search`.
        """
        distances, ids = self.index.search(codes, k, filter=self._chosen(filter), **options)
        return distances, self.keys_of(ids)

    def check_model(self, model: Any) -> None:
        """Refuse a model that did not make the codes: :meth:`HammingIndex.check_model`."""
        self.index.check_model(model)

    def build_tables(self) -> None:
        """Build tables for faster searches: :meth:`HammingIndex.build_tables`."""
        self.index.build_tables()

    def stats(self) -> dict[str, Any]:
        """Sizes as :meth:`HammingIndex.stats` gives them, and ``key_bytes``."""
        return {**self.index.stats(), "key_bytes": self._keys.n_bytes}

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write codes and keys to one file, atomically: :meth:`HammingIndex.save`.

        Keys of removed codes are not written.
        """
        with self.index._writing:
            header, arrays = self.index.content()
            keys = self._file_of_keys()
        save_index(path, header, arrays | keys, overwrite=overwrite)

    @classmethod
    def open(cls, path: str | PathLike[str], *, n_threads: int | None = None) -> Self:
        """Open an index file with keys by mapping it: :meth:`HammingIndex.open`.

        Raises
        ------
        FileFormatError
            If the file is damaged, has no keys, or is of a newer format.
        OSError
            If the file cannot be read.
        """
        opened = open_index(path)
        self = cls.__new__(cls)
        self._table = key_table_of(opened, "HammingIndex.open")
        self.index = HammingIndex.of_file(opened, n_threads=n_threads, check=self._table.check)
        return self

    @classmethod
    def load(cls, path: str | PathLike[str], *, n_threads: int | None = None) -> Self:
        """Read an index file with keys into memory: :meth:`HammingIndex.load`."""
        self = cls.open(path, n_threads=n_threads)
        self._into_memory()
        return self

    def _check(
        self, codes: ArrayLike, keys: ArrayLike, fingerprint: str | None
    ) -> tuple[NDArray[np.uint8], list[str]]:
        """Codes and keys that an index cannot refuse, so that no id is given for nothing."""
        if fingerprint is not None:
            self.index.check_model(fingerprint)
        new_codes = check_codes(codes, n_bits=self.n_bits)
        return new_codes, check_unique(check_keys(keys, len(new_codes)))
