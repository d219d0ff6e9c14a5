"""Every method of sigah by its name."""

from __future__ import annotations

from sigah.hashers.anchor_graph import AnchorGraphHashing
from sigah.hashers.base import BinaryHasher
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
from sigah.hashers.ordinal_constrained import OrdinalConstrainedHashing
from sigah.hashers.pca_rotation import PCARotation
from sigah.hashers.quantization_optimized_lsh import QoLSH
from sigah.hashers.scalable_graph import ScalableGraphHashing
from sigah.hashers.sigah import SiGAH
from sigah.hashers.signs import SignHashing
from sigah.hashers.spectral import SpectralHashing
from sigah.hashers.spherical import SphericalHashing
from sigah.hashers.stochastic_generative import StochasticGenerativeHashing

__all__ = ["FOR_IMAGES", "METHODS"]

HEADS: tuple[type[BinaryHasher], ...] = (  # on features of images
    DeepHashing,
    DeepBit,
    DBDMQ,
    GreedyHash,
    TBH,
    BiHalf,
    CIBHash,
    SDC,
    CroVCA,
)
ON_PIXELS: tuple[type[BinaryHasher], ...] = (PixelDeepBit, HashGAN, BinGAN)
IN_ORDER: tuple[type[BinaryHasher], ...] = (
    SiGAH,
    # reconstruct the vector
    ITQ,
    PCARotation,
    BinaryAutoencoder,
    StochasticGenerativeHashing,
    KMeansHashing,
    # partition the space
    SphericalHashing,
    OrdinalConstrainedHashing,
    # neighbourhood graphs
    SpectralHashing,
    AnchorGraphHashing,
    DiscreteGraphHashing,
    ScalableGraphHashing,
    # networks for images
    *HEADS,
    *ON_PIXELS,
    # no training
    LSH,
    QoLSH,
    SignHashing,
)

METHODS = {method.name: method for method in IN_ORDER}
FOR_IMAGES = frozenset(method.name for method in (*HEADS, *ON_PIXELS))
