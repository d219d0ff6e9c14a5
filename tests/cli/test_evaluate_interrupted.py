"""Ctrl-C during ``sigah evaluate``, as a terminal sends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.slow
def test_ctrl_c_stops_the_command_and_keeps_whole_runs_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "base.npy", rng.normal(size=(2000, 32)).astype(np.float32))
    np.save(tmp_path / "queries.npy", rng.normal(size=(20, 32)).astype(np.float32))
    command = [
        sys.executable, "-m", "sigah", "evaluate", "base.npy", "queries.npy", "--bits", "16",
        "-k", "20", "--json", "out.json", "--resume",
    ]  # fmt: skip
    with subprocess.Popen(
        [*command, "--methods", "lsh,sigah:n_steps=1000000,itq"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "SIGAH_CACHE": str(tmp_path / "cache")},
    ) as running:  # fmt: skip
        deadline = time.monotonic() + 300
        while not (tmp_path / "out.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(3)  # SiGAH trains, or torch is loaded for it
        running.send_signal(signal.SIGINT)
        try:
            _, told = running.communicate(timeout=300)
        finally:
            running.kill()
    assert running.returncode == 130, told
    assert "Traceback" not in told
    runs = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert [run["method"] for run in runs] == ["lsh"]
