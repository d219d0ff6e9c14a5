"""Evaluation of search results: exact neighbours, tie-aware metrics, whole evaluations."""

from __future__ import annotations

from sigah.evaluation.data import EvaluationData
from sigah.evaluation.deployed import Latency, SearchMeasurement, measure_search
from sigah.evaluation.intervals import mean_interval, pr_area_interval
from sigah.evaluation.labels import (
    asymmetric_label_precision,
    class_shares,
    label_average_precision,
)
from sigah.evaluation.loop import evaluate
from sigah.evaluation.measure import measure
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
from sigah.evaluation.qrels import judgements_of, read_qrels
from sigah.evaluation.relevance import QueryScores, mrr, ndcg, recall
from sigah.evaluation.results import Summary, read_results, summarize, write_results
from sigah.evaluation.truth import Neighbors, cached_neighbors, content_hash, exact_neighbors

__all__ = [
    "EvaluationData",
    "Latency",
    "Neighbors",
    "QueryScores",
    "RankCounts",
    "SearchMeasurement",
    "Summary",
    "asymmetric_label_precision",
    "average_precision",
    "average_precision_stable",
    "bit_balance",
    "bit_statistics",
    "cached_neighbors",
    "class_shares",
    "content_hash",
    "evaluate",
    "exact_neighbors",
    "judgements_of",
    "label_average_precision",
    "mean_interval",
    "measure",
    "measure_search",
    "mrr",
    "ndcg",
    "pr_area",
    "pr_area_interval",
    "pr_curve",
    "precision_at",
    "rank_counts",
    "read_qrels",
    "read_results",
    "recall",
    "recall_at",
    "reconstruction_error",
    "summarize",
    "write_results",
]
