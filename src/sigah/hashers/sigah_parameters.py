"""SiGAH's parameters, checked. Training takes them instead of the estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sigah.checks import check_nonnegative, check_positive, check_whole
from sigah.hashers.sigah_decoder import ACTIVATIONS
from sigah.metric import METRICS

__all__ = ["Parameters"]

CHOICES = {
    "metric": METRICS,
    "activation": ACTIVATIONS,
    "dictionary": ("refitted", "gaussian", "learned", "identity"),
    "relaxation": ("sign", "tanh"),
    "initialization": ("itq", "gaussian"),
    "device": ("auto", "cpu", "cuda"),
}
MOST_UNITS = 1000  # a dimension of the vectors
MOST_SHARPNESS = 1000  # beyond it, only equal codes count as near
WEIGHTS = (
    *("reconstruction", "sparsity", "graph", "adversarial", "neighbor", "pair"),
    *("margin", "weight_decay"),
)
COUNTS = {
    "n_neighbors": 1,
    "n_steps": 1,
    "batch_size": 2,
    "generator_batch_size": 1,
    "patience": 1,
}


@dataclass(frozen=True)
class Parameters:
    """The parameters of :class:`~sigah.SiGAH`, by the same names, where they are explained.

    Raises
    ------
    ValueError
        If one of them makes no sense.
    """

    n_bits: int
    metric: str
    n_neighbors: int
    reconstruction: float
    sparsity: float
    graph: float
    adversarial: float
    neighbor: float
    pair: float
    margin: float
    sigma: float
    dictionary: str
    dictionary_ratio: float | str
    activation: str
    relaxation: str
    initialization: str
    normalize: bool
    sharpness: float | str
    whitening: float | None
    learning_rate: float
    generator_learning_rate: float
    weight_decay: float
    learn_threshold: bool
    batch_size: int
    generator_batch_size: int
    n_steps: int
    early_stopping: bool
    validation_fraction: float
    patience: int
    device: str
    random_state: Any
    verbose: bool

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        for name in WEIGHTS:
            check_nonnegative(getattr(self, name), name)
        for name in ("learning_rate", "generator_learning_rate", "sigma"):
            check_positive(getattr(self, name), name)
        if (asked := self.dictionary_ratio) != "auto":
            ratio = check_positive(asked, "dictionary_ratio", or_else="'auto'")
            if ratio > MOST_UNITS:
                raise ValueError(f"dictionary_ratio must be at most {MOST_UNITS}, got {asked!r}")
        if (asked := self.sharpness) != "learned":
            sharpness = check_positive(asked, "sharpness", or_else="'learned'")
            if sharpness > MOST_SHARPNESS:
                raise ValueError(f"sharpness must be at most {MOST_SHARPNESS}, got {asked!r}")
        if self.whitening is not None and check_nonnegative(self.whitening, "whitening") > 1:
            raise ValueError(f"whitening must be at most 1, or None, got {self.whitening!r}")
        for name, least in COUNTS.items():
            check_whole(getattr(self, name), name, least=least)
        check_positive(self.validation_fraction, "validation_fraction")
        if self.validation_fraction >= 1:
            raise ValueError(
                f"validation_fraction must lie between 0 and 1, got {self.validation_fraction!r}"
            )
