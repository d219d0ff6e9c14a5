"""The data of an experiment: a named set, whole or a slice of it."""

from __future__ import annotations

import numpy as np

from sigah.evaluation import EvaluationData
from sigah.lab import datasets

__all__ = ["available", "explain_absence", "prepare"]

QUICK_BASE, QUICK_QUERIES, QUICK_K = 3000, 200, 100
K = 1000
# what is installable nearest to a set of the paper; never called by the paper's name
STAND_INS = {
    "gist1m": "photo-gist-960",
    "deep1m": "glove-50",
    "tiny-100k": "photo-gist-384",
}
IMAGES = {"mnist": (28, 28), "fashion-mnist": (28, 28)}  # whose vectors are pixels in [0, 1]


def prepare(name: str, *, quick: bool = False) -> EvaluationData:
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
    return EvaluationData(
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
