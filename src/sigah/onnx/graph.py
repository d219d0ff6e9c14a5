"""Build ONNX graphs node by node, and write them to files."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah import __version__
from sigah.extras import require
from sigah.files import atomic_write
from sigah.hashers import BinaryHasher

__all__ = ["Graph", "numbers_of", "squared_norms", "unit_rows"]

OPSET, IR_VERSION = 17, 8  # of ONNX 1.12 (2022); later runtimes read them
LARGEST = 2**31  # bytes of one protobuf message


class Graph:
    """A graph; a call adds a node: ``graph("Add", x, array)`` returns the name of the sum.

    Input arrays become constants of their dtype.
    """

    def __init__(self, hasher: BinaryHasher) -> None:
        if not isinstance(hasher, BinaryHasher):
            raise ValueError(f"only a fitted hasher can be exported, got {hasher!r}")
        self.properties = {  # the fingerprint refuses a hasher that is not fitted
            "fingerprint": hasher.fingerprint,
            "method": hasher.name,
            "metric": hasher.metric,
            "n_bits": str(hasher.n_bits),
            "sigah_version": __version__,
        }
        for module in ("onnx.checker", "onnx.helper", "onnx.numpy_helper", "onnx"):
            self.onnx = require(module, "an ONNX graph", "onnx")
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
            raise ValueError(
                f"an ONNX file must be smaller than 2 GiB, but this one would have {size:,} bytes"
            )
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
    """The number that each ``width`` bits of a row form, highest bit first, as float32."""
    places = 2.0 ** np.arange(width)[::-1, None]
    return graph("MatMul", bits, np.kron(np.eye(n_bits // width), places).astype(np.float32))


def unit_rows(graph: Graph, vectors: str) -> str:
    """:func:`sigah.metric.normalized`, operation by operation."""
    wide = graph.cast(vectors, np.float64)
    lengths = graph("Sqrt", squared_norms(graph, wide))
    zero = graph("Equal", lengths, np.zeros(()))
    lengths = graph("Where", zero, np.ones(()), lengths)
    return graph.cast(graph("Div", wide, lengths), np.float32)


def squared_norms(graph: Graph, rows: str) -> str:
    """Squared lengths of rows, ``(n, 1)``."""
    return graph("ReduceSum", graph("Mul", rows, rows), np.array([1]), keepdims=1)
