"""Codes in Parquet, a file or a folder, are accepted by every command that reads codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sigah
from sigah.files import open_codes, save_codes
from sigah.files.folders import CODES_FOLDER, new_folder, write_manifest

GOLDEN = Path(__file__).parents[1] / "golden" / "08d4737"


@pytest.fixture(params=["file", "folder", "npy"])
def stored(request: pytest.FixtureRequest, tmp_path: Path, blobs: Any) -> tuple[Path, Any]:
    """Codes of blobs, beside the model that made them, and their ids."""
    hasher = sigah.ITQ(16, random_state=0).fit(blobs)
    hasher.save(tmp_path / "model")
    np.save(tmp_path / "queries.npy", blobs[:20])
    header = {"method": hasher.name, "fingerprint": hasher.fingerprint}
    codes, ids = hasher.transform(blobs), np.arange(len(blobs)) * 3 + 7
    save_codes(tmp_path / "queries.parquet", codes[:20], header)
    if request.param == "npy":
        save_codes(tmp_path / "codes.npy", codes, header)
        return tmp_path / "codes.npy", np.arange(len(blobs))
    if request.param == "file":
        save_codes(tmp_path / "codes.parquet", codes, header, ids=ids)
        return tmp_path / "codes.parquet", ids
    with new_folder(tmp_path / "codes") as folder:
        for name, some in (("0.parquet", slice(0, 700)), ("1.parquet", slice(700, None))):
            save_codes(folder / name, codes[some], header, ids=ids[some])
        origin = header | {"n_bits": 16}
        write_manifest(folder, CODES_FOLDER, origin, {"0.parquet": 700, "1.parquet": 1300})
    return tmp_path / "codes", ids


def found(path: Path) -> Any:
    with np.load(path) as neighbours:
        return neighbours["distances"], neighbours["ids"]


def test_every_command_reads_them(stored: Any, tmp_path: Path, run: Any) -> None:
    codes, ids = stored
    index, model, out = tmp_path / "index", tmp_path / "model", tmp_path / "found.npz"
    status, printed, _ = run("inspect", codes)
    assert status == 0
    assert json.loads(printed)["arrays"]["codes"] == {"dtype": "uint8", "shape": [2000, 2]}
    assert run("search", model, codes, tmp_path / "queries.npy", "-k", 3, "--out", out)[0] == 0
    answers = found(out)
    assert np.isin(answers[1], ids).all() and (answers[0][:, 0] == 0).all()
    assert run("index", "build", codes, "--out", index)[0] == 0
    held = sigah.HammingIndex.open(index)
    np.testing.assert_array_equal(held.ids, ids)
    assert held.fingerprint == sigah.load(model).fingerprint
    assert run("index", "search", index, tmp_path / "queries.parquet", "-k", 3, "-o", out)[0] == 0
    np.testing.assert_array_equal(answers, found(out))
    del held
    np.save(tmp_path / "ids.npy", ids)
    assert run("index", "remove", index, tmp_path / "ids.npy")[0] == 0
    assert run("index", "add", index, codes)[0] == 0
    np.testing.assert_array_equal(sigah.HammingIndex.open(index).ids, ids)
    shards = tmp_path / "shards"
    assert run("cluster", "shards", codes, "--out", shards, "-n", 3)[0] == 0
    parts = [sigah.HammingIndex.open(file).ids for file in sorted(shards.glob("*.index"))]
    np.testing.assert_array_equal(np.concatenate(parts), ids)


def test_they_are_exported(stored: Any, tmp_path: Path, run: Any) -> None:
    pytest.importorskip("faiss")
    codes, ids = stored
    target, out = tmp_path / "codes.faiss", tmp_path / "found.npz"
    assert run("export", "faiss", codes, "--to", target)[0] == 0
    arguments = ("query", "faiss", tmp_path / "model", tmp_path / "queries.npy", "--from", target)
    assert run(*arguments, "-k", 2, "--out", out)[0] == 0
    assert np.isin(found(out)[1], ids).all()


@pytest.mark.parametrize(
    "name", ["codes.npy", "codes.safetensors", "rows.parquet", "numbers.parquet", "encoded-numbers"]
)
def test_codes_of_earlier_versions_are_searched(name: str, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "found.npz"
    model, queries = GOLDEN / "sigah-wide.model", GOLDEN / "vectors.npy"
    assert run("search", model, GOLDEN / name, queries, "-k", 1, "--out", out)[0] == 0
    assert (found(out)[0] == 0).all()


def test_strings_of_earlier_versions_become_keys(tmp_path: Path, run: Any) -> None:
    model, queries = GOLDEN / "sigah-wide.model", GOLDEN / "vectors.npy"
    out = tmp_path / "found.npz"
    for name in ("names.parquet", "encoded-names"):
        assert run("index", "build", GOLDEN / name, "--out", tmp_path / "index")[0] == 0
        assert run("search", model, tmp_path / "index", queries, "-k", 1, "--out", out)[0] == 0
        distances, keys = found(out)
        assert (distances == 0).all()
        assert {*keys.ravel()} <= {*open_codes(GOLDEN / name).ids}
