"""Streamed codes are the codes, whatever interrupts the stream; memory is bounded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sigah
from sigah import files, streams
from sigah.hashers.base import BinaryHasher
from sigah.rows import open_vectors

X = np.random.default_rng(0).normal(size=(1000, 16)).astype(np.float32)
ROWS_A_BLOCK = 64


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rows.blocks", "rows.sources"):
        monkeypatch.setattr(f"sigah.{module}.BLOCK_BYTES", ROWS_A_BLOCK * X[0].nbytes)


@pytest.fixture(scope="module")
def hasher() -> BinaryHasher:
    return sigah.ITQ(16, random_state=0).fit(X)


def expected(hasher: BinaryHasher, tmp_path: Path, vectors: Any = X) -> bytes:
    """The file as it is written in one go."""
    header = {"method": hasher.name, "fingerprint": hasher.fingerprint}
    files.save_codes(tmp_path / "whole.npy", hasher.transform(vectors), header)
    return (tmp_path / "whole.npy").read_bytes()


class Source:
    """Rows that remember where they were read, and fail at one of them."""

    def __init__(self, rows: Any, fails_at: int | None = None) -> None:
        self.rows, self.shape, self.dtype, self.fails_at = rows, rows.shape, rows.dtype, fails_at
        self.reads: list[slice] = []

    def __getitem__(self, where: slice) -> Any:
        if where.stop - where.start > 1:  # other than the few by which a source is recognised
            self.reads.append(where)
        if self.fails_at is not None and where.stop - where.start > 1 < where.stop > self.fails_at:
            raise OSError("the disk is gone")
        return self.rows[where]


class Interruption:
    """A hasher that stops after some blocks, as a kill of the process would."""

    def __init__(self, hasher: BinaryHasher, blocks: int) -> None:
        self.hasher, self.left = hasher, blocks

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hasher, name)

    def _codes(self, block: Any) -> Any:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self.hasher._codes(block)


def interrupted(hasher: BinaryHasher, out: Path, blocks: int, source: Any = X) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            "sigah.streams.encoding.available_threads", lambda: 1
        )  # one worker: blocks are encoded in order
        streams.encode(Interruption(hasher, blocks), source, out)  # type: ignore[arg-type]
    assert not out.exists()


def test_no_block_is_written_after_one_that_failed(
    hasher: BinaryHasher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are encoded at the same time; the later ones are done when the third fails."""
    out = tmp_path / "codes.npy"

    def fail_at_the_third(block: Any) -> Any:
        if (block[0] == X[2 * ROWS_A_BLOCK]).all():
            time.sleep(0.1)
            raise MemoryError
        return type(hasher)._codes(hasher, block)

    monkeypatch.setattr("sigah.streams.encoding.available_threads", lambda: 4)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(hasher, "_codes", fail_at_the_third)
        streams.encode(hasher, X, out)
    assert not out.exists()
    assert streams.encode(hasher, X, out).resumed == 2 * ROWS_A_BLOCK
    assert out.read_bytes() == expected(hasher, tmp_path)


@pytest.mark.parametrize("kind", ["array", "map", "source", "folder", "batches", "factory", "list"])
def test_the_file_is_what_one_go_writes(kind: str, hasher: BinaryHasher, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    np.save(tmp_path / "x.npy", X)
    for number, part in enumerate(np.split(X, [10, 500])):
        np.save(tmp_path / "shards" / f"{number}.npy", part)

    def parts() -> Iterator[Any]:
        yield from np.split(X, [1, 2, 2, 300, 999])

    sources: dict[str, Any] = {
        "array": X,
        "map": open_vectors(tmp_path / "x.npy"),
        "source": Source(X),
        "folder": open_vectors(tmp_path / "shards"),
        "batches": parts(),
        "factory": parts,
        "list": list(parts()),
    }
    out = tmp_path / "codes.npy"
    done = streams.encode(hasher, sources[kind], out)
    assert (done.n_rows, done.resumed, done.refused) == (1000, 0, None)
    assert out.read_bytes() == expected(hasher, tmp_path)
    assert {path.name for path in tmp_path.glob("codes*")} == {"codes.npy"}


@pytest.mark.parametrize("blocks", [0, 1, 5, 15])
def test_an_interruption_costs_no_finished_block(
    blocks: int, hasher: BinaryHasher, tmp_path: Path
) -> None:
    out = tmp_path / "codes.npy"
    interrupted(hasher, out, blocks, Source(X))
    source = Source(X)
    done = streams.encode(hasher, source, out)
    assert done.resumed == blocks * ROWS_A_BLOCK
    assert source.reads[0].start == blocks * ROWS_A_BLOCK
    assert out.read_bytes() == expected(hasher, tmp_path)


def test_kill_9_in_the_middle(hasher: BinaryHasher, tmp_path: Path) -> None:
    hasher.save(tmp_path / "model")
    np.save(tmp_path / "x.npy", X)
    out = tmp_path / "codes.npy"
    script = f"""
import time, sigah
from sigah import rows, streams
rows.blocks.BLOCK_BYTES = {ROWS_A_BLOCK * X[0].nbytes}
hasher = sigah.load({str(tmp_path / "model")!r})
quick = hasher._codes
hasher._codes = lambda block: (time.sleep(0.03), quick(block))[1]
streams.encode(hasher, rows.open_vectors({str(tmp_path / "x.npy")!r}), {str(out)!r})
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    journal = tmp_path / "codes.npy.journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    done = streams.encode(hasher, open_vectors(tmp_path / "x.npy"), out)
    assert done.resumed >= 3 * ROWS_A_BLOCK
    assert out.read_bytes() == expected(hasher, tmp_path)


def test_another_model_or_other_vectors_start_over(hasher: BinaryHasher, tmp_path: Path) -> None:
    out = tmp_path / "codes.npy"
    other = sigah.LSH(16, random_state=0).fit(X)
    interrupted(hasher, out, 4)
    done = streams.encode(other, X, out)
    assert (done.resumed, done.refused) == (0, "its model is another")
    assert out.read_bytes() == expected(other, tmp_path)

    interrupted(hasher, out.with_name("more.npy"), 4)
    done = streams.encode(hasher, X + 1, tmp_path / "more.npy")
    assert (done.resumed, done.refused) == (0, "its source is another")
    assert (tmp_path / "more.npy").read_bytes() == expected(hasher, tmp_path, X + 1)


def test_a_file_that_was_written_again_starts_over(hasher: BinaryHasher, tmp_path: Path) -> None:
    file, out = tmp_path / "x.npy", tmp_path / "codes.npy"
    np.save(file, X)
    interrupted(hasher, out, 4, open_vectors(file))
    changed = X.copy()
    changed[40:] += 1  # the first row, by which files are recognised, is the same
    np.save(file, changed)
    os.utime(file, ns=(1, 1))
    done = streams.encode(hasher, open_vectors(file), out)
    assert (done.resumed, done.refused) == (0, "its source is another")
    assert out.read_bytes() == expected(hasher, tmp_path, changed)


def test_batches_start_over(hasher: BinaryHasher, tmp_path: Path) -> None:
    out = tmp_path / "codes.npy"
    interrupted(hasher, out, 2, iter([X]))
    done = streams.encode(hasher, iter([X[:700], X[700:]]), out)
    assert done.resumed == 0
    assert out.read_bytes() == expected(hasher, tmp_path)


@pytest.mark.parametrize("cut", [*range(1, 30, 7), 60, 90])
def test_a_journal_that_is_cut_off(cut: int, hasher: BinaryHasher, tmp_path: Path) -> None:
    out, journal = tmp_path / "codes.npy", tmp_path / "codes.npy.journal"
    interrupted(hasher, out, 6)
    left = journal.read_bytes()[:-cut]
    journal.write_bytes(left)
    done = streams.encode(hasher, X, out)
    assert done.resumed == 64 * (left.count(b"\n") - 1)  # the first line says what it is of
    assert out.read_bytes() == expected(hasher, tmp_path)


@pytest.mark.parametrize("damage", ["first line", "all", "garbage", "partial short", "partial bit"])
def test_damage_costs_time_and_nothing_else(
    damage: str, hasher: BinaryHasher, tmp_path: Path
) -> None:
    out = tmp_path / "codes.npy"
    partial, journal = (tmp_path / f"codes.npy.{ending}" for ending in ("partial", "journal"))
    interrupted(hasher, out, 6)
    lines, codes = journal.read_bytes(), bytearray(partial.read_bytes())
    codes[128 + 3 * 128] ^= 1  # in the fourth block
    if damage == "first line":
        journal.write_bytes(lines[:20])
    elif damage == "all":
        partial.unlink()
    elif damage == "garbage":
        journal.write_bytes(
            lines + b'{"rows":1000000000000000}\n\xff\x00{"rows":"many"}\n[]\n{"rows":-1}\n'
        )
    elif damage == "partial short":
        partial.write_bytes(codes[: 128 + 2 * 128 + 5])
    else:
        partial.write_bytes(codes)
    blocks = {"first line": 0, "all": 0, "garbage": 6, "partial short": 2, "partial bit": 3}
    done = streams.encode(hasher, X, out)
    assert done.resumed == 64 * blocks[damage]
    assert done.refused == ("its journal is damaged" if damage == "first line" else None)
    assert out.read_bytes() == expected(hasher, tmp_path)


def test_interrupted_while_the_file_is_finished(
    hasher: BinaryHasher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "codes.npy"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            streams.encode(hasher, X, out)
    assert not out.exists()
    source = Source(X)
    assert streams.encode(hasher, X, out).resumed == 1000
    assert source.reads == []
    assert out.read_bytes() == expected(hasher, tmp_path)


def test_a_disk_that_fails_while_reading(hasher: BinaryHasher, tmp_path: Path) -> None:
    out = tmp_path / "codes.npy"
    with pytest.raises(OSError, match="the disk is gone"):
        streams.encode(hasher, Source(X, fails_at=500), out)
    assert not out.exists()
    assert streams.encode(hasher, Source(X), out).resumed == 500 // 64 * 64
    assert out.read_bytes() == expected(hasher, tmp_path)


def test_a_disk_that_is_full(hasher: BinaryHasher, tmp_path: Path) -> None:
    hasher.save(tmp_path / "model")
    np.save(tmp_path / "x.npy", X)
    script = """
import resource, sys
from sigah.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
main()
"""
    arguments = ["encode", "model", "x.npy", "--out", "codes.npy"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"codes.npy" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "codes.npy").exists()
    streams.encode(hasher, open_vectors(tmp_path / "x.npy"), tmp_path / "codes.npy")
    assert (tmp_path / "codes.npy").read_bytes() == expected(hasher, tmp_path)


def test_what_was_there_stays_until_the_new_file_is_whole(
    hasher: BinaryHasher, tmp_path: Path
) -> None:
    out = tmp_path / "codes.npy"
    out.write_bytes(b"old")
    with pytest.raises(ValueError, match=r"codes\.npy exists and is not codes"):
        streams.encode(hasher, X, out)
    with pytest.raises(KeyboardInterrupt):
        streams.encode(Interruption(hasher, 3), X, out, overwrite=True)  # type: ignore[arg-type]
    assert out.read_bytes() == b"old"
    assert streams.encode(hasher, X, out, overwrite=True).resumed == 3 * ROWS_A_BLOCK
    assert out.read_bytes() == expected(hasher, tmp_path)
    other = sigah.LSH(16, random_state=0).fit(X)
    streams.encode(other, X, out)  # codes replace codes
    assert out.read_bytes() == expected(other, tmp_path)


@pytest.mark.parametrize("link", ["same", "hard", "soft", "folder"])
def test_the_vectors_are_never_replaced(link: str, hasher: BinaryHasher, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file, out = tmp_path / "in" / "x.npy", tmp_path / "codes.npy"
    np.save(file, X)
    before = file.read_bytes()
    if link == "hard":
        out.hardlink_to(file)
    elif link == "soft":
        out.symlink_to(file)
    else:
        out = file
    source = open_vectors(tmp_path / "in" if link == "folder" else file)
    with pytest.raises(ValueError, match="is one of the inputs"):
        streams.encode(hasher, source, out, overwrite=True)
    assert file.read_bytes() == before
    assert not list(tmp_path.rglob("*.partial"))


def test_two_processes_do_not_write_one_file(hasher: BinaryHasher, tmp_path: Path) -> None:
    out = tmp_path / "codes.npy"

    def batches() -> Iterator[Any]:
        yield X
        with pytest.raises(OSError, match="another process is writing"):
            streams.encode(hasher, X, out)
        yield X

    assert streams.encode(hasher, batches, out).n_rows == 2000


def test_bad_input_leaves_no_file(hasher: BinaryHasher, tmp_path: Path) -> None:
    holed = X.copy()
    holed[700, 3] = np.nan
    wrong: list[tuple[Any, str, str]] = [
        (X[:, :9], "codes.npy", "16 features"),
        (holed, "codes.npy", "row 700, column 3"),
        (iter([]), "codes.npy", "no rows"),
        (X, "codes.txt", "streamed to .npy or .parquet"),
        (X[:0], "codes.npy", "0 sample"),
    ]
    for vectors, name, message in wrong:
        with pytest.raises(ValueError, match=message):
            streams.encode(hasher, vectors, tmp_path / name)
    assert not (tmp_path / "codes.npy").exists()
    with pytest.raises(ValueError, match="ids are kept in .parquet"):
        streams.encode(hasher, X, tmp_path / "codes.npy", ids="name")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        (tmp_path / "folder.npy").mkdir()
        streams.encode(hasher, X, tmp_path / "folder.npy")


def test_every_method_streams(tmp_path: Path) -> None:
    for method in (sigah.KMeansHashing, sigah.AnchorGraphHashing, sigah.QoLSH):
        some = method(8, random_state=0).fit(X)
        streams.encode(some, Source(X), tmp_path / "codes.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), some.transform(X))


MEASURED = """
import json, sys
import numpy as np
import sigah
from sigah import rows, streams

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

hasher = sigah.load("model")
hasher.transform(np.zeros((1, 64), np.float32))
streams.encode(hasher, np.zeros((5, 64), np.float32), "warm.npy")
before = peak()
streams.encode(hasher, rows.open_vectors(sys.argv[1]), "codes.npy")
rows.sample(rows.open_vectors(sys.argv[1]), 1000, 0)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's VmHWM")
@pytest.mark.parametrize("name", ["x.npy", "x.fvecs", "shards"])
def test_memory_does_not_grow_with_the_file(name: str, tmp_path: Path) -> None:
    n, d = 800_000, 64  # 205 MB
    some = np.random.default_rng(0).normal(size=(10_000, d)).astype(np.float32)
    sigah.LSH(16, random_state=0).fit(some).save(tmp_path / "model")
    if name == "x.fvecs":
        framed = np.column_stack([np.full(len(some), d, np.int32).view(np.float32), some])
        with (tmp_path / name).open("wb") as file:
            for _ in range(n // len(some)):
                file.write(framed.tobytes())
    else:
        (tmp_path / "shards").mkdir()
        files = (
            [tmp_path / name] if name == "x.npy" else [tmp_path / name / f"{i}.npy" for i in "12"]
        )
        for path in files:
            shape = (n // len(files), d)
            stored = np.lib.format.open_memmap(path, "w+", np.dtype("<f4"), shape)
            for start in range(0, len(stored), len(some)):
                stored[start : start + len(some)] = some
            del stored
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, name], cwd=tmp_path, capture_output=True, check=True
    )
    assert int(done.stdout) < 80 << 20


def as_lists(array: Any) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


@pytest.mark.parametrize("folder", [False, True])
def test_parquet_keeps_ids(folder: bool, hasher: BinaryHasher, tmp_path: Path) -> None:
    names = [f"row {number}" for number in range(1000)]
    (tmp_path / "in").mkdir()
    cuts = [0, 300, 1000] if folder else [0, 1000]
    for number, (first, last) in enumerate(pairwise(cuts)):
        table = pa.table({"name": names[first:last], "vector": as_lists(X[first:last])})
        pq.write_table(table, tmp_path / "in" / f"{number}.parquet", row_group_size=77)
    source = open_vectors(tmp_path / "in" if folder else tmp_path / "in" / "0.parquet")
    out = tmp_path / "codes.parquet"
    with pytest.raises(KeyboardInterrupt):
        streams.encode(Interruption(hasher, 4), source, out, ids="name")  # type: ignore[arg-type]
    assert not out.exists()
    assert streams.encode(hasher, source, out, ids="name").resumed == 256
    table = pq.read_table(out)
    assert table.column("id").to_pylist() == names
    assert b"".join(table.column("code").to_pylist()) == hasher.transform(X).tobytes()
    stored = files.load_codes(out)
    np.testing.assert_array_equal(stored.codes, hasher.transform(X))
    assert stored.ids.tolist() == names
    assert stored.fingerprint == hasher.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes.parquet", "in"]


def test_parquet_counts_rows_where_there_are_no_ids(
    hasher: BinaryHasher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigah.streams.journal.BYTES_PER_READ", 100)  # many row groups
    out = tmp_path / "codes.parquet"
    streams.encode(hasher, iter([X]), out)
    stored = files.load_codes(out)
    assert stored.ids.tolist() == list(range(1000))
    np.testing.assert_array_equal(stored.codes, hasher.transform(X))


def test_ids_that_do_not_exist(hasher: BinaryHasher, tmp_path: Path) -> None:
    pq.write_table(pa.table({"vector": as_lists(X)}), tmp_path / "x.parquet")
    np.save(tmp_path / "x.npy", X)
    out = tmp_path / "codes.parquet"
    with pytest.raises(ValueError, match="no column 'name'; there is vector"):
        streams.encode(hasher, open_vectors(tmp_path / "x.parquet"), out, ids="name")
    with pytest.raises(ValueError, match="only Parquet and Arrow"):
        streams.encode(hasher, open_vectors(tmp_path / "x.npy"), out, ids="name")
    assert list(tmp_path.glob("codes*")) == []


def test_the_journal_says_what_it_is_of(hasher: BinaryHasher, tmp_path: Path) -> None:
    interrupted(hasher, tmp_path / "codes.npy", 2)
    first, *blocks = (tmp_path / "codes.npy.journal").read_text().splitlines()
    assert json.loads(first)["model"] == hasher.fingerprint
    assert [json.loads(line)["rows"] for line in blocks] == [64, 64]
