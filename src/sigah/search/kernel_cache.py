"""The disk cache of compiled kernels, which may also lie in a read-only folder.

Numba stores compiled kernels in ``$NUMBA_CACHE_DIR``, beside the module, or in the user's cache: in
the first of them that it can write to. Containers often have no writable folder, so every process
would compile everything again. This module also uses a read-only folder that already holds the
kernel. A kernel that cannot be stored is compiled for this process alone.
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
    """A folder that can be written to, or that already holds some kernel."""

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
        with suppress(OSError):  # a read-only folder, a full disk
            super().save_overload(sig, data)


def compiled(function: Any) -> Any:
    """Compile a function at its first call, cache it on disk, and run it without the GIL."""
    kernel = njit(nogil=True)(function)
    with suppress(RuntimeError):  # there is no folder at all
        kernel._cache = _Cache(function)
    KERNELS.append(kernel)
    return kernel
