"""Where vectors come from: readers of vector files, and a catalogue of named sets."""

from __future__ import annotations

from sigah.datasets.cache import check, fetch, load, path
from sigah.datasets.catalog import CATALOG, GROUPS
from sigah.datasets.dataset import Dataset, Split
from sigah.datasets.readers import load_vectors

__all__ = [
    "CATALOG",
    "GROUPS",
    "Dataset",
    "Split",
    "check",
    "fetch",
    "load",
    "load_vectors",
    "path",
]
