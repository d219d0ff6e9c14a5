"""The kernels, loaded when first used: Numba takes some 0.3 s to import.

A fork waits until no thread is loading or compiling kernels. The child does not have that thread:
in the child, the import would never finish and the compiler's lock would never be free.
"""

from __future__ import annotations

import logging  # noqa: F401  (its wait before forks must be older than ours, see below)
import os
import sys
from functools import cache
from importlib import import_module
from threading import RLock
from types import ModuleType
from typing import Any

__all__ = [
    "asymmetric_kernels",
    "kernels",
    "multi_index_kernels",
    "product_kernels",
    "score_kernels",
]

_loading = RLock()
_held: list[Any] = []  # the locks that a fork holds


@cache
def kernels() -> ModuleType:
    """The module :mod:`sigah.search.kernels`; the second call costs almost nothing."""
    return _load("kernels")


@cache
def multi_index_kernels() -> ModuleType:
    """The module :mod:`sigah.search.multi_index_kernels`."""
    return _load("multi_index_kernels")


@cache
def score_kernels() -> ModuleType:
    """The module :mod:`sigah.search.score_kernels`."""
    return _load("score_kernels")


@cache
def asymmetric_kernels() -> ModuleType:
    """The module :mod:`sigah.search.asymmetric_kernels`."""
    return _load("asymmetric_kernels")


@cache
def product_kernels() -> ModuleType:
    """The module :mod:`sigah.search.product_kernels`."""
    return _load("product_kernels")


def _load(name: str) -> ModuleType:
    with _loading:
        _wait_before_forks()
        return import_module(f"sigah.search.{name}")


@cache
def _wait_before_forks() -> None:
    # The handler registered last runs first. If logging's handler ran before ours, the forking
    # thread would hold logging's lock while a thread that imports Numba waits for it.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)


def _hold() -> None:
    _loading.acquire()
    _held.append(_loading)
    numba = sys.modules.get("numba.core.compiler_lock")
    compiling = getattr(numba, "global_compiler_lock", None)
    if compiling is not None:
        compiling.acquire()
        _held.append(compiling)


def _release() -> None:
    while _held:
        _held.pop().release()
