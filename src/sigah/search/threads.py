"""See :mod:`sigah.threads`."""

from __future__ import annotations

from sigah.threads import available_threads, run_together

__all__ = ["available_threads", "run_together"]
