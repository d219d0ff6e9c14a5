"""Codes to neighbours: exact Hamming search, and candidates ranked by better distances."""

from __future__ import annotations

from sigah.search.distances import distance_counts, hamming_distances, spherical_distances
from sigah.search.index import HammingIndex
from sigah.search.keyed_index import KeyedIndex
from sigah.search.rerank import Calibration, TwoStageSearch
from sigah.search.scoring import asymmetric_distances
from sigah.search.selection import Selection
from sigah.search.snapshot import IndexSnapshot

__all__ = [
    "Calibration",
    "HammingIndex",
    "IndexSnapshot",
    "KeyedIndex",
    "Selection",
    "TwoStageSearch",
    "asymmetric_distances",
    "distance_counts",
    "hamming_distances",
    "spherical_distances",
]
