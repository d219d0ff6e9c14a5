"""An index of vectors with keys finds the keys of what an index of vectors finds."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigah import KeyedVectorIndex, VectorIndex
from sigah.files import FileFormatError

VECTORS = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(6, 16)).astype(np.float32)
KEYS = ["a", "b", "a key", "ключ", "\U0001f511", "0", "7", "-1", "x" * 50]


@pytest.fixture(scope="module")
def plain() -> VectorIndex:
    return VectorIndex.build(VECTORS, 8, metric="cosine", random_state=0)


@pytest.fixture(scope="module")
def named() -> list[str]:
    return [f"doc/{row * 7 % 300}" for row in range(300)]


@pytest.fixture
def keyed(plain: VectorIndex, named: list[str]) -> KeyedVectorIndex:
    index = KeyedVectorIndex.of(plain)
    index.add(VECTORS, named)
    return index


def test_build_gives_the_keys_of_what_an_index_without_keys_finds(
    plain: VectorIndex, named: list[str]
) -> None:
    index = KeyedVectorIndex.build(VECTORS, named, 8, metric="cosine", random_state=0)
    distances, keys = index.search(QUERIES, 7)
    expected, rows = plain.search(QUERIES, 7)
    np.testing.assert_array_equal(distances, expected)
    assert keys.tolist() == [[named[row] for row in some] for some in rows]
    assert (index.metric, index.n_bytes, index.index.shortlist) == ("cosine", 8, plain.shortlist)
    np.testing.assert_array_equal(index.reconstruct(named[5:7]), plain.reconstruct([5, 6]))
    assert index.keys.tolist() == named


STEP = st.tuples(
    st.sampled_from(["add", "upsert", "update", "remove", "file", "load", "copy", "compact"]),
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True),
    st.integers(0, 290),
)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(STEP, max_size=10))
def test_any_sequence_of_changes_gives_what_the_vectors_of_a_dictionary_give(
    plain: VectorIndex,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, list[str], int]],
) -> None:
    index, held = KeyedVectorIndex.of(plain), dict[str, int]()  # keys to rows of VECTORS
    path = tmp_path_factory.mktemp("keyed") / "v.vectors"
    for what, keys, first in steps:
        some, known = VECTORS[first : first + len(keys)], [key in held for key in keys]
        if what in ("upsert", "copy") or (what == "add" and not any(known)) or (
            what == "update" and all(known)
        ):  # fmt: skip
            changed = copy.copy(index) if what == "copy" else index
            getattr(changed, "upsert" if what == "copy" else what)(some, keys)
            if what != "copy":  # a change of a copy is not seen in the original
                held |= {key: first + place for place, key in enumerate(keys)}
        elif what == "remove" and all(known):
            index.remove(keys)
            for key in keys:
                del held[key]
        elif what in ("add", "update", "remove"):
            with pytest.raises(ValueError, match="key"):
                getattr(index, what)(*([some] if what != "remove" else []), keys)
        elif what in ("file", "load"):
            index.save(path)
            index = KeyedVectorIndex.open(path) if what == "file" else KeyedVectorIndex.load(path)
        else:
            index.compact()
        assert (len(index), sorted(index.keys.tolist())) == (len(held), sorted(held))
    index = pickle.loads(pickle.dumps(index))
    assert index.holds(KEYS).tolist() == [key in held for key in KEYS]
    assert [key in index for key in [*KEYS, "", "none", 7]] == [key in held for key in KEYS] + (
        [False] * 3
    )
    oracle = VectorIndex.of(plain)
    names = list(held)
    if held:
        oracle.add(VECTORS[list(held.values())])
    for among in (None, KEYS[:4]):
        distances, found = index.search(QUERIES, 3, filter=among)
        allowed = None if among is None else [i for i, key in enumerate(names) if key in among]
        expected, ids = oracle.search(QUERIES, 3, filter=allowed)
        np.testing.assert_array_equal(distances, expected)
        for row, key in zip(ids.ravel(), found.ravel(), strict=True):
            # two keys may have the same vector
            assert key == "" if row < 0 else held[key] == held[names[row]]


def test_a_filter_may_be_prepared_a_list_or_a_function(
    keyed: KeyedVectorIndex, named: list[str]
) -> None:
    wanted = [key for key in named if key.endswith("5")]
    by_list = keyed.search(QUERIES, 5, filter=wanted)[1]
    assert all(key in wanted for key in by_list.ravel())
    ends = lambda keys: np.char.endswith(keys, "5")  # noqa: E731
    for filter in (ends, keyed.select(wanted), keyed.select(ends)):
        np.testing.assert_array_equal(keyed.search(QUERIES, 5, filter=filter)[1], by_list)


def test_original_vectors_rank_by_row_or_by_key(keyed: KeyedVectorIndex, named: list[str]) -> None:
    asked = []

    def look_up(keys: Any) -> Any:
        asked.extend(keys.tolist())
        return np.stack([VECTORS[named.index(key)] for key in keys])

    exact = (QUERIES @ VECTORS.T / np.linalg.norm(VECTORS, axis=1)).argmax(1)
    by_row = keyed.search(QUERIES, 1, vectors=VECTORS, n_ranked=300)
    by_key = keyed.search(QUERIES, 1, vectors=look_up, n_ranked=300)
    assert by_row[1].ravel().tolist() == [named[row] for row in exact]
    np.testing.assert_array_equal(by_key[1], by_row[1])
    np.testing.assert_allclose(by_key[0], by_row[0], atol=1e-6)
    assert set(asked) <= set(named)


def test_calibration_takes_the_ids_of_keys(keyed: KeyedVectorIndex, named: list[str]) -> None:
    truth = np.array(named)[:40, np.newaxis]
    found = keyed.index.calibrate(VECTORS[:40], keyed.ids_of(truth), target_recall=0.9)
    assert found.reached and keyed.index.shortlist == found.shortlist
    with pytest.raises(ValueError, match="key 'none' is not in the index"):
        keyed.ids_of([["none"]])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([1, 2], "keys must be strings"),
        (["a", ""], "got '' at place 1"),
        (["a", "a"], "key 'a' is given twice"),
        (["a"], r"shape \(2,\)"),
        (["doc/0", "b"], "'doc/0' is repeated"),
    ],
)
def test_wrong_keys_change_nothing(keyed: KeyedVectorIndex, keys: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        keyed.add(VECTORS[:2], keys)
    assert len(keyed) == 300 and "a" not in keyed and "b" not in keyed
    keyed.add(VECTORS[:1], ["c"])
    assert keyed.index.ids[-1] == 300  # no id was given for nothing


def test_an_empty_index_is_made_of_either_kind_and_of_nothing_else(
    keyed: KeyedVectorIndex, plain: VectorIndex
) -> None:
    for other in (keyed, plain):
        assert (len(KeyedVectorIndex.of(other)), keyed.metric) == (0, other.metric)
    with pytest.raises(ValueError, match="other must be an index of vectors, got int"):
        KeyedVectorIndex.of(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no key has the id 300: ids are from 0 to 299"):
        keyed.keys_of([[-1, 300]])


def test_wrong_vectors_change_nothing(keyed: KeyedVectorIndex) -> None:
    for wrong, said in ((VECTORS[:1, :9], "9 features"), (VECTORS[:1] * np.nan, "NaN")):
        with pytest.raises(ValueError, match=said):
            keyed.upsert(wrong, ["a"])
    with pytest.raises(ValueError, match="rows"):
        keyed.add_rows(np.zeros((1, 3), np.uint8), ["a"])
    assert "a" not in keyed and len(keyed) == 300


def test_files_with_and_without_keys_name_the_class_that_opens_them(
    keyed: KeyedVectorIndex, tmp_path: Path
) -> None:
    keyed.save(tmp_path / "keys")
    keyed.index.save(tmp_path / "ids")
    with pytest.raises(FileFormatError, match=r"use KeyedVectorIndex\.open"):
        VectorIndex.open(tmp_path / "keys")
    with pytest.raises(FileFormatError, match=r"use VectorIndex\.open"):
        KeyedVectorIndex.open(tmp_path / "ids")


def test_a_file_keeps_all_and_a_flipped_bit_is_noticed(
    keyed: KeyedVectorIndex, tmp_path: Path
) -> None:
    keyed.remove(["doc/0", "doc/299"])
    path = tmp_path / "v.vectors"
    keyed.save(path)
    again = KeyedVectorIndex.open(path)
    assert again.index.shortlist == keyed.index.shortlist
    np.testing.assert_array_equal(again.search(QUERIES, 9)[1], keyed.search(QUERIES, 9)[1])
    assert b"doc/299" not in path.read_bytes()
    content = bytearray(path.read_bytes())
    where = content.index(b"doc/7doc/14")  # the texts of keys
    content[where] ^= 1
    path.with_name("bent").write_bytes(content)
    with pytest.raises(FileFormatError, match="bent"):
        KeyedVectorIndex.open(path.with_name("bent")).search(QUERIES, 1)


def test_searches_of_other_threads_see_all_of_a_change_or_none(
    keyed: KeyedVectorIndex,
) -> None:
    wrong: list[Any] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            keys = keyed.search(VECTORS[:1], 2, filter=["one", "two"])[1].ravel().tolist()
            if sorted(keys) not in (["", ""], ["one", "two"]):
                wrong.append(keys)

    thread = threading.Thread(target=search)
    thread.start()
    for _ in range(60):
        keyed.add(VECTORS[:2], ["one", "two"])
        keyed.upsert(VECTORS[2:4], ["two", "one"])
        keyed.remove(["two", "one"])
    stop.set()
    thread.join()
    assert wrong == []
