"""What may be replaced: files of the kind that is written, and nothing else unasked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sigah
from sigah import streams
from sigah.files import check_target, kind_of
from sigah.files.targets import KINDS
from sigah.onnx import export_encoder


@pytest.fixture
def written(tmp_path: Path, blobs: Any) -> dict[str, Path]:
    """One file of every kind, and some of none."""
    hasher = sigah.LSH(16, random_state=0).fit(blobs)
    at = {name: tmp_path / name for name in ("model", "index", "neighbours.npz", "graph.onnx")}
    hasher.save(at["model"])
    index = sigah.HammingIndex(16)
    index.add(hasher.transform(blobs))
    index.save(at["index"])
    np.savez(at["neighbours.npz"], distances=np.zeros(3), ids=np.zeros(3))
    export_encoder(hasher, at["graph.onnx"])
    at["vectors"] = tmp_path / "vectors"
    sigah.VectorIndex.build(blobs, 4, random_state=0).save(at["vectors"])
    for suffix in (".npy", ".parquet"):
        at[f"codes{suffix}"] = tmp_path / f"codes{suffix}"
        streams.encode(hasher, blobs, at[f"codes{suffix}"])
    texts = {
        "results.json": '{"data": {}, "runs": []}',
        "drift.json": '{"verdict": "keep", "balance": []}',
        "advice.json": '{"format": "sigah advice 1"}',
        "recipe.json": '{"format": "sigah recipe 1"}',
        "page.html": "<!doctype html>\n<html><title>sigah: the demo</title></html>",
        "package.json": '{"data":{"name":"mine"}}',
        "list.json": "[1, 2]",
        "broken.json": "{",
        "own.html": "<!doctype html><html><title>My home</title></html>",
        "note.txt": "read me",
        "b": "x",
    }
    for name, text in texts.items():
        at[name] = tmp_path / name
        at[name].write_text(text)
    np.save(tmp_path / "vectors.npy", blobs)
    np.savez(tmp_path / "vectors.npz", x=blobs)
    at |= {name: tmp_path / name for name in ("vectors.npy", "vectors.npz")}
    return at


def test_each_kind_is_known_by_its_content(written: dict[str, Path], tmp_path: Path) -> None:
    expected = {name: name.partition(".")[0] for name in written}
    none = ("package.json", "list.json", "broken.json", "own.html", "note.txt", "b")
    expected |= dict.fromkeys((*none, "vectors.npy", "vectors.npz"))
    assert {name: kind_of(path) for name, path in written.items()} == expected
    assert set(filter(None, expected.values())) == set(KINDS)
    # a name says nothing
    (tmp_path / "as.txt").write_bytes(written["model"].read_bytes())
    assert kind_of(tmp_path / "as.txt") == "model"
    assert kind_of(tmp_path) is kind_of(tmp_path / "missing") is None


@pytest.mark.parametrize("kind", KINDS)
def test_only_files_of_the_same_kind_are_replaced(kind: str, written: dict[str, Path]) -> None:
    for path in written.values():
        if kind_of(path) == kind:
            check_target(path, kind=kind)
            continue
        with pytest.raises(ValueError, match="exists and is not .* or say --overwrite"):
            check_target(path, kind=kind)
        check_target(path, kind=kind, overwrite=True)


def test_new_and_empty_files_may_be_written(tmp_path: Path) -> None:
    check_target(tmp_path / "new", kind="model")
    (tmp_path / "empty").touch()
    check_target(tmp_path / "empty", kind="model")
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"], "nothing stays behind"


def link(target: Path, there: Path) -> None:
    there.symlink_to(target)


def hard_link(target: Path, there: Path) -> None:
    there.hardlink_to(target)


@pytest.mark.parametrize("name_it", [link, hard_link])
def test_an_input_is_never_replaced(
    name_it: Callable[[Path, Path], None], written: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    name_it(written["vectors.npy"], folder / "0.npy")
    for out, inputs in (
        (written["vectors.npy"], [written["vectors.npy"]]),
        (folder / "0.npy", [written["model"], written["vectors.npy"]]),
        (written["vectors.npy"], [folder]),
        (folder / "0.npy", [folder]),
        (written["codes.npy"], [written["codes.npy"]]),
    ):
        with pytest.raises(ValueError, match="is one of the inputs"):
            check_target(out, kind="codes", inputs=inputs, overwrite=True)
    check_target(written["codes.npy"], kind="codes", inputs=[folder, tmp_path / "missing"])


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, message in {
        ".": "out is a folder; name a file in it",
        "no/model": "out: its folder does not exist; create it first",
        "pipe": "out is not a regular file",
        "x" * 300: "out: File name too long",
        "loop": "out: ",
        "/proc/model": "out: its folder cannot be written to",
    }.items():
        for overwrite in (False, True):
            with pytest.raises(OSError, match=message):
                check_target(tmp_path / name, kind="model", overwrite=overwrite, name="out")


def test_the_name_in_messages_is_the_one_given(tmp_path: Path) -> None:
    (tmp_path / "results").write_text(json.dumps({"runs": [], "data": {}}))
    with pytest.raises(ValueError) as refusal:
        check_target(tmp_path / "results", kind="model", name="--out results")
    assert str(refusal.value) == (
        "--out results exists and is not a model, it holds results: choose another name, or say"
        " --overwrite (overwrite=True)"
    )
