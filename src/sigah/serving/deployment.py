"""A folder with an index that is served: changes, and a new model without an interruption.

The folder has a small file that names what serves (``manifest.py``), the model and the index of
each generation, and one log of changes (``changes.py``). Every change goes to the log first, and
every process takes the changes from the log. So several processes may search and write, a new
generation gets what was changed while its vectors were encoded, and so does the old one when one
goes back to it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock
from numpy.typing import ArrayLike, NDArray

from sigah.files.atomic import StrPath
from sigah.files.folders import new_folder
from sigah.hashers import BinaryHasher
from sigah.progress import phase
from sigah.search.keyed import Keyed
from sigah.serving.changes import ChangeLog
from sigah.serving.generation import Generation, Index, OfVectors, checked_ids, kind_of_index
from sigah.serving.manifest import MANIFEST, Entry, Manifest, log_path, sweep
from sigah.serving.reencoding import Reencoding, forget_codes
from sigah.serving.replica import Replica

__all__ = ["Deployment"]

POLL = 0.002  # seconds between tries of a lock that another process holds


class Deployment:
    """An index in a folder that processes search and change, and whose model can be replaced.

    Any number of threads and processes may search and write. A change is on the disk when the call
    returns, and the next query of every process finds it. :meth:`reencode` makes a new generation
    beside the one that serves, and :meth:`switch` lets it serve. Each process then loads it in the
    background, while queries are still answered by the old one. A query is answered by one model.

    Open a deployment in each process; a forked child must not use that of its parent.

    Parameters
    ----------
    folder : path-like
        Made by :meth:`create`.
    n_threads : int, optional
        Threads that a search may use; by default as many as there are cores.

    Raises
    ------
    FileFormatError
        If a file of the folder is damaged.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah import ITQ, KeyedIndex
    >>> from sigah.serving import Deployment
    >>> vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    >>> names = [f"doc/{row}" for row in range(300)]
    >>> hasher = ITQ(n_bits=16, random_state=0).fit(vectors)
    >>> index = KeyedIndex.of(hasher)
    >>> index.add(hasher.transform(vectors), names)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     served = Deployment.create(f"{folder}/served", index, hasher)
    ...     served.remove(["doc/0"])
    ...     served.reencode(ITQ(n_bits=8, random_state=1).fit(vectors), vectors, names)
    ...     served.upsert(vectors[:1], ["doc/new"])  # neither generation loses it
    ...     served.switch()
    ...     served.current().model.n_bits, "doc/new" in served.current().index, len(served)
    (8, True, 300)
    """

    def __init__(self, folder: StrPath, *, n_threads: int | None = None) -> None:
        self.folder = Path(folder).absolute()  # the process may change its own folder
        self._n_threads = n_threads
        self._writing = threading.Lock()  # held before _following, if both are
        self._lock = FileLock(self.folder / "lock")
        self._turn = FileLock(self.folder / "lock.turn")
        self._following = threading.Lock()  # for changes of what follows
        self._loader: threading.Thread | None = None
        self._failure: Exception | None = None
        self._manifest = Manifest.read(Path(folder))
        self._stamp = (0, 0, 0)  # of no manifest: the next query reads it again
        self._live = self._open("current")

    @classmethod
    def create(
        cls,
        folder: StrPath,
        index: Index,
        model: BinaryHasher | None = None,
        *,
        n_threads: int | None = None,
    ) -> Self:
        """Write a new folder that serves an index.

        Parameters
        ----------
        folder : path-like
            Must not exist.
        index : HammingIndex, KeyedIndex, VectorIndex or KeyedVectorIndex
        model : BinaryHasher, optional
            The hasher that made the codes; an index of vectors has its own.
        n_threads : int, optional

        Raises
        ------
        ValueError
            If the model did not make the codes.
        OSError
            If the folder exists or cannot be written.
        """
        kind = kind_of_index(index)
        generation = generation_of(1, index, model)
        with new_folder(folder) as part:
            generation.save(part)
            ChangeLog.create(log_path(part, 1))
            Manifest(kind, log=1, current=Entry(1, ChangeLog.start)).write(part)
        return cls(folder, n_threads=n_threads)

    def __len__(self) -> int:
        return len(self.current().index)

    def __repr__(self) -> str:
        live = self._live.generation
        return f"<Deployment {self.folder}: generation {live.number}, {live.index!r}>"

    def current(self) -> Generation:
        """The generation that serves, with all changes so far.

        Use it for one query or one batch, and ask again for the next.
        """
        live = self._live
        if live.is_behind() or self._stamp_now() != self._stamp:
            with self._following:
                self._follow()
            live = self._live
        return live.generation

    def search(
        self, queries: ArrayLike, k: int = 10, **options: Any
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the ``k`` nearest of each query: :meth:`Generation.search` of what serves."""
        return self.current().search(queries, k, **options)

    def add(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Add vectors with new ids or keys: all of them, or none if there is an error.

        Parameters
        ----------
        vectors : array-like, shape (n, d)
        ids : array-like of int or str, shape (n,)
            Keys (strings) if the index has keys.

        Raises
        ------
        ValueError
            If the vectors are not finite or of another dimension, or an id is held already.
        OSError
            If the change cannot be written.
        """
        self._write(vectors, ids, refuse_held)

    def update(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Replace the vectors of ids or keys that are held; parameters are those of :meth:`add`."""
        self._write(vectors, ids, refuse_missing)

    def upsert(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Replace the vectors of ids or keys that are held, and add the others."""
        self._write(vectors, ids, lambda held: None)

    def remove(self, ids: ArrayLike) -> None:
        """Remove ids or keys: all of them, or none if one is not held."""
        self._write(None, ids, refuse_missing)

    def reencode(self, model: Any, vectors: Any, ids: Any = None, *, show: bool = False) -> None:
        """Make a new generation: the same ids or keys, encoded by a new model.

        The generation that serves goes on meanwhile, and may be changed. After an interruption, the
        same call resumes after the last block that was encoded. Call :meth:`switch` afterwards.

        Parameters
        ----------
        model : BinaryHasher, VectorIndex or KeyedVectorIndex
            The new hasher. For a deployment of an index of vectors: another one, such as one built
            on a sample, whose model and shortlist are taken.
        vectors : array-like, shape (n, d)
            The vectors of all ids in the index, or a source of rows that is read in blocks
            (:func:`sigah.rows.open_vectors`). Rows whose ids the index does not hold are left out.
            What was changed after the last :meth:`save` need not be among them.
        ids : array-like of int or str, shape (n,), or str, optional
            Their ids or keys, or the column of a Parquet or Arrow file that has them. By default
            row numbers.
        show : bool, default=False
            Whether to show progress.

        Raises
        ------
        ValueError
            If vectors of ids in the index are missing, ids are of another kind, or the model makes
            other codes than an index of this kind has.
        OSError
            If a file cannot be written, or another process is encoding.
        """
        serving = self.current()
        new = Reencoding.of(serving, self._manifest.kind, model, vectors, ids)
        task = new.task
        with self._locked():
            if self._manifest.next is not None:
                raise ValueError("a new generation is ready: switch to it, or forget it first")
            refuse_lost(self._live, new.ids)
            begun = self._manifest.pending
            if begun is None or begun["task"] != task:
                forget_codes(self.folder)
                begun = {"number": self._manifest.new_number, "task": task}
                self._replace(replace(self._manifest, pending=begun))
        log = self._manifest.log  # stays as long as this is pending
        codes = new.encode(self.folder, show=show)
        with phase("building the index", show=show):
            held = self.current().held(new.ids)
            generation = new.generation(begun["number"], codes, held)
            replica = Replica(generation, self.folder, log, ChangeLog.start)
            replica.follow(log)
            generation.save(self.folder)
            saved = replica.position
        with self._locked():
            if self._manifest.pending != begun:
                raise ValueError("the re-encoding was forgotten meanwhile; call it again")
            replica.follow(log)
            ready = Entry(generation.number, saved)
            self._replace(replace(self._manifest, next=ready, pending=None))
            forget_codes(self.folder)

    def switch(self) -> None:
        """Let the new generation serve, and keep the old one for :meth:`back`.

        This process serves it when the call returns, other processes as soon as they have loaded
        it. What served before the old one is deleted.

        Raises
        ------
        ValueError
            If no new generation is ready.
        """
        with self._locked():
            now = self._manifest
            if now.next is None:
                done = "is not finished; call it again" if now.pending else "makes one"
                raise ValueError(f"no new generation is ready: reencode {done}")
            self._replace(replace(now, current=now.next, previous=now.current, next=None))
        self._wait()

    def back(self) -> None:
        """Let the generation serve that served before; call it again to undo that.

        It has all changes, also those made after it was replaced.

        Raises
        ------
        ValueError
            If there is none.
        """
        with self._locked():
            now = self._manifest
            if now.previous is None:
                raise ValueError("there is no earlier generation to go back to")
            self._replace(replace(now, current=now.previous, previous=now.current))
        self._wait()

    def forget(self) -> None:
        """Delete all generations but the one that serves, and an unfinished re-encoding."""
        with self._locked():
            self._replace(replace(self._manifest, previous=None, next=None, pending=None))
            forget_codes(self.folder)

    def save(self) -> None:
        """Write the changes into the files of the indexes, and begin a new log.

        A process then opens the folder faster. The log has the vectors of all changes since the
        last call, so call it from time to time. While vectors are encoded again, the log is kept.
        """
        with self._locked():
            now = self._manifest
            fresh = now.pending is None
            entries: dict[str, Any] = {}
            for part, entry in now.entries.items():
                replica = self._live
                if entry.number != replica.generation.number:
                    replica = self._open(part)
                replica.generation.save(self.folder)
                entries[part] = Entry(entry.number, ChangeLog.start if fresh else replica.position)
            if fresh:
                ChangeLog.create(log_path(self.folder, now.log + 1))
            self._replace(replace(now, log=now.log + fresh, **entries))

    def stats(self) -> dict[str, Any]:
        """What serves, as JSON can hold it.

        Returns
        -------
        dict
            ``kind``, ``generation`` (its number), ``model`` (its fingerprint), ``n``, ``previous``
            and ``next`` (numbers or None), ``encoding`` (whether a re-encoding is unfinished),
            ``change_bytes`` (of the log), and ``failure`` (why this process does not serve the
            generation that it should; None if it does).
        """
        live, told = self.current(), self._manifest
        return {
            "kind": told.kind,
            "generation": live.number,
            "model": live.model.fingerprint,
            "n": len(live.index),
            "previous": None if told.previous is None else told.previous.number,
            "next": None if told.next is None else told.next.number,
            "encoding": told.pending is not None,
            "change_bytes": self._live.log.size - ChangeLog.start,
            "failure": None if self._failure is None else str(self._failure),
        }

    def _write(
        self,
        vectors: ArrayLike | None,
        ids: ArrayLike,
        refuse: Callable[[list[tuple[Any, bool]]], None],
    ) -> None:
        """Write a change to the log, and take it in."""
        serving = self.current()
        rows = None if vectors is None else serving.check(vectors)
        wanted = checked_ids(self._manifest.kind, ids, None if rows is None else len(rows))
        if not wanted:
            return
        with self._locked():
            live = self._live
            held = live.generation.held(wanted)
            refuse(list(zip(wanted, held.tolist(), strict=True)))
            live.log.append(live.position, wanted, rows)
            with self._following:
                self._follow()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only writer of the folder, with all changes taken in."""
        with self._writing:
            # who waits for the lock has the turn, so that a busy writer cannot take it again first
            try:
                with self._turn.acquire(poll_interval=POLL):
                    lock = self._lock.acquire(poll_interval=POLL)
            except OSError as error:
                raise OSError(
                    f"{self.folder} cannot be written to ({error.strerror}); it can only be"
                    " searched"
                ) from error
            with lock:
                with self._following:
                    self._follow()
                yield

    def _replace(self, manifest: Manifest) -> None:
        """Replace the manifest; the lock is held."""
        manifest.write(self.folder)
        sweep(self.folder, manifest)
        with self._following:
            self._follow()

    def _follow(self) -> None:
        """Take in the changes, and load what should serve; ``_following`` is held."""
        while True:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._manifest = Manifest.read(self.folder)
            try:
                if not self._live.follow(self._manifest.log):  # it has missed a whole log
                    self._live = self._open("current")
            except FileNotFoundError:  # a writer was faster
                if self._stamp_now() == stamp:
                    raise
                continue
            break
        self._stamp = stamp
        if not self._is_outdated():
            self._failure = None
        elif self._loader is None:
            self._loader = threading.Thread(
                target=_load, args=(weakref.ref(self),), name="sigah-load", daemon=True
            )
            self._loader.start()

    def _is_outdated(self) -> bool:
        return self._live.generation.number != self._manifest.current.number

    def _open(self, part: str) -> Replica:
        """A generation of the manifest, mapped, with all changes of the log."""
        while True:
            stamp, manifest = self._stamp_now(), Manifest.read(self.folder)
            try:
                return Replica.open(
                    self.folder, manifest, manifest.entries[part], n_threads=self._n_threads
                )
            except FileNotFoundError:
                if self._stamp_now() == stamp:
                    raise

    def _load_current(self) -> bool:
        """Load what should serve and let it serve; whether there is nothing left to load."""
        replica = self._open("current")
        replica.generation.warm_up()
        with self._following:
            self._follow()
            if replica.generation.number == self._manifest.current.number and replica.follow(
                self._manifest.log
            ):
                self._live, self._failure = replica, None
            if not self._is_outdated():
                self._loader = None
                return True
        return False

    def _wait(self) -> None:
        """Wait until this process serves what it should."""
        if (loader := self._loader) is not None:
            loader.join()
        if (failure := self._failure) is not None:
            raise failure

    def _stamp_now(self) -> tuple[int, int, int]:
        state = (self.folder / MANIFEST).stat()
        return state.st_ino, state.st_mtime_ns, state.st_size


def _load(reference: weakref.ref[Deployment]) -> None:
    """Load in the background; after an error, the old generation goes on serving."""
    while (deployment := reference()) is not None:
        wanted = deployment._manifest.current
        try:
            if deployment._load_current():
                return
        except Exception as error:
            with deployment._following:
                if deployment._is_outdated():
                    if deployment._manifest.current != wanted:
                        continue  # what failed is not wanted any more
                    deployment._failure = error
                deployment._loader = None
            return


def generation_of(number: int, index: Index, model: BinaryHasher | None) -> Generation:
    """A generation of an index and its model, checked."""
    if isinstance(index, OfVectors):
        if model is not None:
            raise ValueError("model: an index of vectors has its own model; leave it out")
        return Generation(number, index.refined, index)
    if not isinstance(model, BinaryHasher):
        raise ValueError(f"model must be the fitted hasher of the codes, got {model!r}")
    if model.n_bits != index.n_bits:
        raise ValueError(f"model makes {model.n_bits} bits, but the index has {index.n_bits}")
    index.check_model(model)
    return Generation(number, model, index)


def named(one: int | str) -> str:
    """An id or a key in a message."""
    return f"{'key' if isinstance(one, str) else 'id'} {one!r}"


def refuse_held(held: list[tuple[Any, bool]]) -> None:
    """Refuse ids that are in the index."""
    for one, is_held in held:
        if is_held:
            raise ValueError(f"{named(one)} is in the index already (upsert replaces vectors)")


def refuse_missing(held: list[tuple[Any, bool]]) -> None:
    """Refuse ids that are not in the index."""
    for one, is_held in held:
        if not is_held:
            raise ValueError(f"{named(one)} is not in the index")


def refuse_lost(live: Replica, given: list[Any]) -> None:
    """Refuse to encode vectors without those of some ids; the log has those that were changed."""
    index = live.generation.index
    if np.count_nonzero(live.generation.held(given)) == len(index):
        return
    known = set(given)
    for change in ChangeLog(live.log.path).read(ChangeLog.start):
        if change.vectors is not None:
            known.update(change.ids)
    ids = index.keys if isinstance(index, Keyed) else index.ids
    missing = [one for one in ids.tolist() if one not in known]
    if missing:
        raise ValueError(
            f"vectors: those of {len(missing):,} ids of the index are missing, such as"
            f" {missing[0]!r}"
        )
