"""The page of the engines runs as it is printed, section by section."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from postgres import ask

import sigah

pytestmark = pytest.mark.engine

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
EMBEDDED = ["What all have in common", "FAISS", "USearch", "LanceDB", "Milvus", "ClickHouse"]
ADDRESS = "postgresql://user@host/database"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blobs: Any) -> Path:
    """Where the page is read: a model, and vectors with ids and labels."""
    monkeypatch.chdir(tmp_path)
    sigah.LSH(64, random_state=0).fit(blobs).save("mnist.model")
    np.save("base.npy", blobs)
    np.save("queries.npy", blobs[:20])
    np.save("ids.npy", np.arange(2000) + 5000)
    Path("labels.txt").write_text("".join(f"{i % 10}\n" for i in range(2000)))
    return tmp_path


def run_commands(section: str, run: Any) -> None:
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", section, re.S)
        for line in block.splitlines()
    ]
    assert commands
    for command in commands:
        plain = command.replace("mnist:queries", "queries.npy").replace(" mnist ", " base.npy ")
        status, _, told = run(*shlex.split(plain)[1:])
        assert status == 0, f"{command}: {told}"


@pytest.mark.parametrize("title", EMBEDDED)
def test_a_section_runs(title: str, folder: Path, run: Any, blobs: Any) -> None:
    assert run("encode", "mnist.model", "base.npy", "--out", "codes.npy")[0] == 0
    run_commands(SECTIONS[title], run)
    hasher = sigah.load("mnist.model")
    names = {"hasher": hasher, "codes": hasher.transform(blobs), "queries": blobs[:20]}
    names |= {"query_codes": hasher.transform(blobs[:20]), "ids": np.arange(2000)}
    names["labels"] = ["cat", "dog", "eel", "fox"] * 500
    if title == EMBEDDED[0]:
        Path("codes.faiss").unlink()
        Path("codes.faiss.sqlite").unlink()
    blocks = re.findall(r"```python\n(.*?)```", SECTIONS[title], re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "engines.md", "exec"), names)
    if title != EMBEDDED[0]:
        nearest = {
            "FAISS": lambda: names["ids"][0, 0],
            "USearch": lambda: names["matches"].keys[0],
            "LanceDB": lambda: names["found"]["id"][0].as_py(),
            "Milvus": lambda: names["found"][0][0]["id"],
            "ClickHouse": lambda: int(json.loads(names["found"].bytes())["id"][0]),
        }[title]()
        filtered = title in ("LanceDB", "Milvus", "ClickHouse")
        assert nearest % 10 == 7 if filtered else nearest == 0


def test_the_section_of_pgvector_runs(folder: Path, run: Any, blobs: Any, database: str) -> None:
    assert run("encode", "mnist.model", "base.npy", "--out", "codes.npy")[0] == 0
    section = SECTIONS["pgvector"].replace(ADDRESS, database)
    run_commands(section, run)
    (statement,) = re.findall(r"```sql\n(.*?)```", section, re.S)
    assert {row[0] % 10 for row in ask(database, statement)} == {7}
    names = {"hasher": sigah.load("mnist.model"), "queries": blobs[:20], "dimensions": 24}
    (block,) = re.findall(r"```python\n(.*?)```", section, re.S)
    exec(compile(block, "engines.md", "exec"), names)
    near = np.argsort(((blobs - blobs[0]) ** 2).sum(axis=1))[:10]
    found, distances = zip(*names["nearest"], strict=True)
    assert found[0] == 0
    assert np.isin(found, near).mean() >= 0.5  # 64 bits of LSH, ten candidates a neighbour
    exact = np.linalg.norm(blobs[list(found)] - blobs[0], axis=1)
    np.testing.assert_allclose(distances, exact, rtol=0.01, atol=0.01)
