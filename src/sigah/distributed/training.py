"""Data-parallel training of SiGAH: a share of the vectors in each worker, averaged gradients.

With ``w`` workers, row ``i`` of the data belongs to worker ``i mod w``. In each step, every worker
draws a batch of ``batch_size`` of its rows and computes the loss of that batch (Eq. (20), (21);
pairs and neighbours are within the batch). All workers then take one step along the mean of their
gradients. One process that adds up the gradients of the same ``w`` batches before each step learns
the same model, up to rounding. One worker learns the same as ``SiGAH.fit``.

Mean, covariance and the sigma of the graph term (if used) are those of all shares. Training starts
at ITQ's rotation, which is learned from a sample, or from all rows if they fit.
"""

from __future__ import annotations

import time
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_random_state, check_whole
from sigah.codes import check_n_bits
from sigah.distributed.cluster import cluster
from sigah.distributed.parquet import Part, split
from sigah.hashers.sigah import SiGAH
from sigah.hashers.sigah_parameters import Parameters
from sigah.progress import bar
from sigah.rows.blocks import Rows, RowSource

if TYPE_CHECKING:
    from sigah.hashers.sigah_training import Trained

__all__ = ["fit"]

SAMPLE_BYTES = 64 << 20  # of vectors in the sample for ITQ's rotation
PART_ROWS = 100_000  # least rows of a part
ATTEMPTS = 4  # if workers die


def fit(
    hasher: SiGAH,
    source: str | PathLike[str],
    *,
    n_workers: int = 2,
    vectors: str | None = None,
    address: str | None = None,
) -> SiGAH:
    """Train SiGAH on the vectors of Parquet files, divided among workers.

    Each worker reads the files and keeps every ``n_workers``-th row in memory. A step uses
    ``n_workers * batch_size`` rows and takes as long as with one worker: more workers learn from
    more rows, not in less time. If a worker dies, training restarts, with the same result.

    Parameters
    ----------
    hasher : SiGAH
        Its parameters are used, but ``early_stopping``, ``normalize``, ``whitening`` and
        ``device="cuda"`` are refused. ``verbose`` shows a progress bar.
    source : path
        A Parquet file, or a folder of them.
    n_workers : int
    vectors : str, optional
        The column of vectors; by default the only column of lists of numbers.
    address : str, optional
        Of a Ray cluster, whose nodes all see ``source`` under this path; by default Ray runs on
        this machine.

    Returns
    -------
    SiGAH
        ``hasher`` itself, fitted. After Ctrl-C, it keeps what it has learned.

    Raises
    ------
    ValueError
        If the vectors or the parameters cannot be used.
    OSError
        If a file is missing, workers keep dying, or Ray is not installed.

    Examples
    --------
    >>> from sigah import SiGAH
    >>> from sigah.distributed import fit
    >>> fit(SiGAH(64, random_state=0), "vectors.parquet").save("vectors.model")  # doctest: +SKIP
    """
    n_bits = check_n_bits(hasher.n_bits)
    n_workers = check_whole(n_workers, "n_workers", least=1)
    hasher._take_plain_parameters()
    parameters = Parameters(**hasher.get_params())
    refused = {
        "early_stopping": parameters.early_stopping,
        "normalize": parameters.normalize,
        "whitening": parameters.whitening is not None,
        "device='cuda'": parameters.device == "cuda",
    }
    if asked := [name for name, given in refused.items() if given]:
        raise ValueError(
            f"training on a cluster does not support {' and '.join(asked)}; train with"
            " hasher.fit on one machine"
        )
    column, parts = split(source, vectors=vectors, ids=None, n_rows=PART_ROWS)
    n_rows = sum(part.n_rows for part in parts)
    if n_rows < max(2 * n_workers, n_bits):
        raise ValueError(
            f"{n_rows} rows are too few for {n_workers} workers and {n_bits} bits; add rows"
        )
    random_state = check_random_state(hasher.random_state).get_state()
    with cluster(address) as ray:
        n_cores = int(ray.cluster_resources().get("CPU", 0))
        if n_workers > n_cores:
            raise ValueError(f"{n_workers} workers need as many cores; the cluster has {n_cores}")
        for attempt in range(ATTEMPTS):
            stream = np.random.RandomState()
            stream.set_state(random_state)
            try:
                trained, sample = train(ray, parameters, column, parts, n_workers, stream)
                break
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if not isinstance(cause, RuntimeError) or attempt == ATTEMPTS - 1:
                    raise cause from None  # a RuntimeError: another worker died
            except ray.exceptions.RayActorError as error:
                if attempt == ATTEMPTS - 1:
                    raise OSError(f"workers died {ATTEMPTS} times: {error}") from error
    adopt(hasher, trained, sample, stream)
    return hasher


def train(
    ray: Any,
    params: Parameters,
    column: str,
    parts: list[Part],
    n_workers: int,
    random_state: np.random.RandomState,
) -> tuple[Trained, Rows]:
    """One attempt: start workers, take all steps, and return what they learned.

    Also returns the sample of rows from which the start was learned.
    """
    # only training loads torch
    from sigah.distributed.training_worker import Worker
    from sigah.hashers.sigah_training import EVALUATE_EVERY, describe, initial_projection

    began = time.perf_counter()
    actor = ray.remote(Worker).options(num_cpus=1, scheduling_strategy="SPREAD")
    workers = [actor.remote(params, rank, n_workers) for rank in range(n_workers)]

    def ask(method: str, *arguments: Any) -> list[Any]:
        return list(ray.get([getattr(worker, method).remote(*arguments) for worker in workers]))

    history: list[dict[str, float]] = []
    steps, interrupted = 0, False
    try:
        counts, means, covariances = zip(*ask("read", column, parts), strict=True)
        mean, covariance = pooled(np.array(counts), np.array(means), np.array(covariances))
        scale = float(np.sqrt(np.trace(covariance) / len(mean))) or 1.0
        share = SAMPLE_BYTES // (4 * len(mean) * n_workers)
        sample = Rows(cast(RowSource, np.concatenate(ask("sample", share))))
        W = initial_projection(params, sample, mean, covariance / scale**2, random_state)
        seed = int(random_state.randint(2**31 - 1))
        meeting = ray.get(workers[0].host.remote())
        ask("start", meeting, ray.put((W, mean, scale, sum(counts), seed, random_state)))
        with bar(show=params.verbose) as progress:
            task = progress.add_task("SiGAH", total=params.n_steps, detail="")
            try:
                while steps < params.n_steps:
                    history.append(ask("advance", EVALUATE_EVERY)[0])
                    steps = int(history[-1]["step"])
                    progress.update(task, completed=steps, detail=describe(history[-1]))
            except KeyboardInterrupt:
                interrupted = True
        trained: Trained = ray.get(workers[0].learned.remote())
    finally:
        for worker in workers:
            ray.kill(worker)
    summary = {
        "n_rows": sum(counts),
        "n_workers": n_workers,
        "interrupted": interrupted,
        "device": "cpu",
        "seconds": round(time.perf_counter() - began, 2),
        "loss": history[-1] if history else {},
    }
    return replace(trained, history=history, summary=trained.summary | summary), sample


def pooled(
    counts: NDArray[np.intp], means: NDArray[np.float64], covariances: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean ``(d,)`` and covariance ``(d, d)`` of all rows from those of their shares."""
    weights = counts / counts.sum()
    mean = weights @ means
    away = means - mean
    # the law of total covariance: within shares, plus between shares
    return mean, np.tensordot(weights, covariances, 1) + (weights[:, None] * away).T @ away


def adopt(
    hasher: SiGAH, trained: Trained, sample: Rows, random_state: np.random.RandomState
) -> None:
    """Set the fitted attributes, as ``SiGAH.fit`` does."""
    with hasher._all_or_nothing():
        hasher.metric_ = hasher.metric
        hasher.n_features_in_ = len(trained.mean)
        if hasattr(hasher, "feature_names_in_"):
            del hasher.feature_names_in_
        hasher._keep(trained, sample, random_state)
