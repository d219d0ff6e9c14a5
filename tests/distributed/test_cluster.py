from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sigah
from sigah.distributed.cluster import require_ray
from sigah.files import load_codes

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setitem(sys.modules, "pandas", sys)  # as if it were there
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OSError, match=r"^ray is not installed; .* 'sigah\[ray\]'`$"):
        require_ray()


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "sigah", "cluster", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.engine
def test_commands_on_this_machine_and_on_a_cluster(
    ray: Any, blobs: Any, tmp_path: Path, write_parquet: Any
) -> None:
    hasher = sigah.LSH(16, random_state=0).fit(blobs)
    hasher.save(tmp_path / "lsh.model")
    source = write_parquet(blobs)
    where = ray.get_runtime_context().gcs_address
    for address, out in (("local", tmp_path / "here"), (where, tmp_path / "there")):
        done = command("encode", tmp_path / "lsh.model", source, "--out", out, "--ray", address)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{out}: 2,000 codes of 16 bits\n"
        assert np.array_equal(load_codes(out).codes, hasher.transform(blobs))
    done = command("encode", tmp_path / "lsh.model", source, "-o", "x", "--ray", "127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no Ray cluster answers at 127.0.0.1:9: ")


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_the_page_runs(
    ray: Any, blobs: Any, tmp_path: Path, write_parquet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(blobs)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {"queries": blobs[:5]}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    whole = sigah.HammingIndex(64)
    whole.add(names["stored"].codes, names["stored"].ids)
    expected = whole.search(names["hasher"].transform(blobs[:5]), k=10)
    assert np.array_equal(names["found"], expected[1])


def test_the_page_names_commands_that_exist() -> None:
    from typer.main import get_command

    from sigah.cli.cluster import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"^sigah cluster (\w+)", PAGE.read_text(), re.MULTILINE)) == known
