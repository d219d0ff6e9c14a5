from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import SiGAH, load
from sigah.distributed import fit
from sigah.distributed.parquet import split
from sigah.distributed.training_worker import Worker
from sigah.hashers.sigah_parameters import Parameters
from sigah.metric import normalized

pytestmark = pytest.mark.engine

SETTINGS: dict[str, Any] = {"n_steps": 20, "batch_size": 100, "random_state": 3, "device": "cpu"}
DIVERGING = {"generator_learning_rate": 1e14, "n_steps": 100}


def assert_close(hasher: SiGAH, expected: dict[str, Any], atol: float = 2e-5) -> None:
    """Equal up to rounding, which a few steps do not let grow far."""
    for name, values in expected.items():
        found = getattr(hasher, name)
        np.testing.assert_allclose(found, values, rtol=2e-4, atol=atol, err_msg=name)


def accumulated(params: SiGAH, X: Any, n_shares: int) -> dict[str, Any]:
    """One process that adds up gradients: an own loop over the batches of all shares.

    The losses and networks are those of the library; who averages what, and when, is not.
    """
    import torch

    from sigah.hashers.sigah_networks import discriminator_loss, squared_distances
    from sigah.hashers.sigah_training import Trainer, batches, initial_projection
    from sigah.rows.blocks import Rows

    shares = [X[rank::n_shares] for rank in range(n_shares)]
    mean, covariance = X.mean(axis=0, dtype=np.float64), np.cov(X.T.astype(np.float64), bias=True)
    scale = float(np.sqrt(np.trace(covariance) / X.shape[1]))
    random_state = np.random.RandomState(params.random_state)
    rows = Rows(np.concatenate(shares))
    W = initial_projection(params, rows, mean, covariance / scale**2, random_state)
    seed = int(random_state.randint(2**31 - 1))
    streams = [
        random_state if rank == 0 else np.random.RandomState(seed + rank)
        for rank in range(n_shares)
    ]
    drawn = [
        list(batches(stream.permutation(len(share)), params.batch_size, params.n_steps, stream))
        for share, stream in zip(shares, streams, strict=True)
    ]
    trainer = Trainer(params, W, len(X), seed, torch.device("cpu"))
    for step in range(params.n_steps):
        parts = [
            torch.from_numpy((share[own[step]] - mean.astype(np.float32)) * np.float32(1 / scale))
            for share, own in zip(shares, drawn, strict=True)
        ]
        if step == 0 and params.graph:
            n = params.batch_size
            sums = [float(squared_distances(x).fill_diagonal_(0).sum()) for x in parts]
            trainer.sigma2 = sum(sums) / len(sums) / (n * (n - 1)) * trainer.params.sigma**2
        trainer.discriminator_optimizer.zero_grad()
        for x in parts:
            some = x[: params.generator_batch_size]
            _, synthetic = trainer.generator(trainer.hash_layer(some))
            real, fake = trainer.discriminator(some), trainer.discriminator(synthetic.detach())
            (discriminator_loss(real, fake, params.margin) / n_shares).backward()
        trainer.discriminator_optimizer.step()
        trainer.discriminator_schedule.step()
        trainer.optimizer.zero_grad()
        for x in parts:
            (trainer.total(trainer.terms(x, learn=False)) / n_shares).backward()
        trainer.optimizer.step()
        trainer.schedule.step()
    weights = trainer.hash_layer.W.detach().numpy() / scale
    return {
        "weights_": weights,
        "thresholds_": mean @ weights - trainer.hash_layer.c.detach().numpy(),
        "generator_weights_": trainer.generator.V.detach().numpy(),
        "generator_bias_": trainer.generator.g.detach().numpy(),
    }


def test_two_workers_learn_what_one_process_learns_from_their_batches(
    ray: Any, blobs: Any, write_parquet: Any
) -> None:
    params = SiGAH(16, graph=0.01, **SETTINGS)
    hasher = fit(params, write_parquet(blobs, rows=300), n_workers=2)
    assert hasher is params
    assert_close(hasher, accumulated(params, blobs, 2))
    assert (hasher.training_["n_rows"], hasher.training_["n_workers"]) == (2000, 2)
    assert hasher.training_["interrupted"] is False


def test_one_worker_is_fit_itself(ray: Any, blobs: Any, tmp_path: Path, write_parquet: Any) -> None:
    settings = SETTINGS | {"n_steps": 60, "dictionary": "learned", "relaxation": "tanh"}
    there = fit(SiGAH(16, **settings), write_parquet(blobs), n_workers=1)
    here = SiGAH(16, **settings).fit(blobs)
    names = (*SiGAH.fitted_arrays, "dictionary_")
    # 60 steps: a unit near 0 may fall to the other side of its kink
    assert_close(there, {name: getattr(here, name) for name in names}, atol=2e-4)
    assert vars(there).keys() == vars(here).keys()
    assert [entry["step"] for entry in there.history_] == [50, 60]
    for mine, theirs in zip(there.history_, here.history_, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)
    there.save(tmp_path / "there.model")
    assert load(tmp_path / "there.model").fingerprint == there.fingerprint


def test_a_killed_worker_changes_nothing(
    ray: Any, blobs: Any, tmp_path: Path, write_parquet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, died, looked = os.getpid(), tmp_path / "died", list[int]()

    class Mortal(Parameters):
        """Kills its process, once, in the middle of training: the graph term is asked for often."""

        def __getattribute__(self, name: str) -> Any:
            if name == "graph" and os.getpid() != driver:
                looked.append(1)
                if len(looked) == 40 and not died.exists():
                    died.write_text(str(os.getpid()))
                    os.kill(os.getpid(), signal.SIGKILL)
            return super().__getattribute__(name)

    monkeypatch.setattr("sigah.distributed.training.Parameters", Mortal)
    hasher = fit(SiGAH(16, **SETTINGS), write_parquet(blobs), n_workers=2)
    assert died.exists()
    assert_close(hasher, accumulated(SiGAH(16, **SETTINGS), blobs, 2))


def test_workers_learn_from_unit_rows_by_cosine(blobs: Any, write_parquet: Any) -> None:
    column, parts = split(write_parquet(blobs[:500]), vectors=None, ids=None, n_rows=1)
    worker = Worker(SiGAH(metric="cosine"), 1, 3)
    units = normalized(blobs[1:500:3])
    count, mean, _ = worker.read(column, parts)
    assert count == len(units)
    assert np.array_equal(worker.sample(10**6), units)
    assert np.allclose(mean, units.mean(axis=0, dtype=float))


@pytest.mark.parametrize("rows", [7, 300, 5000])
def test_shares_are_every_third_row_however_the_data_is_cut(
    blobs: Any, write_parquet: Any, rows: int
) -> None:
    write_parquet(blobs[:777], name="data/a.parquet", rows=rows)
    write_parquet(blobs[777:1000], name="data/b.parquet", rows=rows, fixed=False)
    source = write_parquet(blobs[1000:1001], name="data/c.parquet").parent
    column, parts = split(source, vectors=None, ids=None, n_rows=1)
    for rank in range(3):
        worker = Worker(SiGAH(), rank, 3)
        count, mean, covariance = worker.read(column, parts)
        share = blobs[:1001][rank::3]
        assert count == len(share)
        assert np.array_equal(worker.sample(10**6), share)
        assert np.allclose(mean, share.mean(axis=0, dtype=float))
        assert np.allclose(covariance, np.cov(share.T.astype(float), bias=True), 1e-4, 1e-4)
        some = worker.sample(50)
        assert some.shape == (50, 24)
        assert len(np.unique(some, axis=0)) == 50
        assert {row.tobytes() for row in some} <= {row.tobytes() for row in share}


def test_what_cannot_be_trained_is_refused(ray: Any, blobs: Any, write_parquet: Any) -> None:
    source = write_parquet(blobs)
    for hasher, n_workers, message in (
        (SiGAH(16, early_stopping=True), 2, "does not support early_stopping"),
        (SiGAH(16, device="cuda"), 2, "does not support device='cuda'; train with"),
        (SiGAH.semantic(16), 2, "does not support normalize and whitening; train with"),
        (SiGAH(16, n_steps=0), 2, "n_steps must be a whole number"),
        (SiGAH(16), 0, "n_workers must be a whole number"),
        (SiGAH(16), 3, "3 workers need as many cores; the cluster has 2"),
        (SiGAH(2008), 2, "2000 rows are too few"),
        (SiGAH(16, **SETTINGS | DIVERGING), 1, "training diverged"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(hasher, source, n_workers=n_workers)
        assert not hasattr(hasher, "weights_")
