"""Folders, samples, encoding that resumes, ids and drift on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sigah
from sigah.rows import sample


@pytest.fixture
def shards(blobs: Any, tmp_path: Path) -> Path:
    """A folder of Parquet files with ids and vectors, and things that are none."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, part in enumerate(np.split(blobs, [700, 1500])):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), part.shape[1])
        ids = np.arange(len(part)) + 10_000 * number
        pq.write_table(pa.table({"key": ids, "vector": vectors}), folder / f"{number}.parquet")
    (folder / "README.txt").write_text("not vectors")
    return folder


def test_a_folder_is_fitted_encoded_with_ids_and_indexed(
    shards: Path, tmp_path: Path, blobs: Any, run: Any
) -> None:
    model, codes, index = tmp_path / "model", tmp_path / "codes.parquet", tmp_path / "index"
    status, out, _ = run(
        "fit", shards, "--method", "itq", "--bits", 16, "--sample", 500, "--out", model
    )
    assert status == 0
    assert "learning from 500 of 2,000 vectors, drawn uniformly" in out
    drawn = sample(blobs, 500, 0)
    assert sigah.load(model).fingerprint == sigah.ITQ(16, random_state=0).fit(drawn).fingerprint
    status, out, _ = run("encode", model, f"{shards}:vector", "--ids", "key", "--out", codes)
    assert status == 0
    assert "2,000 codes of 16 bits, 4,000 bytes" in out
    assert run("index", "build", codes, "--out", index)[0] == 0
    held = sigah.HammingIndex.open(index)
    assert set(held.ids) == {*range(700), *range(10_000, 10_800), *range(20_000, 20_500)}
    assert held.fingerprint == sigah.load(model).fingerprint


def test_all_are_learned_from_unless_asked(tmp_path: Path, blobs: Any, run: Any) -> None:
    np.save(tmp_path / "x.npy", blobs)
    status, out, _ = run("fit", tmp_path / "x.npy", "--method", "lsh", "--out", tmp_path / "model")
    assert status == 0
    assert "learning from" not in out


def test_a_folder_does_not_hide_a_named_set(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    np.save(tmp_path / "mnist" / "x.npy", np.random.default_rng(0).normal(size=(50, 24)))
    for argument, d in (("mnist:queries", 784), ("./mnist", 24)):
        status, out, _ = run("fit", argument, "--method", "lsh", "--bits", 8, "--out", "model")
        assert status == 0
        assert f"from {d} dimensions" in out


def test_ctrl_c_and_again(tmp_path: Path, blobs: Any) -> None:
    np.save(tmp_path / "x.npy", blobs)
    hasher = sigah.LSH(16, random_state=0).fit(blobs)
    hasher.save(tmp_path / "model")
    script = """
import sys, time
from sigah import hashers, rows
from sigah.cli import main
rows.blocks.BLOCK_BYTES = 100 * 24 * 4
quick = hashers.LSH._codes
hashers.LSH._codes = lambda self, block: (time.sleep(0.05), quick(self, block))[1]
sys.argv = ["sigah", "encode", "model", "x.npy", "--out", "codes.npy"]
main()
"""
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    journal = tmp_path / "codes.npy.journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert b"the same command resumes" in err
    assert not (tmp_path / "codes.npy").exists()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert b"of them from an earlier run" in done.stdout
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), hasher.transform(blobs))


def test_another_model_is_said(tmp_path: Path, blobs: Any, run: Any) -> None:
    np.save(tmp_path / "x.npy", blobs)
    sigah.LSH(16, random_state=0).fit(blobs).save(tmp_path / "model")
    out = tmp_path / "codes.npy"
    out.with_name("codes.npy.journal").write_text('{"version":1,"model":"c0ffee"}\n')
    status, _, err = run("encode", tmp_path / "model", tmp_path / "x.npy", "--out", out)
    assert status == 0
    assert "started over, because its model is another" in err


def test_drift_is_told_and_is_the_exit_status(run: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(8, 32))
    learned, old, same = (rng.normal(size=(3, 1000, 8)) @ shape).astype(np.float32)
    other = (rng.normal(size=(1000, 8)) @ rng.normal(size=(8, 32))).astype(np.float32)
    sigah.ITQ(8, random_state=0).fit(learned).save(tmp_path / "model")
    for name, rows in {"old": old, "same": same, "other": other}.items():
        np.save(tmp_path / f"{name}.npy", rows)
    model, first = tmp_path / "model", tmp_path / "old.npy"
    status, out, _ = run("drift", model, first, tmp_path / "same.npy")
    assert status == 0
    assert "keep: recall changes by" in out
    report = tmp_path / "drift.json"
    call = ("drift", model, first, tmp_path / "other.npy", "--json", report)
    status, out, _ = run(*call)
    assert status == 3
    assert "rebuild: recall changes by -" in out
    told = json.loads(report.read_text())
    assert told["verdict"] == "rebuild" and told["low"] > told["max_loss"] == 0.03
    status, out, _ = run(*call, "--max-loss", 0.9, "--confidence", 0.99)
    assert (status, "keep: recall" in out, "a loss of 0.9 is tolerated" in out) == (0, True, True)
    wide = json.loads(report.read_text())
    assert wide["low"] < told["low"] < told["loss"] == wide["loss"] < told["high"] < wide["high"]


def test_fit_goes_on_from_a_model(blobs: Any, tmp_path: Path, run: Any) -> None:
    old, new, model = tmp_path / "old.npy", tmp_path / "new.npy", tmp_path / "model"
    np.save(old, blobs[:800])
    np.save(new, blobs)
    few = ("--bits", 16, "--set", "n_steps=20")
    assert run("fit", old, *few, "--out", model)[0] == 0
    status, out, _ = run("fit", new, "--continue", model, "--out", tmp_path / "later")
    assert status == 0 and "sigah, 16 bits" in out
    expected = sigah.load(model).partial_fit(blobs)
    assert sigah.load(tmp_path / "later").fingerprint == expected.fingerprint
    run("fit", old, "--method", "itq", "--bits", 16, "--out", model)
    status, _, told = run("fit", new, "--continue", model, "--out", tmp_path / "later")
    assert status == 1 and "itq cannot continue training" in told
