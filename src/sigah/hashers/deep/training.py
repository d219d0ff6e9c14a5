"""How heads are trained: centred batches, one loop, one stream of random numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sigah.hashers.sigah_training import batches, choose_device, quiet_cpu, to_numpy
from sigah.hashers.stochastic_generative import moments
from sigah.progress import bar
from sigah.rows.blocks import Rows

__all__ = ["Training"]

ENTRIES = 100  # of the history
AUTHORS_FEATURES = 4096  # of the layer fc7 of VGG16, which most papers learn from
CANDIDATES = 20_000  # rows that neighbours are searched among
BLOCK = 512  # rows whose neighbours are searched at a time

Terms = dict[str, Tensor]


class Training:
    """The training of one head.

    Parameters
    ----------
    rows : Rows, shape (n, d)
    random_state : RandomState
        Orders the rows and seeds ``draws``.
    title : str
        Of the progress bar.
    n_steps, batch_size : int
        Batches hold distinct rows, which are reshuffled after each pass.
    device : {"auto", "cpu", "cuda"}
    verbose : bool

    Attributes
    ----------
    mean : ndarray of float64, shape (d,)
    scale : float
        The square root of the mean variance of the dimensions. Batches are centred and divided by
        it, so a learning rate means the same for data in any units.
    draws : torch.Generator
        On the CPU, so that a GPU draws the same numbers.
    """

    def __init__(
        self,
        rows: Rows,
        random_state: np.random.RandomState,
        *,
        title: str,
        n_steps: int,
        batch_size: int,
        device: str,
        verbose: bool,
    ) -> None:
        self.began = time.perf_counter()
        self.rows = rows.in_memory()
        self.random_state = random_state
        self.title, self.verbose = title, verbose
        self.n_steps, self.batch_size = n_steps, batch_size
        self.device = choose_device(device)
        self.mean, variance = moments(self.rows)
        self.scale = float(np.sqrt(variance.mean())) or 1.0
        self.draws = torch.Generator().manual_seed(int(random_state.randint(2**31)))
        self.history: list[dict[str, float]] = []

    def linear(self, n_inputs: int, n_outputs: int) -> nn.Linear:
        """A layer with torch's usual start, drawn from our own stream."""
        layer: nn.Linear = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs)
        for values in (layer.weight, layer.bias):
            nn.init.uniform_(values, -(n_inputs**-0.5), n_inputs**-0.5, generator=self.draws)
        return layer.to(self.device)

    def parameter(self, values: NDArray[np.float32]) -> Tensor:
        """Numbers to learn."""
        return torch.from_numpy(values).to(self.device).requires_grad_()

    def norm(self, n_units: int) -> nn.BatchNorm1d:
        """Batch normalisation."""
        return nn.BatchNorm1d(n_units).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform random numbers in [0, 1)."""
        return torch.rand(shape, generator=self.draws).to(self.device)

    @staticmethod
    def sgd(layer: nn.Linear, learning_rate: float, weight_decay: float) -> torch.optim.SGD:
        """Stochastic gradient descent with momentum 0.9, for a layer on the vectors.

        The rate is the one for 4,096 features. A step moves logits in proportion to the squared
        length of the vectors, d, so the rate is multiplied by 4,096 / d.
        """
        return torch.optim.SGD(
            layer.parameters(),
            learning_rate * AUTHORS_FEATURES / layer.in_features,
            momentum=0.9,
            weight_decay=weight_decay,
            fused=True,
        )

    @staticmethod
    def adam(
        modules: Iterable[nn.Module],
        learning_rate: float,
        weight_decay: float = 0.0,
        *,
        decoupled: bool = False,
        first_moment: float = 0.9,
    ) -> torch.optim.Adam:
        """Adam; AdamW if weight decay is decoupled."""
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        parameters = [each for module in modules for each in module.parameters()]
        betas = first_moment, 0.999
        return kind(parameters, learning_rate, betas, weight_decay=weight_decay, fused=True)

    def vectors(self, indices: NDArray[np.intp]) -> Tensor:
        """Rows, centred and scaled."""
        x = self.rows.take(indices)
        x -= self.mean.astype(np.float32)
        x *= np.float32(1 / self.scale)
        return torch.from_numpy(x).to(self.device)

    def numpy(self, tensor: Tensor | None) -> NDArray[np.float32]:
        """A detached array on the CPU."""
        assert tensor is not None
        return to_numpy(tensor)

    def nearest(self, k: int) -> NDArray[np.intp]:
        """For each row, its k nearest others by cosine at the mean, ``(n, k)``.

        They are searched among at most 20,000 rows drawn at random; with few rows, k is smaller.
        """
        n = len(self.rows)
        chosen = self.random_state.permutation(n)[:CANDIDATES]
        k = min(k, len(chosen) - 1)
        if k < 1:
            return np.zeros((n, 1), np.intp)
        candidates = nn.functional.normalize(self.vectors(chosen)).T.contiguous()
        place = np.full(n, -1)
        place[chosen] = np.arange(len(chosen))
        found = np.empty((n, k), np.intp)
        with quiet_cpu(), torch.no_grad():
            for start in range(0, n, BLOCK):
                block = np.arange(start, min(start + BLOCK, n))
                cosines = self.vectors(block) @ candidates  # of one row: lengths do not matter
                own = torch.from_numpy(np.flatnonzero(place[block] >= 0)).to(self.device)
                columns = torch.from_numpy(place[block][place[block] >= 0]).to(self.device)
                cosines[own, columns] = -math.inf  # no row is its own neighbour
                found[block] = chosen[cosines.topk(k, dim=1).indices.cpu().numpy()]
        return found

    def run(
        self,
        loss: Callable[..., Terms],
        optimizer: torch.optim.Optimizer,
        *,
        rate: Callable[[float], float] | None = None,
        neighbors: NDArray[np.intp] | None = None,
    ) -> None:
        """Descend the sum of the terms that ``loss`` returns for a batch.

        Parameters
        ----------
        loss : callable
            From vectors ``(B, d)`` to terms by name; with ``neighbors``, from vectors and, as a
            second view, one random neighbour of each.
        optimizer : torch.optim.Optimizer
        rate : callable, optional
            From the share of steps that is done, in [0, 1), to a factor of the learning rate.
        neighbors : ndarray of int, shape (n, k), optional
            Of every row: see :meth:`nearest`.
        """
        first_rates = [group["lr"] for group in optimizer.param_groups]
        every = max(1, self.n_steps // ENTRIES)
        sums: dict[str, float] = {}
        order = batches(np.arange(len(self.rows)), self.batch_size, self.n_steps, self.random_state)
        with quiet_cpu(), bar(show=self.verbose) as progress:
            task = progress.add_task(self.title, total=self.n_steps, detail="")
            collected: dict[str, list[Tensor]] = {}
            for step, batch in enumerate(order, start=1):
                if rate is not None:
                    factor = rate((step - 1) / self.n_steps)
                    for group, first in zip(optimizer.param_groups, first_rates, strict=True):
                        group["lr"] = factor * first
                views = [self.vectors(batch)]
                if neighbors is not None:
                    drawn = self.random_state.randint(neighbors.shape[1], size=len(batch))
                    views.append(self.vectors(neighbors[batch, drawn]))
                terms = loss(*views)
                total = torch.stack(list(terms.values())).sum()
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
                for name, value in {"loss": total, **terms}.items():
                    collected.setdefault(name, []).append(value.detach())
                if step % every and step != self.n_steps:
                    continue
                sums = {name: float(torch.stack(v).mean()) for name, v in collected.items()}
                collected = {}
                self.history.append({"step": step, **sums})
                progress.update(task, completed=step, detail=f"loss {sums['loss']:.4f}")
                if not math.isfinite(sums["loss"]):
                    raise ValueError(
                        f"training of {self.title} diverged (the loss is not finite): lower"
                        " learning_rate, or remove outliers among the vectors"
                    )

    @property
    def summary(self) -> dict[str, Any]:
        """What a hasher keeps as ``training_``."""
        return {
            "n_rows": len(self.rows),
            "steps": self.n_steps,
            "device": self.device.type,
            "seconds": round(time.perf_counter() - self.began, 2),
            "loss": self.history[-1],
        }
