"""Checks of your own hashers and engines; they need no test framework."""

from __future__ import annotations

from sigah.testing.engines import ENGINE_CHECKS, EngineCase, check_engine
from sigah.testing.hashers import HASHER_CHECKS, check_hasher

__all__ = ["ENGINE_CHECKS", "HASHER_CHECKS", "EngineCase", "check_engine", "check_hasher"]
