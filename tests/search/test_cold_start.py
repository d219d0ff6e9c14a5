"""A process that asks little loads little, and what is compiled once is not compiled again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigah import LSH, HammingIndex
from sigah.search import kernels  # noqa: F401  in this process, every scan is by kernels
from sigah.search.layout import GROUP, LANES, to_planes
from sigah.search.plain_scan import nearest_in_numpy
from sigah.search.scan import nearest_by_scan


@given(
    n=st.integers(0, 700),
    n_bytes=st.integers(1, 40),
    k=st.integers(1, 800),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_numpy_answers_as_the_kernels_do(
    n: int, n_bytes: int, k: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, n_bytes), np.uint8)  # few values: many ties
    queries = rng.integers(0, 4, (3, n_bytes), np.uint8)
    planes = to_planes(codes)
    chosen = np.zeros(len(planes) * GROUP, np.bool_)
    chosen[:n] = rng.random(n) < share
    selected = np.packbits(chosen, bitorder="little").view(np.uint64)
    assert len(selected) == len(planes) * GROUP // LANES
    found = nearest_in_numpy(planes, selected, queries, k)
    for ours, theirs in zip(found, nearest_by_scan(planes, selected, queries, k, 1), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


FEW_QUERIES = """
import sys
import sigah
from sigah import HammingIndex
import numpy as np
hasher = sigah.load("model")
index = HammingIndex.open("index")
queries = np.load("queries.npy")
_, one = index.search(hasher.transform(queries[:1]), 5)
for name in ("numba", "scipy", "sklearn", "torch", "rich", "typer"):
    assert name not in sys.modules, name
from sigah.search import plain_scan
plain_scan.ENOUGH_BYTES = 0
_, many = index.search(hasher.transform(queries), 5)
assert "numba" in sys.modules
assert many[0].tolist() == one[0].tolist() == {expected!r}
"""


def test_a_process_that_asks_one_query_loads_no_compiler(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(3000, 32))
    hasher = LSH(64, random_state=0).fit(X)
    index = HammingIndex.of(hasher)
    index.add(hasher.transform(X))
    hasher.save(tmp_path / "model")
    index.save(tmp_path / "index")
    np.save(tmp_path / "queries.npy", X[:20])
    expected = index.search(hasher.transform(X[:1]), 5)[1][0].tolist()
    subprocess.run(
        [sys.executable, "-c", FEW_QUERIES.format(expected=expected)], cwd=tmp_path, check=True
    )


KERNEL = """
from sigah.search.kernel_cache import compiled

@compiled
def twice(x):
    return 2 * x
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a module that has a kernel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "home").mkdir()
        (folder / "tiny.py").write_text(KERNEL)
        yield folder
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


def ask(folder: Path, script: str, cache: Path | None = None, before: tuple[str, ...] = ()) -> str:
    """What a script prints in a process that has the module."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG"))
    }
    environment |= {"HOME": str(folder / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    command = [*before, sys.executable, "-c", f"import tiny\n{script}"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_only(folder: Path) -> tuple[str, ...]:
    """Take the right to write from a folder; returns how to run a command that heeds it."""
    for path in [*folder.rglob("*"), folder]:
        path.chmod(path.stat().st_mode & ~0o222)
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root writes everywhere")
    return ("setpriv", "--bounding-set=-dac_override")


COUNTS = "print(tiny.twice(3), sum(tiny.twice.stats.cache_hits.values()))"


@pytest.mark.skipif(os.name == "nt", reason="rights are others there")
@pytest.mark.parametrize("where", ["NUMBA_CACHE_DIR", "beside the module"])
def test_kernels_are_found_where_nothing_can_be_written(folder: Path, where: str) -> None:
    cache = folder / "kernels" if where == "NUMBA_CACHE_DIR" else None
    assert ask(folder, COUNTS, cache).split() == ["6", "0"]
    kept = sorted(folder.rglob("*.nb?"))
    assert len(kept) == 2
    before = read_only(folder)
    assert ask(folder, COUNTS, cache, before).split() == ["6", "1"]
    # a variant that was not kept is compiled for the process alone
    assert ask(folder, "print(tiny.twice(1.5))", cache, before).split() == ["3.0"]
    assert sorted(folder.rglob("*.nb?")) == kept


@pytest.mark.skipif(os.name == "nt", reason="rights are others there")
def test_without_any_place_kernels_are_compiled_in_every_process(folder: Path) -> None:
    before = read_only(folder)
    assert ask(folder, COUNTS, folder / "none", before).split() == ["6", "0"]
    assert not list(folder.rglob("*.nb?"))


WARM = r"""
from sigah.search.warmup import compile_kernels
n = compile_kernels()
from sigah.search.kernel_cache import KERNELS
assert n == sum(len(kernel.signatures) for kernel in KERNELS)
from sigah import search
from pathlib import Path
import re
files = Path(search.__file__).parent.glob("*.py")
called = {name for file in files for name in re.findall(r"kernels\(\)\.(\w+)\(", file.read_text())}
assert len(called) > 10
assert called <= {kernel.__name__ for kernel in KERNELS if kernel.signatures}
import numpy as np
from sigah import HammingIndex
index = HammingIndex(128)
rng = np.random.default_rng(1)
index.add(rng.integers(0, 256, (5000, 16), np.uint8), 7 * np.arange(5000))
queries = rng.integers(0, 256, (300, 16), np.uint8)
index.remove([7, 14])
index.search(queries, 100)
index.search(queries[::2], 1, filter=np.arange(0, 700, 7))
index.search(queries, 3, metric="spherical")
tables = rng.normal(size=(300, 16, 256)).astype(np.float32)
index.search_tables(tables, 3)
index.search_tables(tables, 3, codes=queries[:, :8], shortlist=20)
index.search_asymmetric(tables[:, 0, :128], 3)
index.search_asymmetric(tables[:, 0, :128], 3, codes=queries, shortlist=20)
index.range_search(queries, 50)
index.build_tables()
index.search(queries, 3)
index.get([21, 28])
index.compact()
assert n == sum(len(kernel.signatures) for kernel in KERNELS), "searches compile more"
"""


@pytest.mark.slow
def test_warming_up_compiles_every_kernel_that_searches_call() -> None:
    subprocess.run([sys.executable, "-c", WARM], timeout=400, check=True)


def test_the_command_says_where_the_kernels_are(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sigah.search import warmup

    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    seen = []
    monkeypatch.setattr(
        warmup, "compile_kernels", lambda: seen.append(os.environ["NUMBA_CACHE_DIR"]) or 7
    )
    status, output, _ = run("warmup", "--cache", tmp_path / "kernels")
    assert status == 0
    assert seen == [str(tmp_path / "kernels")]
    assert "7 kernels" in output
    assert f"NUMBA_CACHE_DIR={tmp_path / 'kernels'}" in output.replace("\n", "")
