"""Models as ONNX graphs, for encoding and decoding in any language with an ONNX runtime.

An encoder takes ``vectors``, float32 ``(n, d)`` with any n, and returns ``codes``, uint8
``(n, n_bits // 8)`` in the bit order of :func:`numpy.packbits`: the codes that :meth:`transform`
returns. A decoder takes such codes and returns vectors, as :meth:`reconstruct` does.

**The same bits.** A float32 product depends on how it is split up, so a score near its threshold
may get either sign. :class:`~sigah.hashers.LinearHasher` recomputes such scores in float64. The
graph computes all scores in float64, in which products of two float32 numbers are exact.

The rest of the graph follows the arithmetic of each method, operation by operation. All operators
are in ONNX 1.12 (2022), none is specific to a runtime. The package ``onnx`` is needed to write a
file, not to import this module.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from sigah.hashers import BinaryHasher
from sigah.onnx.decoders import vectors_of
from sigah.onnx.encoders import bits_of
from sigah.onnx.graph import Graph, numbers_of, unit_rows

__all__ = ["export_decoder", "export_encoder"]


def export_encoder(hasher: BinaryHasher, path: str | PathLike[str]) -> None:
    """Write a fitted hasher as an ONNX graph from float32 vectors to packed codes.

    The codes are those of ``hasher.transform``, bit for bit. Unlike ``transform``, the graph does
    not refuse non-finite vectors; their codes mean nothing. For the metric ``"cosine"``, the graph
    itself scales the vectors to unit length. The file's metadata name the method, the metric,
    ``n_bits``, the fingerprint of the model and the version of sigah; the same model gives the same
    bytes.

    Parameters
    ----------
    hasher : BinaryHasher
        Fitted, of any method but ``qolsh``, whose codes come from a search.
    path : path-like
        Written atomically.

    Raises
    ------
    ValueError
        If the hasher is not fitted or its encoder is not a fixed graph.
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
    vectors = unit_rows(graph, "vectors") if hasher.metric == "cosine" else "vectors"
    bits = bits_of(hasher, graph, vectors)
    graph.cast(numbers_of(graph, graph.cast(bits, np.float32), hasher.n_bits, 8), np.uint8, "codes")
    graph.write(
        path,
        kind="encoder",
        input_=("vectors", np.float32, hasher.n_features_in_),
        output=("codes", np.uint8, hasher.n_bits // 8),
    )


def export_decoder(hasher: BinaryHasher, path: str | PathLike[str]) -> None:
    """Write the decoder of a fitted hasher as an ONNX graph from packed codes to float32 vectors.

    The vectors are those of ``hasher.reconstruct``, up to the rounding of float32: for the metric
    ``"cosine"``, rebuilt from vectors of unit length. SiGAH's
    dictionary takes ``4 d n`` bytes for vectors of d dimensions and n units in the sparse layer.
    This includes the Gaussian dictionary, of which a model file stores only the seed.

    Parameters
    ----------
    hasher : BinaryHasher
        Fitted, of a method that decodes (see `sigah methods`).
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
