"""A worker of data-parallel training: its rows, SiGAH's trainer, and the averaging (gloo)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from sigah.distributed.cluster import require_ray
from sigah.distributed.parquet import Part, read_part
from sigah.hashers.sigah_parameters import Parameters
from sigah.hashers.sigah_training import Trained, Trainer, batches, quiet_cpu, to_numpy
from sigah.metric import as_compared
from sigah.rows.blocks import LARGEST, Rows

__all__ = ["Worker"]

PATIENCE = timedelta(minutes=10)  # time to wait for a worker


class Worker:
    """One worker; :func:`sigah.distributed.fit` calls its methods in the order below."""

    def __init__(self, params: Parameters, rank: int, n_workers: int) -> None:
        self.params, self.rank, self.n_workers = params, rank, n_workers
        self.step = 0

    def read(
        self, column: str, parts: list[Part]
    ) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
        """Keep every ``n_workers``-th row; return their count, mean and covariance."""
        mine: list[NDArray[np.float32]] = []
        seen = 0
        for part in parts:
            for at, block, _ in read_part(part, vectors=column):
                if mine and block.shape[1] != mine[0].shape[1]:
                    raise ValueError(
                        f"{part.file}: row {at} has dimension {block.shape[1]}, the first row of"
                        f" the data has {mine[0].shape[1]}"
                    )
                some = block[(self.rank - seen) % self.n_workers :: self.n_workers]
                mine.append(as_compared(some.astype(np.float32), self.params.metric))
                seen += len(block)
        held: Any = np.concatenate(mine)
        self.rows = Rows(held, largest=LARGEST)
        return len(self.rows), *self.rows.mean_and_covariance()

    def sample(self, n: int) -> NDArray[np.float32]:
        """``n`` rows drawn without replacement, or all."""
        held = self.rows.source[:]
        if len(held) <= n:
            return held
        return held[np.random.RandomState(self.rank).choice(len(held), n, replace=False)]

    def host(self) -> tuple[str, int]:
        """The address and a free port of this worker's machine, where the workers connect."""
        address = require_ray().util.get_node_ip_address()
        self.store = dist.TCPStore(address, 0, is_master=True, wait_for_workers=False)
        return address, self.store.port

    def start(self, meeting: tuple[str, int], beginning: tuple[Any, ...]) -> None:
        """Connect to the other workers, and start from the same weights."""
        if self.rank:
            self.store = dist.TCPStore(*meeting)
        dist.init_process_group(
            "gloo", store=self.store, rank=self.rank, world_size=self.n_workers, timeout=PATIENCE
        )
        W, self.mean, self.scale, n_rows, self.seed, random_state = beginning
        if self.rank:  # the first worker draws as a single process would
            random_state = np.random.RandomState(self.seed + self.rank)
        order = random_state.permutation(len(self.rows))
        self.batches = batches(order, self.params.batch_size, self.params.n_steps, random_state)
        # arrays from Ray are shared and read-only
        self.trainer = Trainer(self.params, W.copy(), n_rows, self.seed, torch.device("cpu"))
        average_before_steps(self.trainer)

    def advance(self, n_steps: int) -> dict[str, float]:
        """Take some steps; return the mean of every loss term over steps and workers."""
        sums: dict[str, float] = {}
        with quiet_cpu():
            first = self.step + 1
            for x in self._next(n_steps):
                if self.params.graph and not self.trainer.sigma2:
                    # the mean squared distance between two rows is twice their total variance
                    variance = float(averaged(x.var(dim=0).sum()))
                    self.trainer.sigma2 = self.params.sigma**2 * 2 * variance
                for key, value in self.trainer.step(x).items():
                    sums[key] = sums.get(key, 0.0) + value
                self.step += 1
        values = {key: value / (self.step - first + 1) for key, value in sums.items()}
        if self.params.relaxation == "tanh":
            values |= self.trainer.relaxation_gap(x[: self.params.generator_batch_size])
        means = averaged(torch.tensor(list(values.values()), dtype=torch.float64))
        entry = dict(zip(values, means.tolist(), strict=True))
        if not np.isfinite(entry["loss"]):
            raise ValueError(
                "training diverged (the loss is not finite): lower learning_rate"
                f" (now {self.params.learning_rate}) or generator_learning_rate"
            )
        return {"step": self.step, **entry}

    def learned(self) -> Trained:
        """The weights, which are the same on all workers."""
        hash_layer, generator = self.trainer.hash_layer, self.trainer.generator
        return Trained(
            mean=self.mean.copy(),
            scale=self.scale,
            W=to_numpy(hash_layer.W),
            c=to_numpy(hash_layer.c),
            V=to_numpy(generator.V),
            g=to_numpy(generator.g),
            A=to_numpy(generator.A) if isinstance(generator.A, torch.nn.Parameter) else None,
            dictionary_seed=self.seed,
            history=[],
            summary={"steps": self.step},
        )

    def _next(self, n_steps: int) -> Iterator[Tensor]:
        shift = self.mean.astype(np.float32)
        for _, indices in zip(range(n_steps), self.batches, strict=False):
            x = self.rows.take(indices)
            x -= shift
            x *= np.float32(1 / self.scale)
            yield torch.from_numpy(x)


def average_before_steps(trainer: Trainer) -> None:
    """Make both optimisers step along the mean of all workers' gradients."""

    def average_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        flat = averaged(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    trainer.optimizer.register_step_pre_hook(average_gradients)
    trainer.discriminator_optimizer.register_step_pre_hook(average_gradients)


def averaged(values: Tensor) -> Tensor:
    """The mean over workers."""
    dist.all_reduce(values)
    return values / dist.get_world_size()
