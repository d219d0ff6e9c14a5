"""A hundred million vectors on one machine: encode, index, search, each step in its own process.

The vectors come from a generator (:class:`Clusters`) and are never kept: whatever reads them makes
them anew, block by block, as rows that ``sigah`` slices. Each step writes its figures into the
folder when it ends; the same command goes on after the last step that ended. ``docs/scale.md``
shows the results. One thread works, and times are of the processor: the wall's depend on what else
a machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sigah
from encode_stream import peak_memory
from reports import write_report
from sigah import streams
from sigah.files import atomic_write
from sigah.metric import unit_rows
from sigah.rows import sample
from sigah.search.warmup import compile_kernels

DIM, N_BITS, N_BYTES, METRIC = 64, 64, 12, "cosine"
N_QUERIES, K, SINGLE = 200, 10, 50
N_CENTRES, NOISE, BLOCK = 1 << 16, 0.5, 4096
NOMINATED, RANKED = 3 * K, 100
BYTES_A_VECTOR = 2 * N_BITS // 8 + N_BYTES  # of codes, their index and the index of vectors


class Clusters:
    """Vectors around centres, as rows with a shape, a dtype and slices.

    Each vector is one of 65,536 centres and noise of half the centres' deviation. Coordinate ``j``
    deviates in proportion to ``j ** -0.5``, so few directions hold most of the variance, as in
    learned embeddings; then all vectors are rotated, so that no direction is a coordinate. A noise
    value is the sum of four random bytes, which is nearly normal and quickly drawn. Rows come in
    blocks of 4,096, each from the seed ``(seed, number of the block)``: any slice can be made
    alone.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.shape, self.dtype, self.seed = (n, DIM), np.dtype(np.float32), seed
        random = np.random.default_rng(0)
        deviations = np.arange(1, DIM + 1) ** -0.5
        rotation, _ = np.linalg.qr(random.normal(size=(DIM, DIM)))
        scaled = deviations[:, np.newaxis] * rotation
        self._centres = (random.normal(size=(N_CENTRES, DIM)) @ scaled).astype(np.float32)
        deviation_of_sum = np.sqrt(4 * (256**2 - 1) / 12)
        self._noise = (NOISE / deviation_of_sum * scaled).astype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, where: slice) -> Any:
        start, stop, _ = where.indices(len(self))
        first, last = start // BLOCK, -(-stop // BLOCK)
        made = [self._block(number) for number in range(first, last)]
        if not made:
            return np.empty((0, DIM), np.float32)
        return np.concatenate(made)[start - first * BLOCK : stop - first * BLOCK]

    def _block(self, number: int) -> Any:
        random = np.random.Generator(np.random.SFC64([self.seed, number]))
        centres = random.integers(0, N_CENTRES, BLOCK)
        a, b, c, d = np.frombuffer(random.bytes(4 * BLOCK * DIM), np.uint8).reshape(4, BLOCK, DIM)
        noise = np.add(a, b, dtype=np.int16) + np.add(c, d, dtype=np.int16) - np.int16(510)
        return noise.astype(np.float32) @ self._noise + self._centres[centres]

    def take(self, ids: Any) -> Any:
        """Rows by number; makes every block that holds one."""
        found = np.empty((len(ids), DIM), np.float32)
        numbers = ids // BLOCK
        for number in np.unique(numbers):
            here = numbers == number
            found[here] = self._block(int(number))[ids[here] % BLOCK]
        return found


def queries() -> Any:
    """Vectors of another seed, around the same centres."""
    return Clusters(N_QUERIES, seed=1)[:]


def memory_now() -> int:
    """Memory of this process that is its own and not a mapped file's, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def recall(ids: Any, truth: Any) -> float:
    """Share of the true neighbours that were found."""
    found = [len(np.intersect1d(a, b)) for a, b in zip(ids, truth, strict=True)]
    return sum(found) / float(truth.size)


def searched(search: Callable[[Any], tuple[Any, Any]], wanted: Any, truth: Any) -> dict[str, float]:
    """Processor seconds of queries one by one and in one batch, and the recall."""
    alone = []
    for number in range(SINGLE):
        began = time.process_time()
        search(wanted[number : number + 1])
        alone.append(time.process_time() - began)
    began = time.process_time()
    _, ids = search(wanted)
    batch = time.process_time() - began
    return {
        "recall": recall(ids, truth),
        "single_seconds": float(np.median(alone)),
        "batch_seconds_a_query": batch / len(wanted),
    }


def opened(
    open_it: Callable[[], Any], search: Callable[[Any], Any]
) -> tuple[Any, dict[str, float]]:
    """A mapped index, and processor seconds of opening and the first query, which verifies it."""
    compile_kernels()
    began = time.process_time()
    index = open_it()
    mapped = time.process_time()
    search(index)
    return index, {
        "open_seconds": mapped - began,
        "first_query_seconds": time.process_time() - mapped,
    }


def fit(folder: Path, n: int) -> dict[str, Any]:
    """Learn the model from a sample of all vectors."""
    hasher = sigah.ITQ(N_BITS, metric=METRIC, random_state=0)
    hasher.fit(sample(Clusters(n, seed=0), 100_000, random_state=0)).save(folder / "model")
    return {}


def encode(folder: Path, n: int) -> dict[str, Any]:
    """Codes of all vectors, streamed to a file."""
    codes = folder / "codes.npy"
    streams.encode(sigah.load(folder / "model"), Clusters(n, seed=0), codes, show=True)
    return {"file_bytes": codes.stat().st_size}


def index(folder: Path, n: int) -> dict[str, Any]:
    """An index file of the codes."""
    codes = folder / "codes.index"
    sigah.HammingIndex.of_codes(folder / "codes.npy", n_threads=1).save(codes)
    return {"file_bytes": codes.stat().st_size}


def truth(folder: Path, n: int) -> dict[str, Any]:
    """The true neighbours: products in float32 nominate, and cosines in float64 choose."""
    base, units = Clusters(n, seed=0), unit_rows(queries().astype(np.float64))
    best = np.full((N_QUERIES, NOMINATED), -np.inf, np.float32)
    ids = np.zeros((N_QUERIES, NOMINATED), np.int64)
    for start in range(0, n, 8 * BLOCK):
        block = base[start : start + 8 * BLOCK]
        cosines = units.astype(np.float32) @ block.T
        cosines /= np.sqrt(np.einsum("ij,ij->i", block, block))
        nearer = cosines > best.min(axis=1, keepdims=True)
        for query in np.flatnonzero(nearer.any(axis=1)):
            rows = np.flatnonzero(nearer[query])
            both = np.append(best[query], cosines[query, rows])
            kept = np.argpartition(-both, NOMINATED - 1)[:NOMINATED]
            best[query], ids[query] = both[kept], np.append(ids[query], start + rows)[kept]
    for query, unit in enumerate(units):
        cosines = unit_rows(base.take(ids[query]).astype(np.float64)) @ unit
        ids[query] = ids[query][np.argsort(-cosines)]
    np.save(folder / "truth.npy", ids[:, :K])
    return {}


def scan(folder: Path, n: int) -> dict[str, Any]:
    """Search the mapped codes: alone, and ranked by asymmetric distances."""
    hasher = sigah.load(folder / "model")
    vectors, true = queries(), np.load(folder / "truth.npy")
    codes = hasher.transform(vectors)
    found, times = opened(
        lambda: sigah.HammingIndex.open(folder / "codes.index", n_threads=1),
        lambda one: one.search(codes[:1], K),
    )
    ranked = sigah.TwoStageSearch(found, hasher, by="asymmetric")
    return times | {
        "codes": searched(lambda some: found.search(hasher.transform(some), K), vectors, true),
        "asymmetric": searched(lambda some: ranked.search(some, K), vectors, true),
        "own_bytes": memory_now(),
    }


def tables(folder: Path, n: int) -> dict[str, Any]:
    """Search the same codes by tables."""
    hasher = sigah.load(folder / "model")
    vectors, true = queries(), np.load(folder / "truth.npy")
    found = sigah.HammingIndex.open(folder / "codes.index", n_threads=1)
    compile_kernels()
    began = time.process_time()
    found.build_tables()
    build_seconds = time.process_time() - began
    return {
        "build_seconds": build_seconds,
        "table_bytes": found.stats()["table_bytes"],
        "codes": searched(lambda some: found.search(hasher.transform(some), K), vectors, true),
        "answered_by": found.last_search,
        "own_bytes": memory_now(),
    }


def refine(folder: Path, n: int) -> dict[str, Any]:
    """An index of the vectors, in a few bytes of each."""
    built = sigah.VectorIndex.build(
        Clusters(n, seed=0), N_BYTES, metric=METRIC, random_state=0, n_threads=1, verbose=True
    )
    built.save(folder / "vectors.index")
    return {
        "file_bytes": (folder / "vectors.index").stat().st_size,
        "shortlist": built.shortlist,
    }


def two_stage(folder: Path, n: int) -> dict[str, Any]:
    """Search the mapped index of vectors; the recall also as ranked by the vectors themselves."""
    vectors, true = queries(), np.load(folder / "truth.npy")
    found, times = opened(
        lambda: sigah.VectorIndex.open(folder / "vectors.index", n_threads=1),
        lambda one: one.search(vectors[:1], K),
    )
    shortlists = {}
    chosen = found.shortlist
    for shortlist in (chosen, 10 * chosen):
        found.shortlist = shortlist
        shortlists[shortlist] = searched(lambda some: found.search(some, K), vectors, true)
    base = Clusters(n, seed=0)
    _, ids = found.search(vectors, K, vectors=base.take, n_ranked=RANKED)
    return times | {
        "shortlists": shortlists,
        "ranked_by_vectors": RANKED,
        "ranked_recall": recall(ids, true),
        "own_bytes": memory_now(),
    }


STEPS = {
    step.__name__: step for step in (fit, encode, index, truth, scan, tables, refine, two_stage)
}


def in_a_process(name: str, folder: Path, n: int) -> dict[str, Any]:
    """A step's figures, made now unless an earlier run made them."""
    done = folder / f"{name}.json"
    if not done.exists():
        command = [sys.executable, __file__, "--step", name, "--vectors", str(n)]
        subprocess.run([*command, "--folder", str(folder)], check=True)
    found: dict[str, Any] = json.loads(done.read_text())
    print(name, found, flush=True)
    return found


def run_step(name: str, folder: Path, n: int) -> None:
    """One step in this process; its figures go to the folder."""
    began = time.perf_counter()
    found = STEPS[name](folder, n)
    found |= {
        "seconds": time.perf_counter() - began,
        "processor_seconds": time.process_time(),
        "peak_memory_bytes": peak_memory(),
    }
    with atomic_write(folder / f"{name}.json") as file:
        file.write(json.dumps(found).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=100_000_000)
    parser.add_argument(
        "--folder", type=Path, required=True, help="for codes, indexes and finished steps"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/scale.json"))
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder, n = arguments.folder / str(arguments.vectors), arguments.vectors
    if arguments.step:
        run_step(arguments.step, arguments.folder, n)
        return
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = n * BYTES_A_VECTOR, shutil.disk_usage(folder).free
    if not (folder / "vectors.index").exists() and free < 2 * needed:
        sys.exit(f"{folder}: {needed:,} bytes are needed, {free:,} are free; see --folder")
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # one thread in all steps
    steps = {name: in_a_process(name, folder, n) for name in STEPS}
    kept = json.loads(arguments.json.read_text())["runs"] if arguments.json.exists() else []
    runs = [run for run in kept if run["n_vectors"] != n] + [{"n_vectors": n, "steps": steps}]
    report = {
        "dim": DIM,
        "n_bits": N_BITS,
        "n_bytes": N_BYTES,
        "metric": METRIC,
        "queries": N_QUERIES,
        "k": K,
        "runs": sorted(runs, key=lambda run: run["n_vectors"]),
    }
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
