"""Models as ONNX graphs: any language with an ONNX runtime encodes and decodes with them.

An encoder takes ``vectors``, float32 ``(n, d)`` with any n, and returns ``codes``, uint8
``(n, n_bits // 8)`` in the bit order of :func:`numpy.packbits`: what :meth:`transform` returns. A
decoder takes such codes and returns vectors, as :meth:`reconstruct` does.

**The same bits.** A float32 product depends on how it is split up, and a score near its threshold
may fall on either side. :class:`~sigah.hashers.LinearHasher` computes such scores again in float64;
the graph computes all of them in float64, in which the products of float32 numbers are exact.

The rest of the graph follows each method's own arithmetic, operation by operation. Operators are
those of ONNX 1.12 (2022), none is a runtime's own. The package ``onnx`` is needed to write a file,
not to import this module.
"""

from __future__ import annotations

from functools import singledispatch
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah import __version__
from sigah.hashers import (
    ITQ,
    AnchorGraphHashing,
    BinaryAutoencoder,
    BinaryHasher,
    DiscreteGraphHashing,
    KMeansHashing,
    LinearHasher,
    PCARotation,
    QoLSH,
    ScalableGraphHashing,
    SiGAH,
    SignHashing,
    SpectralHashing,
    SphericalHashing,
    StochasticGenerativeHashing,
)
from sigah.hashers.sigah import LEAKY_SLOPE, gaussian_dictionary
from sigah.persistence import atomic_write

__all__ = ["export_decoder", "export_encoder"]

OPSET, IR_VERSION = 17, 8  # of ONNX 1.12, which every onnxruntime since 1.12 reads
LARGEST = 2**31  # bytes of one protobuf message
BYTE_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # (256, 8)


def export_encoder(hasher: BinaryHasher, path: str | PathLike[str]) -> None:
    """Write a fitted hasher as an ONNX graph from float32 vectors to packed codes.

    The codes are those of ``hasher.transform``, bit by bit. Non-finite vectors, which ``transform``
    refuses, are encoded as something. The file's metadata name the method, ``n_bits``, the
    fingerprint of the model and the version of sigah; the same model gives the same bytes.

    Parameters
    ----------
    hasher : BinaryHasher
        Fitted. Every method but ``qolsh``, whose codes come from a search.
    path : path-like
        Written atomically.

    Raises
    ------
    ValueError
        If the hasher is not fitted or its encoder is no fixed graph.
    OSError
        If ``onnx`` is not installed or the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import onnxruntime
    >>> import sigah
    >>> from sigah.onnx import export_encoder
    >>> X = np.random.default_rng(0).normal(size=(100, 32)).astype(np.float32)
    >>> hasher = sigah.ITQ(16, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_encoder(hasher, path := os.path.join(folder, "encoder.onnx"))
    ...     session = onnxruntime.InferenceSession(path)
    >>> codes = session.run(["codes"], {"vectors": X})[0]
    >>> bool((codes == hasher.transform(X)).all())
    True
    """
    graph = Graph(hasher)
    bits = bits_of(hasher, graph, "vectors")
    graph.cast(numbers_of(graph, graph.cast(bits, np.float32), hasher.n_bits, 8), np.uint8, "codes")
    graph.write(
        path,
        kind="encoder",
        input_=("vectors", np.float32, hasher.n_features_in_),
        output=("codes", np.uint8, hasher.n_bits // 8),
    )


def export_decoder(hasher: BinaryHasher, path: str | PathLike[str]) -> None:
    """Write the decoder of a fitted hasher as an ONNX graph from packed codes to float32 vectors.

    The vectors are those of ``hasher.reconstruct``, up to the rounding of float32. SiGAH's Gaussian
    dictionary, which a model file keeps as a seed, is written out: ``8 d^2`` bytes for vectors of d
    dimensions and the usual ``dictionary_ratio`` of 2.

    Parameters
    ----------
    hasher : BinaryHasher
        Fitted, of a method that decodes (`sigah methods` tells which).
    path : path-like
        Written atomically.

    Raises
    ------
    ValueError
        If the hasher is not fitted or its method has no decoder.
    OSError
        If ``onnx`` is not installed or the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import onnxruntime
    >>> import sigah
    >>> from sigah.onnx import export_decoder
    >>> X = np.random.default_rng(0).normal(size=(100, 32)).astype(np.float32)
    >>> hasher = sigah.ITQ(16, random_state=0).fit(X)
    >>> codes = hasher.transform(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_decoder(hasher, path := os.path.join(folder, "decoder.onnx"))
    ...     session = onnxruntime.InferenceSession(path)
    >>> vectors = session.run(["vectors"], {"codes": codes})[0]
    >>> np.allclose(vectors, hasher.reconstruct(codes), atol=1e-5)
    True
    """
    graph = Graph(hasher)
    graph.cast(vectors_of(hasher, graph, "codes"), np.float32, name="vectors")
    graph.write(
        path,
        kind="decoder",
        input_=("codes", np.uint8, hasher.n_bits // 8),
        output=("vectors", np.float32, hasher.n_features_in_),
    )


class Graph:
    """A graph that grows by being called: ``graph("Add", x, array)`` names the sum.

    Arrays among the inputs become constants of their own dtype.
    """

    def __init__(self, hasher: BinaryHasher) -> None:
        if not isinstance(hasher, BinaryHasher):
            raise ValueError(f"only a fitted hasher can be exported, got {hasher!r}")
        self.properties = {  # the fingerprint refuses a hasher that is not fitted
            "fingerprint": hasher.fingerprint,
            "method": hasher.name,
            "n_bits": str(hasher.n_bits),
            "sigah_version": __version__,
        }
        self.onnx = require_onnx()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(
        self, operator: str, *inputs: str | NDArray[Any], name: str = "", **attributes: Any
    ) -> str:
        """Add a node and return the name of its (first) output."""
        named = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        outputs = [f"{name}_values", name] if operator == "TopK" else [name]  # its indices
        self.nodes.append(self.onnx.helper.make_node(operator, named, outputs, **attributes))
        return outputs[0]

    def cast(self, value: str | NDArray[Any], dtype: Any, name: str = "") -> str:
        """Convert a value, as ``astype`` does."""
        to = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self("Cast", value, name=name, to=to)

    def _constant(self, array: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        plain = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        self.constants.append(self.onnx.numpy_helper.from_array(plain, name))
        return name

    def write(
        self,
        path: str | PathLike[str],
        *,
        kind: str,
        input_: tuple[str, Any, int],
        output: tuple[str, Any, int],
    ) -> None:
        """Check the graph and write it with the model's properties."""
        if (size := sum(constant.ByteSize() for constant in self.constants)) >= LARGEST:
            raise ValueError(f"an ONNX file holds less than 2 GiB, this one would take {size:,} B")
        helper = self.onnx.helper

        def described(name: str, dtype: Any, width: int) -> Any:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            return helper.make_tensor_value_info(name, kind, ["n", width])

        model = helper.make_model(
            helper.make_graph(
                self.nodes, kind, [described(*input_)], [described(*output)], self.constants
            ),
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="sigah",
            producer_version=__version__,
            doc_string="Codes are packed bytes; the first bit is the highest of the first byte.",
        )
        helper.set_model_props(model, {"kind": kind, **self.properties})
        self.onnx.checker.check_model(model, full_check=True)
        with atomic_write(path) as file:
            file.write(model.SerializeToString(deterministic=True))


def numbers_of(graph: Graph, bits: str, n_bits: int, width: int) -> str:
    """The number that each ``width`` bits of a row spell, the highest first, as float32."""
    places = 2.0 ** np.arange(width)[::-1, None]
    return graph("MatMul", bits, np.kron(np.eye(n_bits // width), places).astype(np.float32))


# Encoders: float32 vectors (n, d) to bits (n, n_bits)


@singledispatch
def bits_of(hasher: BinaryHasher, graph: Graph, vectors: str) -> str:
    """Add the hash function of a method; returns the name of its bits, a boolean tensor."""
    raise ValueError(
        f"the codes of {hasher.name!r} ({type(hasher).__name__}) are not made by a fixed graph, so"
        " that ONNX cannot hold its encoder; encode with sigah, or use another method"
    )


def signs_of(graph: Graph, scores: str, dtype: type = np.float64) -> str:
    return graph("GreaterOrEqual", scores, np.zeros((), dtype))


@bits_of.register
def _(hasher: LinearHasher, graph: Graph, vectors: str) -> str:
    if type(hasher)._scores is not LinearHasher._scores:  # somebody's own method
        raise ValueError(f"{type(hasher).__name__} computes scores of its own; ONNX has none of it")
    weights = graph.cast(hasher.weights_, np.float64)  # half the file; runtimes convert it once
    scores = graph("MatMul", graph.cast(vectors, np.float64), weights)
    scores = graph("Sub", scores, hasher.thresholds_)
    # the hasher keeps scores in float32, in which one below 1e-45 is 0
    return signs_of(graph, graph.cast(scores, np.float32), np.float32)


@bits_of.register
def _(hasher: SignHashing, graph: Graph, vectors: str) -> str:
    first = graph("Gather", vectors, np.arange(hasher.n_bits), axis=1)
    return signs_of(graph, graph("Sub", graph.cast(first, np.float64), hasher.thresholds_))


@bits_of.register
def _(hasher: SphericalHashing, graph: Graph, vectors: str) -> str:
    centred = graph.cast(graph("Sub", vectors, hasher.mean_), np.float64)  # rounded, as there
    distances = squared_distances(graph, centred, hasher.centres_)
    return signs_of(graph, graph("Sub", np.square(hasher.radii_), distances))


@bits_of.register
def _(hasher: SpectralHashing, graph: Graph, vectors: str) -> str:
    coordinates = graph("MatMul", graph.cast(vectors, np.float64), hasher.directions_)
    coordinates = graph("Gather", coordinates, hasher.axes_, axis=1)
    coordinates = graph("Sub", coordinates, hasher.starts_)
    return signs_of(graph, graph("Cos", graph("Mul", coordinates, hasher.frequencies_)))


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
    numbers = BYTE_BITS[:n_centres, -hasher.bits_per_subspace :].astype(np.bool_)
    return graph("Reshape", graph("Gather", numbers, nearest), np.array([0, hasher.n_bits]))


def squared_norms(graph: Graph, rows: str) -> str:
    return graph("ReduceSum", graph("Mul", rows, rows), np.array([1]), keepdims=1)


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


# Decoders: codes (n, n_bits // 8) to vectors (n, d), of float32 or float64


@singledispatch
def vectors_of(hasher: BinaryHasher, graph: Graph, codes: str) -> str:
    """Add the decoder of a method; returns the name of the vectors."""
    raise ValueError(
        f"{hasher.name!r} ({type(hasher).__name__}) has no decoder that ONNX could hold; `sigah"
        " methods` tells which methods decode"
    )


def unpacked(graph: Graph, codes: str, hasher: BinaryHasher, zero: int, dtype: Any) -> str:
    """Codes as numbers ``(n, n_bits)``, 1 for a bit that is set and ``zero`` for others."""
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
    if hasher.dictionary == "identity":
        return graph("Add", graph("Mul", sparse, hasher.scale_), hasher.mean_)
    if hasher.dictionary == "learned":
        dictionary = hasher.dictionary_
    else:
        d, n = len(hasher.mean_), len(hasher.generator_bias_)
        dictionary = gaussian_dictionary(d, n, int(hasher.dictionary_seed_[0]))
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


def require_onnx() -> Any:
    """Return the package ``onnx``, or raise an OSError that tells how to install it."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise OSError(
            "onnx is not installed; install it with `pip install 'sigah[onnx]'`"
        ) from error
    return onnx
