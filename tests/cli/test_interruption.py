"""Ctrl-C ends the whole command with 130, discards what is unfinished, and says what is so."""

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
import pytest

import sigah
from sigah import streams

# Stop in the middle of writing the output, which is the worst moment.
AT_THE_END = """
import os, sys, time
def wait(file):
    open("begun", "w").close()
    time.sleep(100)
os.fsync = wait
from sigah.cli import main
sys.argv[0] = "sigah"
main()
"""

WRITING = {
    "fit base.npy --method lsh --bits 8 -o old.model": "old.model",
    "search m.model codes.npy base.npy -o found.npz": "found.npz",
    "index build codes.npy -o new.index": "new.index",
    "index add i.index codes.npy": "i.index",
    "index remove i.index 1,2": "i.index",
    "onnx m.model -o graph.onnx": "graph.onnx",
    "drift m.model base.npy base.npy --json drift.json": "drift.json",
    "evaluate base.npy base.npy --methods lsh --bits 8 -k 5 --json runs.json": "runs.json",
}


@pytest.fixture
def workplace(tmp_path: Path, blobs: Any) -> Path:
    np.save(tmp_path / "base.npy", blobs)
    hasher = sigah.LSH(16, random_state=0).fit(blobs)
    hasher.save(tmp_path / "m.model")
    hasher.save(tmp_path / "old.model")
    streams.encode(hasher, blobs, tmp_path / "codes.npy")
    index = sigah.HammingIndex(16, fingerprint=hasher.fingerprint)
    index.add(hasher.transform(blobs))
    index.save(tmp_path / "i.index")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def interrupt(process: subprocess.Popen[bytes]) -> str:
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    return err.decode()


@pytest.mark.parametrize("line", WRITING)
def test_an_output_that_is_half_written_is_discarded(
    line: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(workplace)
    process = subprocess.Popen(
        [sys.executable, "-c", AT_THE_END, *line.split()],
        cwd=workplace,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    while not (workplace / "begun").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    err = interrupt(process)
    assert "Interrupted; no incomplete files remain." in err
    (workplace / "begun").unlink()
    assert contents(workplace) == before, f"{WRITING[line]} changed, or something lies beside it"


def start(folder: Path, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "sigah", *map(str, arguments)],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "200"},
    )


def wait_for(process: subprocess.Popen[bytes], sign: bytes) -> None:
    """Until the command says so on standard error: it is in the middle of its work."""
    assert process.stderr is not None
    seen = b""
    while sign not in seen:
        some = process.stderr.read1()  # type: ignore[attr-defined]
        assert some, seen
        seen += some


def test_a_fit_that_keeps_nothing(workplace: Path) -> None:
    before = contents(workplace)
    call = ("fit", "base.npy", "--method", "itq", "--bits", 16, "--set", "n_iter=100000000")
    process = start(workplace, *call, "--set", "verbose=true", "-o", "new.model")
    wait_for(process, b"ITQ")
    assert "no incomplete files remain" in interrupt(process)
    assert contents(workplace) == before


def test_a_search(workplace: Path) -> None:
    np.save(workplace / "many.npy", np.zeros((3_000_000, 24), np.float16))
    process = start(workplace, "search", "m.model", "i.index", "many.npy", "-k", 100, "-o", "f.npz")
    wait_for(process, b"search")
    assert "no incomplete files remain" in interrupt(process)
    assert not (workplace / "f.npz").exists()


def test_an_export_goes_on_when_it_is_run_again(workplace: Path, run: Any, blobs: Any) -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    hasher = sigah.load(workplace / "m.model")
    codes = rng.integers(0, 256, (300_000, 2), dtype=np.uint8)
    header = {"method": "lsh", "fingerprint": hasher.fingerprint}
    sigah.files.save_codes(workplace / "many.npy", codes, header)
    call = ("export", "faiss", "many.npy", "--to", "t.faiss", "--set", "kind=hnsw")
    process = start(workplace, *call)
    wait_for(process, b"export to faiss")
    assert "the same command resumes" in interrupt(process)
    query = ("query", "faiss", "m.model", "base.npy", "--from", "t.faiss")
    left = subprocess.run(
        [sys.executable, "-m", "sigah", *query], cwd=workplace, capture_output=True, check=False
    )
    assert left.returncode == 1
    assert b"export was interrupted" in left.stderr or b"nothing there" in left.stderr


def test_an_evaluation_keeps_whole_runs_only(workplace: Path) -> None:
    call = ("evaluate", "base.npy", "base.npy", "--methods", "lsh,sigah:n_steps=100000000")
    process = start(workplace, *call, "--bits", 8, "-k", 5, "--json", "runs.json")
    wait_for(process, b"pr_area")  # of LSH; SiGAH is what runs now
    time.sleep(5)
    interrupt(process)
    kept = json.loads((workplace / "runs.json").read_text())["runs"]
    assert [run["method"] for run in kept] == ["lsh"]
