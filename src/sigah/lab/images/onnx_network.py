"""Networks as ONNX graphs, cut after a layer."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.extras import require
from sigah.lab.images.scaling import pooled, scaled

__all__ = ["Graph", "open_graph"]


@dataclass(frozen=True)
class Graph:
    """A graph that is ready to run, on one thread a call.

    Attributes
    ----------
    session : onnxruntime.InferenceSession
    layer : str
        The output.
    side : int or None
        The height that the graph had fixed for its images.
    channels_last : bool
        Whether images enter as ``(n, height, width, 3)``.
    """

    session: Any
    layer: str
    side: int | None
    channels_last: bool

    def compute(self, images: NDArray[np.uint8], *, scaling: str) -> NDArray[np.float32]:
        """Run the graph on images ``(n, side, side, 3)``.

        Raises
        ------
        ValueError
            If the graph cannot be run on images of this size.
        """
        pixels = scaled(images, scaling)
        if not self.channels_last:
            pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        (entry,) = self.session.get_inputs()
        try:
            (output,) = self.session.run([self.layer], {entry.name: pixels})
        except Exception as error:  # ONNX Runtime's own types, which share no base
            reason = " ".join(str(error).split())
            raise ValueError(
                f"the graph cannot be run on images of {images.shape[1]} pixels up to {self.layer}:"
                f" {reason}"
            ) from error
        return pooled(output, self.layer)


def open_graph(file: Path, layer: str | None = None) -> Graph:
    """Read an ONNX graph and cut off what follows a layer.

    Parameters
    ----------
    file : Path
    layer : str, optional
        The name of a node, or of a value; by default the first output.

    Raises
    ------
    ValueError
        If the file is no graph with one input of images, or has no such layer.
    """
    onnx = require("onnx", "reading networks in ONNX", "onnx")
    runtime = require("onnxruntime", "running networks in ONNX", "onnx")
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file")
    try:
        model = onnx.load(str(file))
        graph = model.graph
        stored = {tensor.name for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in stored]
        output = _value(graph, layer) if layer else graph.output[0].name
        nodes, needed = _before(graph, output)
    except KeyError as error:
        raise ValueError(f"{file}: {error.args[0]}") from None
    except Exception as error:  # protobuf's own types
        raise ValueError(f"{file}: this is no ONNX graph ({error})") from error
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ValueError(f"{file}: a network of images has one input, this has {names}")
    (entry,) = inputs
    side, channels_last = _layout(entry, file)
    shape = ["n", "height", "width"]
    shape.insert(3 if channels_last else 1, 3)  # type: ignore[arg-type]
    float32 = onnx.TensorProto.FLOAT
    cut = onnx.helper.make_graph(
        nodes,
        "features",
        [onnx.helper.make_tensor_value_info(entry.name, float32, shape)],
        [onnx.helper.make_tensor_value_info(output, float32, None)],
        [tensor for tensor in graph.initializer if tensor.name in needed],
    )
    functions = {"functions": model.functions} if model.functions else {}
    cut = onnx.helper.make_model(
        cut, opset_imports=model.opset_import, ir_version=model.ir_version, **functions
    )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # blocks run in parallel
    options.log_severity_level = 3
    here = runtime.get_available_providers()
    providers = [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider") if one in here]
    try:
        session = runtime.InferenceSession(cut.SerializeToString(), options, providers=providers)
    except Exception as error:  # ONNX Runtime's own types
        raise ValueError(f"{file}: this graph cannot be run ({error})") from error
    return Graph(session, output, side, channels_last)


def _value(graph: Any, layer: str) -> str:
    """The value that a layer's name means."""
    values = {value: value for node in graph.node for value in node.output}
    nodes = {node.name: node.output[0] for node in graph.node if node.name}
    known: dict[str, str] = nodes | values
    if layer not in known:
        close = difflib.get_close_matches(layer, known, n=1)
        guess = f"; do you mean {close[0]}?" if close else f"; its last is {list(known)[-1]}"
        raise KeyError(f"the graph has no layer {layer!r}{guess}")
    return known[layer]


def _before(graph: Any, output: str) -> tuple[list[Any], set[str]]:
    """The nodes that an output depends on, in their order, and all that they read."""
    needed, nodes = {output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed.update(node.input)
            for attribute in node.attribute:  # branches and loops read values from outside
                for inner in (attribute.g, *attribute.graphs):
                    needed.update(name for inside in inner.node for name in inside.input)
    return nodes[::-1], needed


def _layout(entry: Any, file: Path) -> tuple[int | None, bool]:
    """The fixed height of the images, and whether channels come last."""
    lengths = [length.dim_value for length in entry.type.tensor_type.shape.dim]
    if len(lengths) == 4 and lengths[1] == 3:
        return lengths[2] or None, False
    if len(lengths) == 4 and lengths[3] == 3:
        return lengths[1] or None, True
    raise ValueError(
        f"{file}: its input {entry.name} has shape {lengths}, expected images (n, 3, height, width)"
        " or (n, height, width, 3)"
    )
