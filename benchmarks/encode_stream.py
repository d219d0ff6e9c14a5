"""Memory and speed of encoding a file that is larger than memory should ever hold.

A file of float32 vectors is written to a temporary folder and encoded as ``sigah encode`` does,
in a process of its own, whose peak of resident memory (VmHWM) is its own. Beside it stand the two
things it cannot be faster than: reading the file, and the matrix product of the vectors by one
column a bit. Before every run, the file is dropped from the system's cache. Disks are not equally
fast all the time, so the three take turns, once in this order and once in the other; medians count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import sigah
from reports import write_report
from sigah import streams
from sigah.rows import open_vectors, sample

BLOCK = 1 << 16
PARTS = ("read", "product", "encode")


def write_vectors(path: Path, n: int, d: int) -> None:
    """A file of float32 vectors; blocks repeat, because what they are makes no difference."""
    some = np.random.default_rng(0).normal(size=(BLOCK, d)).astype(np.float32)
    with path.open("wb") as file:
        head = {"descr": "<f4", "fortran_order": False, "shape": (n, d)}
        np.lib.format.write_array_header_1_0(file, head)
        for start in range(0, n, BLOCK):
            file.write(some[: n - start].data)
        file.flush()
        os.fsync(file.fileno())


def drop_from_cache(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak_memory() -> int:
    """VmHWM of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def child(what: str, vectors: Path, model: Path, out: Path) -> dict[str, float]:
    """One of the three things, in this process."""
    hasher = sigah.load(model)
    began_with = peak_memory()
    if what == "encode":
        began = time.perf_counter()
        streams.encode(hasher, open_vectors(vectors), out)
        seconds = time.perf_counter() - began
    elif what == "read":
        buffer = bytearray(8 << 20)
        began = time.perf_counter()
        with vectors.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
        seconds = time.perf_counter() - began
    else:
        n, d = open_vectors(vectors).shape
        rows = np.random.default_rng(1).normal(size=(8192, d)).astype(np.float32)
        columns = np.random.default_rng(2).normal(size=(d, hasher.n_bits)).astype(np.float32)
        rows @ columns
        began = time.perf_counter()
        for _ in range(0, n, len(rows)):
            rows @ columns
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_memory_bytes": peak_memory(), "before_bytes": began_with}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="Where to put the file; default: a temporary.")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/encode_stream.json"))
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, *paths = arguments.child
        print(json.dumps(child(what, *map(Path, paths))))
        return
    n, d = arguments.rows, arguments.dim
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        vectors, model, out = (Path(folder, name) for name in ("x.npy", "model", "codes.npy"))
        needed, free = 4 * n * d + 2 * n * arguments.bits // 8, shutil.disk_usage(folder).free
        if free < 1.1 * needed:
            sys.exit(f"{folder}: {needed:,} bytes are needed, {free:,} are free; see --folder")
        write_vectors(vectors, n, d)
        rows = sample(open_vectors(vectors), 20_000, 0)
        sigah.ITQ(arguments.bits, random_state=0).fit(rows).save(model)
        runs: dict[str, list[dict[str, float]]] = {what: [] for what in PARTS}
        for turn in range(arguments.rounds):
            for what in PARTS if turn % 2 == 0 else reversed(PARTS):
                drop_from_cache(vectors)
                out.unlink(missing_ok=True)
                command = [sys.executable, __file__, "--child", what, vectors, model, out]
                done = subprocess.run(command, check=True, capture_output=True)
                runs[what].append(json.loads(done.stdout))
                print(
                    f"{what:8} {runs[what][-1]['seconds']:7.1f} s,"
                    f" {n / runs[what][-1]['seconds'] / 1e6:6.2f} M vectors/s, peak"
                    f" {runs[what][-1]['peak_memory_bytes'] / 2**20:5.0f} MiB",
                    flush=True,
                )
    measured: dict[str, Any] = {
        what: {
            "seconds": median(run["seconds"] for run in several),
            "all_seconds": [run["seconds"] for run in several],
            "peak_memory_bytes": max(run["peak_memory_bytes"] for run in several),
            "before_bytes": max(run["before_bytes"] for run in several),
        }
        for what, several in runs.items()
    }
    slower = max(measured["read"]["seconds"], measured["product"]["seconds"])
    report = {
        "n_vectors": n,
        "dim": d,
        "n_bits": arguments.bits,
        "data_bytes": 4 * n * d,
        **measured,
        "times_the_slower_of_reading_and_product": measured["encode"]["seconds"] / slower,
    }
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
