"""Named data sets: a catalogue, and where each comes from."""

from __future__ import annotations

from sigah.lab.datasets.catalog import CATALOG, GROUPS
from sigah.lab.datasets.dataset import Dataset, Split, Texts
from sigah.lab.datasets.named import check, fetch, load, path, texts

__all__ = [
    "CATALOG",
    "GROUPS",
    "Dataset",
    "Split",
    "Texts",
    "check",
    "fetch",
    "load",
    "path",
    "texts",
]
