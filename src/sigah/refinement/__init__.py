"""More recall per byte: hash codes refined by further bytes, and the index of vectors on them."""

from __future__ import annotations

from sigah.refinement.refined_codes import Queries, RefinedCodes
from sigah.refinement.vector_index import Calibrated, VectorIndex

__all__ = ["Calibrated", "Queries", "RefinedCodes", "VectorIndex"]
