"""Pictures and pages of measured results."""

from __future__ import annotations

from sigah.extras import require

for library in ("jinja2", "matplotlib"):  # before a module of this room imports them
    require(library, "The report", "lab")
