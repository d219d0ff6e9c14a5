"""Codes to neighbours: exact Hamming search."""

from __future__ import annotations

from sigah.search.flat import hamming_distances, spherical_distances
from sigah.search.index import HammingIndex

__all__ = ["HammingIndex", "hamming_distances", "spherical_distances"]
