"""The short form of the soak; `make test-soak` runs the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_half_a_minute_of_everything_at_once() -> None:
    soak = Path(__file__).parent / "soak.py"
    done = subprocess.run(
        [sys.executable, soak, "--seconds", "30"],
        timeout=400,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lives killed" in done.stdout
