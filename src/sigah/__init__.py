"""sigah: learned binary hashing for nearest-neighbour search.

Public names load on first use, so ``import sigah`` is light and encoding never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigah.hashers import ITQ, LSH, BinaryHasher, PCARotation, SiGAH, SignHashing, load
    from sigah.search import HammingIndex

__version__ = "0.1.0"
__all__ = [
    "ITQ",
    "LSH",
    "BinaryHasher",
    "HammingIndex",
    "PCARotation",
    "SiGAH",
    "SignHashing",
    "load",
]

_HOMES = {
    "sigah.hashers": ("ITQ", "LSH", "BinaryHasher", "PCARotation", "SiGAH", "SignHashing", "load"),
    "sigah.search": ("HammingIndex",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'sigah' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
