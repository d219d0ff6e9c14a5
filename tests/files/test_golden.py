"""Files of earlier versions still open, and give the codes and answers that they gave then.

``tests/golden/COMMIT`` holds files that the version of that commit wrote, and a manifest of what it
read out of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sigah
from sigah import HammingIndex, distributed, files, rows

GOLDEN = Path(__file__).parents[1] / "golden"
MANIFESTS = {
    folder.name: json.loads((folder / "manifest.json").read_text()) for folder in GOLDEN.iterdir()
}


def entries(part: str) -> list[Any]:
    """A test for every entry of a part of every manifest."""
    return [
        pytest.param(GOLDEN / version, name, entry, id=f"{version}-{name}")
        for version, manifest in MANIFESTS.items()
        for name, entry in (manifest[part]["files"] if part == "codes" else manifest[part]).items()
    ]


def packed(text: str, n_rows: int) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(n_rows, -1)


@pytest.mark.parametrize(("folder", "name", "entry"), entries("models"))
def test_models_encode_and_rebuild_as_they_did(folder: Path, name: str, entry: Any) -> None:
    vectors = rows.load_vectors(folder / "vectors.npy")
    hasher = sigah.load(folder / name)
    assert (hasher.name, hasher.fingerprint) == (entry["method"], entry["fingerprint"])
    codes = hasher.transform(vectors)
    np.testing.assert_array_equal(codes, packed(entry["codes"], len(vectors)))
    assert ("rebuilt_mean" in entry) == hasattr(hasher, "reconstruct")
    if "rebuilt_mean" in entry:
        rebuilt = hasher.reconstruct(codes).mean(axis=0)
        np.testing.assert_allclose(rebuilt, entry["rebuilt_mean"], atol=2e-4)


@pytest.mark.parametrize(("folder", "name", "ids"), entries("codes"))
def test_codes_and_their_ids_are_those_that_were_written(
    folder: Path, name: str, ids: str | None
) -> None:
    expected = MANIFESTS[folder.name]["codes"]
    codes, found, header = read(folder / name)
    np.testing.assert_array_equal(codes, packed(expected["hex"], len(codes)))
    assert found == (None if ids is None else expected["ids"][ids])
    if name == "plain.npy":
        assert header is None
    else:
        assert header["fingerprint"] == expected["fingerprint"]
        assert header["n_bits"] == expected["n_bits"]


def read(path: Path) -> tuple[Any, Any, Any]:
    if path.is_dir():
        codes, ids, header = distributed.load_encoded(path)
        return codes, ids.tolist(), header
    if path.suffix == ".parquet":
        codes, ids, header = files.read_parquet(path)
        return codes, ids.to_pylist(), header
    codes, header = files.load_codes(path)
    return codes, None, header


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(("folder", "name", "entry"), entries("indexes"))
def test_indexes_answer_as_they_did(folder: Path, name: str, entry: Any, mmap: bool) -> None:
    manifest = MANIFESTS[folder.name]
    queries = packed(manifest["codes"]["hex"], len(rows.load_vectors(folder / "vectors.npy")))
    index = HammingIndex.open(folder / name, mmap=mmap)
    assert (index.n_bits, index.fingerprint) == (entry["n_bits"], entry["fingerprint"])
    assert index.ids.tolist() == entry["ids"]
    if len(index):
        distances, ids = index.search(queries[slice(*manifest["queries"])], manifest["k"])
        assert distances.tolist() == entry["distances"]
        assert ids.tolist() == entry["neighbours"]


def test_the_files_are_small() -> None:
    """They stay in the repository for ever."""
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 300_000
