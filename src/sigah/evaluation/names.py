"""Short names of the metrics for narrow columns, and which metrics are better when lower."""

from __future__ import annotations

__all__ = ["LOWER_IS_BETTER", "METRICS"]

METRICS = {
    "pr_area": "mAP",  # the paper's name for it
    "map": "true mAP",
    "precision@100": "P@100",
    "recall10@10": "recall 10@10",
    "recall100@1000": "recall 100@1k",
    "fit_seconds": "seconds",
    "fit_cpu_seconds": "CPU seconds",
    "reconstruction_error": "error",
    "relative_reconstruction_error": "relative error",
    "label_map_by_relevant@1000": "label mAP@1000 by relevant",
    "label_map_by_hits@1000": "label mAP@1000 by hits",
    "asymmetric_label_map_by_relevant@1000": "asymmetric label mAP@1000 by relevant",
    "asymmetric_label_map_by_hits@1000": "asymmetric label mAP@1000 by hits",
}
LOWER_IS_BETTER = (
    "fit_seconds",
    "fit_cpu_seconds",
    "reconstruction_error",
    "relative_reconstruction_error",
)
