"""Pictures and pages of measured results."""

from __future__ import annotations

from sigah.report.demo import demo
from sigah.report.table import results_table

__all__ = ["demo", "results_table"]
