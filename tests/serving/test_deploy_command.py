"""``sigah deploy``: the same from the command line, with keys from Parquet."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from sigah import ITQ, LSH, HammingIndex, KeyedIndex, VectorIndex, rows
from sigah.cli import app
from sigah.rows import MissingLibraryError
from sigah.serving import Deployment

N, D = 300, 16
VECTORS = np.random.default_rng(0).normal(size=(N + 20, D)).astype(np.float32)
NAMES = [f"doc/{row}" for row in range(N + 20)]
OLD = ITQ(n_bits=16, random_state=0).fit(VECTORS)
NEW = LSH(n_bits=64, random_state=1).fit(VECTORS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    OLD.save("old.model")
    NEW.save("new.model")
    index = KeyedIndex.of(OLD)
    index.add(OLD.transform(VECTORS[:N]), NAMES[:N])
    index.save("docs.index")
    for name, part in (("docs", slice(0, N)), ("more", slice(N, N + 10)), ("few", slice(0, 9))):
        rows = VECTORS[part]
        column = pyarrow.FixedSizeListArray.from_arrays(rows.ravel(), D)
        table = pyarrow.table({"name": NAMES[part], "vector": column})
        pyarrow.parquet.write_table(table, f"{name}.parquet")
        np.save(f"{name}.npy", rows)
    Path("few.txt").write_text("\n".join(NAMES[:9]))
    return tmp_path


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["deploy", *words])


def done(words: str) -> str:
    result = run(*words.split())
    assert result.exit_code == 0, result.output + repr(result.exception)
    return str(result.output)


def test_the_way_from_a_model_to_a_new_one_and_back(folder: Path) -> None:
    assert "300 codes, generation 1 serves" in done("create served docs.index old.model")
    assert "310 codes" in done("add served more.parquet --ids name")
    assert "309 codes" in done("remove served doc/305")
    assert "309 codes" in done("update served few.npy --ids few.txt")
    assert "310 codes" in done("upsert served more.npy --ids " + ",".join(NAMES[N : N + 10]))
    told = done("reencode served new.model docs.parquet --ids name")
    assert "generation 2 is ready, 1 serves; next: sigah deploy switch served" in told
    assert "309 codes" in done("remove served doc/0")
    assert "309 codes, generation 2 serves" in done("switch served")
    done("search served more.npy -k 3 --out found.npz")
    found = np.load("found.npz")
    assert (found["ids"][:, 0] == NAMES[N : N + 10]).all() and (found["distances"][:, 0] == 0).all()
    done("search served more.npy -k 1 --filter doc/7 --out found.npz --overwrite")
    assert (np.load("found.npz")["ids"] == "doc/7").all()
    assert "309 codes, generation 1 serves" in done("back served")
    done("save served")
    assert json.loads(done("stats served")) == {
        "kind": "keys",
        "generation": 1,
        "model": OLD.fingerprint,
        "n": 309,
        "previous": 2,
        "next": None,
        "encoding": False,
        "change_bytes": 0,
        "failure": None,
    }
    done("forget served")
    assert "no earlier generation" in str(run("back", "served").exception)
    assert sorted(Deployment("served").current().index.keys) == sorted(NAMES[1 : N + 10])


def test_vectors_are_served_too(folder: Path) -> None:
    build = CliRunner().invoke(app, ["vectors", "build", "docs.npy", "--bytes", "4", "--out", "v"])
    assert build.exit_code == 0, build.output
    build = CliRunner().invoke(app, ["vectors", "build", "docs.npy", "--bytes", "8", "--out", "w"])
    assert build.exit_code == 0, build.output
    assert "300 vectors, generation 1" in done("create served v")
    done("upsert served few.npy --ids 1,2,3,4,5,6,7,8,900")
    done("reencode served w docs.npy")
    assert "301 vectors, generation 2" in done("switch served")
    assert Deployment("served").current().index.n_bytes == 8


def test_vectors_with_keys_are_served_too(folder: Path) -> None:
    for size, out in ((4, "v"), (8, "w")):
        words = ["vectors", "build", "docs.parquet", "--ids", "name"]
        build = CliRunner().invoke(app, [*words, "--bytes", str(size), "--out", out])
        assert build.exit_code == 0, build.output
    assert "300 vectors, generation 1" in done("create served v")
    done("upsert served few.npy --ids a,b,c,d,e,f,g,h,doc/2")
    done("remove served doc/7")
    assert "doc/2" in done("search served few.npy -k 1 --filter doc/2,doc/3")
    done("reencode served w docs.parquet --ids name")
    assert "307 vectors, generation 2" in done("switch served")
    index = Deployment("served").current().index
    assert index.n_bytes == 8 and "h" in index and "doc/7" not in index
    assert run("reencode", "served", "v", "docs.npy").exit_code == 1  # keys are missing


REFUSED = {
    "create served docs.index": "INDEX docs.index holds codes; give the MODEL that made them",
    "create served docs.index new.model": "MODEL new.model: model makes 64 bits",
    "create served docs.npy old.model": "INDEX docs.npy",
    "create there docs.index old.model": "there exists already",
    "search served few.npy": "FOLDER served: there is no deployment",
    "add there few.parquet --ids name": "--ids name: key 'doc/0' is in the index already",
    "add there few.parquet --ids title": "there are 1 ids for 9 vectors; VECTORS has the columns",
    "reencode there new.model few.parquet --ids title": "--ids title: there are 1 ids for 9 vectors"
        "; VECTORS has the columns",
    "add there few.npy --ids a,b": "--ids a,b: there are 2 ids for 9 vectors",
    "update there more.parquet --ids name": "--ids name: key 'doc/300' is not in the index",
    "remove there doc/1,x": "IDS doc/1,x: key 'x' is not in the index",
    "switch there": "FOLDER there: no new generation is ready",
    "reencode there new.model few.parquet --ids name": "VECTORS few.parquet: those of 291 ids of"
        " the index are missing, such as 'doc/9'",
    "reencode there new.model docs.npy": "the index has keys; give them, or the name of their",
    "reencode there few.npy docs.npy --ids few.txt": "MODEL few.npy",
}  # fmt: skip


@pytest.mark.parametrize("words", list(REFUSED))
def test_errors_name_the_argument(folder: Path, words: str) -> None:
    done("create there docs.index old.model")
    result = run(*words.split())
    assert result.exit_code == 1 and REFUSED[words] in str(result.exception), result.exception


def test_a_query_too_large_is_named_by_its_row(folder: Path) -> None:
    """Rows are counted from the beginning of the file, not of a block of queries."""
    index = VectorIndex.build(VECTORS, 4, metric="l2", random_state=0)
    Deployment.create("served", index)
    queries = np.zeros((2100, D), np.float32)
    queries[2050, 3] = 1e16
    np.save("queries.npy", queries)
    result = run("search", "served", "queries.npy")
    assert "QUERIES queries.npy: it contains a value too large" in str(result.exception)
    assert "at row 2050, column 3" in str(result.exception)


def test_a_folder_that_cannot_be_written_to_is_searched_and_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("create served docs.index old.model")

    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", "served/lock")

    monkeypatch.setattr(FileLock, "acquire", refused)
    assert "doc/0" in done("search served few.npy -k 1")
    for words in ("remove served doc/5", "add served more.parquet --ids name", "save served"):
        told = str(run(*words.split()).exception)
        assert told.endswith(
            "served cannot be written to (Permission denied); it can only be searched"
        )
        assert not told.startswith("IDS"), "they are right"
    monkeypatch.setattr(Path, "mkdir", refused)
    told = str(run("create", "other", "docs.index", "old.model").exception)
    assert told == "other: its folder cannot be written to (Permission denied)"


def test_ids_need_no_library_of_tables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, *_: Any) -> Any:
        raise MissingLibraryError(module)

    done("create served docs.index old.model")
    monkeypatch.setattr(rows.ids, "require", missing)
    assert "310 codes" in done("add served more.npy --ids " + ",".join(NAMES[N : N + 10]))


def test_numbers_are_the_rows_unless_given(folder: Path) -> None:
    index = HammingIndex.of(OLD)
    index.add(OLD.transform(VECTORS[:N]))
    index.save("numbers.index")
    done("create served numbers.index old.model")
    done("reencode served new.model docs.npy")
    assert "generation 2 serves" in done("switch served")
    assert (Deployment("served").current().index.ids == np.arange(N)).all()
