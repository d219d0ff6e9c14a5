"""Files of earlier versions still open, and give the codes and answers that they gave then.

``tests/golden/COMMIT`` holds files that the version of that commit wrote, and a manifest of what it
read out of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sigah
from sigah import HammingIndex, KeyedIndex, KeyedVectorIndex, VectorIndex, files, rows

GOLDEN = Path(__file__).parents[1] / "golden"
MANIFESTS = {
    folder.name: json.loads((folder / "manifest.json").read_text())
    for folder in GOLDEN.iterdir()
    if (folder / "manifest.json").exists()
}


def entries(part: str) -> list[Any]:
    """A test for every entry of a part of every manifest."""
    return [
        pytest.param(GOLDEN / version, name, entry, id=f"{version}-{name}")
        for version, manifest in MANIFESTS.items()
        for name, entry in (
            manifest["codes"]["files"] if part == "codes" else manifest.get(part, {})
        ).items()
    ]


def packed(text: str, n_rows: int) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(n_rows, -1)


@pytest.mark.parametrize(("folder", "name", "entry"), entries("models"))
def test_models_encode_and_rebuild_as_they_did(folder: Path, name: str, entry: Any) -> None:
    vectors = rows.open_vectors(folder / "vectors.npy")
    hasher = sigah.load(folder / name)
    assert (hasher.name, hasher.fingerprint) == (entry["method"], entry["fingerprint"])
    assert hasher.metric == entry.get("metric", "l2")  # models of before there were metrics: l2
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
    stored = files.load_codes(folder / name)
    np.testing.assert_array_equal(stored.codes, packed(expected["hex"], len(stored)))
    assert (stored.ids is None) == (ids is None)
    assert ids is None or stored.ids.tolist() == expected["ids"][ids]
    assert stored.n_bits == expected["n_bits"]
    assert stored.fingerprint == (None if name == "plain.npy" else expected["fingerprint"])


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(("folder", "name", "entry"), entries("indexes"))
def test_indexes_answer_as_they_did(folder: Path, name: str, entry: Any, mmap: bool) -> None:
    manifest = MANIFESTS[folder.name]
    queries = packed(manifest["codes"]["hex"], len(rows.open_vectors(folder / "vectors.npy")))
    index = (HammingIndex.open if mmap else HammingIndex.load)(folder / name)
    assert (index.n_bits, index.fingerprint) == (entry["n_bits"], entry["fingerprint"])
    assert index.ids.tolist() == entry["ids"]
    if len(index):
        distances, ids = index.search(queries[slice(*manifest["queries"])], manifest["k"])
        assert distances.tolist() == entry["distances"]
        assert ids.tolist() == entry["neighbours"]


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(("folder", "name", "entry"), entries("keyed"))
def test_indexes_with_keys_answer_as_they_did(
    folder: Path, name: str, entry: Any, mmap: bool
) -> None:
    manifest = MANIFESTS[folder.name]
    items: Any = rows.open_vectors(folder / "vectors.npy")[:, :8]
    kind: Any = KeyedVectorIndex
    if name.endswith(".index"):
        items, kind = packed(manifest["codes"]["hex"], len(items)), KeyedIndex
    index = (kind.open if mmap else kind.load)(folder / name)
    assert " ".join(index.keys) == entry["keys"]
    distances, keys = index.search(items[slice(*manifest["queries"])], manifest["k"])
    np.testing.assert_allclose(distances[:, 0], entry["nearest"], atol=1e-4)
    assert [" ".join(some) for some in keys] == entry["neighbours"]


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(("folder", "name", "entry"), entries("vector_indexes"))
def test_indexes_of_vectors_answer_as_they_did(
    folder: Path, name: str, entry: Any, mmap: bool
) -> None:
    manifest = MANIFESTS[folder.name]
    queries = rows.open_vectors(folder / "vectors.npy")[slice(*manifest["queries"])]
    index = (VectorIndex.open if mmap else VectorIndex.load)(folder / name)
    assert (index.metric, index.n_bytes) == (entry["metric"], entry["n_bytes"])
    assert index.refined.fingerprint == entry["fingerprint"]
    assert index.shortlist == entry["shortlist"]
    assert index.ids.tolist() == entry["ids"]
    distances, ids = index.search(queries, manifest["k"])
    rounding = {"cosine": 1e-4, "l2": 1e-2}[index.metric]  # of queries to whole numbers
    np.testing.assert_allclose(distances, entry["distances"], atol=rounding)
    assert ids.tolist() == entry["neighbours"]
    rebuilt = index.reconstruct(index.ids).mean(axis=0)
    np.testing.assert_allclose(rebuilt, entry["rebuilt_mean"], atol=2e-4)


@pytest.mark.parametrize(("folder", "name", "entry"), entries("vector_indexes"))
def test_a_new_vector_gets_a_level_as_the_others_of_its_index_did(
    folder: Path, name: str, entry: Any
) -> None:
    """Levels of l2 count what a row does not say, but not in models of earlier versions."""
    vectors = rows.open_vectors(folder / "vectors.npy")[:].astype(np.float64)
    refined = VectorIndex.load(folder / name).refined
    encoded, levels = refined.encode(vectors), refined.levels_
    decoded = refined.decode(encoded).astype(np.float64)
    kept = np.linalg.norm(decoded, axis=1)
    if refined.metric == "l2":
        kept = np.square(kept) - sum(
            part[values] for part, values in zip(refined.squares_, encoded.T, strict=True)
        )
        assert len(levels) == (16 if name == "l2-learned.vectors" else 32)
        if len(levels) == 32:  # axes are all dimensions here
            kept += np.square(vectors - decoded).sum(axis=1) / 4
    expected = np.abs(kept[:, np.newaxis] - levels).argmin(axis=1)
    found = encoded[:, -1] // (256 // len(levels))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "file", sorted(GOLDEN.glob("*/*.parquet")), ids=lambda file: f"{file.parent.name}-{file.name}"
)
def test_a_changed_code_in_parquet_is_detected(file: Path, tmp_path: Path) -> None:
    """The file is sound Parquet: only the checksum of its codes can tell."""
    table = pq.read_table(file)
    codes = table.column("code").to_pylist()
    codes[1] = bytes([codes[1][0] ^ 1]) + codes[1][1:]
    where, field = table.schema.get_field_index("code"), table.schema.field("code")
    changed = table.set_column(where, field, pa.array(codes, field.type))
    pq.write_table(
        changed.replace_schema_metadata(pq.read_metadata(file).metadata), tmp_path / file.name
    )
    with pytest.raises(files.FileFormatError, match="checksum does not match") as refused:
        files.load_codes(tmp_path / file.name)
    assert str(refused.value).count(file.name) == 1, "the file is named once"


def test_the_files_are_small() -> None:
    """They stay in the repository for ever."""
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 500_000
