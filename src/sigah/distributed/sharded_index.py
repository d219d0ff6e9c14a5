"""Exact search over shards, each held by a Ray actor."""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_whole
from sigah.codes import check_codes
from sigah.distributed.cluster import cluster
from sigah.distributed.shards import shard_files
from sigah.files import FileFormatError
from sigah.search.checks import check_k
from sigah.search.index import HammingIndex
from sigah.search.merging import Nearest, WithinRadius, merge_nearest, merge_within_radius

__all__ = ["ShardedIndex"]

ANSWER_BYTES = 32 << 20  # most bytes that all shards together send at a time
RETRIES = 3  # of a request, if the shard dies


class ShardedIndex:
    """Exact nearest neighbours over a folder of shards, as in one :class:`sigah.HammingIndex`.

    Each shard is a Ray actor that maps its index file. If an actor dies, it is restarted and the
    request is repeated: a search either answers exactly or raises an error. To change the index,
    build the shards again.

    Parameters
    ----------
    folder : path
        Written by :func:`build_shards`. On a cluster, all nodes must see it under this path.
    n_threads : int, optional
        Threads of each shard; by default the cores of the cluster, divided among the shards.
    address : str, optional
        Of a Ray cluster; by default Ray runs on this machine until :meth:`close`.

    Raises
    ------
    FileFormatError
        If a file is damaged.
    OSError
        If a file is missing, or Ray is not installed.

    Examples
    --------
    >>> from sigah.distributed import ShardedIndex
    >>> with ShardedIndex("shards") as index:  # doctest: +SKIP
    ...     distances, ids = index.search(queries, k=10)
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        n_threads: int | None = None,
        address: str | None = None,
    ) -> None:
        manifest, files = shard_files(folder)
        self.n_bits: int = manifest["n_bits"]
        self.fingerprint: str | None = manifest["fingerprint"]
        self._count: int = manifest["count"]
        with ExitStack() as opening:
            self._ray = opening.enter_context(cluster(address))
            if n_threads is None:
                n_cores = self._ray.cluster_resources().get("CPU", 1)
                n_threads = max(1, int(n_cores) // len(files))
            actor = self._ray.remote(Shard).options(
                num_cpus=0,  # so that any number of shards can start; they share the cores
                scheduling_strategy="SPREAD",
                max_restarts=-1,
                max_task_retries=RETRIES,
            )
            self._shards = [actor.remote(str(file), n_threads) for file in files]
            opening.callback(self._stop)
            expected = [entry["count"] for entry in manifest["files"]]
            held = self._ask("describe")
            for file, count, found in zip(files, expected, held, strict=True):
                if found != (count, self.n_bits, self.fingerprint):
                    raise FileFormatError(f"cannot open {file}: it does not match the manifest")
            self._open = opening.pop_all()

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        n = len(self._shards)
        return f"<ShardedIndex: {len(self):,} codes of {self.n_bits} bits in {n} shards>"

    def search(self, codes: ArrayLike, k: int) -> Nearest:
        """Find the ``k`` nearest codes of each query; ties go to the smaller id.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
        k : int

        Returns
        -------
        distances : ndarray of int32, shape (q, k)
        ids : ndarray of int64, shape (q, k)
            The same as from :meth:`sigah.HammingIndex.search` with all codes in one index.

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, or ``k`` is not a whole number in
            its range.
        FileFormatError
            If a file is damaged.
        OSError
            If a shard cannot be started again.
        """
        queries = check_codes(codes, n_bits=self.n_bits)
        k = check_k(k, self)
        n_rows = max(1, ANSWER_BYTES // (len(self._shards) * k * 12))
        blocks = [queries[start : start + n_rows] for start in range(0, len(queries), n_rows)]
        found = [
            merge_nearest(self._ask("search", block, k), len(block), k)
            for block in blocks or [queries]
        ]
        distances, ids = zip(*found, strict=True)
        return np.concatenate(distances), np.concatenate(ids)

    def range_search(self, codes: ArrayLike, radius: int) -> WithinRadius:
        """Find all codes within ``radius`` of each query: nearest first, ties by id.

        Parameters
        ----------
        codes : array-like of uint8, shape (q, n_bits // 8)
        radius : int

        Returns
        -------
        lims : ndarray of int64, shape (q + 1,)
            The neighbours of query ``i`` are those from ``lims[i]`` up to ``lims[i + 1]``.
        distances : ndarray of int32, shape (lims[-1],)
        ids : ndarray of int64, shape (lims[-1],)

        Raises
        ------
        ValueError
            If the codes are not packed codes of ``n_bits`` bits, or ``radius`` is negative.
        """
        queries = check_codes(codes, n_bits=self.n_bits)
        radius = check_whole(radius, "radius", least=0)
        return merge_within_radius(self._ask("range_search", queries, radius), len(queries))

    def close(self) -> None:
        """Stop the shards, and also Ray if it was started for them."""
        self._open.close()

    def _ask(self, method: str, *arguments: Any) -> list[Any]:
        """The answers of all shards; an error in a shard is raised as if it were local."""
        shared = [self._ray.put(argument) for argument in arguments]
        asked = [getattr(shard, method).remote(*shared) for shard in self._shards]
        try:
            answered: list[Any] = self._ray.get(asked)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayActorError as error:
            reason = " ".join(str(error).split())
            raise OSError(f"a shard died and cannot be started again: {reason}") from error
        return answered

    def _stop(self) -> None:
        for shard in self._shards:
            self._ray.kill(shard)


class Shard:
    """The state of an actor: one index file, opened at each start."""

    def __init__(self, file: str, n_threads: int) -> None:
        self.file, self.n_threads = Path(file), n_threads
        self.index: HammingIndex | None = None

    def describe(self) -> tuple[int, int, str | None]:
        """Count (which verifies the file), code length and fingerprint."""
        index = self._opened()
        return len(index), index.n_bits, index.fingerprint

    def search(self, codes: NDArray[np.uint8], k: int) -> Any:
        """The ``k`` nearest codes of this shard."""
        return self._opened().search(codes, k)

    def range_search(self, codes: NDArray[np.uint8], radius: int) -> Any:
        """The codes of this shard within ``radius``."""
        return self._opened().range_search(codes, radius)

    def _opened(self) -> HammingIndex:
        # Not opened when the actor starts: Ray would mistake a damaged file for a dead actor, and
        # restart it for ever.
        if self.index is None:
            self.index = HammingIndex.open(self.file, n_threads=self.n_threads)
        return self.index
