"""The kernels, loaded when first used: Numba takes some 0.3 s to import."""

from __future__ import annotations

from functools import cache
from types import ModuleType

__all__ = ["kernels", "multi_index_kernels"]


@cache
def kernels() -> ModuleType:
    """The module :mod:`sigah.search.kernels`; asking for it again costs next to nothing."""
    from sigah.search import kernels

    return kernels


@cache
def multi_index_kernels() -> ModuleType:
    """The module :mod:`sigah.search.multi_index_kernels`."""
    from sigah.search import multi_index_kernels

    return multi_index_kernels
