"""What a new process costs: the version, the help, the first query; and what an installation takes.

Every figure is the processor time (user and system) of a whole process, its median over many; the
processes of different kinds take turns. Kernels are compiled before. The processes run in an
environment made for it, which holds the wheel and what the core requires, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / ".ci"))

from check_dist import bare_environment, constrained  # noqa: E402

import sigah  # noqa: E402
from sigah.evaluation.provenance import environment  # noqa: E402
from sigah.files import atomic_write  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "cold_start.json"
N_CODES, DIM, BITS = 100_000, 384, 64

QUERY = """
import sys
import numpy as np
import sigah
hasher = sigah.load("sigah.model")
index = sigah.HammingIndex.open("codes.index")
queries = np.load("queries.npy")[:int(sys.argv[1])]
distances, ids = index.search(hasher.transform(queries), 10)
assert (ids[:, 0] == np.arange(len(ids))).all()
"""
KINDS = {
    "python": ["-c", "pass"],
    "numpy": ["-c", "import numpy"],
    "version": ["-m", "sigah", "--version"],
    "help": ["-m", "sigah", "--help"],
    "first_query": ["-c", QUERY, "1"],
    "thousand_queries": ["-c", QUERY, "1000"],
}


def processor_seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """Processor and wall seconds of one process."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=constrained(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(said.decode())
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began


def installed_bytes(python: Path) -> tuple[int, dict[str, int]]:
    """Bytes of the packages of an environment without pip, and of the largest of them."""
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    sizes: dict[str, int] = {}
    for entry in packages.iterdir():
        name = entry.name.partition("-")[0].partition(".")[0].lower()
        files = entry.rglob("*") if entry.is_dir() else [entry]
        sizes[name] = sizes.get(name, 0) + sum(
            file.stat().st_size for file in files if file.is_file() and not file.is_symlink()
        )
    sizes.pop("pip", None)
    largest = sorted(sizes, key=lambda name: -sizes[name])[:6]
    return sum(sizes.values()), {name: sizes[name] for name in largest}


def write_files(folder: Path) -> None:
    """A model, an index of its codes, and queries that are among them."""
    vectors = np.random.default_rng(0).normal(size=(N_CODES, DIM)).astype(np.float32)
    hasher = sigah.SiGAH(BITS, n_steps=50, random_state=0).fit(vectors[:5000])
    index = sigah.HammingIndex.of(hasher)
    index.add(hasher.transform(vectors))
    hasher.save(folder / "sigah.model")
    index.save(folder / "codes.index")
    # queries whose codes no earlier vector has: each finds itself
    codes = hasher.transform(vectors[:3000])
    _, first = np.unique(codes, axis=0, return_index=True)
    if not (first[np.argsort(first)][:1000] == np.arange(1000)).all():
        sys.exit("two of the first vectors have one code: choose another seed")
    np.save(folder / "queries.npy", vectors[:1000])


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", name, str(ROOT)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, env=constrained())
        (wheel,) = folder.glob("*.whl")
        python = bare_environment(folder, wheel)
        size, largest = installed_bytes(python)
        write_files(folder)
        for words in KINDS.values():  # compiles modules and kernels
            processor_seconds([str(python), *words], folder)
        seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for _ in range(arguments.rounds):
            for kind, words in KINDS.items():
                seconds[kind].append(processor_seconds([str(python), *words], folder))
    results: dict[str, Any] = {
        "environment": environment(),
        "n_codes": N_CODES,
        "dim": DIM,
        "n_bits": BITS,
        "rounds": arguments.rounds,
        "installed_bytes": size,
        "largest_packages": largest,
        "processes": {
            kind: {
                "processor_seconds": median(cpu for cpu, _ in runs),
                "least_processor_seconds": min(cpu for cpu, _ in runs),
                "wall_seconds": median(wall for _, wall in runs),
            }
            for kind, runs in seconds.items()
        },
    }
    for kind, found in results["processes"].items():
        print(f"{kind:18s} {found['processor_seconds']:.3f} s")
    print(f"installed {size / 1e6:,.0f} MB: {largest}")
    with atomic_write(arguments.json) as file:
        file.write(json.dumps(results, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
