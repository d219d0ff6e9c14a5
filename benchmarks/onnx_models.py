"""Exported encoders beside ``transform`` on all of MNIST: ``make bench-onnx`` runs this.

Counted are the bits that differ, on the 60,000 images and, for linear methods, on the same images
each moved onto the threshold of one of its bits. Timed on one thread, in turn: ``transform``, the
exported graph in onnxruntime, and the graph that a plain export would be, one product in float32.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from threadpoolctl import threadpool_limits

from reports import write_report
from sigah.hashers import METHODS, DecoderMixin, LinearHasher
from sigah.hashers.registry import make_hasher
from sigah.lab import datasets
from sigah.onnx import export_decoder, export_encoder

BITS, N_TRAIN, TURNS = 64, 10_000, 5
RESULTS = Path(__file__).parent / "results" / "onnx.json"


def session(path: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def single_precision(hasher: LinearHasher, path: str) -> None:
    """The bits by one float32 product: what the exported graph is not."""
    constants = {
        "weights": hasher.weights_,
        "thresholds": hasher.thresholds_.astype(np.float32),
        "zero": np.float32(0),
        "bytes": np.kron(np.eye(BITS // 8), 2.0 ** np.arange(8)[::-1, None]).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["vectors", "weights"], ["products"]),
        helper.make_node("Sub", ["products", "thresholds"], ["scores"]),
        helper.make_node("GreaterOrEqual", ["scores", "zero"], ["bits"]),
        helper.make_node("Cast", ["bits"], ["numbers"], to=onnx.TensorProto.FLOAT),
        helper.make_node("MatMul", ["numbers", "bytes"], ["packed"]),
        helper.make_node("Cast", ["packed"], ["codes"], to=onnx.TensorProto.UINT8),
    ]
    vectors = helper.make_tensor_value_info("vectors", onnx.TensorProto.FLOAT, ["n", None])
    codes = helper.make_tensor_value_info("codes", onnx.TensorProto.UINT8, ["n", BITS // 8])
    held = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "float32", [vectors], [codes], held)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), path)


def at_thresholds(hasher: LinearHasher, X: Any) -> Any:
    """Each vector moved onto the threshold of a bit, up to the rounding of float32."""
    bits = np.arange(len(X)) % BITS
    moved = np.empty_like(X)
    for start in range(0, len(X), 4096):
        rows = slice(start, start + 4096)
        normals = hasher.weights_.T[bits[rows]].astype(np.float64)
        scores = np.einsum("ij,ij->i", X[rows], normals) - hasher.thresholds_[bits[rows]]
        moved[rows] = X[rows] - (scores / np.square(normals).sum(axis=1))[:, None] * normals
    return moved


def differing(codes: Any, expected: Any) -> int:
    return int(np.bitwise_count(codes ^ expected).sum())


def measure(name: str, X: Any, folder: str) -> dict[str, Any]:
    hasher = make_hasher(name, BITS, 0, []).fit(X[:N_TRAIN])
    row: dict[str, Any] = {"method": name}
    if name != "qolsh":
        export_encoder(hasher, f"{folder}/encoder.onnx")
        encoder = session(f"{folder}/encoder.onnx")
        contestants = {
            "transform": hasher.transform,
            "graph": lambda X: encoder.run(None, {"vectors": X})[0],
        }
        if isinstance(hasher, LinearHasher) and name != "sign":
            single_precision(hasher, f"{folder}/float32.onnx")
            single = session(f"{folder}/float32.onnx")
            contestants["float32"] = lambda X: single.run(None, {"vectors": X})[0]
        seconds: dict[str, list[float]] = {way: [] for way in contestants}
        for _ in range(TURNS + 1):
            for way, encode in contestants.items():
                began = time.perf_counter()
                for start in range(0, len(X), 2000):  # blocks that stay in cache, for all alike
                    encode(X[start : start + 2000])
                seconds[way].append(time.perf_counter() - began)
        row |= {f"{way}_seconds": statistics.median(s[1:]) for way, s in seconds.items()}
        row["encoder_bytes"] = Path(f"{folder}/encoder.onnx").stat().st_size
        row["differing_bits"] = differing(contestants["graph"](X), hasher.transform(X))
        if isinstance(hasher, LinearHasher):
            near = at_thresholds(hasher, X)
            expected = hasher.transform(near)
            row["differing_bits_at_thresholds"] = differing(contestants["graph"](near), expected)
            if "float32" in contestants:
                wrong = differing(contestants["float32"](near), expected)
                row["float32_differing_bits_at_thresholds"] = wrong
    if isinstance(hasher, DecoderMixin):
        export_decoder(hasher, f"{folder}/decoder.onnx")
        codes = hasher.transform(X[:10_000])
        decoded = session(f"{folder}/decoder.onnx").run(None, {"codes": codes})[0]
        row["decoder_bytes"] = Path(f"{folder}/decoder.onnx").stat().st_size
        expected = hasher.reconstruct(codes)
        row["decoder_difference"] = float(np.abs(decoded - expected).max())
    print(row, flush=True)
    return row


def main() -> None:
    X = np.ascontiguousarray(datasets.load("mnist").base)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        rows = [measure(name, X, folder) for name in METHODS]
    report = {
        "data": f"mnist {len(X):,} x {X.shape[1]} float32, {BITS} bits, learned from {N_TRAIN:,}",
        "n_vectors": len(X),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "environment": {"threads": 1},
        "rows": rows,
    }
    write_report(RESULTS, report)


if __name__ == "__main__":
    main()
