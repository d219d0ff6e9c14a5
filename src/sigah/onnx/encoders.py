"""Hash functions as graphs: vectors ``(n, d)`` to bits ``(n, n_bits)``, method by method."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from sigah.hashers import (
    DBDMQ,
    AnchorGraphHashing,
    BinaryHasher,
    DiscreteGraphHashing,
    KMeansHashing,
    LinearHasher,
    ScalableGraphHashing,
    SignHashing,
    SpectralHashing,
    SphericalHashing,
)
from sigah.hashers.deep.heads import GELU_CUBE, GELU_SCALE, MLPHead
from sigah.hashers.deep.pixels import SLOPE, PixelHasher, convolutions, middle
from sigah.onnx.graph import Graph, squared_norms

__all__ = ["bits_of"]


@singledispatch
def bits_of(hasher: BinaryHasher, graph: Graph, vectors: str) -> str:
    """Add the hash function of a method; returns the name of its bits, a boolean tensor."""
    raise ValueError(
        f"{hasher.name!r} ({type(hasher).__name__}) does not make codes by a fixed graph, so ONNX"
        " cannot hold its encoder; encode with sigah, or use another method"
    )


def signs_of(graph: Graph, scores: str, dtype: type = np.float64) -> str:
    return graph("GreaterOrEqual", scores, np.zeros((), dtype))


@bits_of.register
def _(hasher: LinearHasher, graph: Graph, vectors: str) -> str:
    if type(hasher)._scores is not LinearHasher._scores:  # a user's method
        raise ValueError(
            f"{type(hasher).__name__} computes its own scores, which sigah cannot write as ONNX"
        )
    weights = graph.cast(hasher.weights_, np.float64)  # half the file; converted once
    scores = graph("MatMul", graph.cast(vectors, np.float64), weights)
    scores = graph("Sub", scores, hasher.thresholds_)
    # the hasher stores scores in float32, where a score below 1e-45 is 0
    return signs_of(graph, graph.cast(scores, np.float32), np.float32)


@bits_of.register
def _(hasher: SignHashing, graph: Graph, vectors: str) -> str:
    first = graph("Gather", vectors, np.arange(hasher.n_bits), axis=1)
    return signs_of(graph, graph("Sub", graph.cast(first, np.float64), hasher.thresholds_))


@bits_of.register
def _(hasher: SphericalHashing, graph: Graph, vectors: str) -> str:
    centred = graph.cast(graph("Sub", vectors, hasher.mean_), np.float64)  # rounded as there
    distances = squared_distances(graph, centred, hasher.centres_)
    return signs_of(graph, graph("Sub", np.square(hasher.radii_), distances))


@bits_of.register
def _(hasher: SpectralHashing, graph: Graph, vectors: str) -> str:
    coordinates = graph("MatMul", graph.cast(vectors, np.float64), hasher.directions_)
    coordinates = graph("Gather", coordinates, hasher.axes_, axis=1)
    angles = graph("Mul", graph("Sub", coordinates, hasher.starts_), hasher.frequencies_)
    # cos >= 0 in the first half of each turn from -pi/2 on (runtimes of 2024 have no float64 Cos)
    turns = graph("Add", graph("Div", angles, np.array(2 * np.pi)), np.array(0.25))
    return graph("LessOrEqual", graph("Sub", turns, graph("Floor", turns)), np.array(0.5))


@bits_of.register
def _(hasher: AnchorGraphHashing, graph: Graph, vectors: str) -> str:
    first = anchor_scores(hasher, graph, vectors)
    inside = signs_of(graph, first)
    if not len(hasher.b_plus_):
        return inside
    above, below = graph("Sub", first, hasher.b_plus_), graph("Sub", hasher.b_minus_, first)
    second = signs_of(graph, graph("Where", inside, above, below))
    return graph("Concat", inside, second, axis=1)


@bits_of.register
def _(hasher: DiscreteGraphHashing, graph: Graph, vectors: str) -> str:
    return signs_of(graph, anchor_scores(hasher, graph, vectors))


@bits_of.register
def _(hasher: ScalableGraphHashing, graph: Graph, vectors: str) -> str:
    centred = graph("Sub", graph.cast(vectors, np.float64), hasher.mean_)
    norms = graph("Sqrt", squared_norms(graph, centred))
    far = graph("Greater", norms, np.array(1e-12 * np.linalg.norm(hasher.mean_)))
    units = graph("Div", centred, graph("Where", far, norms, np.array(np.inf)))
    exponent = squared_distances(graph, units, hasher.bases_)
    kernel = graph("Exp", graph("Div", exponent, -2 * hasher.bandwidth_))
    return signs_of(graph, graph("MatMul", graph("Sub", kernel, hasher.bias_), hasher.W_))


@bits_of.register
def _(hasher: KMeansHashing, graph: Graph, vectors: str) -> str:
    n_subspaces, n_centres, dim = hasher.centres_.shape
    every = hasher.centres_.reshape(-1, dim)
    centred = graph("Sub", graph.cast(vectors, np.float64), hasher.mean_)
    closeness = graph("MatMul", centred, np.ascontiguousarray(every.T))
    closeness = graph("Sub", closeness, np.einsum("ij,ij->i", every, every) / 2)
    closeness = graph("Reshape", closeness, np.array([0, n_subspaces, n_centres]))
    nearest = graph("ArgMax", closeness, axis=2, keepdims=0)
    b = hasher.bits_per_subspace  # bits of the nearest centre's number, highest first
    bits = (np.arange(n_centres)[:, None] >> np.arange(b)[::-1] & 1).astype(np.bool_)
    return graph("Reshape", graph("Gather", bits, nearest), np.array([0, hasher.n_bits]))


@bits_of.register
def _(hasher: DBDMQ, graph: Graph, vectors: str) -> str:
    centred = graph("Sub", graph.cast(vectors, np.float64), hasher.mean_)
    u = graph("MatMul", centred, graph.cast(hasher.weights_, np.float64))
    u = graph("Tanh", graph("Add", u, hasher.bias_))
    errors = []
    for e, w, v in hasher.coders_:
        unit = graph("Tanh", graph("Add", graph("Mul", u, w), v))
        again = graph("Add", graph("Mul", unit, w), e)
        errors.append(graph("Abs", graph("Sub", again, u)))
    return signs_of(graph, graph("Sub", *errors))


@bits_of.register
def _(hasher: MLPHead, graph: Graph, vectors: str) -> str:
    *hidden, (W, c) = hasher.layers()
    units = graph("Sub", graph.cast(vectors, np.float64), hasher.mean_)
    for weights, bias in hidden:
        units = graph("MatMul", units, graph.cast(weights, np.float64))
        units = activated(graph, hasher.activation, graph("Add", units, bias))
    return signs_of(graph, graph("Add", graph("MatMul", units, graph.cast(W, np.float64)), c))


@bits_of.register
def _(hasher: PixelHasher, graph: Graph, vectors: str) -> str:
    # as products: runtimes have convolutions of float32 alone
    height, width, channels = hasher.shape_.tolist()
    centre, scale = middle(hasher.range_)
    maps = graph("Sub", graph.cast(vectors, np.float64), np.array(centre))
    maps = graph("Div", maps, np.array(scale))
    maps = graph("Reshape", maps, np.array([0, height * width, channels]))
    *layers, (last, offset) = hasher.layers()
    for step, (W, c) in zip(convolutions(height, width), layers, strict=True):
        if step.inputs.shape[1] > 1:
            maps = graph("Pad", maps, np.array([0, 0, 0, 0, 1, 0]))
            maps = graph("Gather", maps, step.inputs.ravel(), axis=1)
            maps = graph("Reshape", maps, np.array([0, len(step.inputs), len(W)]))
        maps = graph("Add", graph("MatMul", maps, graph.cast(W, np.float64)), c)
        maps = graph("Max", maps, graph("Mul", maps, np.array(SLOPE)))
    features = graph("ReduceMean", maps, axes=[1], keepdims=0)
    scores = graph("MatMul", features, graph.cast(last, np.float64))
    return signs_of(graph, graph("Add", scores, offset))


def activated(graph: Graph, name: str, units: str) -> str:
    """:func:`sigah.hashers.deep.heads.activate`."""
    if name == "relu":
        return graph("Max", units, np.zeros(()))
    if name == "tanh":
        return graph("Tanh", units)
    inner = graph("Min", graph("Max", units, np.array(-1e3)), np.array(1e3))
    cube = graph("Mul", graph("Mul", inner, inner), inner)
    inner = graph("Add", inner, graph("Mul", cube, np.array(GELU_CUBE)))
    share = graph("Tanh", graph("Mul", inner, np.array(GELU_SCALE)))
    share = graph("Add", graph("Mul", share, np.array(0.5)), np.array(0.5))
    return graph("Mul", units, share)


def squared_distances(graph: Graph, rows: str, anchors: NDArray[np.float64]) -> str:
    """:func:`sigah.hashers.anchors.squared_distances`."""
    squared = graph("MatMul", rows, -2 * anchors.T)
    squared = graph("Add", squared, squared_norms(graph, rows))
    squared = graph("Add", squared, np.einsum("ij,ij->i", anchors, anchors))
    return graph("Max", squared, np.zeros(()))


def anchor_scores(
    hasher: AnchorGraphHashing | DiscreteGraphHashing, graph: Graph, vectors: str
) -> str:
    """Functions at the nearest anchors, by their weights: ``Z(x) W``."""
    centred = graph("Sub", graph.cast(vectors, np.float64), hasher.mean_)
    distances = squared_distances(graph, centred, hasher.anchors_)
    n_nearest = min(hasher.n_nearest, len(hasher.anchors_))
    nearest = f"nearest_{len(graph.nodes)}"
    exponent = graph("TopK", distances, np.array([n_nearest]), name=nearest, largest=0)
    exponent = graph("Sub", exponent, graph("ReduceMin", exponent, axes=[1]))
    weights = graph("Exp", graph("Div", exponent, -hasher.squared_bandwidth_))
    weights = graph("Div", weights, graph("ReduceSum", weights, np.array([1])))
    weighted = graph(
        "Mul", graph("Gather", hasher.W_, nearest), graph("Unsqueeze", weights, np.array([2]))
    )
    return graph("ReduceSum", weighted, np.array([1]), keepdims=0)
