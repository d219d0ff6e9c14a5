"""Vectors to codes: one paper, one file."""

from __future__ import annotations

from os import PathLike
from typing import Any

from numpy.typing import NDArray

from sigah import files
from sigah.hashers.anchor_graph import AnchorGraphHashing
from sigah.hashers.base import (
    BinaryHasher,
    DecoderMixin,
    LinearHasher,
    ScoringHasher,
    TrainingInterrupted,
)
from sigah.hashers.binary_autoencoder import BinaryAutoencoder
from sigah.hashers.deep.bi_half import BiHalf
from sigah.hashers.deep.bin_gan import BinGAN
from sigah.hashers.deep.cib_hash import CIBHash
from sigah.hashers.deep.crovca import CroVCA
from sigah.hashers.deep.deep_bit import DeepBit, PixelDeepBit
from sigah.hashers.deep.deep_hashing import DeepHashing
from sigah.hashers.deep.greedy_hash import GreedyHash
from sigah.hashers.deep.hash_gan import HashGAN
from sigah.hashers.deep.multi_quantization import DBDMQ
from sigah.hashers.deep.sdc import SDC
from sigah.hashers.deep.twin_bottleneck import TBH
from sigah.hashers.discrete_graph import DiscreteGraphHashing
from sigah.hashers.itq import ITQ
from sigah.hashers.kmeans import KMeansHashing
from sigah.hashers.lsh import LSH
from sigah.hashers.methods import METHODS
from sigah.hashers.ordinal_constrained import OrdinalConstrainedHashing
from sigah.hashers.pca_rotation import PCARotation
from sigah.hashers.quantization_optimized_lsh import QoLSH
from sigah.hashers.registry import class_of_model
from sigah.hashers.scalable_graph import ScalableGraphHashing
from sigah.hashers.sigah import SiGAH
from sigah.hashers.signs import SignHashing
from sigah.hashers.spectral import SpectralHashing
from sigah.hashers.spherical import SphericalHashing
from sigah.hashers.stochastic_generative import StochasticGenerativeHashing

__all__ = [
    "DBDMQ",
    "ITQ",
    "LSH",
    "METHODS",
    "SDC",
    "TBH",
    "AnchorGraphHashing",
    "BiHalf",
    "BinGAN",
    "BinaryAutoencoder",
    "BinaryHasher",
    "CIBHash",
    "CroVCA",
    "DecoderMixin",
    "DeepBit",
    "DeepHashing",
    "DiscreteGraphHashing",
    "GreedyHash",
    "HashGAN",
    "KMeansHashing",
    "LinearHasher",
    "OrdinalConstrainedHashing",
    "PCARotation",
    "PixelDeepBit",
    "QoLSH",
    "ScalableGraphHashing",
    "ScoringHasher",
    "SiGAH",
    "SignHashing",
    "SpectralHashing",
    "SphericalHashing",
    "StochasticGenerativeHashing",
    "TrainingInterrupted",
    "from_content",
    "load",
]


def load(path: str | PathLike[str]) -> BinaryHasher:
    """Open a model file written by :meth:`BinaryHasher.save`.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    BinaryHasher
        Fitted, of the class that was saved.

    Raises
    ------
    FileFormatError
        If the file is not a model, is truncated or corrupted, or was written by a newer version.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import sigah
    >>> X = np.random.default_rng(0).normal(size=(100, 32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sigah.LSH(64, random_state=0).fit(X).save(os.path.join(folder, "model"))
    ...     sigah.load(os.path.join(folder, "model")).transform(X).shape
    (100, 8)
    """
    header, arrays = files.load_model(path)
    try:
        return from_content(header, arrays)
    except files.FileFormatError as error:
        raise files.FileFormatError(f"{path}: {error}") from error


def from_content(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> BinaryHasher:
    """Rebuild a fitted hasher from what :meth:`BinaryHasher.content` returned.

    Raises
    ------
    FileFormatError
        If a newer version made it, or the method is not known here.
    """
    try:
        method = class_of_model(header)
    except (ValueError, KeyError) as error:
        raise files.FileFormatError(str(error)) from error
    try:
        return method._from_model(header, arrays)
    except (KeyError, TypeError) as error:
        raise files.FileFormatError(
            f"it holds a model that this sigah does not know ({error}); upgrade sigah"
        ) from error
