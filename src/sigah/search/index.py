"""The index: codes with ids, their exact neighbours, and all that a collection lives through."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_whole
from sigah.codes import check_codes, check_n_bits
from sigah.files import FileFormatError, open_index, save_index
from sigah.search import answers, flat
from sigah.search.checks import check_ids
from sigah.search.index_files import header_and_arrays, segment_from
from sigah.search.multi_index import MultiIndex
from sigah.search.segment import (
    Segment,
    ids_of,
    largest_id,
    living,
    make_segment,
    merge,
    positions_of,
    rows_of,
    without,
)
from sigah.search.selection import selected
from sigah.search.threads import available_threads

__all__ = ["HammingIndex"]

MAX_BITS = 65528  # the widest codes whose distances fit in uint16

# A segment is merged with the one before it unless that one is so many times as large: the number
# of segments grows with the logarithm of the codes, and a code is copied as many times.
GROWTH = 4


class HammingIndex:
    """Exact nearest neighbours of packed codes under the Hamming distance.

    Neighbours are ordered by distance and, where distances tie, by ascending id. Answers depend on
    the codes, their ids and the query, and on nothing else: not on the order of additions, the
    number of threads, or the path that a search takes.

    Any number of threads may search while one adds, removes or updates; a search answers from the
    collection as it was when the search began. Writers wait for each other.

    Parameters
    ----------
    n_bits : int
        Width of the codes, a multiple of 8 and at most 65,528.
    n_threads : int, optional
        Threads that a search may use; by default as many as there are cores.
    fingerprint : str, optional
        Identity of the model that made the codes (``hasher.fingerprint``); files carry it.

    Attributes
    ----------
    last_search : dict
        Which way the latest search took: how many queries were answered from ``tables`` and how
        many by a ``scan``.

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
    >>> index.search(np.array([[0b0011]], np.uint8), k=2, filter=index.ids > 10)
    (array([[         1, 2147483647]], dtype=int32), array([[30, -1]]))
    """

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_threads: int | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.n_bits = check_n_bits(n_bits)
        if n_bits > MAX_BITS:
            raise ValueError(f"codes can have at most {MAX_BITS} bits, got {n_bits}")
        self.n_threads = (
            available_threads()
            if n_threads is None
            else check_whole(n_threads, "n_threads", least=1)
        )
        self.fingerprint = fingerprint
        # Segments never change; a writer puts a new tuple in the place of the old one, and a reader
        # that took the old one goes on with it.
        self._current: tuple[Segment, ...] = ()
        self._verify: Callable[[], None] | None = None  # what is left to do for a mapped file
        self._writing = threading.RLock()
        self.last_search: dict[str, Any] = {}

    def __len__(self) -> int:
        return sum(segment.n_alive for segment in self._segments)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, (int, np.integer)) or not 0 <= item < 2**63:
            return False
        ids = np.array([item], np.int64)
        return any(positions_of(segment, ids)[0] >= 0 for segment in self._segments)

    def __repr__(self) -> str:
        return f"<HammingIndex: {len(self):,} codes of {self.n_bits} bits>"

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids held, ascending: a mask made from them is a filter of :meth:`search`."""
        return ids_of(self._segments)

    def add(self, codes: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Add codes; either all of them are added or, on an error, none.

        Adding costs what copying the added codes costs, a few times over: codes may come one by
        one, but come fastest in large batches.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, n_bits // 8)
        ids : array-like of int, shape (n,), optional
            Identifiers, unique in the index and not negative. By default they count on from the
            largest id held (0, 1, 2, ... in an empty index).

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, or an id is negative, not a whole
            number or already taken.
        """
        new_codes = check_codes(codes, n_bits=self.n_bits)
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
                            f"ids must be unique in the index, but {taken[0]} is repeated: it is"
                            " held already (update replaces codes)"
                        )
            if n:
                self._settle([*self._segments, make_segment(new_codes, new_ids)])

    def remove(self, ids: ArrayLike) -> None:
        """Remove codes by id; either all of them or, on an error, none.

        Their memory is free again when :meth:`compact` is called or when half of the codes that
        were added together are removed.

        Raises
        ------
        ValueError
            If an id is not in the index, or is given twice.
        """
        with self._writing:
            self._settle(self._without(ids))

    def update(self, codes: ArrayLike, ids: ArrayLike) -> None:
        """Replace the codes of ids that are in the index; searches see all of it or nothing.

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, or an id is not in the index or
            is given twice.
        """
        new_codes = check_codes(codes, n_bits=self.n_bits)
        new_ids = check_ids(ids, len(new_codes))
        with self._writing:
            rest = self._without(new_ids)
            if len(new_ids):
                order = np.argsort(new_ids)
                self._settle([*rest, make_segment(new_codes[order], new_ids[order])])

    def get(self, ids: ArrayLike) -> NDArray[np.uint8]:
        """Codes by id.

        Parameters
        ----------
        ids : array-like of int, shape (m,)
            In any order; an id may be given more than once.

        Returns
        -------
        codes : ndarray of uint8, shape (m, n_bits // 8)

        Raises
        ------
        ValueError
            If an id is not in the index.
        """
        wanted = check_ids(ids)
        codes = np.empty((len(wanted), self.n_bits // 8), np.uint8)
        missing = np.ones(len(wanted), np.bool_)
        for segment in self._segments:
            positions = positions_of(segment, wanted)
            held = positions >= 0
            codes[held] = rows_of(segment, positions[held])
            missing &= ~held
        if missing.any():
            raise ValueError(f"id {wanted[missing][0]} is not in the index")
        return codes

    def compact(self) -> None:
        """Bring all codes into one piece and give back the memory of removed ones.

        Searches are fastest then. It needs the memory of a second copy while it works.
        """
        with self._writing:
            segments = self._segments
            if len(segments) > 1 or any(s.n_alive < len(s) for s in segments):
                whole = merge(segments, self.n_bits // 8)
                self._segments = (whole,) if len(whole) else ()

    def build_tables(self) -> None:
        """Build tables that find near codes without a look at the others; compacts first.

        Multi-index hashing: :class:`sigah.search.multi_index.MultiIndex` says what they cost.
        Searches use them where they are the faster way (:meth:`search` says so in ``last_search``);
        codes added later are scanned, and tables last until their codes are merged or removed.
        """
        with self._writing:
            self.compact()
            self._segments = tuple(
                replace(
                    segment,
                    tables=MultiIndex(
                        rows_of(segment, living(segment)),
                        n_threads=self.n_threads,
                        scan_costs=flat.scan_costs(segment.planes, segment.alive),
                    ),
                )
                for segment in self._segments
            )

    def search(
        self,
        codes: ArrayLike,
        k: int,
        *,
        filter: ArrayLike | None = None,
        metric: str = "hamming",
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Find the ``k`` nearest codes of each query.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Queries.
        k : int
            Neighbours wanted, at least 1.
        filter : array-like, optional
            Which codes may be found: their ids (ids that are not held are passed over), or a
            boolean mask beside :attr:`ids`, as ``index.ids % 2 == 0`` is one.
        metric : {"hamming", "spherical"}, default="hamming"
            "spherical" is :func:`spherical_distances`, made for the codes of spherical hashing.

        Returns
        -------
        distances : ndarray of int32, shape (q, k); float32 for the spherical metric
            Ascending. Places beyond the number of codes that may be found hold 2147483647, as in
            FAISS; infinity for the spherical metric.
        ids : ndarray of int64, shape (q, k)
            Places beyond that number hold -1.

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, ``k`` is not a positive whole
            number, the filter does not fit the index, or the metric is unknown.
        FileFormatError
            If the file that the index was opened from proves damaged.
        """
        if metric not in ("hamming", "spherical"):
            raise ValueError(f"metric must be 'hamming' or 'spherical', got {metric!r}")
        queries = check_codes(codes, n_bits=self.n_bits)
        k = check_whole(k, "k", least=1)
        parts = selected(self._segments, filter)
        if metric == "spherical":
            return answers.spherical_nearest(parts, queries, k)
        found, self.last_search = answers.nearest(parts, queries, k, self.n_threads)
        return found

    def range_search(
        self, codes: ArrayLike, radius: int, *, filter: ArrayLike | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """Find all codes in the Hamming ball of each query.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Queries.
        radius : int
            The greatest distance accepted, at least 0. (FAISS's own ``range_search`` of binary
            codes leaves out the codes at the radius itself.)
        filter : array-like, optional
            As in :meth:`search`.

        Returns
        -------
        lims : ndarray of int64, shape (q + 1,)
            The neighbours of query ``i`` are those from ``lims[i]`` up to ``lims[i + 1]``.
        distances : ndarray of int32, shape (lims[-1],)
            Ascending within a query.
        ids : ndarray of int64, shape (lims[-1],)

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, ``radius`` is not a whole
            number of at least 0, or the filter does not fit the index.
        FileFormatError
            If the file that the index was opened from proves damaged.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah.search import HammingIndex
        >>> index = HammingIndex(n_bits=8)
        >>> index.add(np.array([[0], [1], [3], [255]], np.uint8))
        >>> index.range_search(np.array([[0], [254]], np.uint8), radius=1)
        (array([0, 2, 3]), array([0, 1, 1], dtype=int32), array([0, 1, 3]))
        """
        queries = check_codes(codes, n_bits=self.n_bits)
        radius = min(check_whole(radius, "radius", least=0), self.n_bits)
        parts = selected(self._segments, filter)
        balls, self.last_search = answers.within(parts, queries, radius, self.n_threads)
        return balls

    def save(self, path: str | PathLike[str]) -> None:
        """Write the codes and ids to one file, atomically.

        Also if the process is killed meanwhile, the file is the old one or the new one. Removed
        codes are left out. Tables are not written; they are built again in seconds.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        whole = merge(self._segments, self.n_bits // 8)
        save_index(path, *header_and_arrays(whole, self.n_bits, self.fingerprint))

    @classmethod
    def open(
        cls, path: str | PathLike[str], *, mmap: bool = True, n_threads: int | None = None
    ) -> Self:
        """Open an index file.

        Parameters
        ----------
        path : str or path-like
        mmap : bool
            Map the file, which takes no time and no memory of its own; its checksum is verified
            before the first use. Otherwise the file is read and verified at once. Either way the
            index can be changed, which leaves the file alone until :meth:`save`.
        n_threads : int, optional

        Raises
        ------
        FileFormatError
            If the file is damaged, not an index, or of a newer format; with ``mmap``, damage to
            the codes is found by the first call that needs them.
        OSError
            If the file cannot be read.
        """
        header, arrays, verify = open_index(path)
        try:
            index = cls(header["n_bits"], n_threads=n_threads, fingerprint=header["fingerprint"])
            segment = segment_from(header, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"cannot open {path}: {error}") from error

        def verify_all() -> None:
            verify()
            ids = segment.ids
            if not isinstance(ids, range) and ((ids[1:] <= ids[:-1]).any() or (ids[:1] < 0).any()):
                raise FileFormatError(f"cannot open {path}: its ids do not ascend")

        index._current = (segment,) if len(segment) else ()
        index._verify = verify_all
        if not mmap:
            index._current = tuple(
                make_segment(rows_of(s, living(s)), s.ids) for s in index._segments
            )
        return index

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
            "code_bytes": sum(segment.planes.nbytes for segment in segments),
            "id_bytes": sum(
                0 if isinstance(segment.ids, range) else segment.ids.nbytes for segment in segments
            ),
            "table_bytes": sum(table.n_bytes for table in tables),
            "tables": tables[0].describe() if tables else None,
            "fingerprint": self.fingerprint,
        }

    @property
    def _segments(self) -> tuple[Segment, ...]:
        """The codes, verified: a mapped file is read whole before anything is made of it."""
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
        """Take these segments for the index, after merging what should be merged."""
        kept: list[Segment] = []
        for segment in segments:
            if not segment.n_alive:
                continue
            if 2 * segment.n_alive < len(segment):
                segment = merge([segment], self.n_bits // 8)
            kept.append(segment)
        while len(kept) > 1 and kept[-2].n_alive < GROWTH * kept[-1].n_alive:
            kept[-2:] = [merge(kept[-2:], self.n_bits // 8)]
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
