"""Decoders as graphs: codes ``(n, n_bits // 8)`` to vectors ``(n, d)``, method by method."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from sigah.hashers import (
    ITQ,
    BinaryAutoencoder,
    BinaryHasher,
    KMeansHashing,
    PCARotation,
    QoLSH,
    SiGAH,
    StochasticGenerativeHashing,
)
from sigah.hashers.sigah_decoder import LEAKY_SLOPE
from sigah.onnx.graph import Graph, numbers_of, squared_norms

__all__ = ["vectors_of"]

BYTE_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # (256, 8)


@singledispatch
def vectors_of(hasher: BinaryHasher, graph: Graph, codes: str) -> str:
    """Add the decoder of a method; returns the name of the vectors."""
    raise ValueError(
        f"{hasher.name!r} ({type(hasher).__name__}) has no decoder for ONNX; `sigah methods` lists"
        " the methods that decode"
    )


def unpacked(graph: Graph, codes: str, hasher: BinaryHasher, zero: int, dtype: Any) -> str:
    """Codes as numbers ``(n, n_bits)``: 1 for a set bit, ``zero`` for others."""
    values = np.where(BYTE_BITS, 1, zero).astype(dtype)
    numbers = graph("Gather", values, graph.cast(codes, np.int32))
    return graph("Reshape", numbers, np.array([0, hasher.n_bits]))


@vectors_of.register(ITQ)
@vectors_of.register(PCARotation)
def _(hasher: Any, graph: Graph, codes: str) -> str:
    code_signs = unpacked(graph, codes, hasher, -1, np.float32)
    turned = graph("MatMul", code_signs, hasher.scale_ * hasher.weights_.T)
    return graph("Add", turned, hasher.mean_)


@vectors_of.register(BinaryAutoencoder)
@vectors_of.register(StochasticGenerativeHashing)
def _(hasher: Any, graph: Graph, codes: str) -> str:
    zero = -1 if isinstance(hasher, BinaryAutoencoder) else 0
    numbers = unpacked(graph, codes, hasher, zero, np.float32)
    return graph("Add", graph("MatMul", numbers, hasher.decoder_), hasher.offset_)


@vectors_of.register
def _(hasher: SiGAH, graph: Graph, codes: str) -> str:
    code_signs = unpacked(graph, codes, hasher, -1, np.float32)
    sparse = graph("MatMul", code_signs, hasher.generator_weights_)
    sparse = activated(graph, hasher.activation, graph("Add", sparse, hasher.generator_bias_))
    dictionary = hasher._dictionary()
    if dictionary is None:
        return graph("Add", graph("Mul", sparse, hasher.scale_), hasher.mean_)
    return graph("Add", graph("MatMul", sparse, hasher.scale_ * dictionary.T), hasher.mean_)


def activated(graph: Graph, name: str, Z: str) -> str:
    """The generator's activation: :func:`sigah.hashers.sigah.activate`."""
    if name == "identity":
        return Z
    if name == "silu":
        return graph("Mul", Z, graph("Sigmoid", Z))
    if name == "leaky_relu":
        return graph("LeakyRelu", Z, alpha=LEAKY_SLOPE)
    return graph({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[name], Z)


@vectors_of.register
def _(hasher: KMeansHashing, graph: Graph, codes: str) -> str:
    n_subspaces, n_centres, dim = hasher.centres_.shape
    numbers = numbers_of(
        graph,
        unpacked(graph, codes, hasher, 0, np.float32),
        hasher.n_bits,
        hasher.bits_per_subspace,
    )
    numbers = graph("Unsqueeze", numbers, np.array([2]))
    chosen = graph("Equal", numbers, np.arange(n_centres, dtype=np.float32))
    chosen = graph(
        "Reshape", graph.cast(chosen, np.float64), np.array([0, n_subspaces * n_centres])
    )
    rebuilt = graph("MatMul", chosen, hasher.centres_.reshape(-1, dim))
    return graph("Add", rebuilt, hasher.mean_)


@vectors_of.register
def _(hasher: QoLSH, graph: Graph, codes: str) -> str:
    code_signs = unpacked(graph, codes, hasher, -1, np.float64)
    framed = graph("MatMul", code_signs, np.ascontiguousarray(hasher.weights_.T))
    length = graph(
        "Max", graph("Sqrt", squared_norms(graph, framed)), np.array(np.finfo(float).tiny)
    )
    return graph("Add", graph("Mul", graph("Div", framed, length), hasher.scale_), hasher.mean_)
