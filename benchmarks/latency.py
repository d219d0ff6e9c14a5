"""How long one query takes, warm and cold, and what processes that share a file hold.

ITQ codes of 64 bits of vectors of 64 dimensions (``scale.Clusters``). A query is encoded, finds 100
codes in the mapped index, and the mapped vectors rank them: each part is timed, and the whole call
of ``TwoStageSearch``. Every row is a process of its own:

- ``warm``: the same process answers many queries, with one and two threads;
- ``cold``: the first query of a new process, with the files in the system's cache and without;
- ``shared``: the memory of one process and of four that hold the same files;
- ``quota``: as warm, in a control group that allows a part of a core;
- ``read_only``: the first query on a read-only file system, with compiled kernels and without.

The last two need root on Linux; where they are not possible, their rows say null. Four minutes on
two quiet cores, and only there the slowest of a hundred queries tells of the program.
``docs/service.md`` shows the results.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import sigah
from encode_stream import drop_from_cache
from reports import write_report
from scale import DIM, Clusters
from sigah.search.compiled import kernels
from sigah.search.scoring import vector_distances

SIZES = (100_000, 10_000_000)
N_BITS, K, CANDIDATES, METRIC = 64, 10, 100, "cosine"
WARM, N_QUERIES, ROUNDS, N_PROCESSES = 20, 200, 5, 4
PARTS = ("encode", "search", "rank", "together")
QUOTAS = (1.0, 0.5)
FILES = ("model", "codes.index", "vectors.npy")


def prepare(folder: Path, n: int) -> None:
    """The model, the index and the vectors."""
    base = Clusters(n, seed=0)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, base.shape)
    hasher = sigah.ITQ(N_BITS, metric=METRIC, random_state=0).fit(base[:50_000])
    codes = np.empty((n, N_BITS // 8), np.uint8)
    for start in range(0, n, 1 << 16):
        some = slice(start, start + (1 << 16))
        vectors[some] = base[some]
        codes[some] = hasher.transform(vectors[some])
    vectors.flush()
    index = sigah.HammingIndex.of(hasher)
    index.add(codes)
    index.save(folder / "codes.index")
    hasher.save(folder / "model")


class Searcher:
    """What a service holds, and a query in parts."""

    def __init__(self, folder: Path, n_threads: int | None = None) -> None:
        self.hasher = sigah.load(folder / "model")
        self.index = sigah.HammingIndex.open(folder / "codes.index", n_threads=n_threads)
        self.vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        self.two_stage = sigah.TwoStageSearch(
            self.index, self.hasher, by="raw", vectors=self.vectors, oversampling=CANDIDATES / K
        )

    def seconds(self, query: Any) -> list[float]:
        """Seconds of the parts of one query ``(1, d)``, in the order of ``PARTS``."""
        times = [time.perf_counter()]
        codes = self.hasher.transform(query)
        times.append(time.perf_counter())
        _, candidates = self.index.search(codes, CANDIDATES)
        times.append(time.perf_counter())
        vector_distances(query, candidates, self.vectors, METRIC)
        times.append(time.perf_counter())
        self.two_stage.search(query, K)
        times.append(time.perf_counter())
        return np.diff(times).tolist()


def child_warm(folder: Path, n_threads: int) -> dict[str, Any]:
    """Percentiles of many queries; 0 threads: as many as the process may use."""
    searcher = Searcher(folder, n_threads or None)
    queries = Clusters(WARM + N_QUERIES, seed=1)[:]
    kernels()
    rows = [searcher.seconds(queries[i : i + 1]) for i in range(len(queries))][WARM:]
    found: dict[str, Any] = {"n_threads": searcher.index.n_threads}
    for part, seconds in zip(PARTS, np.transpose(rows), strict=True):
        p50, p99 = np.percentile(seconds, (50, 99))
        found[part] = {"p50": float(p50), "p99": float(p99)}
    return found


def child_first(folder: Path, n_threads: int) -> dict[str, Any]:
    """Seconds from the start of the work to the first answer, and of its parts."""
    query = Clusters(1, seed=1)[:]
    began = time.perf_counter()
    searcher = Searcher(folder, n_threads)
    opened = time.perf_counter() - began
    searcher.two_stage.search(query, K)
    first = time.perf_counter() - began - opened
    began = time.perf_counter()
    searcher.two_stage.search(query, K)
    return {"open": opened, "first": first, "second": time.perf_counter() - began}


def child_hold(folder: Path, n_threads: int) -> dict[str, Any]:
    """Search, say so, and hold the files until the parent has looked."""
    searcher = Searcher(folder, n_threads)
    for query in Clusters(WARM, seed=1)[:]:
        searcher.two_stage.search(query[np.newaxis], K)
    print("ready", flush=True)
    sys.stdin.read()
    return {}


CHILDREN = {"warm": child_warm, "first": child_first, "hold": child_hold}


def command(kind: str, folder: Path, n_threads: int) -> list[str]:
    return [sys.executable, __file__, "--child", kind, str(folder), str(n_threads)]


def figures(words: list[str], **environment: str) -> dict[str, Any]:
    """What a child prints, and the wall seconds of its process."""
    began = time.perf_counter()
    done = subprocess.run(words, env=os.environ | environment, check=True, stdout=subprocess.PIPE)
    return {**json.loads(done.stdout), "process": time.perf_counter() - began}


def cold(folder: Path, *, cached: bool) -> dict[str, float]:
    """Medians over new processes."""
    runs = []
    for _ in range(ROUNDS):
        if not cached:
            for name in FILES:
                drop_from_cache(folder / name)
        runs.append(figures(command("first", folder, 1)))
    return {part: median(run[part] for run in runs) for part in runs[0]}


def shared(folder: Path, n_processes: int) -> dict[str, int]:
    """Memory of processes that have searched the same files, in bytes, all together."""
    words = command("hold", folder, 1)
    processes = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(n_processes)
    ]
    sums = {"Rss": 0, "Pss": 0, "Anonymous": 0}
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            sys.exit("a process that holds the files has failed")
    for process in processes:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            name, _, size = line.partition(":")
            if name in sums:
                sums[name] += int(size.split()[0]) * 1024
    for process in processes:
        process.communicate("")
    return {name.lower(): size for name, size in sums.items()}


@contextmanager
def cpu_group(cores: float) -> Iterator[Path | None]:
    """A control group with a CPU quota (version 1 or 2); None where none can be made."""
    first, second = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    group = (first if first.is_dir() else second) / f"sigah-latency-{os.getpid()}"
    period = 100_000
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        if group.parent == first:
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(int(cores * period)))
        else:
            (group / "cpu.max").write_text(f"{int(cores * period)} {period}")
        yield group
    except OSError:  # no such controller
        yield None
    finally:
        group.rmdir()


def under_quota(folder: Path, cores: float) -> dict[str, Any] | None:
    """Percentiles in a control group."""
    with cpu_group(cores) as group:
        if group is None:
            return None
        join = f'echo $$ > {group}/cgroup.procs; exec "$@"'
        return figures(["sh", "-c", join, "sh", *command("warm", folder, 0)])


def read_only(folder: Path, kernels: Path) -> dict[str, Any] | None:
    """The first query with the root file system mounted read-only, in a namespace of its own."""
    mount = ["unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"]
    if subprocess.run([*mount, "true"], check=False, capture_output=True).returncode:
        return None
    return figures([*mount, *command("first", folder, 1)], NUMBA_CACHE_DIR=str(kernels))


def measure(folder: Path, n: int, compiled: Path) -> dict[str, Any]:
    """All rows of one size."""
    prepare(folder, n)
    found: dict[str, Any] = {"n": n, "bytes": {f: (folder / f).stat().st_size for f in FILES}}
    found["warm"] = [figures(command("warm", folder, n_threads)) for n_threads in (1, 2)]
    found["cold"] = {"cached": cold(folder, cached=True), "dropped": cold(folder, cached=False)}
    found["shared"] = {str(count): shared(folder, count) for count in (1, N_PROCESSES)}
    found["quota"] = {str(cores): under_quota(folder, cores) for cores in QUOTAS}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as empty:  # it stays writable
        found["read_only"] = {
            "with_kernels": read_only(folder, compiled),
            "without": read_only(folder, Path(empty)),
        }
    print(json.dumps(found, indent=1), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--folder", type=Path, help="Where to put the files; default: a temporary.")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/latency.json"))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, folder, n_threads = arguments.child
        print(json.dumps(CHILDREN[kind](Path(folder), int(n_threads))))
        return
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        needed = max(arguments.sizes) * (4 * DIM + 3 * N_BITS // 8)
        free = shutil.disk_usage(name).free
        if free < 1.1 * needed:
            sys.exit(f"{name}: {needed:,} bytes are needed, {free:,} are free; see --folder")
        compiled = Path(name, "kernels")
        warm_up = [sys.executable, "-m", "sigah", "warmup", "--cache", str(compiled)]
        subprocess.run(warm_up, check=True, stdout=subprocess.DEVNULL)
        for n in arguments.sizes:
            with tempfile.TemporaryDirectory(dir=name) as folder:
                rows.append(measure(Path(folder), n, compiled))
    report = {
        "dim": DIM,
        "n_bits": N_BITS,
        "k": K,
        "candidates": CANDIDATES,
        "queries": N_QUERIES,
        "rounds": ROUNDS,
        "processes": N_PROCESSES,
        "rows": rows,
    }
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
