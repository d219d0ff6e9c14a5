"""What recall is lost where data change, and where they do not: on MNIST and Fashion-MNIST.

Three methods, 64 bits, several seeds of the samples: two halves of MNIST (no drift), digits 0-4 and
then 5-9, MNIST and then Fashion-MNIST. The model learns from a part of the old vectors that is
never compared.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from sigah import streams
from sigah.evaluation.protocol import environment
from sigah.hashers.registry import make_hasher
from sigah.lab import datasets

METHODS = ("itq", "lsh", "spherical")
LEARNED = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/drift.json"))
    arguments = parser.parse_args()
    split = datasets.load("mnist")
    order = np.random.default_rng(0).permutation(len(split.base))
    digits, low = np.asarray(split.base)[order], np.asarray(split.base_labels)[order] < 5
    half = len(digits) // 2
    pairs = {
        "halves": (digits[:half], digits[half:]),
        "digits": (digits[low], digits[~low]),
        "clothes": (digits, datasets.load("fashion-mnist").base),
    }
    rows = []
    for method in METHODS:
        for name, (old, new) in pairs.items():
            hasher = make_hasher(method, 64, 0, []).fit(old[:LEARNED])
            for seed in range(arguments.seeds):
                report = streams.drift(hasher, old[LEARNED:], new, random_state=seed)
                told = report.to_dict() | {"method": method, "pair": name, "seed": seed}
                del told["balance"]
                rows.append(told)
                print(
                    f"{method:10} {name:8} {report.verdict:8} loss {report.loss:+.3f}"
                    f" ({report.low:+.3f} to {report.high:+.3f})"
                )
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(
        json.dumps({"n_bits": 64, "environment": environment(), "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
