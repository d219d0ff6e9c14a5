"""What all deep methods share: heads of one or several layers, which encode with NumPy alone."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_nonnegative, check_whole
from sigah.extras import require
from sigah.hashers.base import BinaryHasher, LinearHasher, ScoringHasher
from sigah.rows.blocks import Rows

if TYPE_CHECKING:
    from torch import nn

    from sigah.hashers.deep.training import Training

__all__ = ["ACTIVATIONS", "LinearHead", "MLPHead", "TrainedHead", "activate"]

ACTIVATIONS = ("relu", "tanh", "gelu")
DEVICES = ("auto", "cpu", "cuda")
GELU_SCALE, GELU_CUBE = (2 / np.pi) ** 0.5, 0.044715  # of the approximation by tanh
BLOCK = 1 << 10  # vectors whose hidden units are held at a time


class TrainedHead(BinaryHasher, ABC):
    """A head that mini-batches train; vectors are centred and scaled to unit mean variance.

    Attributes
    ----------
    history_ : list of dict
        The mean of every loss term, a hundred entries over the training.
    training_ : dict
        Summary of the fit.
    """

    fit_cost = "seconds"
    exceeds_dimension = True

    n_steps: int | None
    batch_size: int
    device: str
    verbose: bool
    history_: list[dict[str, float]]

    def _start(self, rows: Rows, random_state: np.random.RandomState) -> Training:
        """Check the parameters, load torch, and centre the rows."""
        for name, default in self._parameters().items():
            if isinstance(default, float):
                check_nonnegative(getattr(self, name), name)
            elif isinstance(default, int) and not isinstance(default, bool):
                check_whole(getattr(self, name), name)
        n_steps = self._default_steps() if self.n_steps is None else self.n_steps
        n_steps = check_whole(n_steps, "n_steps", least=1)
        batch_size = check_whole(self.batch_size, "batch_size", least=2)
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {self.device!r}")
        require("torch", f"fitting {type(self).__name__}", "train")
        from sigah.hashers.deep.training import Training  # torch is loaded by training alone

        return Training(
            rows,
            random_state,
            title=type(self).__name__,
            n_steps=n_steps,
            batch_size=batch_size,
            device=self.device,
            verbose=self.verbose,
        )

    def _default_steps(self) -> int | None:
        """What None means as ``n_steps``; None where it means nothing."""
        return None

    def _summarize(self, training: Training) -> None:
        self.history_ = training.history
        self.training_ = training.summary


class LinearHead(TrainedHead, LinearHasher):
    """A head of one layer."""

    def _keep(self, training: Training, layer: nn.Linear) -> None:
        """Set the fitted attributes: centring and scaling are folded into the layer."""
        W, c = training.numpy(layer.weight).T, training.numpy(layer.bias)
        self.weights_ = np.ascontiguousarray(W / training.scale, np.float32)
        self.thresholds_ = training.mean @ self.weights_.astype(np.float64) - c
        self._summarize(training)


class MLPHead(TrainedHead, ScoringHasher):
    """A head of several layers: each but the last is followed by the activation.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (d,)
        Subtracted from vectors.
    weights1_, weights2_, ... : ndarray of float32, shape (inputs, units)
        Of each layer; the scale of the data is folded into the first.
    bias1_, bias2_, ... : ndarray of float64, shape (units,)
    """

    activation: ClassVar[str]
    fitted_arrays: ClassVar[tuple[str, ...]] = (
        "mean_",
        *("weights1_", "bias1_"),
        *("weights2_", "bias2_"),
    )

    mean_: NDArray[np.float64]

    def layers(self) -> list[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        """Weights and bias of each layer of the fitted head."""
        arrays = [getattr(self, name) for name in self.fitted_arrays if name != "mean_"]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    def _keep(
        self, training: Training, layers: list[nn.Linear], norm: nn.BatchNorm1d | None = None
    ) -> None:
        """Set the fitted attributes: the scaling, and a norm at the end, are folded in."""
        self.mean_ = training.mean
        folded = [
            (training.numpy(layer.weight).astype(np.float64).T, training.numpy(layer.bias))
            for layer in layers
        ]
        folded[0] = folded[0][0] / training.scale, folded[0][1]
        if norm is not None:
            W, c = folded[-1]
            variance, mean = training.numpy(norm.running_var), training.numpy(norm.running_mean)
            slope = training.numpy(norm.weight) / np.sqrt(variance + norm.eps)
            folded[-1] = W * slope, (c - mean) * slope + training.numpy(norm.bias)
        for number, (W, c) in enumerate(folded, start=1):
            setattr(self, f"weights{number}_", np.ascontiguousarray(W, np.float32))
            setattr(self, f"bias{number}_", c.astype(np.float64))
        self._summarize(training)

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.floating]:
        # float64, so that the sign of a score does not depend on how BLAS splits the block
        *hidden, last = [(W.astype(np.float64), c) for W, c in self.layers()]
        scores = np.empty((len(block), self.n_bits))
        for start in range(0, len(block), BLOCK):
            units = block[start : start + BLOCK] - self.mean_
            for W, c in hidden:
                units = activate(self.activation, units @ W + c)
            scores[start : start + BLOCK] = units @ last[0] + last[1]
        return scores


def activate(name: str, units: NDArray[np.float64]) -> NDArray[np.float64]:
    """What follows a hidden layer.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.hashers.deep.heads import activate
    >>> activate("relu", np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    if name == "relu":
        return np.maximum(units, 0)
    if name == "tanh":
        return np.tanh(units)
    # beyond 1e3 the cube changes nothing, and might overflow
    inner = np.clip(units, -1e3, 1e3)
    return 0.5 * units * (1 + np.tanh(GELU_SCALE * (inner + GELU_CUBE * inner**3)))
