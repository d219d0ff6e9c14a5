"""The searches of an index, and snapshots: states of an index that never change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_whole
from sigah.codes import check_codes
from sigah.files.unchanged import Unchanged
from sigah.search.checks import check_ids, check_k
from sigah.search.merging import WithinRadius
from sigah.search.score_search import (
    check_factors,
    check_projections,
    check_tables,
    nearest_by_scores,
    rank_shortlist,
    small_tables,
)
from sigah.search.segment import Segment, ids_of, positions_of, rows_of
from sigah.search.segment_search import (
    nearest_in_segments,
    spherical_nearest_in_segments,
    within_in_segments,
)
from sigah.search.selection import (
    MASK_REFUSED,
    Candidates,
    Filter,
    Selection,
    bits_of_mask,
    candidates_of_bits,
    every_code,
    is_mask,
)

__all__ = ["CodeSearch", "IndexSnapshot"]


class CodeSearch(ABC):
    """Searches of an index and of its snapshots; both are made of segments of codes.

    Attributes
    ----------
    n_bits : int
    n_extra : int
        Bytes that are kept beside each code and not compared.
    n_threads : int
    fingerprint : str or None
        Identity of the model that made the codes; None if it is not known.
    last_search : dict
        How many queries of the latest search were answered from ``tables``, and how many by a
        ``scan``. With several threads, the search that ended last counts.
    """

    n_bits: int
    n_extra: int
    n_threads: int
    fingerprint: str | None
    last_search: dict[str, int]

    @property
    @abstractmethod
    def _segments(self) -> tuple[Segment, ...]:
        """The codes, verified."""

    @abstractmethod
    def snapshot(self) -> IndexSnapshot:
        """The present state of the index; later changes of the index do not change the snapshot."""

    @property
    def row_bytes(self) -> int:
        """Bytes of a code and of what is kept beside it."""
        return self.n_bits // 8 + self.n_extra

    def __len__(self) -> int:
        return sum(segment.n_alive for segment in self._segments)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, (int, np.integer)) or not 0 <= item < 2**63:
            return False
        ids = np.array([item], np.int64)
        return any(positions_of(segment, ids)[0] >= 0 for segment in self._segments)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} codes of {self.n_bits} bits>"

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of the codes, ascending."""
        return ids_of(self._segments)

    def get(self, ids: ArrayLike) -> NDArray[np.uint8]:
        """Codes by id.

        Parameters
        ----------
        ids : array-like of int, shape (m,)
            In any order; an id may be given more than once.

        Returns
        -------
        codes : ndarray of uint8, shape (m, n_bits // 8)
            With the bytes kept beside the codes, if there are any.

        Raises
        ------
        ValueError
            If an id is not in the index.
        """
        wanted = check_ids(ids)
        codes = np.empty((len(wanted), self.row_bytes), np.uint8)
        missing = np.ones(len(wanted), np.bool_)
        for segment in self._segments:
            positions = positions_of(segment, wanted)
            held = positions >= 0
            codes[held] = rows_of(segment, positions[held])
            missing &= ~held
        if missing.any():
            raise ValueError(f"id {wanted[missing][0]} is not in the index")
        return codes

    def search(
        self,
        codes: ArrayLike,
        k: int,
        *,
        filter: Filter | Selection | None = None,
        metric: str = "hamming",
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Find the ``k`` nearest codes of each query.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Queries.
        k : int
            Neighbours wanted, at least 1. It may exceed the number of codes, up to 65,536.
        filter : array-like, callable or Selection, optional
            Which codes may be found:

            - their ids; ids that are not in the index are ignored;
            - a function from an array of ids to a boolean for each: ``lambda ids: ids % 2 == 0``;
            - either of them prepared by :meth:`select`, which is faster from the second search on;
            - for a snapshot only, a boolean mask with a value for each of its :attr:`ids`. An index
              refuses masks: its ids may have changed since the mask was made.
        metric : {"hamming", "spherical"}, default="hamming"
            "spherical" is :func:`spherical_distances`, made for the codes of spherical hashing.

        Returns
        -------
        distances : ndarray of int32, shape (q, k); float32 for the spherical metric
            Ascending. If fewer than ``k`` codes may be found, the rest is 2147483647, as in FAISS,
            or infinity for the spherical metric.
        ids : ndarray of int64, shape (q, k)
            The rest is -1.

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, ``k`` is not a whole number in its
            range, the filter is of another kind, or the metric is unknown.
        FileFormatError
            If the file that the index was opened from proves damaged.
        """
        if metric not in ("hamming", "spherical"):
            raise ValueError(f"metric must be 'hamming' or 'spherical', got {metric!r}")
        queries = check_codes(codes, n_bits=self.n_bits)
        k = check_k(k, self)
        candidates = self._candidates(filter, len(queries))
        if metric == "spherical":
            return spherical_nearest_in_segments(candidates, queries, k)
        found, self.last_search = nearest_in_segments(candidates, queries, k, self.n_threads)
        return found

    def search_tables(
        self,
        tables: ArrayLike,
        k: int,
        *,
        codes: ArrayLike | None = None,
        shortlist: int | None = None,
        factors: ArrayLike | None = None,
        filter: Filter | Selection | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the ``k`` nearest codes by a sum of table entries, one for each byte of a code.

        The distance of a code from query ``i`` is
        ``factors[code[-1]] * sum(tables[i, j, code[j]] for j in range(n_bytes))``. Asymmetric
        distances, distances from decoded vectors and product quantisation have this form (Jegou,
        Douze and Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 2011).

        Parameters
        ----------
        tables : array-like of float, shape (q, n_bits // 8 + n_extra, 256)
            What each value of each byte adds to the distance from each query, as float32. The
            bytes kept beside a code follow those of the code.
        k : int
            Neighbours wanted, at least 1.
        codes : array-like of uint8, shape (q, m), optional
            The shortlist is then of the codes whose first ``m`` bytes are nearest to these in
            Hamming distance; ties by ascending id. ``m`` is at most ``n_bits // 8``.
        shortlist : int, optional
            Rank a shortlist of this length, at least ``k``, instead of the whole index. Without
            ``codes``, it is of the codes that are nearest by a coarse copy of the tables, a sum of
            two small whole numbers for each byte; what is kept beside the codes is left out.
        factors : array-like of float, shape (256,), optional
            Factor of the distance for each value of a code's last byte; by default 1.
        filter : array-like, callable or Selection, optional
            As in :meth:`search`.

        Returns
        -------
        distances : ndarray of float32, shape (q, k)
            Ascending; equal codes have equal distances. Where fewer than ``k`` codes may be found,
            the rest is infinity.
        ids : ndarray of int64, shape (q, k)
            Ascending where distances tie. The rest is -1.

        Raises
        ------
        ValueError
            If an array has another shape or dtype, a distance is not a number, ``k`` or
            ``shortlist`` is not a whole number in its range, or :meth:`search` does not accept the
            filter.
        FileFormatError
            If the file that the index was opened from proves damaged.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah.search import HammingIndex
        >>> index = HammingIndex(n_bits=16)
        >>> index.add(np.array([[0, 7], [1, 5], [255, 2]], np.uint8))
        >>> tables = np.zeros((1, 2, 256))
        >>> tables[0, 1] = np.arange(256)  # the second byte itself is the distance
        >>> index.search_tables(tables, k=2)
        (array([[2., 5.]], dtype=float32), array([[2, 1]]))
        >>> index.search_tables(tables, k=2, codes=np.array([[0]], np.uint8), shortlist=2)
        (array([[5., 7.]], dtype=float32), array([[1, 0]]))
        """
        entries = check_tables(tables, self.row_bytes)
        return self._search_scores(entries, check_factors(factors), k, codes, shortlist, filter)

    def search_asymmetric(
        self,
        projections: ArrayLike,
        k: int,
        *,
        codes: ArrayLike | None = None,
        shortlist: int | None = None,
        filter: Filter | Selection | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the ``k`` nearest codes of each query by :func:`asymmetric_distances`.

        Parameters
        ----------
        projections : array-like of float, shape (q, n_bits)
            Queries, as ``hasher.project`` returns them.
        k : int
            Neighbours wanted, at least 1.
        codes, shortlist, filter
            As in :meth:`search_tables`, but a shortlist needs codes. Without both, the answer is
            exact over all codes.

        Returns
        -------
        distances : ndarray of float32, shape (q, k)
            Ascending, in units of the projections. Where fewer than ``k`` codes may be found, the
            rest is infinity.
        ids : ndarray of int64, shape (q, k)
            Ascending where distances tie. The rest is -1.

        Raises
        ------
        ValueError
            If the projections are not finite numbers, one for each bit, or as in
            :meth:`search_tables`.
        FileFormatError
            If the file that the index was opened from proves damaged.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah.search import HammingIndex
        >>> index = HammingIndex(n_bits=8)
        >>> index.add(np.array([[0b11], [0b10], [0b01]], np.uint8))
        >>> query = np.array([[-3.0, -3.0, -3.0, -3.0, -3.0, -3.0, 2.0, 0.5]])
        >>> index.search_asymmetric(query, k=2)
        (array([[0. , 0.5]], dtype=float32), array([[0, 1]]))
        """
        scores = check_projections(projections, self.n_bits)
        return self._search_scores(scores, check_factors(None), k, codes, shortlist, filter)

    def _search_scores(
        self,
        views: NDArray[np.float32],
        factors: NDArray[np.float32],
        k: int,
        codes: ArrayLike | None,
        shortlist: int | None,
        filter: Filter | Selection | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Search by tables or projections, in the form that kernels take."""
        k = check_k(k, self)
        if shortlist is None and codes is not None:
            raise ValueError("codes need a shortlist: give its length, or no codes")
        if codes is None and shortlist is not None and views.ndim == 2:
            raise ValueError("a shortlist by projections needs codes: give those of the queries")
        if shortlist is None:
            candidates = self._candidates(filter, len(views))
            self.last_search = {"tables": 0, "scan": len(views)}
            return nearest_by_scores(candidates, views, factors, k, self.n_threads)
        length = check_whole(shortlist, "shortlist", least=k)
        if codes is None:
            queries = small_tables(views, self.n_bits // 8)
        else:
            queries = check_codes(codes)
            if len(queries) != len(views) or queries.shape[1] * 8 > self.n_bits:
                raise ValueError(
                    f"codes must have shape ({len(views)}, m), one row for each query and at most"
                    f" {self.n_bits // 8} bytes, got {queries.shape}"
                )
        candidates = self._candidates(filter, len(queries))
        found, self.last_search = rank_shortlist(
            candidates, queries, length, views, factors, k, self.n_threads
        )
        return found

    def range_search(
        self, codes: ArrayLike, radius: int, *, filter: Filter | Selection | None = None
    ) -> WithinRadius:
        """Find all codes within a Hamming distance of each query.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
            Queries.
        radius : int
            The greatest distance accepted, at least 0. (FAISS's own ``range_search`` of binary
            codes leaves out the codes at the radius itself.)
        filter : array-like, callable or Selection, optional
            As in :meth:`search`.

        Returns
        -------
        lims : ndarray of int64, shape (q + 1,)
            The neighbours of query ``i`` are those from ``lims[i]`` up to ``lims[i + 1]``.
        distances : ndarray of int32, shape (lims[-1],)
            Ascending within a query; where distances tie, ids ascend.
        ids : ndarray of int64, shape (lims[-1],)

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, ``radius`` is not a whole
            number of at least 0, or :meth:`search` does not accept the filter.
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
        candidates = self._candidates(filter, len(queries))
        found, self.last_search = within_in_segments(candidates, queries, radius, self.n_threads)
        return found

    def select(self, filter: Filter) -> Selection:
        """Prepare a filter for many searches.

        Parameters
        ----------
        filter : array-like or callable
            As in :meth:`search`.

        Returns
        -------
        Selection
            A filter for :meth:`search` and :meth:`range_search`, of this index and of others.

        Raises
        ------
        ValueError
            If :meth:`search` does not accept the filter.
        """
        selection = Selection(self.ids_of_mask(filter))
        selection.candidates(self._segments)
        return selection

    def check_model(self, model: Any) -> None:
        """Refuse a model that did not make the codes: distances between them would mean nothing.

        Without a fingerprint of the index or of the model, nothing is checked.

        Parameters
        ----------
        model : str or object
            A fingerprint, or a fitted hasher that has one.

        Raises
        ------
        ValueError
            If the fingerprints differ.
        """
        other = model if isinstance(model, str) else getattr(model, "fingerprint", None)
        if self.fingerprint is not None and other is not None and other != self.fingerprint:
            raise ValueError(
                f"the index holds codes of another model (fingerprint {self.fingerprint}, this"
                f" one has {other}); use the model that made the codes, or encode the vectors again"
            )

    def _candidates(self, filter: Filter | Selection | None, n_queries: int) -> list[Candidates]:
        if filter is None:
            return every_code(self._segments)
        if isinstance(filter, Selection):
            return filter.candidates(self._segments)
        return Selection(self.ids_of_mask(filter)).candidates_once(self._segments, n_queries)

    def ids_of_mask(self, filter: Filter) -> Filter:
        """The filter, or the ids that a mask beside :attr:`ids` chooses; an index refuses masks."""
        if is_mask(filter):
            raise ValueError(
                f"{MASK_REFUSED} (lambda ids: ids % 2 == 0), or search index.snapshot(), which"
                " takes masks over its ids"
            )
        return filter


class IndexSnapshot(CodeSearch):
    """A state of an index that never changes; made by :meth:`HammingIndex.snapshot`.

    A snapshot takes no time and no memory of its own. Filters may be boolean masks over
    :attr:`ids`. Any number of threads may search it while the index changes.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.search import HammingIndex
    >>> index = HammingIndex(n_bits=8)
    >>> index.add(np.array([[0b0000], [0b0111], [0b0001]], np.uint8), ids=[10, 20, 30])
    >>> snapshot = index.snapshot()
    >>> index.remove([20])
    >>> snapshot.search(np.array([[0b0011]], np.uint8), k=1, filter=snapshot.ids < 30)
    (array([[1]], dtype=int32), array([[20]]))
    """

    def __init__(
        self,
        segments: tuple[Segment, ...],
        n_bits: int,
        *,
        n_extra: int = 0,
        n_threads: int,
        fingerprint: str | None,
        file: Unchanged | None = None,
    ) -> None:
        self._held = segments
        self._file = file  # the file that some of the codes may be mapped from
        self.n_bits = n_bits
        self.n_extra = n_extra
        self.n_threads = n_threads
        self.fingerprint = fingerprint
        self.last_search = {}

    def __copy__(self) -> Self:
        return self  # it never changes

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}  # a pickle has codes of its own

    @property
    def _segments(self) -> tuple[Segment, ...]:
        if self._file is not None:
            self._file.check()
        return self._held

    def snapshot(self) -> Self:
        """The snapshot itself."""
        return self

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The ids of the codes, ascending and read-only; a boolean mask over them is a filter."""
        ids = ids_of(self._held)
        ids.flags.writeable = False
        return ids

    def _candidates(self, filter: Filter | Selection | None, n_queries: int) -> list[Candidates]:
        if len(self._segments) != 1 or filter is None or isinstance(filter, Selection):
            return super()._candidates(filter, n_queries)
        if callable(filter) or (mask := np.asarray(filter)).dtype != np.bool_:
            return super()._candidates(filter, n_queries)
        (segment,) = self._held
        self._check_mask(mask)
        found = candidates_of_bits(segment, *bits_of_mask(segment, mask), n_queries)
        return [] if found is None else [found]

    def ids_of_mask(self, filter: Filter) -> Filter:
        """The filter, or the ids that a mask beside :attr:`ids` chooses."""
        if callable(filter) or (mask := np.asarray(filter)).dtype != np.bool_:
            return filter
        self._check_mask(mask)
        chosen: NDArray[np.int64] = self.ids[mask]
        return chosen

    def _check_mask(self, mask: NDArray[np.bool_]) -> None:
        if mask.shape != (len(self),):
            raise ValueError(
                f"filter: a mask must have shape ({len(self)},), one boolean for each of the"
                f" snapshot's ids, got {mask.shape}"
            )
