"""Vectors in, ids and distances out: an index that keeps a few bytes of each vector."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import astuple
from functools import partial
from os import PathLike
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_random_state, check_whole
from sigah.files import FileFormatError, save_index
from sigah.files.indexes import IndexFile, open_index
from sigah.hashers import BinaryHasher
from sigah.metric import check_metric, check_same_metric
from sigah.progress import phase
from sigah.refinement.refined_codes import TRAINING_ROWS, RefinedCodes
from sigah.refinement.shortlists import Shortlist, ShortlistCalibration, doubled, share_found
from sigah.rows.blocks import LARGEST, Rows, RowSource
from sigah.rows.dtypes import check_rows
from sigah.rows.sampling import sample_rows
from sigah.search import HammingIndex, IndexSnapshot, Selection
from sigah.search.checks import check_k
from sigah.search.compiled import score_kernels
from sigah.search.keys import KEY_ARRAYS
from sigah.search.layout import MAX_BITS, MISSING_ID
from sigah.search.rerank import check_target, check_truth
from sigah.search.scoring import compared, vector_distances
from sigah.search.selection import MASK_REFUSED, Filter, is_mask
from sigah.shares import share_interval

__all__ = ["VectorIndex"]

LEAST_BYTES = 4
LEAST_DIM = 8
LEAST_ROWS = 16
QUERY_BYTES = 1 << 21  # tables of queries at a time, for each thread: they stay in the cache
CALIBRATION_QUERIES = 256
CALIBRATION_ROWS = 1 << 26  # most rows that all calibration queries rank
KEPT = 0.99  # share of the whole ranking that the default shortlists keep
NEAREST, RANKED = 10, 100  # neighbours that a search returns, and that original vectors rank
SHORTEST = 110  # of the shortlists that are tried; each is twice as long as the one before
CANDIDATES = 1 << 22  # that original vectors rank at a time
OF_ROWS = {"planes", "extra", "ids", *KEY_ARRAYS}  # the other arrays of a file are of the model

Found = tuple[NDArray[np.float32], NDArray[np.int64]]  # distances and ids, (q, k)
Source = Any | Callable[[NDArray[np.int64]], ArrayLike]


class VectorIndex:
    """Nearest neighbours of vectors, from a few bytes of each.

    Tables say what each byte adds to the distance from a query (:class:`RefinedCodes`). A search
    scans the codes with a coarse copy of their tables, and ranks a shortlist by all bytes. It
    may then rank the best again by the original vectors.

    Threads, copies, pickles and forks behave as those of :class:`HammingIndex`.

    Parameters
    ----------
    refined : RefinedCodes
        Fitted. Most users call :meth:`build`.
    n_threads : int, optional
        Threads that a search may use; by default as many as there are cores.

    Attributes
    ----------
    refined : RefinedCodes
        The hasher and the codebooks.
    metric : str
        "l2" (distances are squared), "cosine" (``1 - cos``) or "ip" (``-<q, x>``).
    n_bytes : int
        Bytes of a row.
    bytes_per_vector : float
        All that is kept of a vector: its row, and 8 bytes for its id unless ids are consecutive.
    shortlist : int
        Candidates that a search ranks. It grows with the index, as the rank of a true neighbour
        among the codes does. If you set it, it is the wide one too.
    wide_shortlist : int
        Candidates that a search ranks where original vectors rank the best of these once more.

    See Also
    --------
    KeyedVectorIndex : Strings in place of ids.
    HammingIndex : Codes in, ids and distances out.
    TwoStageSearch : Candidates of a HammingIndex, ranked by a better distance.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import VectorIndex
    >>> vectors = np.random.default_rng(0).normal(size=(2000, 32)).astype(np.float32)
    >>> index = VectorIndex.build(vectors, n_bytes=16, metric="cosine", random_state=0)
    >>> distances, ids = index.search(vectors[:2], k=3)
    >>> ids[:, 0], index.bytes_per_vector
    (array([0, 1]), 16.0)
    """

    def __init__(self, refined: RefinedCodes, *, n_threads: int | None = None) -> None:
        if not isinstance(refined, RefinedCodes):
            raise ValueError(f"refined must be fitted RefinedCodes, got {refined!r}")
        self.refined = copy(refined)  # to fit the given one again changes no index
        self._index = _empty_index(refined, n_threads)
        self._alone = self._wide = Shortlist(1000, 0.0)

    @classmethod
    def of(cls, other: VectorIndex) -> Self:
        """An empty index with the model, the shortlists and the threads of another."""
        if not isinstance(other, VectorIndex):
            raise ValueError(f"other must be an index of vectors, got {type(other).__name__}")
        index = cls(other.refined, n_threads=other.n_threads)
        index._alone, index._wide = other._alone, other._wide
        return index

    @classmethod
    def build(
        cls,
        vectors: ArrayLike,
        n_bytes: int = 16,
        *,
        metric: str = "cosine",
        hasher: BinaryHasher | None = None,
        ids: ArrayLike | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> Self:
        """Learn from vectors, add them, and choose how many candidates a search ranks.

        Parameters
        ----------
        vectors : array-like, shape (n, d)
            Or a memory map, or what :func:`sigah.rows.load_vectors` returns; read in blocks.
        n_bytes : int, default=16
            Bytes of a vector, at least 4. Half of them are a learned code, which searches scan; the
            others refine it.
        metric : {"cosine", "l2", "ip"}
        hasher : BinaryHasher, optional
            Fitted with the same metric; its code takes the place of the learned one, and must
            leave room for bytes that refine it.
        ids : array-like of int, shape (n,), optional
            By default 0, 1, 2, ...
        random_state : int, RandomState or None
        n_threads : int, optional
        verbose : bool, default=False
            Whether to show progress.

        Returns
        -------
        VectorIndex

        Raises
        ------
        ValueError
            If the vectors are not finite numbers, have fewer than 8 dimensions, are too few to
            learn from or smaller than ``n_bytes``, or a parameter is out of range.
        MissingLibraryError
            If scikit-learn is not installed: learning needs it, searching does not.
        """
        metric = check_metric(metric)
        n_bytes = check_whole(n_bytes, "n_bytes", least=LEAST_BYTES)
        if n_bytes > MAX_BITS // 8:
            raise ValueError(f"n_bytes can be at most {MAX_BITS // 8}, got {n_bytes}")
        random_state = check_random_state(random_state)
        rows = Rows(check_rows(vectors, "vectors"), largest=LARGEST, name="vectors")
        if rows.dim < LEAST_DIM:
            raise ValueError(
                f"vectors have {rows.dim} dimensions; an index in a few bytes needs at least"
                f" {LEAST_DIM}: search such short vectors as they are"
            )
        if n_bytes > 4 * rows.dim:
            raise ValueError(
                f"vectors have {4 * rows.dim} bytes as float32, fewer than the {n_bytes} bytes"
                " (n_bytes) of a row: choose fewer, or keep the vectors as they are"
            )
        if len(rows) < LEAST_ROWS:
            raise ValueError(
                f"vectors must have at least {LEAST_ROWS} rows to learn from, got {len(rows)}"
            )
        drawn = sample_rows(rows, TRAINING_ROWS, random_state)
        if hasher is None:
            refined = RefinedCodes(None, n_bytes, metric=metric)
        else:
            refined = RefinedCodes(hasher, n_bytes)
            check_same_metric(hasher, metric, "the index")
        refined.fit(drawn, random_state=random_state, verbose=verbose)
        index = cls(refined, n_threads=n_threads)
        with phase("encoding", show=verbose):
            index.add(vectors, ids)
        with phase("choosing the shortlist", show=verbose):
            index._choose_shortlists(drawn, random_state)
        return index

    @property
    def metric(self) -> str:
        """The metric of the distances."""
        return self.refined.metric

    @property
    def n_bytes(self) -> int:
        """Bytes of a row."""
        return self.refined.n_bytes

    @property
    def n_threads(self) -> int:
        """Threads that a search may use."""
        return self._index.n_threads

    @property
    def bytes_per_vector(self) -> float:
        """All that is kept of a vector: its row, and its id unless ids are consecutive."""
        stored = self._index.stats()["id_bytes"]
        return self.n_bytes + stored / max(1, len(self))

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of the vectors, ascending."""
        return self._index.ids

    @property
    def shortlist(self) -> int:
        """Candidates that a search ranks."""
        return self._alone.among(len(self))

    @shortlist.setter
    def shortlist(self, candidates: int) -> None:
        self._alone = self._wide = Shortlist.of(candidates, len(self))

    @property
    def wide_shortlist(self) -> int:
        """Candidates that a search ranks, of which original vectors rank the best once more."""
        return self._wide.among(len(self))

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, item: object) -> bool:
        return item in self._index

    def __repr__(self) -> str:
        return f"<VectorIndex: {len(self):,} vectors in {self.n_bytes} bytes each, {self.metric}>"

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, _index=self._index.__copy__())
        return twin

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def add(self, vectors: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Encode vectors and add them: all of them, or none if there is an error.

        Parameters
        ----------
        vectors : array-like, shape (n, d)
        ids : array-like of int, shape (n,), optional
            Unique in the index and not negative. By default they continue from the largest id.

        Raises
        ------
        ValueError
            If the vectors are not finite or of another dimension, have values beyond 1e15 and the
            metric is not cosine, or an id is negative or taken.
        """
        self._index.add(self.refined.encode_rows(self.refined.rows(vectors, name="vectors")), ids)

    def update(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Replace the vectors of ids in the index; a search sees all of the new ones or none.

        Parameters and errors are the same as for :meth:`add`, but each id must be in the index.
        """
        rows = self.refined.rows(vectors, name="vectors")
        self._index.update(self.refined.encode_rows(rows), ids)

    def upsert(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Replace the vectors of ids in the index, and add the others; searches see all or none.

        Parameters and errors are the same as for :meth:`add`, but ids may be in the index.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah import VectorIndex
        >>> vectors = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
        >>> index = VectorIndex.build(vectors, n_bytes=8, metric="l2", random_state=0)
        >>> index.upsert(vectors[:2] + 1, ids=[7, 900])
        >>> index.holds([7, 900, 901])
        array([ True,  True, False])
        >>> index.remove([900])
        >>> len(index)
        600
        """
        rows = self.refined.rows(vectors, name="vectors")
        self._index.upsert(self.refined.encode_rows(rows), ids)

    def add_rows(self, rows: ArrayLike, ids: ArrayLike) -> None:
        """Add rows that :meth:`RefinedCodes.encode` of ``refined`` made, with new ids."""
        self._index.add(rows, ids)

    def holds(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """Which of some ids ``(m,)`` are in the index: booleans ``(m,)``."""
        return self._index.holds(ids)

    def remove(self, ids: ArrayLike) -> None:
        """Remove vectors by id: all of them, or none if there is an error.

        Raises
        ------
        ValueError
            If an id is not in the index, or is given twice.
        """
        self._index.remove(ids)

    def compact(self) -> None:
        """Merge all rows into one segment; searches are fastest afterwards."""
        self._index.compact()

    def select(self, filter: Filter) -> Selection:
        """Prepare a filter for many searches, as :meth:`HammingIndex.select`."""
        return self._index.select(_not_a_mask(filter))

    def reconstruct(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Approximations of vectors by id; of unit vectors for the metric cosine.

        Returns
        -------
        vectors : ndarray of float32, shape (m, d)

        Raises
        ------
        ValueError
            If an id is not in the index.
        """
        return self.refined.decode(self._index.get(ids))

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        filter: Filter | Selection | None = None,
        vectors: Source | None = None,
        n_ranked: int = RANKED,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the ``k`` nearest vectors of each query.

        Parameters
        ----------
        queries : array-like, shape (q, d)
        k : int, default=10
            May exceed the number of vectors, up to 65,536.
        filter : array-like, callable or Selection, optional
            Which ids may be found, as in :meth:`HammingIndex.search`.
        vectors : array-like or callable, optional
            The original vectors, which rank the best candidates once more: an array or memory map
            whose row numbers are the ids, or a function from ids to their vectors ``(m, d)``.
            Without them, distances are those from the approximations that rows decode to; squared
            distances also count what a row does not say of its vector.
        n_ranked : int, default=100
            How many candidates the original vectors rank, at least ``k``; only with ``vectors``.

        Returns
        -------
        distances : ndarray of float32, shape (q, k)
            Ascending, by the metric of the index. Where fewer than ``k`` vectors may be found, the
            rest is infinity.
        ids : ndarray of int64, shape (q, k)
            Ascending where distances tie. The rest is -1.

        Raises
        ------
        ValueError
            If the queries are not finite vectors of the right dimension, or have values beyond
            1e15 and the metric is not cosine; if ``k`` is not a whole number in its range; or if
            the filter is of another kind.
        FileFormatError
            If the file that the index was opened from proves damaged.
        """
        k = check_k(k, self, "vectors")
        n_ranked = check_whole(n_ranked, "n_ranked", least=1)
        rows = self.refined.rows(queries, name="queries")
        if vectors is None:
            return self._ranked(rows, k, self.shortlist, filter)
        wanted = max(k, min(n_ranked, len(self)))  # more there are not
        source = vectors if callable(vectors) else check_rows(vectors, "vectors")
        rank = partial(_ranked_by_vectors, k=k, source=source, metric=self.metric)
        return self._ranked(rows, wanted, max(self.wide_shortlist, wanted), filter, rank)

    def _ranked(
        self,
        queries: Rows,
        k: int,
        shortlist: int | None,
        filter: Filter | Selection | None,
        rank: Callable[[NDArray[np.float32], NDArray[np.int64]], Found] | None = None,
    ) -> Found:
        """The ``k`` best of a shortlist, or, without its length, of the whole index.

        ``rank`` turns them, for some queries at a time, into what is found.
        """
        step = self.n_threads * max(16, QUERY_BYTES // (self.n_bytes * 256 * 4))
        given = filter is not None and not isinstance(filter, Selection)
        if given:
            filter = _not_a_mask(cast(Filter, filter))
        index = self._index.snapshot()  # one state for all parts of the queries
        if given and len(queries) > step:
            filter = index.select(cast(Filter, filter))  # once, not for each part
        at_once = len(queries) if rank is None else max(1, CANDIDATES // k)
        found = []
        for _, block in queries.blocks():
            for first in range(0, len(block), at_once):
                some = block[first : first + at_once]
                best = _joined(
                    [
                        self._ranked_part(index, some[start : start + step], k, shortlist, filter)
                        for start in range(0, len(some), step)
                    ]
                )
                found.append(best if rank is None else rank(some, best[1]))
        return _joined(found)

    def _ranked_part(
        self,
        index: IndexSnapshot,
        block: NDArray[np.float32],
        k: int,
        shortlist: int | None,
        filter: Filter | Selection | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        views = self.refined.queries_of(block, self.n_threads)
        distances, ids = index.search_tables(
            views.tables,
            k,
            shortlist=None if shortlist is None else max(k, shortlist),
            factors=views.factors,
            filter=filter,
        )
        distances += views.shifts
        if self.metric != "ip":  # rounding may take the smallest ones below 0
            np.maximum(distances, 0, out=distances)
        return distances, ids

    def _choose_shortlists(
        self, vectors: NDArray[np.float32], random_state: np.random.RandomState
    ) -> None:
        """The shortest, of doubling ones, that keep 99 % of what the whole index gives.

        That is of the ten nearest; and of the hundred that original vectors may rank.
        """
        n = len(self)
        n_queries = min(CALIBRATION_QUERIES, len(vectors), max(16, CALIBRATION_ROWS // max(1, n)))
        drawn = vectors[random_state.choice(len(vectors), n_queries, replace=False)]
        queries = Rows(cast(RowSource, drawn))
        k = min(1 + RANKED, n)  # a vector finds itself
        _, best = self._ranked(queries, k, None, None)
        alone = None
        for shortlist in doubled(SHORTEST, n):
            _, found = self._ranked(queries, k, shortlist, None)
            self._wide = Shortlist.of(shortlist, n)
            if alone is None and share_found(found, best[:, : 1 + NEAREST]).mean() >= KEPT:
                alone = self._wide
            if share_found(found, best).mean() >= KEPT:
                break
        self._alone = alone or self._wide

    def calibrate(
        self,
        queries: ArrayLike,
        truth: ArrayLike,
        *,
        target_recall: float = 0.95,
        vectors: Source | None = None,
        n_ranked: int = RANKED,
    ) -> ShortlistCalibration:
        """Find the smallest shortlist, of doubling ones, whose recall reaches a target, and set it.

        If the target is out of reach, the shortlist with the best recall is set. With ``vectors``
        it is the one of searches with original vectors, ``wide_shortlist``.

        Parameters
        ----------
        queries : array-like, shape (q, d)
            Typical of later queries; some hundreds.
        truth : array-like of int, shape (q, k)
            Ids of the true neighbours, from :func:`sigah.evaluation.exact_neighbors`, say.
        target_recall : float, default=0.95
        vectors, n_ranked
            As in :meth:`search`, if searches will use them.

        Returns
        -------
        ShortlistCalibration
            With an interval: of 500 queries and a recall of .95, about .01 to each side.

        Raises
        ------
        ValueError
            If the truth is not ``k`` different ids of the index for each query, or the target is
            out of range.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah import VectorIndex
        >>> from sigah.evaluation import exact_neighbors
        >>> vectors = np.random.default_rng(0).normal(size=(900, 16)).astype(np.float32)
        >>> base, held_out = vectors[:800], vectors[800:]
        >>> index = VectorIndex.build(base, n_bytes=8, metric="l2", random_state=0)
        >>> truth = exact_neighbors(base, held_out, k=10).ids
        >>> found = index.calibrate(held_out, truth, target_recall=0.9, vectors=base, n_ranked=200)
        >>> found.reached, index.wide_shortlist == found.shortlist
        (True, True)
        """
        check_target(target_recall)
        rows = self.refined.rows(queries, name="queries")
        trial = copy(self)  # searches meanwhile, or an interruption, see no shortlist of a trial
        wanted = check_truth(truth, len(rows), trial.ids)
        k = wanted.shape[1]
        curve: list[tuple[int, float]] = []
        shares: dict[int, NDArray[np.float64]] = {}
        for shortlist in doubled(max(k, 64), len(trial)):
            trial.shortlist = shortlist
            _, ids = trial.search(queries, k, vectors=vectors, n_ranked=n_ranked)
            shares[shortlist] = share_found(ids, wanted)
            curve.append((shortlist, float(shares[shortlist].mean())))
            if curve[-1][1] >= target_recall:
                break
        best = next(
            shortlist
            for shortlist, recall in curve
            if recall >= min(target_recall, max(recall for _, recall in curve))
        )
        chosen = Shortlist.of(best, len(self))
        if vectors is None:
            self._alone = chosen
        else:
            self._wide = chosen
        recall = float(shares[best].mean())
        low, high = share_interval(shares[best])
        return ShortlistCalibration(
            shortlist=best,
            recall=recall,
            low=low,
            high=high,
            reached=recall >= target_recall,
            target_recall=float(target_recall),
            curve=tuple(curve),
        )

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the rows, the ids and the model to one file, atomically.

        Parameters
        ----------
        path : str or path-like
            An existing index of vectors is replaced.
        overwrite : bool, default=False
            Whether a file of another kind may also be replaced.

        Raises
        ------
        ValueError
            If ``path`` is a file of another kind, or the hasher was fitted again, so that the
            model is not that of the rows any more.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> from sigah import VectorIndex
        >>> vectors = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
        >>> index = VectorIndex.build(vectors, n_bytes=8, metric="l2", random_state=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     index.save(f"{folder}/items.vectors")
        ...     same = VectorIndex.load(f"{folder}/items.vectors")
        >>> bool((same.search(vectors[:3], k=5)[1] == index.search(vectors[:3], k=5)[1]).all())
        True
        """
        save_index(path, *self.content(), kind="vectors", overwrite=overwrite)

    def content(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays of a file with the rows that are alive, and with the model."""
        if self.refined.fingerprint != self._index.fingerprint:
            raise ValueError(
                "the hasher of this index was fitted again, so its rows cannot be read any more:"
                " build the index again"
            )
        header, arrays = self._index.content()
        about, model = self.refined.content()
        header |= {
            "refined": about,
            "shortlist": astuple(self._alone),
            "wide_shortlist": astuple(self._wide),
        }
        return header, arrays | model

    @classmethod
    def open(cls, path: str | PathLike[str], *, n_threads: int | None = None) -> Self:
        """Open a file by mapping it; rows are read where searches need them.

        :meth:`HammingIndex.open` says what happens if the file changes. Files of earlier versions
        are read into memory.

        Raises
        ------
        FileFormatError
            If the file is damaged, is not an index of vectors, or of a newer format.
        OSError
            If the file cannot be read.
        """
        opened = open_index(path, kind="vectors")
        if opened.has_keys:
            raise FileFormatError(
                f"cannot open {path}: its ids stand for keys (strings); use KeyedVectorIndex.open"
            )
        return cls.of_file(opened, n_threads=n_threads)

    @classmethod
    def of_file(
        cls,
        opened: IndexFile,
        *,
        n_threads: int | None,
        check: Callable[[], None] = lambda: None,
    ) -> Self:
        """An index of a mapped file; ``check`` follows the check of the checksum."""
        path = opened.file.path
        try:
            model = {name: held for name, held in opened.arrays.items() if name not in OF_ROWS}
            refined = RefinedCodes.from_content(opened.header["refined"], model)
            n_extra = 0 if opened.whole_planes else refined.n_bytes - refined.n_code
            index = cls.__new__(cls)
            index.refined = refined
            index._alone = Shortlist(*opened.header["shortlist"])
            index._wide = Shortlist(*opened.header.get("wide_shortlist", astuple(index._alone)))
            index._index = HammingIndex.of_file(
                opened, n_threads=n_threads, n_extra=n_extra, check=check
            )
            if index._index.fingerprint != refined.fingerprint:
                raise FileFormatError("its model is not the one that made its rows")
            if index._index.row_bytes != refined.n_bytes:
                raise FileFormatError("its model contradicts its rows")
            if opened.whole_planes:
                old, index._index = index._index, _empty_index(refined, n_threads)
                index._index.add(old.get(old.ids), old.ids)
        except FileFormatError as error:
            raise FileFormatError(f"cannot open {path}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"cannot open {path}: its header is damaged ({error})") from error
        return index

    @classmethod
    def load(cls, path: str | PathLike[str], *, n_threads: int | None = None) -> Self:
        """Read a file into memory and verify it; parameters and errors as for :meth:`open`."""
        index = cls.open(path, n_threads=n_threads)
        index._index.into_memory()
        return index


def _ranked_by_vectors(
    queries: NDArray[np.float32],
    candidates: NDArray[np.int64],
    *,
    k: int,
    source: Source,
    metric: str,
) -> Found:
    """The best ``k`` of candidates ``(q, c)``, -1 where there is none, by the original vectors."""
    nearest = np.full((len(queries), k), np.inf)
    ids = np.full((len(queries), k), MISSING_ID)
    distances = vector_distances(compared(queries, metric), candidates, source, metric)
    score_kernels().select_nearest(distances, candidates, nearest, ids)
    with np.errstate(over="ignore"):  # beyond float32 is infinitely far
        return nearest.astype(np.float32), ids


def _joined(parts: list[Found]) -> Found:
    """What was found for parts of the queries, one after the other."""
    if len(parts) == 1:
        return parts[0]
    distances, ids = (np.concatenate(some) for some in zip(*parts, strict=True))
    return distances, ids


def _empty_index(refined: RefinedCodes, n_threads: int | None) -> HammingIndex:
    """Codes, and beside them the bytes that refine them."""
    return HammingIndex(
        8 * refined.n_code,
        n_extra=refined.n_bytes - refined.n_code,
        n_threads=n_threads,
        fingerprint=refined.fingerprint,
    )


def _not_a_mask(filter: Filter) -> Filter:
    if is_mask(filter):
        raise ValueError(f"{MASK_REFUSED} (lambda ids: ids % 2 == 0)")
    return filter
