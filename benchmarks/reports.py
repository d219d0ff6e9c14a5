"""What a benchmark measured, as JSON that says where it was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sigah.evaluation.provenance import environment


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report with its environment, which a report may describe further itself."""
    content = {**report, "environment": environment() | report.get("environment", {})}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
