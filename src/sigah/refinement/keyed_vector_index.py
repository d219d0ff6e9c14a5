"""Vectors in, keys of the user out: an index of vectors whose ids stand for strings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.codes import check_codes
from sigah.files import save_index
from sigah.files.indexes import open_index
from sigah.hashers import BinaryHasher
from sigah.refinement.refined_codes import RefinedCodes
from sigah.refinement.vector_index import RANKED, VectorIndex
from sigah.rows.dtypes import check_rows
from sigah.search import HammingIndex, Selection
from sigah.search.keyed import Keyed, KeyFilter, check_unique, key_table_of
from sigah.search.keys import KeyTable, check_keys

__all__ = ["KeyedVectorIndex"]

Source = Any | Callable[[NDArray[np.str_]], ArrayLike]


class KeyedVectorIndex(Keyed[VectorIndex]):
    """A :class:`VectorIndex` whose vectors have strings as keys.

    Inside, each key has a whole number as its id, in the order in which keys came: the first is 0.
    ``index`` is the index of these ids. For keys that are whole numbers from 0, use a
    :class:`VectorIndex`: its ids are such keys.

    Any number of threads may search while one adds, updates or removes.

    Parameters
    ----------
    refined : RefinedCodes
        Fitted. Most users call :meth:`build`.
    n_threads : int, optional
        Threads that a search may use; by default as many as there are cores.

    Attributes
    ----------
    index : VectorIndex
        For what needs no keys: :meth:`VectorIndex.calibrate`, or to set its ``shortlist``.
        :meth:`keys_of` names what it finds.

    See Also
    --------
    VectorIndex : Whole numbers as ids.
    KeyedIndex : Codes in, and keys found.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import KeyedVectorIndex
    >>> vectors = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
    >>> names = [f"doc/{row}" for row in range(600)]
    >>> index = KeyedVectorIndex.build(vectors, names, n_bytes=8, random_state=0)
    >>> index.search(vectors[[7]], k=1)[1]
    array([['doc/7']], dtype='<U5')
    >>> index.remove(["doc/8", "doc/9"])
    >>> index.upsert(vectors[9:10], ["a new one"])
    >>> index.search(vectors[[9]], k=1, filter=["a new one", "doc/1"])[1]
    array([['a new one']], dtype='<U9')
    """

    def __init__(self, refined: RefinedCodes, *, n_threads: int | None = None) -> None:
        self.index = VectorIndex(refined, n_threads=n_threads)
        self._table = KeyTable()

    @classmethod
    def of(cls, other: VectorIndex | KeyedVectorIndex) -> Self:
        """An empty index with the model, the shortlists and the threads of another."""
        index = cls.__new__(cls)
        index.index = VectorIndex.of(other.index if isinstance(other, KeyedVectorIndex) else other)
        index._table = KeyTable()
        return index

    @classmethod
    def build(
        cls,
        vectors: ArrayLike,
        keys: ArrayLike,
        n_bytes: int = 16,
        *,
        metric: str = "cosine",
        hasher: BinaryHasher | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> Self:
        """Learn from vectors, add them, and choose how many candidates a search ranks.

        Parameters
        ----------
        vectors : array-like, shape (n, d)
        keys : array-like of str, shape (n,)
            Different from each other and not empty.
        n_bytes, metric, hasher, random_state, n_threads, verbose
            As for :meth:`VectorIndex.build`.

        Returns
        -------
        KeyedVectorIndex

        Raises
        ------
        ValueError
            As :meth:`VectorIndex.build`; or if a key is not a string, is empty or is given twice.
        """
        n = check_rows(vectors, "vectors").shape[0]
        texts = check_unique(check_keys(keys, n))
        index = cls.__new__(cls)
        index.index = VectorIndex.build(
            vectors,
            n_bytes,
            metric=metric,
            hasher=hasher,
            random_state=random_state,
            n_threads=n_threads,
            verbose=verbose,
        )
        index._table = KeyTable()
        index._table.extend(texts)
        return index

    @property
    def refined(self) -> RefinedCodes:
        """The hasher and the codebooks."""
        return self.index.refined

    @property
    def metric(self) -> str:
        """The metric of the distances."""
        return self.index.metric

    @property
    def n_bytes(self) -> int:
        """Bytes of a row."""
        return self.index.n_bytes

    @property
    def bytes_per_vector(self) -> float:
        """All that is kept of a vector: its row, its id unless ids are consecutive, and its key."""
        return self.index.bytes_per_vector + self._keys.n_bytes / max(1, len(self))

    @property
    def _codes(self) -> HammingIndex:
        return self.index._index

    def __repr__(self) -> str:
        what = f"{len(self):,} vectors in {self.n_bytes} bytes each, {self.metric}"
        return f"<{type(self).__name__}: {what}>"

    def add(self, vectors: ArrayLike, keys: ArrayLike) -> None:
        """Encode vectors and add them: all of them, or none if there is an error.

        Parameters
        ----------
        vectors : array-like, shape (n, d)
        keys : array-like of str, shape (n,)
            Unique in the index and not empty.

        Raises
        ------
        ValueError
            As :meth:`VectorIndex.add`, or if a key is not a string, is empty or already taken.
        """
        self._add(*self._encoded(vectors, keys))

    def upsert(self, vectors: ArrayLike, keys: ArrayLike) -> None:
        """Replace the vectors of keys in the index, and add the others; searches see all or none.

        Parameters and errors are the same as for :meth:`add`, but keys may be in the index.
        """
        self._upsert(*self._encoded(vectors, keys))

    def update(self, vectors: ArrayLike, keys: ArrayLike) -> None:
        """Replace the vectors of keys in the index; a search sees all of the new ones or none.

        Parameters and errors are the same as for :meth:`add`, but each key must be in the index.
        """
        self._update(*self._encoded(vectors, keys))

    def add_rows(self, rows: ArrayLike, keys: ArrayLike) -> None:
        """Add rows that :meth:`RefinedCodes.encode` of ``refined`` made, with new keys."""
        codes = check_codes(rows, n_bits=8 * self.n_bytes, name="rows")
        self._add(codes, check_unique(check_keys(keys, len(codes))))

    def reconstruct(self, keys: ArrayLike) -> NDArray[np.float32]:
        """Approximations of vectors by key: :meth:`VectorIndex.reconstruct`.

        Raises
        ------
        ValueError
            If a key is not in the index.
        """
        return self.index.reconstruct(self._known(check_keys(keys)))

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        filter: KeyFilter | Selection | None = None,
        vectors: Source | None = None,
        n_ranked: int = RANKED,
    ) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
        """Find the ``k`` nearest vectors of each query.

        Parameters
        ----------
        queries : array-like, shape (q, d)
        k : int, default=10
        filter : array-like of str, callable or Selection, optional
            Keys that may be found; keys that are not in the index are ignored. Or a function from
            an array of keys to a boolean for each; or either of them prepared by :meth:`select`.
        vectors : array-like or callable, optional
            The original vectors, which rank the best candidates once more: rows in the order in
            which their keys came, or a function from keys to their vectors ``(m, d)``.
        n_ranked : int, default=100
            How many candidates the original vectors rank; only with ``vectors``.

        Returns
        -------
        distances : ndarray of float32, shape (q, k)
            Ascending, as those of :meth:`VectorIndex.search`.
        keys : ndarray of str, shape (q, k)
            "" where fewer than ``k`` vectors may be found.

        Raises
        ------
        ValueError
            As :meth:`VectorIndex.search`.

        Examples
        --------
        A function gives the original vectors, from a database, say:

        >>> import numpy as np
        >>> from sigah import KeyedVectorIndex
        >>> vectors = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
        >>> held = {f"doc/{row}": vector for row, vector in enumerate(vectors)}
        >>> index = KeyedVectorIndex.build(vectors, list(held), n_bytes=8, random_state=0)
        >>> def look_up(keys):
        ...     return np.stack([held[key] for key in keys])
        >>> distances, keys = index.search(vectors[:2], k=1, vectors=look_up)
        >>> distances.round(3), keys
        (array([[0.],
               [0.]], dtype=float32), array([['doc/0'],
               ['doc/1']], dtype='<U5'))
        """
        source = partial(self._answers, vectors) if callable(vectors) else vectors
        distances, ids = self.index.search(
            queries, k, filter=self._chosen(filter), vectors=source, n_ranked=n_ranked
        )
        return distances, self.keys_of(ids)

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write rows, keys and the model to one file, atomically: :meth:`VectorIndex.save`.

        Keys of removed vectors are not written.
        """
        with self._codes._writing:
            header, arrays = self.index.content()
            keys = self._file_of_keys()
        save_index(path, header, arrays | keys, kind="vectors", overwrite=overwrite)

    @classmethod
    def open(cls, path: str | PathLike[str], *, n_threads: int | None = None) -> Self:
        """Open a file by mapping it: :meth:`VectorIndex.open`.

        Raises
        ------
        FileFormatError
            If the file is damaged, has no keys, or is of a newer format.
        OSError
            If the file cannot be read.
        """
        opened = open_index(path, kind="vectors")
        self = cls.__new__(cls)
        self._table = key_table_of(opened, "VectorIndex.open")
        self.index = VectorIndex.of_file(opened, n_threads=n_threads, check=self._table.check)
        return self

    @classmethod
    def load(cls, path: str | PathLike[str], *, n_threads: int | None = None) -> Self:
        """Read a file into memory and verify it; parameters and errors as for :meth:`open`."""
        self = cls.open(path, n_threads=n_threads)
        self._into_memory()
        return self

    def _encoded(self, vectors: ArrayLike, keys: ArrayLike) -> tuple[NDArray[np.uint8], list[str]]:
        """Rows and keys that an index cannot refuse, so that no id is given for nothing."""
        rows = self.refined.rows(vectors, name="vectors")
        texts = check_unique(check_keys(keys, len(rows)))
        return self.refined.encode_rows(rows), texts
