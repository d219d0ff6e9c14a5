"""Build the source distribution and the wheel, and use each in an environment of its own.

Neither environment has an extra: what is tried is what `pip install sigah` gives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent

USE = """
import json, subprocess, sys
from pathlib import Path
import numpy as np

def sigah(*words, code=0):
    done = subprocess.run([sys.executable, "-m", "sigah", *words], capture_output=True, text=True)
    assert done.returncode == code, (words, done)
    return done.stdout if code == 0 else done.stderr

rng = np.random.default_rng(0)
np.save("base.npy", rng.normal(size=(2000, 64)).astype("float32"))
np.save("queries.npy", np.load("base.npy")[:5])
assert sigah("--version").strip() == sys.argv[1]
sigah("fit", "base.npy", "--method", "lsh", "--bits", "64", "--out", "lsh.model")
sigah("encode", "lsh.model", "base.npy", "--out", "codes.npy")
sigah("search", "lsh.model", "codes.npy", "queries.npy", "-k", "3", "--out", "found.npz")
sigah("index", "build", "codes.npy", "--out", "codes.index")
sigah("search", "lsh.model", "codes.index", "queries.npy", "-k", "3", "--out", "again.npz")
with np.load("found.npz") as found, np.load("again.npz") as again:
    assert found["ids"][:, 0].tolist() == [0, 1, 2, 3, 4], found["ids"]
    assert (found["ids"] == again["ids"]).all()
missing = sigah("fit", "base.npy", "--bits", "64", "--out", "sigah.model", code=1)
assert "sigah[train]" in missing and len(missing.strip().splitlines()) == 1, missing
for module in ("torch", "scipy", "sklearn", "matplotlib", "PIL", "jinja2", "pyarrow"):
    try:
        __import__(module)
    except ImportError:
        continue
    raise AssertionError(f"the core environment has {module}")
"""


def main() -> None:
    """Build and try; any failure ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    run([sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], env=constrained())
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = {"constraints.txt", "docs/format.md", "docs/architecture.md", "Makefile"} - names
    if missing:
        sys.exit(f"{sdist.name} lacks {', '.join(sorted(missing))}")
    version = wheel.name.split("-")[1]
    for package in (wheel, sdist):
        with tempfile.TemporaryDirectory() as folder:
            python = bare_environment(Path(folder), package)
            run([str(python), "-m", "pip", "check"])
            run([str(python), "-c", USE, version], cwd=folder)
            print(f"{package.name}: installed bare, encodes and searches")


def bare_environment(folder: Path, package: Path) -> Path:
    """An environment that holds the package and what it requires; returns its Python."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run([str(python), "-m", "pip", "install", "--quiet", str(package)], env=constrained())
    return python


def constrained() -> dict[str, str]:
    """The environment of a process whose pip installs the committed versions."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**clean, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}


def run(command: list[str], **options: object) -> None:
    """Run a command, without this checkout on its path, or stop."""
    options.setdefault("env", constrained())
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
