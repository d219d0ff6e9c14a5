"""Compiled kernels, and where they are kept: also in folders that can only be read.

Numba keeps what it compiled in ``$NUMBA_CACHE_DIR``, beside the module, or in the user's cache, the
first of them that it may write to. A container often may write nowhere, and would compile
everything again in every process. Here a folder that holds the kernel already serves too, and what
cannot be kept is compiled for this process alone.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)

__all__ = ["KERNELS", "compiled"]

KERNELS: list[Any] = []  # every compiled function, in the order of definition


class _Readable:
    """A place that may be written to, or that already holds some kernel."""

    def ensure_cache_path(self) -> None:
        try:
            super().ensure_cache_path()  # type: ignore[misc]
        except OSError:
            if not any(Path(self.get_cache_path()).glob("*.nbi")):  # type: ignore[attr-defined]
                raise


class _UserProvided(_Readable, UserProvidedCacheLocator):
    pass


class _InTree(_Readable, InTreeCacheLocator):
    pass


class _UserWide(_Readable, UserWideCacheLocator):
    pass


class _Places(CompileResultCacheImpl):
    _locator_classes = [_UserProvided, _InTree, _UserWide]  # noqa: RUF012


class _Cache(FunctionCache):
    _impl_class = _Places

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # a folder that can only be read, a full disk
            super().save_overload(sig, data)


def compiled(function: Any) -> Any:
    """Compile when first called, keep that on disk, and run without the interpreter's lock."""
    kernel = njit(nogil=True)(function)
    with suppress(RuntimeError):  # there is no folder at all
        kernel._cache = _Cache(function)
    KERNELS.append(kernel)
    return kernel
