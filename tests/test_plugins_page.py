"""The page on plug-ins does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- file: (\S+) -->\n)?```(\w+)( skip)?\n(.*?)```", re.DOTALL)


def sigah(arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as its user starts it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "sigah", *arguments.split()],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "SIGAH_CACHE": str(folder / "cache"), **environment},
    )  # fmt: skip


@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    """Every file is written, every block of Python and every command run, in this order."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "vectors.npy", rng.normal(size=(400, 40)).astype(np.float32))
    np.save(tmp_path / "queries.npy", rng.normal(size=(30, 40)).astype(np.float32))
    told, environment, commands = "", {}, 0
    for name, language, skip, text in BLOCK.findall(PAGE):
        if name:
            (tmp_path / name).write_text(text)
        elif language == "python":
            done = subprocess.run(
                [sys.executable, "-c", text],
                cwd=tmp_path, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        elif language == "sh" and not skip:
            for line in text.splitlines():
                if line.startswith("export "):
                    variable, _, value = line.removeprefix("export ").partition("=")
                    environment[variable] = value
                    continue
                done = sigah(line.removeprefix("sigah "), tmp_path, **environment)
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                told += done.stdout
                commands += 1
    assert commands == 8
    assert re.search(r"^ *pair_hash .* The planes half-way", told, re.MULTILINE), "sigah methods"
    runs = json.loads((tmp_path / "measured.json").read_text())["runs"]
    labels = {run["method"] for run in runs}
    assert labels == {
        "itq", "lsh", "pair_hash", "pair_hash:n_mixed=1", "pair_hash:n_mixed=8",
    }  # fmt: skip
    assert "pair_hash:n_mixed=1" in (tmp_path / "report.html").read_text()
    assert "first of 30 queries" in told
