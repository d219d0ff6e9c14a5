"""Vectors that need not fit into memory: encode them in blocks, and detect drift."""

from __future__ import annotations

from sigah.streams.drift import Drift, drift
from sigah.streams.encoding import Encoded, encode

__all__ = ["Drift", "Encoded", "drift", "encode"]
