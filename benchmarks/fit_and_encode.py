"""Time and memory of fitting and encoding, on MNIST: ``make bench`` runs this.

Other vectors are a named set or a file: ``--vectors photo-sift`` has a million.

Each fit runs in a process of its own, so that its peak memory is its own. Encoding is timed against
the matrix product that a linear method cannot do without, the two in turn; medians are reported.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import sigah
from reports import write_report
from sigah.cli.vectors import read_vectors
from sigah.hashers import METHODS
from sigah.hashers.registry import make_hasher


def fit_once(method: str, n_bits: int, vectors: str, model: str) -> dict[str, float]:
    """Fit in this process and report seconds and peak memory (called in a child process)."""
    X = np.load(vectors)
    hasher = make_hasher(method, n_bits, 0, [])
    began = time.perf_counter()
    hasher.fit(X)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    hasher.save(model)
    return {"seconds": seconds, "peak_memory_bytes": peak, "data_bytes": X.nbytes}


def encode_ratio(model: str, X: np.ndarray[Any, Any], repeats: int) -> dict[str, float]:
    """Seconds to encode, and to multiply the same vectors by one column a bit, in turn."""
    hasher = sigah.load(model)
    columns = np.random.default_rng(0).normal(size=(X.shape[1], hasher.n_bits)).astype(np.float32)
    encode, product = [], []
    for _ in range(repeats + 1):  # the first round warms up
        began = time.perf_counter()
        hasher.transform(X)
        encode.append(time.perf_counter() - began)
        began = time.perf_counter()
        X @ columns
        product.append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(encode[1:], product[1:], strict=True)]
    return {
        "encode_seconds": statistics.median(encode[1:]),
        "product_seconds": statistics.median(product[1:]),
        "ratio": statistics.median(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", default="mnist")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--bits", default="32,64")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/fit_and_encode.json"))
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        method, n_bits, vectors, model = arguments.child
        print(json.dumps(fit_once(method, int(n_bits), vectors, model)))
        return
    X = np.asarray(read_vectors(arguments.vectors))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        vectors, model = f"{folder}/x.npy", f"{folder}/model"
        np.save(vectors, X)
        jobs = itertools.product(arguments.bits.split(","), arguments.methods.split(","))
        for n_bits, method in jobs:
            child = [sys.executable, __file__, "--child", method, n_bits, vectors, model]
            fits = [
                json.loads(subprocess.run(child, check=True, capture_output=True).stdout)
                for _ in range(arguments.repeats)
            ]
            row = {
                "method": method,
                "n_bits": int(n_bits),
                "fit_seconds": statistics.median(fit["seconds"] for fit in fits),
                "peak_memory_bytes": max(fit["peak_memory_bytes"] for fit in fits),
                "data_bytes": fits[0]["data_bytes"],
                **encode_ratio(model, X, 5),
            }
            rows.append(row)
            print(
                f"{method:21} {n_bits} bits: fit {row['fit_seconds']:6.1f} s, peak"
                f" {row['peak_memory_bytes'] / 1e6:5.0f} MB for {row['data_bytes'] / 1e6:.0f} MB of"
                f" data; encode {len(X) / row['encode_seconds'] / 1e6:.2f} M vectors/s,"
                f" {row['ratio']:.2f}x a product"
            )
    report = {
        "data": f"{arguments.vectors} {len(X):,} x {X.shape[1]} {X.dtype}",
        "n_vectors": len(X),
        "rows": rows,
    }
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
