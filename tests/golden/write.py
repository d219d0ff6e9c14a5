"""Write golden files of the present version: ``python tests/golden/write.py tests/golden/VERSION``.

Run it once when a version is released, and keep what it writes for ever: ``test_golden.py`` reads
the files of all versions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sigah import HammingIndex, KeyedIndex, KeyedVectorIndex, VectorIndex
from sigah.files import save_codes
from sigah.files.folders import CODES_FOLDER, new_folder, write_manifest
from sigah.hashers.registry import make_hasher
from sigah.metric import METRICS

METHODS = {
    "itq.model": ("itq", 8, ()),
    "cosine.model": ("itq", 8, ("metric=cosine",)),
    "sigah.model": ("sigah", 24, ("n_steps=20",)),
}
QUERIES, K = (150, 160), 5


def main(folder: Path) -> None:
    """Write models, codes of every container, indexes, and what is read out of them."""
    folder.mkdir()
    rng = np.random.default_rng(20)
    centres = rng.normal(scale=2, size=(8, 12))
    vectors = (1 + centres[rng.integers(8, size=160)] + rng.normal(size=(160, 12))).astype("f4")
    np.save(folder / "vectors.npy", vectors)
    models: dict[str, Any] = {}
    for name, (method, n_bits, settings) in METHODS.items():
        hasher = make_hasher(method, n_bits, 0, settings)
        if method == "sigah":
            hasher.set_params(dictionary_ratio=2, batch_size=50)
        hasher.fit(vectors).save(folder / name)
        codes = hasher.transform(vectors)
        models[name] = {
            "method": hasher.name,
            "metric": hasher.metric,
            "fingerprint": hasher.fingerprint,
            "codes": codes.tobytes().hex(),
            "rebuilt_mean": hasher.reconstruct(codes).mean(axis=0).round(4).tolist(),  # type: ignore[attr-defined]
        }
    header = {"method": hasher.name, "fingerprint": hasher.fingerprint}
    n = len(codes)
    ids = {
        "rows": list(range(n)),
        "names": [f"doc-{number:03}" for number in range(n)],
        "numbers": [7 * number + 2**60 for number in range(n)],
    }
    save_codes(folder / "codes.npy", codes, header)
    stored: dict[str, str | None] = {"codes.npy": None}
    for name, given in ids.items():
        save_codes(folder / f"{name}.parquet", codes, header, ids=given)
        stored[f"{name}.parquet"] = name
    origin = header | {"n_bits": hasher.n_bits}
    with new_folder(folder / "encoded-names") as parts:
        for number, some in enumerate((slice(0, 100), slice(100, n))):
            save_codes(
                parts / f"part-{number:05}.parquet", codes[some], header, ids=ids["names"][some]
            )
        counts = {"part-00000.parquet": 100, "part-00001.parquet": n - 100}
        write_manifest(parts, CODES_FOLDER, origin, counts)
    stored["encoded-names"] = "names"
    indexes = {}
    for name, given in (("consecutive.index", None), ("ids.index", 3 * np.arange(n)[::-1] + 5)):
        index = HammingIndex(hasher.n_bits, fingerprint=hasher.fingerprint)
        index.add(codes, given)
        index.save(folder / name)
        distances, found = index.search(codes[slice(*QUERIES)], K)
        indexes[name] = {
            "ids": index.ids.tolist(),
            "distances": distances.tolist(),
            "neighbours": found.tolist(),
            "fingerprint": index.fingerprint,
            "n_bits": index.n_bits,
        }
    manifest = {
        "keyed": write_keyed(folder, vectors, codes, hasher.fingerprint),
        "models": models,
        "vector_indexes": write_vectors(folder, vectors),
        "codes": {
            "hex": codes.tobytes().hex(),
            "n_bits": hasher.n_bits,
            "fingerprint": hasher.fingerprint,
            "files": stored,
            "ids": ids,
        },
        "indexes": indexes,
        "queries": QUERIES,
        "k": K,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def write_keyed(
    folder: Path, vectors: np.ndarray, codes: np.ndarray, fingerprint: str
) -> dict[str, Any]:
    """Write indexes with keys, some of them removed, and return their answers."""
    names = [f"ü{number}" for number in range(100)]
    index = KeyedIndex(8 * codes.shape[1], fingerprint=fingerprint)
    index.add(codes[:100], names)
    narrow = vectors[:, :8]  # a smaller model
    vector_index = KeyedVectorIndex.build(narrow[:100], names, 4, random_state=0)
    told = {}
    held: Any
    for held, file, items in (
        (index, "names.index", codes),
        (vector_index, "names.vectors", narrow),
    ):
        held.remove(names[3:5])
        held.save(folder / file)
        distances, found = held.search(items[slice(*QUERIES)], K)
        told[file] = {
            "keys": " ".join(held.keys),
            "nearest": distances[:, 0].tolist(),
            "neighbours": [" ".join(some) for some in found],
        }
    return told


def write_vectors(folder: Path, vectors: np.ndarray) -> dict[str, Any]:
    """Write indexes of vectors, some of them removed, and return their answers."""
    return {f"{metric}.vectors": write_index(folder, vectors, metric) for metric in METRICS[:2]}


def write_index(folder: Path, vectors: np.ndarray, metric: str) -> dict[str, Any]:
    index = VectorIndex.build(vectors, 4, metric=metric, random_state=0)
    index.remove([3, 7])
    index.save(folder / f"{metric}.vectors")
    distances, found = index.search(vectors[slice(*QUERIES)], K)
    return {
        "metric": index.metric,
        "n_bytes": index.n_bytes,
        "fingerprint": index.refined.fingerprint,
        "shortlist": index.shortlist,
        "ids": index.ids.tolist(),
        "distances": distances.tolist(),
        "neighbours": found.tolist(),
        "rebuilt_mean": index.reconstruct(index.ids).mean(axis=0).round(4).tolist(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
