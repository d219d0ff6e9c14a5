"""Whatever an index lives through, it answers as brute force over a dictionary does."""

from __future__ import annotations

import copy
import pickle
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sigah import HammingIndex
from sigah.codes import unpack
from sigah.search import Selection
from sigah.search import index as index_module
from sigah.search.multi_index import MultiIndex

N_BYTES = 2
CODES = hnp.arrays(np.uint8, st.tuples(st.integers(0, 12), st.just(N_BYTES)))
SMALL_IDS = st.integers(0, 40)
LARGE_IDS = st.one_of(SMALL_IDS, st.integers(2**62, 2**63 - 1))


def brute_force(
    held: dict[int, bytes], query: Any, allowed: set[int] | None = None
) -> list[tuple[int, int]]:
    bits = unpack(query[None])[0]
    distances = (
        (int((unpack(np.frombuffer(code, np.uint8)[None])[0] != bits).sum()), number)
        for number, code in held.items()
        if allowed is None or number in allowed
    )
    return sorted(distances)


def through_pickle(index: HammingIndex) -> HammingIndex:
    return pickle.loads(pickle.dumps(index))  # type: ignore[no-any-return]


class IndexLife(RuleBasedStateMachine):
    """Random additions, removals, updates, filters, copies, savings and re-openings."""

    @initialize()
    def begin(self) -> None:
        self.held: dict[int, bytes] = {}
        self.prepared: list[tuple[set[int], Selection]] = []
        self.index = HammingIndex(8 * N_BYTES, n_threads=2, fingerprint="c0ffee")
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(codes=CODES)
    def add_counting_on(self, codes: Any) -> None:
        first = max(self.held, default=-1) + 1
        if first + len(codes) > 2**63:
            with pytest.raises(ValueError, match="no ids left"):
                self.index.add(codes)
            return
        self.index.add(codes)
        self.held |= {first + i: code.tobytes() for i, code in enumerate(codes)}

    @rule(codes=CODES, data=st.data())
    def add_with_ids(self, codes: Any, data: Any) -> None:
        n = len(codes)
        ids = data.draw(st.lists(LARGE_IDS, min_size=n, max_size=n, unique=True))
        if self.held.keys() & set(ids):
            with pytest.raises(ValueError, match="is repeated"):
                self.index.add(codes, ids)
            return
        self.index.add(codes, ids)
        self.held |= {number: code.tobytes() for number, code in zip(ids, codes, strict=True)}

    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        ids = data.draw(st.lists(st.sampled_from(sorted(self.held) or [0]), unique=True))
        if not self.held and ids:
            with pytest.raises(ValueError, match="is not in the index"):
                self.index.remove(ids)
            return
        self.index.remove(ids)
        for number in ids:
            del self.held[number]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def update(self, data: Any) -> None:
        ids = data.draw(st.lists(st.sampled_from(sorted(self.held)), unique=True, min_size=1))
        codes = data.draw(hnp.arrays(np.uint8, (len(ids), N_BYTES)))
        self.index.update(codes, ids)
        self.held |= {number: code.tobytes() for number, code in zip(ids, codes, strict=True)}

    @rule(number=SMALL_IDS)
    def refuse_all_if_one_is_missing(self, number: int) -> None:
        if number in self.held:
            return
        ids = [*self.held, number]
        for call in (
            lambda: self.index.remove(ids),
            lambda: self.index.get(ids),
            lambda: self.index.update(np.zeros((len(ids), N_BYTES), np.uint8), ids),
        ):
            with pytest.raises(ValueError, match=f"id {number} is not in the index"):
                call()

    @rule()
    def compact(self) -> None:
        self.index.compact()
        assert self.index.stats()["n_segments"] == bool(self.held)
        assert self.index.stats()["n_removed"] == 0

    @rule()
    def build_tables(self) -> None:
        self.index.build_tables()

    @rule(mmap=st.booleans())
    def save_and_open(self, mmap: bool) -> None:
        path = Path(self.folder.name) / "index"
        self.index.save(path)
        read = HammingIndex.open if mmap else HammingIndex.load
        self.index = read(path, n_threads=2)
        assert self.index.fingerprint == "c0ffee"

    @rule(way=st.sampled_from([copy.copy, copy.deepcopy, through_pickle]))
    def go_on_with_a_copy(self, way: Any) -> None:
        twin = way(self.index)
        self.index.add(np.zeros((1, N_BYTES), np.uint8), [2**62 - 1])  # the copy does not see it
        self.index = twin
        assert self.index.fingerprint == "c0ffee"

    @rule(query=hnp.arrays(np.uint8, N_BYTES), k=st.integers(1, 50))
    def search(self, query: Any, k: int) -> None:
        self._agree(query, k, None, None)

    @rule(query=hnp.arrays(np.uint8, N_BYTES), k=st.integers(1, 20), data=st.data())
    def search_filtered(self, query: Any, k: int, data: Any) -> None:
        some = data.draw(st.sets(st.one_of(LARGE_IDS, st.sampled_from(sorted(self.held) or [0]))))
        chosen = np.array(data.draw(st.permutations(sorted(some)), "ids"), np.int64)
        self._agree(query, k, some, chosen)
        self._agree(query, k, some, lambda ids: np.isin(ids, chosen))
        snapshot = self.index.snapshot()
        mask = np.isin(snapshot.ids, chosen)
        self._agree(query, k, some, mask, snapshot)
        self._agree(query, k, some, snapshot.select(mask))

    @rule(data=st.data())
    def prepare_a_filter(self, data: Any) -> None:
        some = data.draw(st.sets(st.one_of(SMALL_IDS, st.sampled_from(sorted(self.held) or [0]))))
        chosen = np.array(sorted(some), np.int64)
        as_function = data.draw(st.booleans(), "as a function")
        filter = (lambda ids: np.isin(ids, chosen)) if as_function else chosen
        self.prepared.append((some, self.index.select(filter)))

    @precondition(lambda self: self.prepared)
    @rule(query=hnp.arrays(np.uint8, N_BYTES), k=st.integers(1, 20), data=st.data())
    def search_with_a_filter_prepared_earlier(self, query: Any, k: int, data: Any) -> None:
        some, selection = data.draw(st.sampled_from(self.prepared))
        self._agree(query, k, some, selection)

    def _agree(
        self, query: Any, k: int, allowed: set[int] | None, chosen: Any, index: Any = None
    ) -> None:
        index = self.index if index is None else index
        expected = brute_force(self.held, query, allowed)
        distances, ids = index.search(query[None], k, filter=chosen)
        padded = expected[:k] + [(2**31 - 1, -1)] * (k - len(expected))
        assert list(zip(distances[0].tolist(), ids[0].tolist(), strict=True)) == padded
        lims, distances, ids = index.range_search(query[None], 5, filter=chosen)
        near = [pair for pair in expected if pair[0] <= 5]
        assert lims.tolist() == [0, len(near)]
        assert list(zip(distances.tolist(), ids.tolist(), strict=True)) == near

    @invariant()
    def hold_what_was_put_in(self) -> None:
        if not hasattr(self, "held"):
            return
        assert len(self.index) == len(self.held)
        ids = self.index.ids
        assert ids.tolist() == sorted(self.held)
        assert [code.tobytes() for code in self.index.get(ids)] == [
            self.held[number] for number in ids.tolist()
        ]
        assert all(number in self.index for number in self.held)
        assert -1 not in self.index
        assert "0" not in self.index


# Without growth, every batch stays a segment of its own: answers must not depend on it.
class ManySegments(IndexLife):
    """The same, with as many segments as there are additions."""

    @initialize()
    def begin(self) -> None:
        self.growth, index_module.GROWTH = index_module.GROWTH, 0
        super().begin()

    def teardown(self) -> None:
        index_module.GROWTH = self.growth
        super().teardown()


IndexLife.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
ManySegments.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestIndexLife = IndexLife.TestCase
TestManySegments = ManySegments.TestCase


def test_readers_see_whole_states_while_one_writes() -> None:
    """The writer keeps all codes equal: a reader that sees two kinds has seen half an update."""
    sys.setswitchinterval(1e-5)
    n = 2000
    index = HammingIndex(64, n_threads=2)
    index.add(np.zeros((n, 8), np.uint8))
    stop = threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        query = np.zeros((3, 8), np.uint8)
        while not stop.is_set():
            distances, ids = index.search(query, n)
            if len(np.unique(distances)) != 1 or not (ids == np.arange(n)).all():
                wrong.append((distances, ids))
            lims, _, _ = index.range_search(query, 64)
            if lims.tolist() != [0, n, 2 * n, 3 * n]:
                wrong.append(lims)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for value in range(200):
        index.update(np.full((n, 8), value, np.uint8), np.arange(n))
        if value % 10 == 0:
            index.compact()
        if value % 20 == 5:
            index.build_tables()
    stop.set()
    for reader in readers:
        reader.join()
    sys.setswitchinterval(0.005)
    assert not wrong


def test_writers_wait_for_each_other() -> None:
    index = HammingIndex(16)

    def write(start: int) -> None:
        for i in range(50):
            index.add(np.full((3, 2), i, np.uint8), np.arange(3) + start + 3 * i)

    writers = [threading.Thread(target=write, args=(1000 * w,)) for w in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    expected = np.concatenate([np.arange(150) + 1000 * w for w in range(4)])
    np.testing.assert_array_equal(index.ids, expected)


def test_codes_that_come_one_by_one_are_few_segments() -> None:
    index = HammingIndex(8)
    for i in range(300):
        index.add(np.array([[i % 256]], np.uint8))
    assert index.stats()["n_segments"] <= 6
    assert index.search(np.array([[43]], np.uint8), 3)[1].tolist() == [[43, 299, 11]]


def test_counted_ids_take_no_memory() -> None:
    index = HammingIndex(64)
    index.add(np.zeros((1000, 8), np.uint8))
    index.add(np.zeros((500, 8), np.uint8))
    assert index.stats()["id_bytes"] == 0
    assert index.stats()["code_bytes"] == 8 * 256 * 6


def test_removing_half_gives_memory_back() -> None:
    index = HammingIndex(64)
    index.add(np.zeros((2560, 8), np.uint8))
    index.remove(np.arange(0, 2560, 2))
    assert index.stats()["n_removed"] == 1280
    index.remove([1])
    assert index.stats()["n_removed"] == 0
    assert index.stats()["code_bytes"] == 8 * 256 * 5


def test_a_small_filter_is_answered_from_a_copy_of_what_it_leaves() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (20_000, 8), dtype=np.uint8)
    index = HammingIndex(64)
    index.add(codes)
    for share in (1e-3, 1e-2, 0.5):  # one in 64 divides the two ways
        chosen = np.flatnonzero(random.random(20_000) < share)
        small = HammingIndex(64)
        small.add(codes[chosen], ids=chosen)
        np.testing.assert_array_equal(
            index.search(codes[:9], 12, filter=chosen), small.search(codes[:9], 12)
        )


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ([True, False, True], "a boolean mask belongs to one state of the index"),
        (lambda ids: ids, "must return a boolean for each of the 3 ids"),
        (lambda ids: [True], r"returned bool of shape \(1,\)"),
        ([0.5], "filter must be whole numbers"),
        ([[1]], r"filter must have shape \(n,\)"),
        ([-1], "filter must be whole numbers from 0"),
        ("all", "filter must have shape"),
    ],
)
def test_filters_that_do_not_fit_are_named(filter: Any, message: str) -> None:
    index = HammingIndex(8)
    index.add(np.zeros((3, 1), np.uint8))
    for call in (index.search, index.range_search):
        with pytest.raises(ValueError, match=message):
            call(np.zeros((1, 1), np.uint8), 1, filter=filter)


def test_ids_of_a_filter_that_are_not_held_are_passed_over() -> None:
    index = HammingIndex(8)
    index.add(np.zeros((3, 1), np.uint8))
    query = np.zeros((1, 1), np.uint8)
    assert index.search(query, 2, filter=[7, 2, 2, 9])[1].tolist() == [[2, -1]]
    assert index.search(query, 2, filter=[])[1].tolist() == [[-1, -1]]
    assert index.range_search(query, 8, filter=[9])[0].tolist() == [0, 0]


@pytest.mark.parametrize("call", ["remove", "update"])
def test_ids_given_twice_are_named(call: str) -> None:
    index = HammingIndex(8)
    index.add(np.zeros((3, 1), np.uint8))
    with pytest.raises(ValueError, match="id 1 is given twice"):
        if call == "remove":
            index.remove([1, 1])
        else:
            index.update(np.ones((2, 1), np.uint8), [1, 1])
    assert index.search(np.zeros((1, 1), np.uint8), 3)[0].tolist() == [[0, 0, 0]]


def test_the_last_search_tells_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (3000, 8), dtype=np.uint8)
    index = HammingIndex(64)
    index.add(codes)
    index.search(codes[:5], 1)
    assert index.last_search == {"tables": 0, "scan": 5}
    index.build_tables()
    monkeypatch.setattr(MultiIndex, "scan_cost", lambda *_: 1e12)
    index.search(codes[:5], 1)
    assert index.last_search == {"tables": 5, "scan": 0}
    whole = MultiIndex.nearest_by_tables

    def all_but_two(tables: MultiIndex, *arguments: Any, **more: Any) -> Any:
        distances, positions, done = whole(tables, *arguments, **more)
        done[1:3] = False
        positions[1:3] = -1
        return distances, positions, done

    monkeypatch.setattr(MultiIndex, "nearest_by_tables", all_but_two)
    assert index.search(codes[:5], 1)[1].ravel().tolist() == [0, 1, 2, 3, 4]
    assert index.last_search == {"tables": 3, "scan": 2}


@pytest.mark.parametrize("n_threads", [0, 1.5, "two", True])
def test_impossible_threads_are_named(n_threads: Any) -> None:
    with pytest.raises(ValueError, match="n_threads must be a whole number of at least 1"):
        HammingIndex(64, n_threads=n_threads)
