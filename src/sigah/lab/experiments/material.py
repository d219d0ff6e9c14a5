"""The data of an experiment: a named set, whole or a slice of it, and its true neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation import cached_neighbors, content_hash
from sigah.lab import datasets

__all__ = ["Material", "available", "explain_absence", "prepare"]

QUICK_BASE, QUICK_QUERIES, QUICK_K = 3000, 200, 100
K = 1000
# what is installable nearest to a set of the paper; never called by the paper's name
STAND_INS = {
    "gist1m": "photo-gist-960",
    "deep1m": "glove-50",
    "tiny-100k": "photo-gist-384",
}
IMAGES = {"mnist": (28, 28), "fashion-mnist": (28, 28)}  # whose vectors are pixels in [0, 1]


@dataclass(frozen=True)
class Material:
    """Vectors to search in and with, and what is known of them.

    Attributes
    ----------
    name : str
    base, queries : array-like, shapes (n, d) and (q, d)
    k : int
        True neighbours a query.
    base_labels, query_labels : ndarray or None
    picture : tuple of int or None
        Height and width, where the vectors are pixels.
    part : str
        Which part of the set this is; empty for all of it.
    quick : bool
        Whether methods run with their quick settings.
    """

    name: str
    base: Any
    queries: Any
    k: int
    base_labels: NDArray[Any] | None = None
    query_labels: NDArray[Any] | None = None
    picture: tuple[int, int] | None = None
    part: str = ""
    quick: bool = False

    @cached_property
    def description(self) -> dict[str, Any]:
        """The block ``data`` of the results."""
        return {
            "name": self.name,
            "part": self.part,
            "quick": self.quick,
            "n_base": len(self.base),
            "n_queries": len(self.queries),
            "dim": self.base.shape[1],
            "k": self.k,
            "n_train": len(self.base),
            "base_sha256": content_hash(self.base),
            "queries_sha256": content_hash(self.queries),
        }

    @cached_property
    def truth(self) -> NDArray[np.int32]:
        """The exact neighbours of each query, from the cache where they are known."""
        return cached_neighbors(self.base, self.queries, self.k).ids


def prepare(name: str, *, quick: bool) -> Material:
    """Load a named set, or for the quick form its first vectors."""
    split = datasets.load(name)
    base, queries = split.base, split.queries
    base_labels = getattr(split, "base_labels", None)  # not every set has them
    query_labels = getattr(split, "query_labels", None)
    part = ""
    if quick:
        base, queries = np.array(base[:QUICK_BASE]), np.array(queries[:QUICK_QUERIES])
        base_labels = None if base_labels is None else base_labels[:QUICK_BASE]
        query_labels = None if query_labels is None else query_labels[:QUICK_QUERIES]
        part = f"its first {len(base):,} vectors and {len(queries):,} queries"
    return Material(
        name,
        base,
        queries,
        k=min(QUICK_K if quick else K, len(base)),
        base_labels=base_labels,
        query_labels=query_labels,
        picture=IMAGES.get(name),
        part=part,
        quick=quick,
    )


def available(name: str) -> bool:
    """Whether a set is in the cache."""
    try:
        datasets.path(name)
    except (ValueError, OSError):
        return False
    return True


def explain_absence(name: str) -> str:
    """Say that a set is not here, how to get it, and what may stand in for it."""
    known = name in datasets.CATALOG
    text = f"the data set {name} is not here"
    text += f": fetch it with `sigah data fetch {name}`" if known else " and not in the catalogue"
    stand_in = STAND_INS.get(name)
    if stand_in and available(stand_in):
        return f"{text}, or run on {stand_in}, its stand-in, with --data {stand_in}"
    if stand_in in datasets.CATALOG:
        return (
            f"{text}, or take its stand-in: `sigah data fetch {stand_in}`, then --data {stand_in}"
        )
    here = [other for other in datasets.CATALOG if available(other)]
    return f"{text}; here are {', '.join(here)}: --data {here[0]}" if here else text
