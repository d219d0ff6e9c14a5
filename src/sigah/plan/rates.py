"""Measured rates for plans, copied because ``benchmarks/`` is not installed.

These are rounded figures from the committed JSON that each constant names; a test compares them.
All were measured on two cores of one AMD EPYC with AVX-512.
"""

from __future__ import annotations

__all__ = [
    "BATCHES",
    "BUSY",
    "CORES",
    "ENCODE",
    "ENCODE_DIM",
    "FIT",
    "MACHINE",
    "NEAR",
    "SCAN",
    "SCAN_CODES",
    "TABLES",
    "TABLES_BITS",
    "TABLES_CODES",
    "USABLE",
    "K",
]

MACHINE, CORES = "AMD EPYC", 2  # with AVX-512

# benchmarks/results/search.json, "grid": comparisons per second of HammingIndex on uniform bits, k
# = 10, by queries per batch
SCAN_CODES = 10_000_000
BATCHES = (1, 10, 100)
SCAN = {
    32: (4.67e9, 19.9e9, 23.2e9),
    64: (2.32e9, 8.16e9, 22.9e9),
    128: (1.40e9, 8.01e9, 11.2e9),
    256: (0.901e9, 4.58e9, 6.88e9),
    512: (0.473e9, 2.41e9, 3.41e9),
    1024: (0.247e9, 1.08e9, 1.84e9),
}

# benchmarks/results/search.json, "tables": multi-index tables on SiGAH's codes of shifted MNIST
# images. Nanoseconds per bucket opened and per code read; seconds of one query with k = 10, whose
# tenth neighbour is on average within a tenth of the bits.
TABLES_BITS, TABLES_CODES, NEAR = 64, 10_140_000, 0.1
TABLES = {"bucket_ns": 26.3, "code_ns": 4.86, "query_seconds": 40.3e-6}

# benchmarks/results/fit_and_encode.json: vectors per second that SiGAH encodes, by code length
ENCODE_DIM = 784
ENCODE = {32: 1.16e6, 64: 0.800e6}

# the same file: seconds of learning from 60,000 vectors; SiGAH's steps do not grow with the rows
FIT = {"sigah": {32: 26.0, 64: 26.6}, "itq": {32: 1.19, 64: 2.02}}

K = 10  # neighbours in all of these measurements

# chosen, not measured: the share of a machine's memory for codes, and of its time for searches, so
# that queries seldom wait
USABLE, BUSY = 0.8, 0.5
