"""Vectors that need not fit into memory: sample them, encode them by blocks, watch them drift."""

from __future__ import annotations

from sigah.streams.drift import Drift, drift
from sigah.streams.encoding import Encoded, encode
from sigah.streams.parquet import read_parquet
from sigah.streams.sampling import sample, training_rows

__all__ = ["Drift", "Encoded", "drift", "encode", "read_parquet", "sample", "training_rows"]
