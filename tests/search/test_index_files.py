"""Index files: whole or not at all, mapped in no time, and never believed unread."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import HammingIndex, files
from sigah.files import FileFormatError, indexes, safetensors_files, save_index

N = 300
CODES = np.random.default_rng(0).integers(0, 256, (N, 8), dtype=np.uint8)
IDS = np.arange(N) * 7 + 3
QUERIES = CODES[::29]
DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    index = HammingIndex(64, fingerprint="c0ffee")
    index.add(CODES, IDS)
    index.save(tmp_path / "index")
    return tmp_path / "index"


def open_or_load(path: Path, mmap: bool) -> HammingIndex:
    return HammingIndex.open(path) if mmap else HammingIndex.load(path)


def open_and_use(path: Path, *, mmap: bool) -> Any:
    index = open_or_load(path, mmap)
    return *index.search(QUERIES, 3), index.ids, index.fingerprint


@pytest.mark.parametrize("mmap", [True, False])
def test_an_opened_index_is_the_one_that_was_saved(file: Path, mmap: bool) -> None:
    index = open_or_load(file, mmap)
    assert (len(index), index.n_bits, index.fingerprint) == (N, 64, "c0ffee")
    np.testing.assert_array_equal(index.get(IDS), CODES)
    index.add(CODES[:1])  # changes stay in memory
    index.remove([3])
    assert len(HammingIndex.open(file)) == N
    index.save(file)  # over the file that it is mapped from
    again = HammingIndex.open(file)
    assert len(again) == N
    assert 3 not in again
    np.testing.assert_array_equal(index.search(QUERIES, 5), again.search(QUERIES, 5))


def test_counted_ids_take_no_room_in_the_file(tmp_path: Path) -> None:
    for ids in (None, np.arange(N) + 12):
        index = HammingIndex(64)
        index.add(CODES, ids)
        index.save(tmp_path / "index")
        assert (tmp_path / "index").stat().st_size < 2 * 256 * 8 + 700
        np.testing.assert_array_equal(HammingIndex.open(tmp_path / "index").ids, index.ids)


def test_an_empty_index_is_kept(tmp_path: Path) -> None:
    HammingIndex(24).save(tmp_path / "index")
    index = HammingIndex.open(tmp_path / "index")
    assert (len(index), index.n_bits) == (0, 24)


def test_a_mapped_file_is_opened_without_reading_it(tmp_path: Path, monkeypatch: Any) -> None:
    index = HammingIndex(64)
    index.add(np.zeros((100_000, 8), np.uint8))
    index.save(tmp_path / "index")
    hashed: list[int] = []
    fingerprint = files.fingerprint

    def count(header: Any, arrays: Any) -> str:
        hashed.append(sum(np.asarray(array).nbytes for array in arrays.values()))
        return fingerprint(header, arrays)

    for module in (files.seals, files.indexes):
        monkeypatch.setattr(module, "fingerprint", count)
    opened = HammingIndex.open(tmp_path / "index")
    assert sum(hashed) == 0
    opened.search(np.zeros((1, 8), np.uint8), 1)
    assert sum(hashed) >= 800_000, "verified before the first use"
    verified = list(hashed)
    opened.search(np.zeros((1, 8), np.uint8), 1)
    assert hashed == verified, "and only then"


@pytest.mark.slow
@pytest.mark.parametrize("mmap", [True, False])
def test_flipped_bits_are_found_before_an_answer_is_given(file: Path, mmap: bool) -> None:
    content, expected = file.read_bytes(), open_and_use(file, mmap=mmap)
    header_end = 8 + int.from_bytes(content[:8], "little")
    assert header_end % 64 == 0
    flips = random.Random(0)
    places = [*range(header_end), *flips.sample(range(header_end, len(content)), 600)]
    harmless = 0
    for place in places:
        for bit in [flips.randrange(8)] if place >= header_end else range(0, 8, 1 + mmap):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            file.write_bytes(damaged)
            try:
                found = open_and_use(file, mmap=mmap)
            except FileFormatError as error:
                assert str(file) in str(error)
            else:  # one kind of blank for another between the parts of the layout
                assert content[place : place + 1] == b" "
                for ours, theirs in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(ours, theirs)
                harmless += 1
    assert harmless < len(places) / 20


def test_cut_files_are_refused(file: Path) -> None:
    content = file.read_bytes()
    for length in [*range(0, 1000, 3), *range(1000, len(content), 41), len(content) - 1]:
        file.write_bytes(content[:length])
        with pytest.raises(FileFormatError):
            open_and_use(file, mmap=True)
    file.write_bytes(content + b"\0")
    with pytest.raises(FileFormatError):
        open_and_use(file, mmap=True)


HONEST = {"n_bits": 64, "count": 300, "first_id": None, "fingerprint": None}
PLANES = np.zeros((2, 8, 256), np.uint8)


@pytest.mark.parametrize(
    ("header", "arrays"),
    [
        ({}, {"planes": PLANES}),
        ({"count": 2**62}, {"planes": PLANES, "ids": IDS}),
        ({"count": 3.0}, {"planes": PLANES, "ids": IDS}),
        ({"count": -1, "first_id": 0}, {"planes": PLANES}),
        ({"count": 513}, {"planes": PLANES, "ids": np.arange(513)}),
        ({"n_bits": 128}, {"planes": PLANES, "ids": IDS}),
        ({"n_bits": 63}, {"planes": PLANES, "ids": IDS}),
        ({"n_bits": 2**40}, {"planes": PLANES, "ids": IDS}),
        ({"n_bits": True}, {"planes": PLANES, "ids": IDS}),
        ({"n_bits": "64"}, {"planes": PLANES, "ids": IDS}),
        ({"first_id": 2**63 - 5}, {"planes": PLANES}),
        ({"first_id": -1}, {"planes": PLANES}),
        ({"first_id": "0"}, {"planes": PLANES}),
        ({"fingerprint": ["c0ffee"]}, {"planes": PLANES, "ids": IDS}),
        ({}, {"planes": PLANES.astype(np.int8), "ids": IDS}),
        ({}, {"planes": PLANES, "ids": IDS.astype(np.uint64)}),
        ({}, {"planes": PLANES, "ids": IDS[::-1]}),
        ({}, {"planes": PLANES, "ids": IDS - 4}),
        ({}, {"planes": PLANES, "ids": IDS * 0}),
        ({}, {"planes": PLANES, "ids": IDS[:, None]}),
        ({}, {"ids": IDS}),
        ({}, {"pad": np.zeros(8, np.uint8), "planes": PLANES, "ids": IDS}),
    ],
)
def test_headers_with_true_checksums_are_not_believed_either(
    tmp_path: Path, header: Any, arrays: Any
) -> None:
    save_index(tmp_path / "index", HONEST | header, arrays)
    with pytest.raises(FileFormatError, match="cannot open"):
        open_and_use(tmp_path / "index", mmap=True)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("write", ["cut", "over", "same size"])
def test_a_file_that_is_written_into_while_it_is_open_is_refused(
    file: Path, used: bool, write: str
) -> None:
    """A read of the map beyond the end of the file would end this process."""
    index, watched, untouched = (
        open_(file) for open_ in (HammingIndex.open,) * 2 + (HammingIndex.load,)
    )
    snapshot = watched.snapshot() if used else None
    if used:
        index.search(QUERIES, 3)
    expected, content = untouched.search(QUERIES, 3), file.read_bytes()
    with file.open("r+b") as stream:  # not by a new file of this name
        if write == "cut":
            stream.truncate(0)
        elif write == "over":
            stream.truncate(0)
            stream.write(content * 2)
        else:
            stream.seek(-1, os.SEEK_END)
            stream.write(b"?")
    os.utime(file, ns=(1, 1))  # clocks may be coarse
    calls = [lambda: index.search(QUERIES, 3), lambda: index.ids, lambda: len(index)]
    calls += [lambda: index.add(CODES), lambda: index.save(file.with_name("other"))]
    calls += [lambda: index.snapshot(), lambda: pickle.dumps(index)]
    if snapshot is not None:
        calls += [lambda: snapshot.search(QUERIES, 3), lambda: snapshot.get([3])]
    for call in calls:
        with pytest.raises(FileFormatError, match="wrote into the file while it was open"):
            call()
    np.testing.assert_array_equal(untouched.search(QUERIES, 3), expected)


def test_a_file_that_takes_over_the_name_changes_nothing(file: Path, tmp_path: Path) -> None:
    index = HammingIndex.open(file)
    expected = index.search(QUERIES, 3)
    other = HammingIndex(64)
    other.add(CODES[:5])
    other.save(file)
    for _ in range(2):
        np.testing.assert_array_equal(index.search(QUERIES, 3), expected)
        (tmp_path / "empty").write_bytes(b"")
        (tmp_path / "empty").replace(file)
    file.unlink()
    np.testing.assert_array_equal(index.search(QUERIES, 3), expected)


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="needs Linux's /proc")
def test_open_files_do_not_pile_up(file: Path) -> None:
    before = len(list(DESCRIPTORS.iterdir()))
    for _ in range(20):
        HammingIndex.open(file).search(QUERIES, 1)
    assert len(list(DESCRIPTORS.iterdir())) < before + 10


def test_missing_keys_and_foreign_files_are_refused(tmp_path: Path, file: Path) -> None:
    for key in HONEST:
        header = {name: value for name, value in HONEST.items() if name != key}
        save_index(tmp_path / "other", header, {"planes": PLANES, "ids": IDS})
        with pytest.raises(FileFormatError):
            open_and_use(tmp_path / "other", mmap=True)
    files.save_model(tmp_path / "model", {"method": "lsh"}, {"weights": np.zeros(3)})
    with pytest.raises(FileFormatError, match="not sigah-index"):
        HammingIndex.open(tmp_path / "model")
    with pytest.raises(FileFormatError, match="not sigah-model"):
        files.load_model(file)
    (tmp_path / "text").write_text("codes")
    with pytest.raises(FileFormatError):
        HammingIndex.open(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        HammingIndex.open(tmp_path / "nothing")
    with pytest.raises(FileFormatError, match="not a regular file"):
        HammingIndex.open(tmp_path)
    assert files.is_index(file)
    assert not any(files.is_index(tmp_path / name) for name in ("model", "text", "nothing", "."))
    assert files.describe(file)["kind"] == "index"


def test_files_of_a_newer_format_ask_for_a_newer_sigah(file: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(files.seals, "KNOWN_VERSIONS", {"sigah-index": (0,)})
    with pytest.raises(FileFormatError, match="upgrade sigah"):
        HammingIndex.open(file)


WRITER = """
import sys
import numpy as np
from sigah import HammingIndex
path = sys.argv[1]
version = int(HammingIndex.open(path).get([0])[0, 0])
while True:
    version = (version + 1) % 256
    index = HammingIndex(64)
    index.add(np.full((20_000 + 100 * version, 8), version, np.uint8))
    index.save(path)
    print(version, flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = HammingIndex(64)
    index.add(np.zeros((20_000, 8), np.uint8))
    index.save(path)
    delays = random.Random(0)
    seen = set()
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            last = int(writer.stdout.readline())
            time.sleep(delays.random() * 0.05)
            writer.kill()
            last = max([last, *map(int, writer.stdout.read().split())])
        opened = HammingIndex.open(path)
        version = int(opened.get([0])[0, 0])
        assert version in (last, last + 1), "what was reported as written is there"
        assert len(opened) == 20_000 + 100 * version
        assert (opened.get(opened.ids) == version).all()
        seen.add(version)
    assert len(seen) == 8


def test_a_full_disk_leaves_the_old_file(file: Path, monkeypatch: Any) -> None:
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    index = HammingIndex.open(file)
    index.remove([3])
    with pytest.raises(OSError, match="No space left"):
        index.save(file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["index"]


def test_the_file_opens_with_safetensors_alone(file: Path) -> None:
    from safetensors import safe_open

    with safe_open(file, framework="np") as foreign:
        planes, ids = foreign.get_tensor("planes"), foreign.get_tensor("ids")
        header = json.loads(foreign.metadata()["sigah"])["header"]
    np.testing.assert_array_equal(planes.transpose(0, 2, 1).reshape(-1, 8)[:N], CODES)
    np.testing.assert_array_equal(ids, IDS)
    assert header["fingerprint"] == "c0ffee"


@pytest.mark.parametrize("moment", ["safe_open", "memmap", "Unchanged"])
def test_an_index_replaced_while_it_is_opened_is_one_of_the_two(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header of one file never meets the arrays of another."""
    codes = np.random.default_rng(0).integers(0, 256, (900, 8), dtype=np.uint8)
    for name, n in (("index", 900), ("other", 300)):
        index = HammingIndex(64)
        index.add(codes[:n], np.arange(n) * 3)
        index.save(tmp_path / name)
    module = {"safe_open": safetensors_files, "memmap": np, "Unchanged": indexes}[moment]
    real = getattr(module, moment)

    def after_which_the_file_is_replaced(*arguments: Any, **options: Any) -> Any:
        opened = real(*arguments, **options)
        if (tmp_path / "other").exists():
            (tmp_path / "other").replace(tmp_path / "index")
        return opened

    monkeypatch.setattr(module, moment, after_which_the_file_is_replaced)
    index = HammingIndex.load(tmp_path / "index")
    assert len(index) in (300, 900)
    np.testing.assert_array_equal(index.search(codes[:5], 1)[1][:, 0], np.arange(5) * 3)
    assert not (tmp_path / "other").exists()
