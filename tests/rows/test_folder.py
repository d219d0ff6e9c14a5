"""A folder of vector files is one source of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sigah
from sigah.distributed.parquet import read_part, split
from sigah.rows import FolderRows, folder, load_vectors, mapped, open_vectors
from sigah.rows.ids import IdColumn

VECTORS = np.random.default_rng(0).normal(size=(100, 12)).astype(np.float32)


def write(file: Path, rows: np.ndarray) -> None:
    if file.suffix == ".npy":
        np.save(file, rows)
    elif file.suffix == ".fbin":
        file.write_bytes(np.array(rows.shape, "<u4").tobytes() + rows.tobytes())
    else:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        pq.write_table(pa.table({"x": lists, "y": lists}), file)


def test_files_follow_each_other_by_name(tmp_path: Path) -> None:
    names = ("a/b/c.npy", "a/b.npy", "a-b.npy", "p10.npy", "p2.fbin", "p3.npy")
    for name, part in zip(names, np.split(VECTORS, [3, 5, 9, 30, 31]), strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, part)
    for hidden in ("_a.npy", ".p1.npy", "_temporary/x.npy", "a/.git/x.npy", "_SUCCESS", "x.txt"):
        (tmp_path / hidden).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / hidden).write_text("not to be read")
    (tmp_path / "folder.npy").mkdir()
    rows = open_vectors(tmp_path)
    assert isinstance(rows, FolderRows)
    assert (rows.shape, rows.dtype) == ((100, 12), np.float32)
    np.testing.assert_array_equal(rows[:], VECTORS)
    np.testing.assert_array_equal(rows[29:32], VECTORS[29:32])
    np.testing.assert_array_equal(rows[np.array([99, 0, 30])], VECTORS[[99, 0, 30]])
    np.testing.assert_array_equal(load_vectors(tmp_path), VECTORS)
    hasher = sigah.ITQ(8, random_state=0).fit(rows)
    assert hasher.fingerprint == sigah.ITQ(8, random_state=0).fit(VECTORS).fingerprint
    np.testing.assert_array_equal(hasher.transform(rows), hasher.transform(VECTORS))


def test_the_table_of_every_file_is_named_once(tmp_path: Path) -> None:
    for number, part in enumerate(np.split(VECTORS, [30, 60])):
        write(tmp_path / f"{number}.parquet", part)
    np.testing.assert_array_equal(open_vectors(f"{tmp_path}:y")[:], VECTORS)
    with pytest.raises(ValueError, match=r"0\.parquet: holds 2 columns"):
        open_vectors(tmp_path)
    with pytest.raises(ValueError, match=r"0\.parquet: there is no column 'z'"):
        open_vectors(f"{tmp_path}:z")


def test_numbers_of_several_types_become_one_that_holds_all(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", np.arange(12, dtype=np.uint8)[None])
    write(tmp_path / "b.npy", np.full((1, 12), 0.1))
    rows = open_vectors(tmp_path)
    assert rows.dtype == np.float64
    assert rows[:].tolist() == [list(range(12)), [0.1] * 12]


def test_more_files_than_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "OPEN_FILES", 2)
    for number, row in enumerate(VECTORS):
        write(tmp_path / f"{number:02}.npy", row[None])
    np.testing.assert_array_equal(open_vectors(tmp_path)[:], VECTORS)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the folder holds no vector files"):
        open_vectors(tmp_path)
    write(tmp_path / "a.npy", VECTORS)
    write(tmp_path / "b.npy", VECTORS[:, :5])
    with pytest.raises(ValueError, match=r"b\.npy has dimension 5, but a\.npy .* has 12"):
        open_vectors(tmp_path)
    (tmp_path / "b.npy").write_bytes(b"no vectors")
    with pytest.raises(ValueError, match=r"b\.npy: not a \.npy file"):
        open_vectors(tmp_path)
    write(tmp_path / "b.npy", VECTORS)
    rows = open_vectors(tmp_path)
    (tmp_path / "b.npy").unlink()
    np.testing.assert_array_equal(rows[150:], VECTORS[50:])  # open already


def test_forgotten_pages_are_read_again(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VECTORS)
    for rows in (np.load(tmp_path / "x.npy", mmap_mode="r"), VECTORS.copy(), VECTORS[:0]):
        expected = rows.copy()
        mapped.release_pages(rows[3:])
        mapped.release_pages(rows[::2, 1:])
        np.testing.assert_array_equal(rows, expected)


def test_changes_that_are_nowhere_else_are_not_forgotten(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VECTORS)
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private += 1
    mapped.release_pages(private)
    np.testing.assert_array_equal(private, VECTORS + 1)
    shared = np.load(tmp_path / "x.npy", mmap_mode="r+")
    shared += 1
    mapped.release_pages(shared)
    np.testing.assert_array_equal(shared, VECTORS + 1)


def test_a_cluster_reads_the_same_files_in_the_same_order(tmp_path: Path) -> None:
    """What `sigah encode` and `sigah cluster encode` take from a folder is the same."""
    names = ("_a.parquet", "b.parquet", "sub/c.parquet", "sub-b.parquet", ".d.parquet")
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        lists = pa.FixedSizeListArray.from_arrays(pa.array([float(number)] * 4), 2)
        pq.write_table(pa.table({"id": [name, name], "x": lists}), tmp_path / name)
    column, parts = split(tmp_path, vectors=None, ids="id", n_rows=1)
    shared = [batch for part in parts for _, batch, _ in read_part(part, vectors=column)]
    np.testing.assert_array_equal(np.concatenate(shared), load_vectors(tmp_path))
    ids = IdColumn.of(open_vectors(tmp_path), "id").reader()(6).to_pylist()
    assert ids == [name for name in ("b.parquet", "sub/c.parquet", "sub-b.parquet") for _ in "12"]
    np.save(tmp_path / "sub" / "more.npy", np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"more\.npy: a cluster reads Parquet files only"):
        split(tmp_path, vectors=None, ids="id", n_rows=1)
    assert len(open_vectors(tmp_path)) == 7


def test_ids_are_of_one_type_in_all_files(tmp_path: Path) -> None:
    for name, ids in (("a", [1, 2]), ("b", ["x", "y"])):
        table = pa.table({"id": ids, "vector": VECTORS[:2].astype(np.float32).tolist()})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    rows = open_vectors(f"{tmp_path}:vector")
    with pytest.raises(ValueError, match=r"b\.parquet: its ids are string, in a\.parquet int64"):
        IdColumn.of(rows, "id")
