"""Provenance of figures: versions, machine, command and time."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sigah.machine import peak_memory_bytes, processor_name
from sigah.threads import available_threads

__all__ = ["environment", "provenance"]


def provenance() -> dict[str, Any]:
    """The provenance that every run records beside its figures."""
    return {
        "environment": environment(),
        "command": " ".join(["sigah", *sys.argv[1:]]),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def environment() -> dict[str, Any]:
    """Versions, processor, threads and memory of this process."""
    versions = {}
    for package in ("sigah", "numpy", "scipy", "scikit-learn", "torch"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "versions": {"python": platform.python_version(), **versions},
        "machine": processor_name(),
        "threads": available_threads(),
        "peak_memory_bytes": peak_memory_bytes(),
    }
