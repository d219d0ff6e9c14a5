"""More recall per byte: hash codes refined by further bytes, and the index of vectors on them."""

from __future__ import annotations

from sigah.refinement.keyed_vector_index import KeyedVectorIndex
from sigah.refinement.refined_codes import Queries, RefinedCodes
from sigah.refinement.shortlists import ShortlistCalibration
from sigah.refinement.vector_index import VectorIndex

__all__ = ["KeyedVectorIndex", "Queries", "RefinedCodes", "ShortlistCalibration", "VectorIndex"]
