"""The index: codes with ids that are added, updated, removed, searched and kept in files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from typing import Any, Self
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_whole
from sigah.codes import check_codes, check_n_bits
from sigah.files import FileFormatError, open_codes, open_index, save_index
from sigah.files.indexes import IndexFile
from sigah.files.unchanged import Unchanged
from sigah.search.checks import check_ids
from sigah.search.index_files import header_and_arrays, segment_from
from sigah.search.layout import MAX_BITS
from sigah.search.multi_index import MultiIndex
from sigah.search.scan import scan_costs
from sigah.search.segment import (
    Segment,
    largest_id,
    living,
    make_segment,
    merge,
    positions_of,
    rows_of,
    without,
)
from sigah.search.snapshot import CodeSearch, IndexSnapshot
from sigah.threads import available_threads

__all__ = ["HammingIndex"]

# A segment is merged with the one before it unless that one is this many times as large. So the
# number of segments, and of copies of a code, grows with the logarithm of the number of codes.
GROWTH = 4

_with_locks: WeakSet[HammingIndex] = WeakSet()


class HammingIndex(CodeSearch):
    """Exact nearest neighbours of packed codes under the Hamming distance.

    Neighbours are ordered by distance and, where distances tie, by ascending id. Answers depend
    only on the codes, their ids and the query: not on the order of additions, the number of
    threads, or the method of search.

    Any number of threads may search while one adds, removes or updates; a search answers from the
    codes that the index held when the search began. Writers wait for each other. Copies and pickles
    are independent indexes; a copy shares the memory of the codes until either is changed. A forked
    child may search and write, even if threads of its parent were searching or writing.

    Parameters
    ----------
    n_bits : int
        Width of the codes, a multiple of 8 and at most 65,528.
    n_extra : int, default=0
        Bytes that are kept beside each code and are not compared; only :meth:`search_tables` uses
        them. Rows of codes then have ``n_bits // 8 + n_extra`` bytes in :meth:`add`, :meth:`get`
        and the like.
    n_threads : int, optional
        Threads that a search may use; by default as many as there are cores.
    fingerprint : str, optional
        Identity of the model that made the codes (``hasher.fingerprint``); files carry it.
        :meth:`of` takes it from the hasher, :meth:`of_codes` from a file. Without one, nothing
        can be checked: the index accepts codes and queries of every model.

    Attributes
    ----------
    last_search : dict
        How many queries of the latest search were answered from ``tables``, and how many by a
        ``scan``. With several threads, the search that ended last counts.

    See Also
    --------
    KeyedIndex : Strings in place of ids.
    TwoStageSearch : Ranks candidates by a better distance.
    sigah.VectorIndex : Vectors in, and a few bytes kept of each.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import HammingIndex
    >>> index = HammingIndex(n_bits=8)
    >>> index.add(np.array([[0b0000], [0b0111], [0b0001]], np.uint8), ids=[10, 20, 30])
    >>> distances, ids = index.search(np.array([[0b0011]], np.uint8), k=2)
    >>> distances, ids
    (array([[1, 1]], dtype=int32), array([[20, 30]]))
    >>> index.remove([20])
    >>> index.search(np.array([[0b0011]], np.uint8), k=2, filter=lambda ids: ids > 10)
    (array([[         1, 2147483647]], dtype=int32), array([[30, -1]]))
    """

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_extra: int = 0,
        n_threads: int | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.n_bits = check_n_bits(n_bits)
        if self.n_bits > MAX_BITS:
            raise ValueError(f"codes can have at most {MAX_BITS} bits, got {n_bits}")
        self.n_extra = check_whole(n_extra, "n_extra", least=0)
        self.n_threads = (
            available_threads()
            if n_threads is None
            else check_whole(n_threads, "n_threads", least=1)
        )
        self.fingerprint = fingerprint
        # Segments never change. A writer replaces the tuple; a reader goes on with its tuple.
        self._current: tuple[Segment, ...] = ()
        self._verify: Callable[[], None] | None = None  # the check that a mapped file still needs
        self._file: Unchanged | None = None  # the file that the codes are mapped from
        self.last_search = {}
        self._make_lock()

    def _make_lock(self) -> None:
        self._writing = threading.RLock()
        _with_locks.add(self)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_current": self._segments, "_verify": None, "_file": None}
        del state["_writing"]
        return state

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        twin.__setstate__(self.__getstate__())
        twin._file = self._file  # shared segments may be mapped from it
        return twin

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_lock()

    @classmethod
    def of(cls, hasher: Any, *, n_threads: int | None = None) -> Self:
        """An empty index for the codes of a fitted hasher, with its width and its fingerprint.

        Parameters
        ----------
        hasher : BinaryHasher
            Fitted.
        n_threads : int, optional

        Examples
        --------
        >>> import numpy as np
        >>> from sigah import LSH, HammingIndex
        >>> vectors = np.random.default_rng(0).normal(size=(100, 32))
        >>> hasher = LSH(n_bits=64, random_state=0).fit(vectors)
        >>> index = HammingIndex.of(hasher)
        >>> index.add(hasher.transform(vectors))
        >>> index.fingerprint == hasher.fingerprint
        True
        """
        return cls(hasher.n_bits, n_threads=n_threads, fingerprint=hasher.fingerprint)

    @classmethod
    def of_codes(
        cls,
        path: str | PathLike[str],
        ids: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> Self:
        """An index of the codes in a file, with the fingerprint of the model that made them.

        Parameters
        ----------
        path : str or path-like
            Written by ``sigah encode`` or :func:`sigah.files.save_codes`; or a plain ``.npy`` file
            of packed codes. A ``.npy`` file names no model, so its index has no fingerprint.
        ids : array-like of int, shape (n,), optional
            By default the ids in the file, or 0, 1, 2, ... if the file has none.
        n_threads : int, optional

        Raises
        ------
        FileFormatError
            If the file is damaged, or does not hold packed codes.
        ValueError
            If the ids are not whole numbers from 0, or one is repeated.
        OSError
            If the file cannot be read.
        """
        stored = open_codes(path)
        if ids is None and stored.ids is not None:
            if stored.ids.dtype.kind not in "iu":
                raise ValueError(
                    f"{path}: its ids are strings, and those of a HammingIndex whole numbers; use"
                    " KeyedIndex.of_codes"
                )
            ids = stored.ids
        index = cls(stored.n_bits, n_threads=n_threads, fingerprint=stored.fingerprint)
        index.add(stored.codes, ids)
        return index

    def snapshot(self) -> IndexSnapshot:
        """The present state of the index; later changes of the index do not change the snapshot."""
        return IndexSnapshot(
            self._segments,
            self.n_bits,
            n_extra=self.n_extra,
            n_threads=self.n_threads,
            fingerprint=self.fingerprint,
            file=self._file,
        )

    def add(
        self, codes: ArrayLike, ids: ArrayLike | None = None, *, fingerprint: str | None = None
    ) -> None:
        """Add codes: all of them, or none if there is an error.

        Adding takes a few times as long as copying the codes. Codes may be added one by one; large
        batches are faster.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, n_bits // 8)
        ids : array-like of int, shape (n,), optional
            Unique in the index and not negative. By default they continue from the largest id in
            the index (0, 1, 2, ... in an empty index).
        fingerprint : str, optional
            Of the model that made these codes. If the index has a fingerprint, both must be the
            same.

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, an id is negative, not a whole
            number or already taken, or the codes were made by another model.
        """
        if fingerprint is not None:
            self.check_model(fingerprint)
        new_codes = check_codes(codes, n_bits=8 * self.row_bytes)
        n = len(new_codes)
        with self._writing:
            if ids is None:
                first = 1 + max((largest_id(segment) for segment in self._segments), default=-1)
                if first + n > 2**63:
                    raise ValueError("there are no ids left after the largest one; give ids")
                new_ids: range | NDArray[np.int64] = range(first, first + n)
            else:
                new_ids = check_ids(ids, n)
                order = np.argsort(new_ids, kind="stable")
                new_ids, new_codes = new_ids[order], new_codes[order]
                repeated = new_ids[1:][new_ids[1:] == new_ids[:-1]]
                if len(repeated):
                    raise ValueError(
                        f"ids must be unique in the index, but {repeated[0]} is repeated"
                    )
                for segment in self._segments:
                    taken = new_ids[positions_of(segment, new_ids) >= 0]
                    if len(taken):
                        raise ValueError(
                            f"ids must be unique in the index, but {taken[0]} is repeated: the"
                            " index has it already (use update to replace it)"
                        )
            if n:
                self._settle([*self._segments, make_segment(new_codes, new_ids, self.n_extra)])

    def remove(self, ids: ArrayLike) -> None:
        """Remove codes by id: all of them, or none if there is an error.

        Their memory is freed by :meth:`compact`, or when half of a segment's codes are removed.

        Raises
        ------
        ValueError
            If an id is not in the index, or is given twice.
        """
        with self._writing:
            self._settle(self._without(ids))

    def update(self, codes: ArrayLike, ids: ArrayLike) -> None:
        """Replace the codes of ids in the index; a search sees all of the new codes or none.

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, or an id is not in the index or
            is given twice.
        """
        new_codes = check_codes(codes, n_bits=8 * self.row_bytes)
        new_ids = check_ids(ids, len(new_codes))
        with self._writing:
            rest = self._without(new_ids)
            if len(new_ids):
                order = np.argsort(new_ids)
                self._settle([*rest, make_segment(new_codes[order], new_ids[order], self.n_extra)])

    def upsert(self, codes: ArrayLike, ids: ArrayLike, *, fingerprint: str | None = None) -> None:
        """Replace the codes of ids in the index, and add the others; searches see all or none.

        Parameters and errors are the same as for :meth:`add`, but ids may be in the index.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah.search import HammingIndex
        >>> index = HammingIndex(n_bits=8)
        >>> index.add(np.array([[1], [2]], np.uint8), ids=[10, 20])
        >>> index.upsert(np.array([[3], [4]], np.uint8), ids=[20, 30])
        >>> index.get([10, 20, 30]).ravel()
        array([1, 3, 4], dtype=uint8)
        """
        if fingerprint is not None:
            self.check_model(fingerprint)
        new_codes = check_codes(codes, n_bits=8 * self.row_bytes)
        new_ids = check_ids(ids, len(new_codes))
        order = np.argsort(new_ids, kind="stable")
        new_ids, new_codes = new_ids[order], new_codes[order]
        repeated = new_ids[1:][new_ids[1:] == new_ids[:-1]]
        if len(repeated):
            raise ValueError(f"id {repeated[0]} is given twice")
        with self._writing:
            rest = self._without(new_ids[self.holds(new_ids)])
            if len(new_ids):
                self._settle([*rest, make_segment(new_codes, new_ids, self.n_extra)])

    def compact(self) -> None:
        """Merge all codes into one segment and free the memory of removed codes.

        Searches are fastest afterwards. Compacting needs memory for a second copy of the codes.
        """
        with self._writing:
            segments = self._segments
            if len(segments) > 1 or any(s.n_alive < len(s) for s in segments):
                whole = merge(segments, self.n_bits // 8, self.n_extra)
                self._segments = (whole,) if len(whole) else ()

    def build_tables(self) -> None:
        """Build tables that find near codes without comparing the rest; compacts first.

        Multi-index hashing: :class:`sigah.search.multi_index.MultiIndex` says how much memory the
        tables take. Searches use the tables where these are faster than a scan (see
        ``last_search``). Codes added later are scanned. Tables are dropped when their codes are
        merged with others.
        """
        with self._writing:
            self.compact()
            self._segments = tuple(
                replace(
                    segment,
                    tables=MultiIndex(
                        rows_of(segment, living(segment))[:, : self.n_bits // 8],
                        n_threads=self.n_threads,
                        scan_costs=scan_costs(segment.planes, segment.alive),
                    ),
                )
                for segment in self._segments
            )

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the codes and ids to one file, atomically.

        If the process is killed meanwhile, the file is the old one or the new one. Removed codes
        and tables are not written; tables are built again in seconds.

        Parameters
        ----------
        path : str or path-like
            An existing index file is replaced.
        overwrite : bool, default=False
            Whether a file that is not an index may also be replaced.

        Raises
        ------
        ValueError
            If ``path`` is a file of another kind, or the index keeps bytes beside its codes.
        OSError
            If the file cannot be written.
        """
        if self.n_extra:
            raise ValueError(
                "an index with bytes beside its codes has no file of its own; save the VectorIndex"
            )
        save_index(path, *self.content(), overwrite=overwrite)

    def content(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays of a file with the codes that are alive."""
        whole = merge(self._segments, self.n_bits // 8, self.n_extra)
        return header_and_arrays(whole, self.n_bits, self.fingerprint)

    @classmethod
    def open(cls, path: str | PathLike[str], *, n_threads: int | None = None) -> Self:
        """Open an index file by mapping it; the time does not grow with the file.

        The checksum is verified before the first use. Changes of the index do not reach the file
        until :meth:`save`. Replace the file by :meth:`save`, or by moving another file to its name:
        the open index keeps its content. If a program writes into the mapped file or truncates it,
        the next call raises FileFormatError. A call that is running at that moment may return a
        wrong answer; if the file is truncated, the operating system may end the process (SIGBUS).
        :meth:`load` is safe from both.

        Parameters
        ----------
        path : str or path-like
        n_threads : int, optional

        Raises
        ------
        FileFormatError
            If the file is damaged, not an index, or of a newer format. The first call that needs
            the codes finds damage to them.
        OSError
            If the file cannot be read.
        """
        opened = open_index(path)
        if opened.has_keys:
            raise FileFormatError(
                f"cannot open {path}: its ids stand for keys (strings); use KeyedIndex.open"
            )
        return cls.of_file(opened, n_threads=n_threads)

    @classmethod
    def of_file(
        cls,
        opened: IndexFile,
        *,
        n_threads: int | None,
        n_extra: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> Self:
        """An index of the segment in a mapped file; ``check`` follows the check of the checksum."""
        header, path = opened.header, opened.file.path
        try:
            index = cls(
                header["n_bits"],
                n_extra=n_extra,
                n_threads=n_threads,
                fingerprint=header["fingerprint"],
            )
            segment = segment_from(header, opened.arrays, n_extra)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"cannot open {path}: {error}") from error

        def verify_all() -> None:
            opened.verify()
            ids = segment.ids
            if not isinstance(ids, range) and ((ids[1:] <= ids[:-1]).any() or (ids[:1] < 0).any()):
                raise FileFormatError(f"cannot open {path}: its ids are not in ascending order")
            try:
                check()
            except ValueError as error:
                raise FileFormatError(f"cannot open {path}: {error}") from error

        index._current = (segment,) if len(segment) else ()
        index._verify, index._file = verify_all, opened.file
        return index

    @classmethod
    def load(cls, path: str | PathLike[str], *, n_threads: int | None = None) -> Self:
        """Read an index file into memory and verify its checksum; it does not use the file later.

        Parameters and errors are the same as for :meth:`open`.
        """
        index = cls.open(path, n_threads=n_threads)
        index.into_memory()
        return index

    def into_memory(self) -> None:
        """Copy what is mapped from a file."""
        self._segments = tuple(
            make_segment(
                rows_of(s, living(s)),
                s.ids if isinstance(s.ids, range) else s.ids.copy(),
                self.n_extra,
            )
            for s in self._segments
        )
        self._file = None

    def holds(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """Which ids are in the index, for each of them; -1 is not."""
        given = np.asarray(ids)
        if given.ndim != 1 or (len(given) and given.dtype.kind not in "iu"):
            raise ValueError(f"ids must be whole numbers (int64) of shape (n,), got {ids!r:.60}")
        wanted = given.astype(np.int64)
        held = np.zeros(len(wanted), np.bool_)
        for segment in self._segments:
            held |= positions_of(segment, wanted) >= 0
        return held

    def stats(self) -> dict[str, Any]:
        """Sizes of the index, as JSON can hold them.

        Returns
        -------
        dict
            ``n_codes``, ``n_removed`` (still taking memory), ``n_bits``, ``n_segments``,
            ``code_bytes``, ``id_bytes``, ``table_bytes``, ``tables`` (a description, or None) and
            ``fingerprint``.
        """
        segments = self._segments
        tables = [segment.tables for segment in segments if segment.tables is not None]
        return {
            "n_codes": len(self),
            "n_removed": sum(len(segment) - segment.n_alive for segment in segments),
            "n_bits": self.n_bits,
            "n_segments": len(segments),
            "code_bytes": sum(s.planes.nbytes + s.extra.nbytes for s in segments),
            "id_bytes": sum(
                0 if isinstance(segment.ids, range) else segment.ids.nbytes for segment in segments
            ),
            "table_bytes": sum(table.n_bytes for table in tables),
            "tables": tables[0].describe() if tables else None,
            "fingerprint": self.fingerprint,
        }

    @property
    def _segments(self) -> tuple[Segment, ...]:
        """The codes, verified: a mapped file is read whole before its first use, and watched."""
        if self._file is not None:
            self._file.check()
        if self._verify is not None:
            with self._writing:
                if self._verify is not None:
                    self._verify()
                    self._verify = None
        return self._current

    @_segments.setter
    def _segments(self, segments: tuple[Segment, ...]) -> None:
        self._current = segments

    def _settle(self, segments: list[Segment]) -> None:
        """Merge small segments, and make the result the segments of the index."""
        kept: list[Segment] = []
        for segment in segments:
            if not segment.n_alive:
                continue
            if 2 * segment.n_alive < len(segment):
                segment = merge([segment], self.n_bits // 8, self.n_extra)
            kept.append(segment)
        while len(kept) > 1 and kept[-2].n_alive < GROWTH * kept[-1].n_alive:
            kept[-2:] = [merge(kept[-2:], self.n_bits // 8, self.n_extra)]
        self._segments = tuple(kept)

    def _without(self, ids: ArrayLike) -> list[Segment]:
        unwanted = check_ids(ids)
        in_order = np.sort(unwanted)
        twice = in_order[1:][in_order[1:] == in_order[:-1]]
        if len(twice):
            raise ValueError(f"id {twice[0]} is given twice")
        missing = np.ones(len(unwanted), np.bool_)
        rest = []
        for segment in self._segments:
            positions = positions_of(segment, unwanted)
            missing &= positions < 0
            held = positions[positions >= 0]
            rest.append(without(segment, held) if len(held) else segment)
        if missing.any():
            raise ValueError(f"id {unwanted[missing][0]} is not in the index")
        return rest


def _free_locks() -> None:
    """Make new locks: a forked child does not have the thread that held the old ones.

    The child loses an unfinished write of that thread and has the index as it was before: segments
    never change, and a writer replaces them only when it is done.
    """
    for index in list(_with_locks):
        index._make_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks)
