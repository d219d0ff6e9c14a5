"""Export codes to existing search engines and databases: one engine, one file."""

from __future__ import annotations

from sigah.engines.base import About, Engine, Rows
from sigah.engines.loading import Exported, export, remove
from sigah.engines.registry import ENGINES, make_engine
from sigah.engines.vectors import VectorSearch, connect

__all__ = [
    "ENGINES",
    "About",
    "Engine",
    "Exported",
    "Rows",
    "VectorSearch",
    "connect",
    "export",
    "make_engine",
    "remove",
]
