"""How SiGAH (arXiv 2306.06928) is trained; networks and losses are in ``sigah_networks.py``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sigah.hashers.itq import itq_directions
from sigah.hashers.sigah_decoder import gaussian_dictionary, sparse_units
from sigah.hashers.sigah_networks import (
    SELF_COSINE,
    SELF_DISTANCE,
    Discriminator,
    Generator,
    HashLayer,
    discriminator_loss,
    graph_loss,
    kth_smallest,
    neighbor_loss,
    pair_loss,
    squared_distances,
)
from sigah.hashers.sigah_parameters import Parameters
from sigah.hashers.sigah_start import finds_more, neighbors_found
from sigah.progress import bar
from sigah.rows.blocks import Rows, RowSource
from sigah.threads import available_threads

__all__ = ["train"]

EVALUATE_EVERY = 50  # steps between two entries of the history
ENOUGH_NEIGHBORS = 8  # of a row in its batch, for the pair term to have its whole weight
SHARPNESS = 10.0  # of codes' cosines in the neighbour term, at the start
START_ROWS = 1 << 16  # rows that the rotation at the start is learned from
MOST_AXES = 256  # that softened distances count
SHORT = 64  # bits up to which the neighbour and the pair term have their whole weights
# Queries, rows, and rows at a time, by which end and start of long codes are compared. Few rows
# would favour the end: among many, the ten nearest are nearer, and the start tells them better.
HELD_OUT, COMPARED, BLOCK = 2000, 1 << 17, 1 << 12


@dataclass(frozen=True)
class Trained:
    """What training returns, in units of the centred and scaled data."""

    mean: NDArray[np.float64]
    scale: float
    W: NDArray[np.float32]
    c: NDArray[np.float32]
    V: NDArray[np.float32]
    g: NDArray[np.float32]
    A: NDArray[np.float32] | None  # where it was learned
    dictionary_seed: int
    history: list[dict[str, float]]
    summary: dict[str, Any]


@dataclass(frozen=True)
class Start:
    """Where training continues: the networks of an earlier fit, in units of its data."""

    mean: NDArray[np.float64]
    scale: float
    W: NDArray[np.float32]
    c: NDArray[np.float32]
    V: NDArray[np.float32]
    g: NDArray[np.float32]
    A: NDArray[np.float32] | None
    dictionary_seed: int


class Trainer:
    """Alternating updates of hash layer with generator, Eq. (20), and discriminator, Eq. (21)."""

    def __init__(
        self,
        params: Parameters,
        W: NDArray[np.float32],
        n_rows: int,
        seed: int,
        device: torch.device,
        axes: NDArray[np.float32] | None = None,
    ) -> None:
        self.params = params
        self.n_rows = n_rows
        self.axes = None if axes is None else torch.from_numpy(axes).to(device)
        d, r = W.shape
        n = sparse_units(params.dictionary, params.dictionary_ratio, d)
        draws = torch.Generator().manual_seed(seed)
        self.hash_layer = HashLayer(
            torch.from_numpy(W),
            params.relaxation,
            learn_threshold=params.learn_threshold,
            normalize=params.normalize,
        ).to(device)
        if params.initialization == "itq":
            # From zero the generator follows the codes of a good rotation; from random weights its
            # early error gradients would first tear that rotation apart.
            V = torch.zeros(r, n)
        else:
            V = torch.randn(r, n, generator=draws) / r**0.5
        A = None
        if params.dictionary != "identity":
            A = torch.from_numpy(gaussian_dictionary(d, n, seed).copy())
        learned = params.dictionary == "learned"
        self.generator = Generator(V, A, params.activation, learn=learned).to(device)
        if params.activation == "relu" and params.initialization == "itq":
            # ReLU passes no gradient at 0, where all units would stay
            nn.init.constant_(self.generator.g, 0.01)
        gaussian = params.initialization == "gaussian"
        self.discriminator = Discriminator(d, draws, gaussian=gaussian).to(device)
        # How steeply codes' cosines count in the neighbour and the pair term, and the cosine at
        # which the pair term finds a neighbour as likely as not: three learned numbers for the
        # whole data set, so that one Hamming radius means the same for every query.
        sharpness = SHARPNESS if params.sharpness == "learned" else params.sharpness
        self.log_sharpness = torch.tensor(np.log(sharpness), dtype=torch.float32, device=device)
        self.log_slope = torch.tensor(np.log(r / 4), dtype=torch.float32, device=device)
        self.radius = torch.tensor(0.5, device=device)
        for number in (self.log_slope, self.radius):
            number.requires_grad_()
        self.log_sharpness.requires_grad_(params.sharpness == "learned")
        rate = params.learning_rate
        # c weighs a constant input as long as a typical vector, sqrt(d), or as a normalised logit
        rate_of_c = rate if params.normalize else rate * d**0.5
        scales = [self.log_sharpness, self.log_slope]
        self.optimizer = torch.optim.Adam(
            [
                *decayed([self.hash_layer.W], rate, params.weight_decay),
                *decayed([self.hash_layer.c], rate_of_c, params.weight_decay),
                {"params": scales, "lr": 0.05},
                {"params": [self.radius], "lr": 2e-3},
                *decayed(
                    self.generator.parameters(), params.generator_learning_rate, params.weight_decay
                ),
            ],
            fused=True,
        )
        self.discriminator_optimizer = torch.optim.Adam(
            decayed(
                self.discriminator.parameters(), params.generator_learning_rate, params.weight_decay
            ),
            fused=True,
        )
        self.schedule, self.discriminator_schedule = (
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, params.n_steps)
            for optimizer in (self.optimizer, self.discriminator_optimizer)
        )
        self.sigma2 = 0.0

    def terms(self, x: Tensor, *, learn: bool = True) -> dict[str, Tensor]:
        """The terms of Eq. (20) on one batch, unweighted; terms of weight 0 are left out.

        With ``learn`` the discriminator first makes its own step on the same batch.
        """
        p = self.params
        terms: dict[str, Tensor] = {}
        b = self.hash_layer(x)
        if p.reconstruction or p.sparsity or p.adversarial:
            few = slice(p.generator_batch_size)
            z, synthetic = self.generator(b[few])
            terms["reconstruction"] = (synthetic - x[few]).square().mean()
            if p.sparsity:
                terms["sparsity"] = z.abs().mean()
            if p.adversarial:
                terms |= self._play(x[few], synthetic, learn=learn)
        if p.graph or p.neighbor or p.pair:
            compared = x if self.axes is None else F.normalize(x @ self.axes)
            distances = squared_distances(compared).fill_diagonal_(SELF_DISTANCE)
            if p.graph:
                # sigma is in units of the root mean squared distance of the first batch
                self.sigma2 = self.sigma2 or (
                    p.sigma**2 * float(distances[distances != SELF_DISTANCE].mean())
                )
                terms["graph"] = graph_loss(b, distances, self.sigma2)
            if p.neighbor or p.pair:
                others = len(x) - 1
                k = round(neighbor_fraction(p.n_neighbors, self.n_rows) * others)
                k = min(max(k, 2), others)
                radius = kth_smallest(distances, k)
                cosines = (b @ b.T / b.shape[1]).fill_diagonal_(SELF_COSINE)
                # Short codes must tell neighbourhoods apart. Long codes can tell vectors within one
                # apart, and do so better if rebuilding has more say.
                share = min(1.0, SHORT / b.shape[1])
            if p.neighbor:
                logits = torch.exp(self.log_sharpness) * cosines
                terms["neighbor"] = share * neighbor_loss(logits, distances, radius)
            if p.pair:
                logits = torch.exp(self.log_slope) * (cosines - self.radius)
                # few neighbours in a batch are a noisy sample of those of the whole data
                trust = min(1.0, (k / ENOUGH_NEIGHBORS) ** 0.5)
                terms["pair"] = share * trust * pair_loss(logits, distances, radius)
        return terms

    def _play(self, x: Tensor, synthetic: Tensor, *, learn: bool) -> dict[str, Tensor]:
        """One discriminator step, Eq. (21), then the energy that the generator is charged."""
        both = self.discriminator(torch.cat([x, synthetic.detach()]))  # one product, not two
        real, fake = both[: len(x)], both[len(x) :]
        loss = discriminator_loss(real, fake, self.params.margin)
        if learn:
            self.discriminator_optimizer.zero_grad()
            loss.backward()
            self.discriminator_optimizer.step()
            self.discriminator_schedule.step()
        self.discriminator.requires_grad_(False)
        energy = self.discriminator(synthetic).mean()
        self.discriminator.requires_grad_(True)
        return {
            "adversarial": energy,
            "discriminator": loss.detach(),
            "energy_real": real.mean().detach(),
        }

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Eq. (20): the weighted sum."""
        weighted = [
            getattr(self.params, k) * v for k, v in terms.items() if hasattr(self.params, k)
        ]
        return torch.stack(weighted).sum()

    def step(self, x: Tensor) -> dict[str, float]:
        """Update everything once on a batch."""
        terms = self.terms(x)
        loss = self.total(terms)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return {"loss": float(loss.detach()), **{k: float(v.detach()) for k, v in terms.items()}}

    @torch.no_grad()
    def relaxation_gap(self, x: Tensor) -> dict[str, float]:
        """How binary the relaxed codes are, and the error of what is rebuilt from their signs."""
        relaxed = self.hash_layer(x)
        _, synthetic = self.generator(torch.where(relaxed >= 0, 1.0, -1.0))
        return {
            "saturation": float(relaxed.square().mean()),
            "binary_reconstruction": float((synthetic - x).square().mean()),
        }

    @torch.no_grad()
    def evaluate(self, x: Tensor) -> float:
        """Eq. (20) on held-out vectors."""
        return float(self.total(self.terms(x, learn=False)))

    @torch.no_grad()
    def go_on(self, start: Start) -> None:
        """Take over what an earlier fit learned; discriminator and slopes are learned anew."""
        for parameter, values in (
            (self.hash_layer.W, start.W),
            (self.hash_layer.c, start.c),
            (self.generator.V, start.V),
            (self.generator.g, start.g),
            (self.generator.A, start.A),
        ):
            if values is not None and parameter is not None:
                parameter.copy_(torch.from_numpy(values))

    def state(self) -> dict[str, Any]:
        """A copy of what encodes and decodes."""
        modules = {"hash_layer": self.hash_layer, "generator": self.generator}
        return {
            name: {k: v.detach().clone() for k, v in module.state_dict().items()}
            for name, module in modules.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to an earlier :meth:`state`."""
        for name, values in state.items():
            getattr(self, name).load_state_dict(values)


def train(
    params: Parameters,
    rows: Rows,
    random_state: np.random.RandomState,
    start: Start | None = None,
) -> Trained:
    """Fit all networks to ``rows``; Ctrl-C ends the training and keeps what was learned.

    With a ``start``, training continues from its centre, scale, dictionary and weights.
    """
    began = time.perf_counter()
    device = choose_device(params.device)
    axes = None
    if start is None or params.whitening is not None:
        mean, covariance = rows.mean_and_covariance()
        if params.whitening is not None:
            axes = softened_axes(covariance, params.whitening)
    if start is None:
        scale = float(np.sqrt(np.trace(covariance) / rows.dim)) or 1.0
        W = initial_projection(params, rows, mean, covariance / scale**2, random_state)
        seed = int(random_state.randint(2**31 - 1))
    else:
        if axes is None:
            rows.mean()  # the pass that proves every value finite
        mean, scale, W, seed = start.mean, start.scale, start.W.copy(), start.dictionary_seed
    order = random_state.permutation(len(rows))
    n_held_out = max(2, round(params.validation_fraction * len(rows)))
    training, held_out = order, order[:0]
    if params.early_stopping:
        training, held_out = order[n_held_out:], order[: min(n_held_out, 2000)]
    queries = order[:0]
    if start is None and params.initialization == "itq" and params.n_bits > SHORT:
        n_queries = max(2, min(HELD_OUT, len(training) // 10))
        queries, training = np.split(training, [n_queries])
    shift = mean.astype(np.float32)

    def vectors(indices: NDArray[np.intp], out: NDArray[np.float32] | None = None) -> Tensor:
        x = rows.take(indices, out)
        x -= shift
        x *= np.float32(1 / scale)
        return torch.from_numpy(x).to(device)

    history: list[dict[str, float]] = []
    best, best_loss, worse, interrupted, steps = None, np.inf, 0, False, 0
    with quiet_cpu(), bar(show=params.verbose) as progress:
        first_W = W.copy()
        trainer = Trainer(params, W, len(training), seed, device, axes)
        if start is not None:
            trainer.go_on(start)
        task = progress.add_task("SiGAH", total=params.n_steps, detail="")
        # one buffer for all batches: fresh pages cost more than copying the rows
        buffer = np.empty((min(params.batch_size, len(training)), rows.dim), np.float32)
        sums: dict[str, float] = {}
        try:
            for steps, batch in enumerate(
                batches(training, params.batch_size, params.n_steps, random_state), start=1
            ):
                x = vectors(batch, buffer)
                for key, value in trainer.step(x).items():
                    sums[key] = sums.get(key, 0.0) + value
                progress.advance(task)
                if steps % EVALUATE_EVERY and steps != params.n_steps:
                    continue
                since = steps - (history[-1]["step"] if history else 0)
                entry = {"step": steps, **{k: v / since for k, v in sums.items()}}
                sums = {}
                if params.relaxation == "tanh":
                    entry |= trainer.relaxation_gap(x[: params.generator_batch_size])
                if params.early_stopping:
                    entry["validation"] = trainer.evaluate(vectors(held_out))
                history.append(entry)
                progress.update(task, detail=describe(entry))
                if not np.isfinite(entry["loss"]):
                    raise ValueError(
                        "training diverged (the loss is not finite): lower learning_rate"
                        f" (now {params.learning_rate}) or generator_learning_rate"
                    )
                if params.early_stopping:
                    if entry["validation"] < best_loss:
                        best, best_loss, worse = trainer.state(), entry["validation"], 0
                    else:
                        worse += 1
                        if worse >= params.patience:
                            break
        except KeyboardInterrupt:
            interrupted = True
        if best is not None:
            trainer.restore(best)
    hash_layer, generator = trainer.hash_layer, trainer.generator
    learned_W, learned_c = hash_layer.folded()
    learned = to_numpy(learned_W), to_numpy(learned_c)
    comparison: dict[str, Any] = {}
    if len(queries) and not interrupted:
        at_start = first_W, np.zeros_like(learned[1])
        compared = np.sort(training[:COMPARED])
        base = (
            to_numpy(vectors(compared[first : first + BLOCK]))
            for first in range(0, len(compared), BLOCK)
        )
        found = neighbors_found(base, to_numpy(vectors(np.sort(queries))), [at_start, learned])
        shares = [float(share) for share in found.mean(axis=1)]
        kept = "learned" if finds_more(*found) else "start"
        comparison = {
            "recall10@10": dict(zip(("start", "learned"), shares, strict=True)),
            "kept": kept,
        }
        learned = learned if kept == "learned" else at_start
    return Trained(
        mean=mean,
        scale=scale,
        W=learned[0],
        c=learned[1],
        V=to_numpy(generator.V),
        g=to_numpy(generator.g),
        A=to_numpy(generator.A) if isinstance(generator.A, nn.Parameter) else None,
        dictionary_seed=seed,
        history=history,
        summary={
            "n_rows": len(rows),
            "steps": steps,
            "interrupted": interrupted,
            "device": device.type,
            "seconds": round(time.perf_counter() - began, 2),
            "loss": history[-1] if history else {},
            **comparison,
        },
    )


def initial_projection(
    params: Parameters,
    rows: Rows,
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    random_state: np.random.RandomState,
) -> NDArray[np.float32]:
    """W ``(d, r)``: Gaussian, or ITQ's rotation with logits of unit variance.

    Gaussian logits have unit variance on average, for the data has unit mean variance. Beyond the
    dimension of the vectors, ITQ's columns are followed by random ones.
    """
    d, r = rows.dim, params.n_bits
    W = random_state.standard_normal((d, r))
    if params.initialization == "gaussian":
        return (W / d**0.5).astype(np.float32)
    columns = min(r, d)
    if len(rows) > START_ROWS:
        sample = random_state.choice(len(rows), START_ROWS, replace=False)
        rows = Rows(cast(RowSource, rows.take(np.sort(sample))))
    W[:, :columns], _, _ = itq_directions(
        rows, mean, covariance, columns, n_iter=20 if r <= SHORT else 50, random_state=random_state
    )
    variance = np.einsum("ik,ij,jk->k", W, covariance, W, optimize=True)
    return (W / np.sqrt(np.maximum(variance, np.finfo(np.float32).tiny))).astype(np.float32)


def softened_axes(covariance: NDArray[np.float64], power: float) -> NDArray[np.float32]:
    """The first principal axes ``(d, p)``, divided by a power of the deviation along each."""
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = variances[::-1][:MOST_AXES], axes[:, ::-1][:, :MOST_AXES]
    kept = variances > variances[0] * np.finfo(np.float32).eps
    relative = variances[kept] / variances[0]
    return np.ascontiguousarray(axes[:, kept] * relative ** (-power / 2), np.float32)


def decayed(
    parameters: Iterable[nn.Parameter], rate: float, decay: float
) -> Iterator[dict[str, Any]]:
    """A group of Adam's for each parameter; weight matrices decay, biases do not."""
    for parameter in parameters:
        matrix = parameter.ndim == 2
        yield {"params": [parameter], "lr": rate, "weight_decay": decay if matrix else 0.0}


def neighbor_fraction(n_neighbors: int, n_rows: int) -> float:
    """Share of the data that counts as a vector's neighbourhood, at most a twentieth."""
    return min(n_neighbors / n_rows, 0.05)


def batches(
    indices: NDArray[np.intp], size: int, n_steps: int, random_state: np.random.RandomState
) -> Iterator[NDArray[np.intp]]:
    """``n_steps`` batches of distinct rows, reshuffled after each pass."""
    size = min(size, len(indices))
    per_pass = len(indices) // size
    for step in range(n_steps):
        if step % per_pass == 0:
            order = random_state.permutation(indices)
        start = step % per_pass * size
        yield order[start : start + size]


@contextmanager
def quiet_cpu() -> Iterator[None]:
    """As many threads as this process has cores, and no denormals: either can cost a factor 10."""
    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, available_threads()))
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """The device to train on; an explicit "cuda" must exist."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda' was asked for, but torch finds no GPU; use device='auto'")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def describe(entry: dict[str, float]) -> str:
    """Loss terms in one short line, by the first letters of their names."""
    hidden = ("step", "discriminator", "energy_real", "saturation", "binary_reconstruction")
    return " ".join(f"{k[:3]} {v:.2f}" for k, v in entry.items() if k not in hidden)


def to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    """A detached float32 array on the CPU."""
    return tensor.detach().cpu().numpy().astype(np.float32)
