"""How neighbours are measured: exact neighbours, tie-aware metrics, a whole evaluation."""

from __future__ import annotations

from sigah.evaluation.metrics import (
    RankCounts,
    average_precision,
    average_precision_stable,
    bit_balance,
    bit_statistics,
    pr_area,
    pr_curve,
    precision_at,
    rank_counts,
    recall_at,
    reconstruction_error,
)
from sigah.evaluation.protocol import evaluate, measure, read_results, summarize, write_results
from sigah.evaluation.truth import cached_neighbors, content_hash, exact_neighbors

__all__ = [
    "RankCounts",
    "average_precision",
    "average_precision_stable",
    "bit_balance",
    "bit_statistics",
    "cached_neighbors",
    "content_hash",
    "evaluate",
    "exact_neighbors",
    "measure",
    "pr_area",
    "pr_curve",
    "precision_at",
    "rank_counts",
    "read_results",
    "recall_at",
    "reconstruction_error",
    "summarize",
    "write_results",
]
