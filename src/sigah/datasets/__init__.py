"""Where vectors come from: readers of vector files, and a catalogue of named sets."""

from __future__ import annotations

from sigah.datasets.catalog import CATALOG, Dataset, Split, fetch, load, path
from sigah.datasets.readers import load_vectors

__all__ = ["CATALOG", "Dataset", "Split", "fetch", "load", "load_vectors", "path"]
