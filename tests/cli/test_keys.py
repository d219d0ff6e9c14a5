"""Keys of a Parquet column come back from every command that searches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sigah
from sigah.files import load_codes
from sigah.rows import LazyRows

pyarrow = pytest.importorskip("pyarrow")
import pyarrow.parquet as parquet  # noqa: E402

N = 300
KEYS = [f"doc/{row * 7 % N}, part [b]" for row in range(N)]


def table(keys: list[Any], vectors: Any, path: Path) -> Path:
    column = pyarrow.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    parquet.write_table(pyarrow.table({"key": keys, "vector": column}), path)
    return path


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> Any:
    """Vectors with keys, their model and codes, in the current folder."""
    monkeypatch.chdir(tmp_path)
    vectors = np.random.default_rng(0).normal(size=(N + 20, 24)).astype(np.float32)
    base, queries = vectors[:N], vectors[N:]
    table(KEYS, base, Path("base.parquet"))
    table(KEYS[:3], base[5:8], Path("changed.parquet"))
    table(["new", KEYS[0]], base[:2], Path("more.parquet"))
    np.save("queries.npy", queries)
    np.save("base.npy", base)
    hasher = sigah.ITQ(16, random_state=0).fit(base)
    hasher.save("m.model")
    for name in ("base", "changed", "more"):
        status, _, told = run(
            "encode", "m.model", f"{name}.parquet", "--ids", "key", "--out", f"{name}-codes.parquet"
        )
        assert status == 0, told
    status, printed, _ = run("index", "build", "base-codes.parquet", "--out", "i.index")
    assert status == 0 and "300 codes of 16 bits with keys" in printed
    return hasher, base, queries


def found(path: str) -> Any:
    with np.load(path) as neighbours:  # without pickle
        return neighbours["distances"], neighbours["ids"]


@pytest.mark.parametrize("ranking", [[], ["--by", "raw", "--vectors", "base.npy"]])
@pytest.mark.parametrize("codes", ["i.index", "base-codes.parquet"])
def test_a_search_finds_the_keys_of_the_rows_that_it_finds_without_keys(
    made: Any, run: Any, codes: str, ranking: list[str]
) -> None:
    assert run("encode", "m.model", "base.npy", "--out", "plain.npy")[0] == 0
    for base, out in ((codes, "keys.npz"), ("plain.npy", "rows.npz")):
        words = ["search", "m.model", base, "queries.npy", "-k", 4, *ranking, "--out", out]
        assert run(*words)[0] == 0
    (distances, keys), (expected, rows) = found("keys.npz"), found("rows.npz")
    np.testing.assert_array_equal(distances, expected)
    assert keys.tolist() == [[KEYS[row] for row in some] for some in rows]


def test_original_vectors_of_a_table_are_read_once_not_row_by_row(
    made: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LazyRows, "_each", lambda *_: pytest.fail("a row is read by itself"))
    words = ["search", "m.model", "i.index", "queries.npy", "-k", 4, "--by", "raw", "--vectors"]
    for vectors in ("base.npy", "base.parquet"):
        assert run(*words, vectors, "--out", f"{vectors}.npz")[0] == 0
    np.testing.assert_array_equal(found("base.npy.npz"), found("base.parquet.npz"))


def test_keys_are_printed_as_they_are(made: Any, run: Any) -> None:
    status, printed, _ = run("search", "m.model", "i.index", "queries.npy", "-k", 1)
    assert status == 0 and ", part [b] (" in printed


def test_a_filter_and_removal_take_keys_from_a_file_or_a_list(made: Any, run: Any) -> None:
    Path("chosen.txt").write_text("\n".join([KEYS[3], KEYS[9], "absent"]) + "\n")
    words = ["search", "m.model", "i.index", "queries.npy", "-k", 3, "--filter", "chosen.txt"]
    assert run(*words, "--out", "f.npz")[0] == 0
    assert {*found("f.npz")[1].ravel()} == {KEYS[3], KEYS[9], ""}
    np.save("gone.npy", np.array([KEYS[3]]))
    assert run("index", "remove", "i.index", "gone.npy")[0] == 0
    assert len(sigah.KeyedIndex.open("i.index")) == N - 1
    status, _, told = run("index", "remove", "i.index", "gone.npy")
    assert status == 1 and "key 'doc/21, part [b]' is not in the index" in told
    assert run("index", "upsert", "i.index", "more-codes.parquet")[0] == 0
    assert run("index", "remove", "i.index", "new")[0] == 0
    assert len(sigah.KeyedIndex.open("i.index")) == N - 1


def test_codes_are_added_replaced_or_both_by_key(made: Any, run: Any) -> None:
    codes = {name: load_codes(f"{name}-codes.parquet").codes for name in ("changed", "more")}
    status, _, told = run("index", "add", "i.index", "more-codes.parquet")
    assert status == 1 and "CODES more-codes.parquet: keys must be unique in the index" in told
    status, _, told = run("index", "update", "i.index", "more-codes.parquet")
    assert status == 1 and "CODES more-codes.parquet: key 'new' is not in the index" in told
    assert run("index", "update", "i.index", "changed-codes.parquet")[0] == 0
    index = sigah.KeyedIndex.open("i.index")
    np.testing.assert_array_equal(index.get(KEYS[:3]), codes["changed"])
    assert len(index) == N
    status, printed, _ = run("index", "upsert", "i.index", "more-codes.parquet")
    assert status == 0 and "301 codes, 1 of them new and 1 replaced" in printed
    index = sigah.KeyedIndex.open("i.index")
    np.testing.assert_array_equal(index.get(["new", KEYS[0]]), codes["more"])
    stats = json.loads(run("index", "stats", "i.index")[1])
    assert stats["n_codes"] == 301
    assert stats["key_bytes"] > sum(len(key) for key in KEYS)


def test_keys_and_numbers_are_not_mixed(made: Any, run: Any) -> None:
    assert run("encode", "m.model", "base.npy", "--out", "plain.npy")[0] == 0
    assert run("index", "build", "plain.npy", "--out", "numbers.index")[0] == 0
    for index, codes, message in (
        ("i.index", "plain.npy", "INDEX has keys (strings) and CODES does not"),
        ("numbers.index", "base-codes.parquet", "CODES has keys (strings) and INDEX does not"),
    ):
        for word in ("add", "upsert", "update"):
            status, _, told = run("index", word, index, codes)
            assert status == 1 and f"CODES {codes}: {message}" in " ".join(told.split())
    status, _, told = run("index", "upsert", "numbers.index", "plain.npy")
    assert status == 1 and "CODES plain.npy: they have no ids, so give --ids" in told


def test_numbers_are_replaced_and_added_by_upsert(made: Any, run: Any) -> None:
    assert run("encode", "m.model", "base.npy", "--out", "plain.npy")[0] == 0
    assert run("index", "build", "plain.npy", "--out", "numbers.index")[0] == 0
    codes = ["upsert", "numbers.index", "more-codes.npy", "--ids", "7,900"]
    assert run("encode", "m.model", "more.parquet:vector", "--out", "more-codes.npy")[0] == 0
    assert run("index", *codes)[0] == 0
    index = sigah.HammingIndex.open("numbers.index")
    np.testing.assert_array_equal(index.get([7, 900]), load_codes("more-codes.npy").codes)
    assert len(index) == N + 1


def test_evaluation_compares_keys_with_truth_and_judgements(made: Any, run: Any) -> None:
    _, base, queries = made
    nearest = np.square(queries[:, None] - base[None]).sum(axis=2).argsort(axis=1)[:, :3]
    truth = np.array([[KEYS[row] for row in rows] for rows in nearest])
    np.save("truth.npy", truth)
    lines = [f"{q}\t{keys[0]}\t1" for q, keys in enumerate(truth)]
    Path("qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))
    words = ["evaluate", "m.model", "i.index", "queries.npy", "-k", 3, "--by", "raw"]
    words += ["--vectors", "base.npy", "--oversampling", N / 3, "--json", "r.json"]
    status, _, told = run(*words, "--truth", "truth.npy", "--qrels", "qrels.tsv")
    assert status == 0, told
    (row,) = json.loads(Path("r.json").read_text())["measurements"]
    assert set(row["metrics"].values()) == {1.0}  # all codes are candidates


@pytest.fixture
def vectors(made: Any, run: Any) -> Any:
    """An index of vectors with keys, in the current folder."""
    words = ["vectors", "build", "base.parquet", "--ids", "key", "--bytes", 4, "--out", "v.vectors"]
    status, printed, told = run(*words)
    assert status == 0, told
    assert printed == "v.vectors: 300 vectors in 4 bytes each, cosine with keys\n"
    return made


@pytest.mark.parametrize("ranking", [[], ["--vectors", "base.npy"]])
def test_an_index_of_vectors_finds_the_keys_of_rows(
    vectors: Any, run: Any, ranking: list[str]
) -> None:
    assert run("vectors", "build", "base.npy", "--bytes", 4, "--out", "rows.vectors")[0] == 0
    for base, out in (("v.vectors", "keys.npz"), ("rows.vectors", "rows.npz")):
        words = ["vectors", "search", base, "queries.npy", "-k", 4, *ranking, "--out", out]
        assert run(*words)[0] == 0
    (distances, keys), (expected, rows) = found("keys.npz"), found("rows.npz")
    np.testing.assert_array_equal(distances, expected)
    assert keys.tolist() == [[KEYS[row] for row in some] for some in rows]
    words = ["vectors", "search", "v.vectors", "queries.npy", "-k", 1, "--filter", "chosen.txt"]
    Path("chosen.txt").write_text(f"{KEYS[3]}\nabsent\n")
    status, printed, _ = run(*words)
    assert status == 0 and printed.count(KEYS[3]) == 10


def test_an_index_of_vectors_is_changed_by_key(vectors: Any, run: Any) -> None:
    _, base, _ = vectors

    def at(key: str) -> Any:
        return sigah.KeyedVectorIndex.open("v.vectors").search(base[:10], 1, filter=[key])

    status, _, told = run("vectors", "add", "v.vectors", "more.parquet", "--ids", "key")
    assert status == 1 and "--ids key: keys must be unique in the index" in told
    status, _, told = run("vectors", "update", "v.vectors", "more.parquet", "--ids", "key")
    assert status == 1 and "--ids key: key 'new' is not in the index" in told
    status, printed, _ = run("vectors", "update", "v.vectors", "changed.parquet", "--ids", "key")
    assert status == 0 and "300 vectors, 3 of them replaced" in printed
    assert at(KEYS[0])[0][:, 0].argmin() == 5
    status, printed, _ = run("vectors", "upsert", "v.vectors", "more.parquet", "--ids", "key")
    assert status == 0 and "301 vectors, 1 of them new and 1 replaced" in printed
    assert at("new")[0][:, 0].argmin() == 0 and at(KEYS[0])[0][:, 0].argmin() == 1
    np.save("few.npy", base[:2])
    Path("names.txt").write_text("one\ntwo\n")
    assert run("vectors", "add", "v.vectors", "few.npy", "--ids", "names.txt")[0] == 0
    assert run("vectors", "remove", "v.vectors", "new,two")[0] == 0
    index = sigah.KeyedVectorIndex.open("v.vectors")
    assert index.holds(["new", "one", "two"]).tolist() == [False, True, False]
    told = json.loads(run("vectors", "stats", "v.vectors")[1])
    assert (told["vectors"], told["keys"]) == (301, True)
    assert told["bytes_per_vector"] > 4 + len(KEYS[0])


def test_an_index_of_vectors_is_not_mixed_with_numbers(vectors: Any, run: Any) -> None:
    assert run("vectors", "build", "base.npy", "--bytes", 4, "--out", "rows.vectors")[0] == 0
    pyarrow.parquet.write_table(
        parquet.read_table("more.parquet").append_column("id", [[7, 900]]), "ids.parquet"
    )
    for words, message in (
        ("v.vectors base.npy", "INDEX has keys: give --ids, the keys of VECTORS or their column"),
        ("v.vectors ids.parquet --ids id", "--ids id: its ids are numbers, but those of INDEX"),
        (
            "rows.vectors ids.parquet --ids key",
            "--ids key: its ids are strings, but those of",
        ),
        ("v.vectors more.parquet --ids a,b,c", "--ids a,b,c: there are 3 ids for 2 vectors"),
        ("v.vectors more.parquet --ids a,a", "--ids a,a: key 'a' is given twice"),
    ):
        status, _, told = run("vectors", "add", *words.split())
        assert status == 1 and message in " ".join(told.split()), told
    table([KEYS[0], None], np.zeros((2, 24), np.float32), Path("holes.parquet"))
    status, _, told = run("vectors", "build", "holes.parquet", "--ids", "key", "-o", "w.vectors")
    assert status == 1 and "--ids key:" in told


def test_an_index_of_vectors_is_evaluated_and_calibrated_by_keys(vectors: Any, run: Any) -> None:
    _, base, queries = vectors
    cosine = queries @ (base / np.linalg.norm(base, axis=1, keepdims=True)).T
    nearest = np.argsort(-cosine, axis=1)[:, :3]
    truth = np.array([[KEYS[row] for row in rows] for rows in nearest])
    np.save("truth.npy", truth)
    lines = [f"{q}\t{keys[0]}\t1" for q, keys in enumerate(truth)]
    Path("qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))
    words = ["evaluate", "v.vectors", "queries.npy", "-k", 3, "--by", "raw"]
    words += ["--vectors", "base.npy", "--oversampling", N / 3, "--json", "r.json"]
    status, _, told = run(*words, "--truth", "truth.npy", "--qrels", "qrels.tsv")
    assert status == 0, told
    (row,) = json.loads(Path("r.json").read_text())["measurements"]
    assert set(row["metrics"].values()) == {1.0}  # all vectors are candidates
    words = ["vectors", "calibrate", "v.vectors", "queries.npy", "truth.npy", "--recall", 0.2]
    status, printed, told = run(*words)
    assert status == 0 and "v.vectors: recall" in printed, told
    truth[0, 0] = "none"
    np.save("truth.npy", truth)
    status, _, told = run(*words)
    assert status == 1 and "TRUTH truth.npy: key 'none' is not in the index" in told
