"""Codes to neighbours: exact Hamming search, and candidates ranked by better distances."""

from __future__ import annotations

from sigah.search.flat import distance_counts, hamming_distances, spherical_distances
from sigah.search.index import HammingIndex
from sigah.search.rerank import Calibration, TwoStageSearch
from sigah.search.scoring import asymmetric_distances

__all__ = [
    "Calibration",
    "HammingIndex",
    "TwoStageSearch",
    "asymmetric_distances",
    "distance_counts",
    "hamming_distances",
    "spherical_distances",
]
