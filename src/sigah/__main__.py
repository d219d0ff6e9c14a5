"""``python -m sigah``."""

from __future__ import annotations

from sigah.cli import main

main()
