"""``sigah vectors``: an index of vectors from build to search, and wrong command lines."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from sigah import ITQ, HammingIndex, VectorIndex

RAW = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("built") / "v.vectors"
    VectorIndex.build(RAW, 4, random_state=0).save(path)
    return path


@pytest.fixture
def workplace(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an index, its vectors, and bad files; it is the working folder."""
    (tmp_path / "v.vectors").write_bytes(built.read_bytes())
    spoilt = RAW.copy()
    spoilt[250, 3] = np.nan
    for name, array in {
        "base": RAW,
        "queries": RAW[:20],
        "few": RAW[:5],
        "narrow": RAW[:, :8],
        "nan": spoilt,
        "truth": np.arange(20)[:, np.newaxis],
    }.items():
        np.save(tmp_path / name, array)
    bent = bytearray(built.read_bytes())
    bent[-3] ^= 1
    (tmp_path / "bent.vectors").write_bytes(bent)
    (tmp_path / "notes.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    return tmp_path


@pytest.mark.slow
def test_build_writes_the_index_that_python_builds(workplace: Path, run: Any) -> None:
    line = "vectors build base.npy --bytes 4 --seed 0 -o new.vectors"
    status, out, _ = run(*shlex.split(line))
    assert (status, out) == (0, "new.vectors: 300 vectors in 4 bytes each, cosine\n")
    new, old = VectorIndex.open("new.vectors"), VectorIndex.open("v.vectors")
    assert new.refined.fingerprint == old.refined.fingerprint
    np.testing.assert_array_equal(new.search(RAW[:9])[1], old.search(RAW[:9])[1])


def test_build_takes_a_metric_and_ids(workplace: Path, run: Any) -> None:
    np.save("ids.npy", 7 * np.arange(300) + 5)
    line = "vectors build base.npy --bytes 4 --metric l2 --ids ids.npy -o new.vectors"
    assert run(*shlex.split(line))[0] == 0
    index = VectorIndex.open("new.vectors")
    assert (index.metric, index.ids.tolist()) == ("l2", (7 * np.arange(300) + 5).tolist())


def test_ids_are_a_column_of_the_file(workplace: Path, run: Any) -> None:
    column = pyarrow.FixedSizeListArray.from_arrays(RAW[:40].ravel(), RAW.shape[1])
    names = [f"doc/{row}" for row in range(40)]
    table = pyarrow.table({"id": np.arange(1000, 1040), "name": names, "vector": column})
    pyarrow.parquet.write_table(table, "rows.parquet")
    assert run("vectors", "build", "rows.parquet", "--ids", "id", "-o", "w")[0] == 0
    assert VectorIndex.open("w").ids.tolist() == list(range(1000, 1040))
    assert run("vectors", "add", "v.vectors", "rows.parquet", "--ids", "id")[0] == 0
    assert 1039 in VectorIndex.open("v.vectors")
    status, _, err = run("vectors", "add", "v.vectors", "rows.parquet", "--ids", "name")
    assert status == 1
    assert "--ids name: its ids are strings, but those of INDEX whole numbers" in err


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_a_mistyped_column_of_ids_lists_at_most_ten_that_exist(
    workplace: Path, run: Any, kind: str
) -> None:
    column = pyarrow.FixedSizeListArray.from_arrays(RAW[:40].ravel(), RAW.shape[1])
    labels = {f"label{i}": np.arange(40) for i in range(12)}
    table = pyarrow.table({"id": np.arange(40), "vector": column, **labels})
    write = {"parquet": pyarrow.parquet.write_table, "feather": pyarrow.feather.write_feather}
    write[kind](table, f"rows.{kind}")
    for command in ("build -o w", "add v.vectors"):
        words = f"vectors {command} rows.{kind} --ids idd"
        status, _, err = run(*words.split())
        assert status == 1
        assert "--ids idd: no such file, and not a list of ids" in err
        assert err.endswith(
            "; VECTORS has the columns id, vector, label0, label1, label2, label3, label4, label5,"
            " label6, label7 and 4 more\n"
        )
    status, _, err = run(*f"vectors build rows.{kind}:vec -o w".split())
    assert f"VECTORS rows.{kind}:vec: there is no column 'vec'; there is rows" in err
    assert run("vectors", "build", f"rows.{kind}", "--ids", "1,2", "-o", "w")[2].endswith(
        "2 ids for 40 vectors; VECTORS has the columns id, vector, label0, label1, label2, label3,"
        " label4, label5, label6, label7 and 4 more\n"
    )


def test_added_vectors_are_found_until_they_are_removed(workplace: Path, run: Any) -> None:
    status, out, _ = run("vectors", "add", "v.vectors", "few.npy", "--ids", "900,901,902,903,904")
    assert (status, out) == (0, "v.vectors: 305 vectors, 5 of them new\n")
    assert set(range(900, 905)) <= set(VectorIndex.open("v.vectors").ids.tolist())
    status, out, _ = run("vectors", "remove", "v.vectors", "900,901,902")
    assert (status, out) == (0, "v.vectors: 302 vectors\n")
    run("vectors", "add", "v.vectors", "few.npy")  # ids follow the largest
    assert VectorIndex.open("v.vectors").ids.tolist()[300:] == [903, 904, *range(905, 910)]


def test_search_writes_the_neighbours_that_python_finds(workplace: Path, run: Any) -> None:
    line = "vectors search v.vectors queries.npy -k 3 -o found.npz"
    status, out, _ = run(*shlex.split(line))
    assert (status, out) == (0, "found.npz: 3 neighbours of 20 queries among 300 vectors\n")
    distances, ids = VectorIndex.open("v.vectors").search(RAW[:20], 3)
    with np.load("found.npz") as found:
        np.testing.assert_array_equal(found["ids"], ids)
        np.testing.assert_array_equal(found["distances"], distances)


def test_original_vectors_rank_the_candidates_of_a_filter_exactly(
    workplace: Path, run: Any
) -> None:
    np.save("even.npy", np.arange(0, 300, 2))
    line = (
        "vectors search v.vectors queries.npy -k 5 --filter even.npy --vectors base.npy"
        " --ranked 300 -o found.npz"
    )
    assert run(*shlex.split(line))[0] == 0
    unit = RAW / np.linalg.norm(RAW, axis=1, keepdims=True)
    exact = 2 * np.argsort(1 - unit[:20] @ unit[::2].T, axis=1, kind="stable")[:, :5]
    with np.load("found.npz") as found:
        np.testing.assert_array_equal(found["ids"], exact)


def test_without_a_file_the_neighbours_of_ten_queries_are_shown(workplace: Path, run: Any) -> None:
    status, out, err = run("vectors", "search", "v.vectors", "queries.npy", "-k", "400")
    assert status == 0
    assert "cosine distance" in out
    assert "first of 20 queries" in out
    assert "note: -k 400: there are only 300 vectors" in err


def test_calibrate_sets_the_shortlist_that_python_finds(workplace: Path, run: Any) -> None:
    expected = VectorIndex.open("v.vectors")
    told = expected.calibrate(RAW[:20], np.arange(20)[:, np.newaxis], target_recall=0.8)
    line = "vectors calibrate v.vectors queries.npy truth.npy --recall 0.8"
    status, out, _ = run(*shlex.split(line))
    assert (status, out) == (0, f"v.vectors: {told}\n")
    assert VectorIndex.open("v.vectors").shortlist == told.shortlist != 1000


def test_calibrate_reads_the_ids_that_a_search_wrote(workplace: Path, run: Any) -> None:
    run(*shlex.split("vectors search v.vectors queries.npy -k 3 -o found.npz"))
    index = VectorIndex.open("v.vectors")
    truth = index.search(RAW[:20], 3)[1]
    status, out, _ = run("vectors", "calibrate", "v.vectors", "queries.npy", "found.npz")
    told = index.calibrate(RAW[:20], truth, target_recall=0.95)
    assert (status, out) == (0, f"v.vectors: {told}\n")


def test_stats_and_inspect_describe_the_index(workplace: Path, run: Any) -> None:
    told = json.loads(run("vectors", "stats", "v.vectors")[1])
    assert told["wide_shortlist"] >= told["shortlist"]
    assert told | {"shortlist": 0, "wide_shortlist": 0} == {
        "vectors": 300,
        "dimensions": 16,
        "metric": "cosine",
        "n_bytes": 4,
        "code_bytes": 2,
        "bytes_per_vector": 4.0,
        "keys": False,
        "method": "learned",
        "shortlist": 0,
        "wide_shortlist": 0,
        "file_bytes": Path("v.vectors").stat().st_size,
    }
    described = json.loads(run("inspect", "v.vectors")[1])
    assert described["kind"] == "vectors"
    assert described["header"]["refined"]["n_bytes"] == 4
    assert described["arrays"]["codebooks_"]["shape"] == [4, 256, 16]


@pytest.mark.parametrize("line", ["add v.vectors few.npy", "search v.vectors few.npy -o n.npz"])
def test_an_interruption_ends_with_130_and_leaves_the_files(
    line: str, workplace: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VectorIndex, line.split()[0], interrupted)
    before = state(workplace)
    status, _, err = run("vectors", *shlex.split(line))
    assert status == 130
    assert "Interrupted" in err
    assert state(workplace) == before


def test_an_index_of_the_other_kind_is_sent_to_its_commands(workplace: Path, run: Any) -> None:
    hasher = ITQ(8, random_state=0).fit(RAW)
    hasher.save("m.model")
    HammingIndex.of(hasher).save("i.index")
    _, _, told = run("search", "m.model", "v.vectors", "queries.npy")
    assert "v.vectors holds an index of vectors, not codes; `sigah vectors` works with it" in told
    _, _, told = run("vectors", "search", "i.index", "queries.npy")
    assert "i.index holds an index, not an index of vectors; `sigah search`" in told


# command line -> what its answer must say, in this order
WRONG: dict[str, tuple[str, ...]] = {
    "build nothing.npy -o w": ("VECTORS nothing.npy", "no such file"),
    "build few.npy -o w": ("VECTORS few.npy", "at least 16 rows"),
    "build nan.npy -o w": ("VECTORS nan.npy", "NaN", "row 250, column 3"),
    "build v.vectors -o w": ("VECTORS v.vectors holds an index of vectors, not vectors",),
    "build base.npy -o base.npy --overwrite": ("--out base.npy is one of the inputs",),
    "build base.npy -o notes.txt": ("--out notes.txt exists and is not an index of vectors",),
    "build base.npy --bytes 3 -o w": ("--bytes", "4"),
    "build base.npy --metric dot -o w": ("--metric", "'dot' is not one of"),
    "build base.npy --ids 1,2 -o w": ("--ids 1,2", "2 ids for 300 vectors"),
    "build base.npy": ("Missing option", "--out"),
    "add v.vectors nan.npy": ("VECTORS nan.npy", "NaN", "row 250, column 3"),
    "add v.vectors narrow.npy": ("VECTORS narrow.npy", "8 dimensions", "INDEX have 16"),
    "add v.vectors few.npy --ids 1,2": ("--ids 1,2", "2 ids for 5 vectors"),
    "add v.vectors few.npy --ids 900,901,901,902,903": ("--ids 900", "id 901 is given twice"),
    "add v.vectors few.npy --ids 5,900,901,902,903": ("--ids 5,900", "unique", "5"),
    "add base.npy few.npy": ("INDEX base.npy", "not hold an index of vectors", "vectors build"),
    "remove v.vectors 999": ("INDEX v.vectors", "id 999 is not in the index"),
    "remove v.vectors": ("Missing argument", "IDS"),
    "search nothing.vectors few.npy": ("INDEX nothing.vectors: no such file",),
    "search bent.vectors few.npy": ("INDEX bent.vectors", "its model is not the one"),
    "search v.vectors nan.npy": ("QUERIES nan.npy", "NaN", "row 250, column 3"),
    "search v.vectors narrow.npy": ("QUERIES narrow.npy", "8 dimensions", "INDEX have 16"),
    "search v.vectors few.npy --vectors few.npy": ("--vectors few.npy", "5 rows"),
    "search v.vectors few.npy --vectors nan.npy --ranked 300": (
        "--vectors nan.npy: it contains NaN", "in row 250",
    ),
    "search v.vectors few.npy --vectors base.npy --ranked 3 -k 5": (
        "--ranked 3: at least -k 5 vectors must be ranked",
    ),
    "search v.vectors few.npy --ranked 20": ("--ranked 20 needs --vectors",),
    "calibrate v.vectors queries.npy truth.npy --ranked 20": ("--ranked 20 needs --vectors",),
    "search v.vectors few.npy --vectors narrow.npy": ("--vectors narrow.npy", "8 dimensions"),
    "search v.vectors few.npy --filter x.txt": ("--filter x.txt", "no such file"),
    "search v.vectors few.npy -k 0": ("-k", "1"),
    "search v.vectors few.npy -o v.vectors": ("--out v.vectors is one of the inputs",),
    "calibrate v.vectors queries.npy nothing.npy": ("TRUTH nothing.npy: no such file",),
    "calibrate v.vectors queries.npy base.npy": ("TRUTH base.npy", "whole numbers", "float32"),
    "calibrate v.vectors few.npy truth.npy": ("TRUTH truth.npy", "(5, k)", "(20, 1)"),
    "calibrate v.vectors queries.npy truth.npy --recall 0": ("--recall 0", "above 0"),
    "stats few.npy": ("INDEX few.npy", "not hold an index of vectors"),
}  # fmt: skip


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_line_is_told_in_one_line(line: str, workplace: Path, run: Any) -> None:
    before = state(workplace)
    status, out, err = run("vectors", *shlex.split(line))
    assert status in (1, 2)
    assert out == ""
    assert "Traceback" not in err
    if status == 1:
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
    at = 0
    for part in WRONG[line]:
        assert part in err[at:], err
        at = err.index(part, at) + len(part)
    assert state(workplace) == before
