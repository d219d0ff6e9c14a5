"""An index with keys behaves as a dictionary of codes whose nearest can be searched."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sigah import HammingIndex, KeyedIndex
from sigah.files import FileFormatError, save_codes
from sigah.search import keys as keys_module
from sigah.search.keys import KeyTable

Codes = NDArray[np.uint8]
KEYS = ["a", "b", "a key", "ключ", "\U0001f511", "0", "7", "-1", "x" * 50]


def codes_of(values: list[int]) -> Codes:
    return np.array(values, np.uint8)[:, None]


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


class Model:
    """What an index with keys should answer: ids in the order in which keys came."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.came: list[str] = []

    def put(self, keys: list[str], values: list[int]) -> None:
        self.came += [key for key in keys if key not in self.came]
        self.codes |= dict(zip(keys, values, strict=True))

    def nearest(self, query: int, k: int, among: Any = None) -> tuple[list[int], list[str]]:
        found = sorted(
            (distance(code, query), self.came.index(key), key)
            for key, code in self.codes.items()
            if among is None or key in among
        )[:k]
        return [d for d, _, _ in found], [key for _, _, key in found]


def assert_same(index: KeyedIndex, model: Model) -> None:
    assert len(index) == len(model.codes)
    assert sorted(index.keys.tolist()) == sorted(model.codes)
    assert all((key in index) == (key in model.codes) for key in [*KEYS, "none", ""])
    if model.codes:
        names = list(model.codes)
        assert index.get(names).ravel().tolist() == [model.codes[name] for name in names]
    for query in (0, 0b1011_0110):
        for among in (None, KEYS[:4]):
            distances, keys = index.search(codes_of([query]), 4, filter=among)
            expected = model.nearest(query, 4, among)
            n = len(expected[1])
            assert (distances[0, :n].tolist(), keys[0, :n].tolist()) == expected
            assert keys[0, n:].tolist() == [""] * (4 - n)


STEP = st.tuples(
    st.sampled_from(["add", "upsert", "update", "remove", "file", "load", "copy", "compact"]),
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True),
    st.integers(0, 255),
)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(STEP, max_size=12))
def test_any_sequence_of_changes_gives_what_a_dictionary_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[str], int]]
) -> None:
    index, model = KeyedIndex(n_bits=8), Model()
    path = tmp_path_factory.mktemp("keyed") / "index"
    for what, keys, first in steps:
        values = [(first + 37 * place) % 256 for place in range(len(keys))]
        held = [key in model.codes for key in keys]
        if what == "add" and not any(held):
            index.add(codes_of(values), keys)
            model.put(keys, values)
        elif what == "upsert":
            index.upsert(codes_of(values), keys)
            model.put(keys, values)
        elif what == "update" and all(held):
            index.update(codes_of(values), keys)
            model.put(keys, values)
        elif what == "remove" and all(held):
            index.remove(keys)
            for key in keys:
                del model.codes[key]
        elif what in ("add", "update", "remove"):
            with pytest.raises(ValueError, match="key"):
                getattr(index, what)(*([codes_of(values)] if what != "remove" else []), keys)
        elif what in ("file", "load"):
            index.save(path)
            index = KeyedIndex.open(path) if what == "file" else KeyedIndex.load(path)
            model.came = [key for key in model.came if key in model.codes]
        elif what == "copy":
            twin = copy.copy(index)
            index.upsert(codes_of(values), keys)  # changes of one are not seen in the other
            index = twin
        else:
            index.compact()
        assert_same(index, model)
    assert_same(pickle.loads(pickle.dumps(index)), model)


def test_keys_with_equal_hashes_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        keys_module, "hash_keys", lambda keys: np.full(len(keys), 2**63 + 5, np.uint64)
    )
    index, model = KeyedIndex(n_bits=8), Model()
    values = [17 * place for place in range(len(KEYS))]
    index.add(codes_of(values), KEYS)
    model.put(KEYS, values)
    index.save(tmp_path / "index")
    index = KeyedIndex.open(tmp_path / "index")
    index.upsert(codes_of([1, 2]), ["b", "new"])
    model.put(["b", "new"], [1, 2])
    assert_same(index, model)


def test_ids_are_rows_after_removals_and_files_so_that_raw_vectors_stay_in_place(
    tmp_path: Path,
) -> None:
    index = KeyedIndex(n_bits=8)
    index.add(codes_of([0, 1, 2, 3]), list("abcd"))
    index.remove(["d", "b"])
    index.save(tmp_path / "index")
    index = KeyedIndex.open(tmp_path / "index")
    assert index.index.ids.tolist() == [0, 2]
    index.add(codes_of([9]), ["e"])
    assert index.index.ids.tolist() == [0, 2, 4]  # the row after those that were encoded
    assert index.keys_of([[4, -1], [0, 2]]).tolist() == [["e", ""], ["a", "c"]]


def test_removed_keys_are_not_in_the_file(tmp_path: Path) -> None:
    index = KeyedIndex(n_bits=8)
    index.add(codes_of([0, 1]), ["a secret name", "kept"])
    index.save(tmp_path / "first")
    index = KeyedIndex.open(tmp_path / "first")
    index.remove(["a secret name"])
    index.save(tmp_path / "second")
    assert b"a secret name" in (tmp_path / "first").read_bytes()
    assert b"a secret name" not in (tmp_path / "second").read_bytes()


def test_filters_are_keys_functions_of_keys_or_prepared_ones() -> None:
    index = KeyedIndex(n_bits=8)
    index.add(codes_of([0, 1, 3, 7]), ["en/1", "de/1", "en/2", "de/2"])
    query = codes_of([0])
    for chosen in (
        ["de/1", "de/2", "absent"],
        np.array(["de/2", "de/1"]),
        lambda keys: np.char.startswith(keys, "de/"),
    ):
        for filter in (chosen, index.select(chosen)):
            assert index.search(query, 3, filter=filter)[1].tolist() == [["de/1", "de/2", ""]]
    assert index.search(query, 1, filter=[])[1].tolist() == [[""]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.add(codes_of([1]), ["a"]), "'a' is repeated: the index has it already"),
        (lambda i: i.add(codes_of([1, 2]), ["b", "b"]), "key 'b' is given twice"),
        (lambda i: i.upsert(codes_of([1, 2]), ["b", "b"]), "key 'b' is given twice"),
        (lambda i: i.add(codes_of([1]), ["b", "c"]), r"keys must have shape \(1,\)"),
        (lambda i: i.add(codes_of([1]), "b"), r"keys must have shape \(1,\)"),
        (lambda i: i.add(codes_of([1]), [""]), "keys must be strings .* got '' at place 0"),
        (lambda i: i.add(codes_of([1, 2]), ["b", 7]), "keys must be strings .* got 7 at place 1"),
        (lambda i: i.add(codes_of([1]), [None]), "keys must be strings .* got None"),
        (lambda i: i.add(codes_of([1]), ["b\0"]), "keys must be strings .* without a zero"),
        (lambda i: i.add(codes_of([1]), ["\ud800"]), "keys must be strings of Unicode"),
        (lambda i: i.add(np.zeros((1, 2), np.uint8), ["b"]), "codes have 16 bits"),
        (lambda i: i.add(codes_of([1]), ["b"], fingerprint="other"), "another model"),
        (lambda i: i.update(codes_of([1]), ["b"]), "key 'b' is not in the index"),
        (lambda i: i.remove(["a", "b"]), "key 'b' is not in the index"),
        (lambda i: i.remove(["a", "a"]), "key 'a' is given twice"),
        (lambda i: i.get(["b"]), "key 'b' is not in the index"),
        (lambda i: i.search(codes_of([1]), 1, filter=[1]), "filter must be strings"),
    ],
)
def test_a_refused_change_leaves_the_index_and_its_next_id_as_they_were(
    call: Any, message: str
) -> None:
    index = KeyedIndex(n_bits=8, fingerprint="model")
    index.add(codes_of([5]), ["a"])
    with pytest.raises(ValueError, match=message):
        call(index)
    assert index.keys.tolist() == ["a"]
    index.add(codes_of([6]), ["z"])
    assert index.index.ids.tolist() == [0, 1]


def test_each_kind_of_index_refuses_the_file_of_the_other(tmp_path: Path) -> None:
    numbered, keyed = HammingIndex(n_bits=8), KeyedIndex(n_bits=8)
    numbered.add(codes_of([1]))
    keyed.add(codes_of([1]), ["a"])
    numbered.save(tmp_path / "numbered")
    keyed.save(tmp_path / "keyed")
    with pytest.raises(FileFormatError, match="use KeyedIndex.open"):
        HammingIndex.open(tmp_path / "keyed")
    with pytest.raises(FileFormatError, match="use HammingIndex.open"):
        KeyedIndex.open(tmp_path / "numbered")
    # earlier versions of sigah know version 1 only, and refuse keys that they would lose
    assert b'"format_version\\":2' in (tmp_path / "keyed").read_bytes()
    assert b'"format_version\\":1' in (tmp_path / "numbered").read_bytes()


def test_every_changed_byte_of_a_file_is_noticed(tmp_path: Path) -> None:
    index = KeyedIndex(n_bits=8)
    index.add(codes_of([1, 2]), ["first", "second"])
    index.save(tmp_path / "index")
    whole = (tmp_path / "index").read_bytes()
    begin = whole.index(b"firstsecond")
    for place in range(begin - 60, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(FileFormatError):
            KeyedIndex.open(tmp_path / "damaged").search(codes_of([1]), 1)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("key_ends", [3, 1], "ends of its keys"),
        ("key_ends", [1, 7], "ends of its keys"),
        ("key_hashes", [9, 1], "order of its keys"),
        ("key_ids", [0, 2], "order of its keys"),
        ("key_ids", [-1, 0], "order of its keys"),
        ("key_ids", [0], "keys contradict each other"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(
    name: str, value: list[int], message: str
) -> None:
    table = KeyTable()
    table.extend(["a", "b"])
    arrays = table.arrays(np.arange(2))
    arrays[name] = np.array(value, arrays[name].dtype)
    with pytest.raises(ValueError, match=message):
        KeyTable(arrays).check()


def test_codes_with_strings_in_parquet_become_an_index(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    header = {"method": "itq", "fingerprint": "f"}
    save_codes(tmp_path / "codes.parquet", codes_of([1, 2]), header, ids=["b", "a"])
    index = KeyedIndex.of_codes(tmp_path / "codes.parquet")
    assert (index.keys.tolist(), index.fingerprint) == (["b", "a"], "f")
    with pytest.raises(ValueError, match="use KeyedIndex.of_codes"):
        HammingIndex.of_codes(tmp_path / "codes.parquet")
    save_codes(tmp_path / "numbers.parquet", codes_of([1, 2]), header)
    with pytest.raises(ValueError, match="use HammingIndex.of_codes"):
        KeyedIndex.of_codes(tmp_path / "numbers.parquet")


def test_readers_see_all_of_a_change_or_nothing() -> None:
    index = KeyedIndex(n_bits=8, n_threads=1)
    index.add(codes_of([0, 0]), ["left", "right"])
    wrong: list[Any] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            distances, keys = index.search(codes_of([0]), 2, filter=["left", "right"])
            if sorted(keys[0]) != ["left", "right"] or distances[0].tolist() not in (
                [0, 0],
                [8, 8],
            ):
                wrong.append((distances, keys))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(200):
        value = 255 if turn % 2 else 0
        index.upsert(codes_of([value, value, 15]), ["left", "right", f"new {turn}"])
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(index) == 202


def from_de(keys: Any) -> Any:
    return np.char.startswith(keys, "de/")


def through_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, through_pickle])
@pytest.mark.parametrize("kind", ["in memory", "mapped"])
def test_a_copy_and_its_prepared_filters_are_independent(
    kind: str, way: Any, tmp_path: Path
) -> None:
    index = KeyedIndex(n_bits=8, n_threads=1)
    index.add(codes_of([0, 1, 3, 7]), ["en/1", "de/1", "en/2", "de/2"])
    if kind == "mapped":
        index.save(tmp_path / "index")
        index = KeyedIndex.open(tmp_path / "index", n_threads=1)
    prepared = index.select(from_de)
    # a prepared filter belongs to its index, and travels with it
    twin, moved = (way(index), None) if way is copy.copy else way((index, prepared))
    if kind == "mapped" and way is through_pickle:
        (tmp_path / "index").unlink()
    twin.remove(["de/1"])
    twin.upsert(codes_of([2, 0]), ["en/1", "de/3"])
    index.add(codes_of([0]), ["fr/1"])  # each gives the next id to a key of its own
    query = codes_of([0])
    assert index.search(query, 5)[1].tolist() == [["en/1", "fr/1", "de/1", "en/2", "de/2"]]
    assert twin.search(query, 5)[1].tolist() == [["de/3", "en/1", "en/2", "de/2", ""]]
    for filter in (prepared, from_de):
        assert index.search(query, 3, filter=filter)[1].tolist() == [["de/1", "de/2", ""]]
    for filter in (moved or twin.select(from_de), from_de):
        assert twin.search(query, 3, filter=filter)[1].tolist() == [["de/3", "de/2", ""]]


def test_a_pickle_made_beside_a_writer_is_of_one_moment() -> None:
    index = KeyedIndex(n_bits=8, n_threads=1)
    done = threading.Event()

    def write() -> None:
        for turn in range(300):
            index.add(codes_of([turn % 256]), [f"key {turn}"])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        twin = through_pickle(index)
        n = len(twin)
        assert twin.keys.tolist() == [f"key {turn}" for turn in range(n)]
        assert len(twin._table) == n  # no key without a code
    writer.join()


FORK = """
import os, signal, sys, threading, time, warnings
import numpy as np
from sigah import KeyedIndex
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
sys.setswitchinterval(1e-5)
index = KeyedIndex(64, n_threads=1)
codes = np.random.default_rng(0).integers(0, 256, (20, 8), dtype=np.uint8)
index.add(codes, [f"first {row}" for row in range(20)])

def write():
    for turn in range(10**7):
        keys = [f"{turn} {row}" for row in range(20)]
        index.upsert(codes, keys)
        index.remove(keys)

index.search(codes, 3, filter=["first 1"])
threading.Thread(target=write, daemon=True).start()
for _ in range(25):
    time.sleep(0.003)
    child = os.fork()
    if not child:
        n = len(index)
        assert n in (20, 40) and len(index.keys) == n
        index.add(~codes[:1], ["new"])
        index.upsert(~codes[1:2], ["first 1"])
        index.remove(["first 2"])
        found = index.search(~codes[:1], 1)[1].tolist(), index.search(~codes[1:2], 1)[1].tolist()
        os._exit(0 if (found, len(index)) == (([["new"]], [["first 1"]]), n) else 1)
    deadline = time.monotonic() + 30
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            print("the child hangs")
            os._exit(9)
        time.sleep(0.002)
    if done[1]:
        os._exit(1)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_while_a_thread_writes_can_search_and_write() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], timeout=400, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_keys_of_a_file_that_somebody_writes_into_are_an_error_and_a_replaced_one_stays(
    tmp_path: Path,
) -> None:
    index = KeyedIndex(n_bits=8)
    index.add(codes_of([0, 1]), ["a", "b"])
    path = tmp_path / "index"
    index.save(path)
    opened = KeyedIndex.open(path)
    index.upsert(codes_of([0]), ["c"])
    index.save(path)
    assert (opened.keys.tolist(), "c" in opened) == (["a", "b"], False)
    opened, held = KeyedIndex.open(path), KeyedIndex.load(path)
    assert "c" in opened
    path.write_bytes(path.read_bytes()[:900])
    for call in (lambda: opened.keys, lambda: "a" in opened, lambda: opened.keys_of([0])):
        with pytest.raises(FileFormatError, match="somebody wrote into the file"):
            call()
    assert held.keys.tolist() == ["a", "b", "c"]


def test_upsert_of_numbers_replaces_and_adds_in_one_step() -> None:
    index = HammingIndex(n_bits=8, fingerprint="f")
    index.add(codes_of([1, 2, 3]), ids=[10, 20, 30])
    index.upsert(codes_of([9, 8, 7]), ids=[40, 20, 5], fingerprint="f")
    assert index.ids.tolist() == [5, 10, 20, 30, 40]
    assert index.get([5, 10, 20, 30, 40]).ravel().tolist() == [7, 1, 8, 3, 9]
    for codes, ids, how, message in (
        ([1, 2], [5, 5], {}, "id 5 is given twice"),
        ([1], [-1], {}, "ids must be whole numbers from 0"),
        ([1], [5], {"fingerprint": "g"}, "another model"),
    ):
        with pytest.raises(ValueError, match=message):
            index.upsert(codes_of(codes), ids, **how)
    index.upsert(np.empty((0, 1), np.uint8), [])
    assert len(index) == 5
