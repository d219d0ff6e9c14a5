"""Codes to neighbours: exact Hamming search."""

from __future__ import annotations

from sigah.search.flat import HammingIndex, hamming_distances, spherical_distances

__all__ = ["HammingIndex", "hamming_distances", "spherical_distances"]
