"""sigah: learned binary hashing for nearest-neighbour search.

Public names load on first use, so ``import sigah`` is light and encoding never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigah.advice import advise
    from sigah.hashers import (
        DBDMQ,
        ITQ,
        LSH,
        SDC,
        TBH,
        AnchorGraphHashing,
        BiHalf,
        BinaryAutoencoder,
        BinaryHasher,
        BinGAN,
        CIBHash,
        CroVCA,
        DeepBit,
        DeepHashing,
        DiscreteGraphHashing,
        GreedyHash,
        HashGAN,
        KMeansHashing,
        OrdinalConstrainedHashing,
        PCARotation,
        PixelDeepBit,
        QoLSH,
        ScalableGraphHashing,
        SiGAH,
        SignHashing,
        SpectralHashing,
        SphericalHashing,
        StochasticGenerativeHashing,
        load,
    )
    from sigah.refinement import KeyedVectorIndex, VectorIndex
    from sigah.search import HammingIndex, KeyedIndex, TwoStageSearch

__version__ = "0.1.0"
__all__ = [
    "DBDMQ",
    "ITQ",
    "LSH",
    "SDC",
    "TBH",
    "AnchorGraphHashing",
    "BiHalf",
    "BinGAN",
    "BinaryAutoencoder",
    "BinaryHasher",
    "CIBHash",
    "CroVCA",
    "DeepBit",
    "DeepHashing",
    "DiscreteGraphHashing",
    "GreedyHash",
    "HammingIndex",
    "HashGAN",
    "KMeansHashing",
    "KeyedIndex",
    "KeyedVectorIndex",
    "OrdinalConstrainedHashing",
    "PCARotation",
    "PixelDeepBit",
    "QoLSH",
    "ScalableGraphHashing",
    "SiGAH",
    "SignHashing",
    "SpectralHashing",
    "SphericalHashing",
    "StochasticGenerativeHashing",
    "TwoStageSearch",
    "VectorIndex",
    "advise",
    "load",
]

# the others live in sigah.hashers
_HOMES = {
    "advise": "sigah.advice",
    "HammingIndex": "sigah.search",
    "KeyedIndex": "sigah.search",
    "KeyedVectorIndex": "sigah.refinement",
    "TwoStageSearch": "sigah.search",
    "VectorIndex": "sigah.refinement",
}


if not TYPE_CHECKING:  # to a type checker, the names above are all that there are

    def __getattr__(name: str) -> Any:
        if name in __all__:
            return getattr(import_module(_HOMES.get(name, "sigah.hashers")), name)
        raise AttributeError(f"module 'sigah' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
