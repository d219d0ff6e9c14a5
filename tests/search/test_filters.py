"""Filters belong to ids or to a snapshot: they answer rightly whatever happens to the index."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from sigah import HammingIndex
from sigah.search import Selection, selection

SECONDS = 2  # the fault of version 08d4737 showed after 0.3 s


def random_codes(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (n, 8), dtype=np.uint8)


def even(ids: Any) -> Any:
    return ids % 2 == 0


def by_ids(index: HammingIndex) -> Any:
    return index, np.arange(0, 5000, 2)


def by_function(index: HammingIndex) -> Any:
    return index, even


def by_mask_of_a_snapshot(index: HammingIndex) -> Any:
    snapshot = index.snapshot()
    return snapshot, even(snapshot.ids)


@pytest.mark.parametrize("way", [by_ids, by_function, by_mask_of_a_snapshot, "prepared"])
def test_a_filter_is_right_while_another_thread_writes(way: Any, switching_often: None) -> None:
    """A writer removes and adds ids; all codes differ, so an answer of a wrong place is seen."""
    index, codes = HammingIndex(64, n_threads=2), random_codes(5000)
    index.add(codes[:2000], np.arange(2000))
    prepared = index.select(even)
    stop = threading.Event()
    failed: list[BaseException] = []
    writes = 0

    def write() -> None:
        nonlocal writes
        random = np.random.default_rng(1)
        while not stop.is_set():
            held = index.ids
            out = random.choice(held, 50, replace=False)
            index.remove(out)
            free = np.setdiff1d(np.arange(5000), held)
            some = random.choice(free, int(random.integers(40, 60)), replace=False)
            index.add(codes[some], some)
            writes += 1

    def read(seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            while not stop.is_set():
                searched, filter = (index, prepared) if way == "prepared" else way(index)
                queries = codes[random.integers(0, 5000, 3)]
                distances, ids = searched.search(queries, 5, filter=filter)
                assert (ids % 2 == 0).all()
                assert (distances == np.bitwise_count(codes[ids] ^ queries[:, None]).sum(2)).all()
                lims, distances, ids = searched.range_search(queries, 22, filter=filter)
                assert (ids % 2 == 0).all()
                owner = np.repeat(queries, np.diff(lims), axis=0)
                assert (distances == np.bitwise_count(codes[ids] ^ owner).sum(1)).all()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write)]
    threads += [threading.Thread(target=read, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    assert writes > 10


def test_a_snapshot_never_changes() -> None:
    codes = random_codes(600)
    index = HammingIndex(64, fingerprint="c0ffee")
    index.add(codes[:500])
    index.remove(np.arange(0, 100, 3))
    snapshot = index.snapshot()
    before = snapshot.search(codes[:9], 7), snapshot.ids, snapshot.get(snapshot.ids), len(snapshot)
    index.update(~codes[1:3], [1, 2])
    index.remove(np.arange(200, 400))
    index.add(codes[500:])
    index.compact()
    index.build_tables()
    after = snapshot.search(codes[:9], 7), snapshot.ids, snapshot.get(snapshot.ids), len(snapshot)
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert 200 in snapshot and 200 not in index
    assert snapshot.fingerprint == "c0ffee"
    assert snapshot.snapshot() is snapshot
    with pytest.raises(ValueError, match="read-only"):
        snapshot.ids[0] = 7


@pytest.mark.parametrize("n_parts", [1, 3])
def test_masks_are_read_beside_the_ids_of_a_snapshot(n_parts: int) -> None:
    codes, ids = random_codes(900), np.random.default_rng(1).permutation(9000)[:900]
    index = HammingIndex(64)
    for part in np.array_split(np.arange(900), n_parts):
        index.add(codes[part], ids[part])
    index.remove(ids[::5])
    snapshot = index.snapshot()
    for share in (0.0, 0.01, 0.6, 1.0):
        mask = np.random.default_rng(2).random(len(snapshot)) < share
        expected = index.search(codes[:20], 9, filter=snapshot.ids[mask])
        np.testing.assert_array_equal(snapshot.search(codes[:20], 9, filter=mask), expected)
        np.testing.assert_array_equal(
            snapshot.search(codes[:20], 9, filter=mask.tolist()), expected
        )
    with pytest.raises(ValueError, match=r"a mask must have shape \(720,\), one boolean for each"):
        snapshot.search(codes[:1], 1, filter=mask[1:])


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.9])
@pytest.mark.parametrize("consecutive", [True, False])
def test_all_ways_to_answer_a_filter_agree(share: float, consecutive: bool) -> None:
    """By a copy of the chosen codes or by their bits, from few ids or many, at once or later."""
    n = 3000
    codes = random_codes(n)
    index = HammingIndex(64)
    index.add(codes, None if consecutive else np.arange(n) * 7 + 3)
    index.remove(index.ids[5:2000:9])
    random = np.random.default_rng(3)
    chosen = index.ids[random.random(len(index)) < share]
    expected = HammingIndex(64)
    expected.add(index.get(chosen), chosen)
    given = random.permutation(np.concatenate([chosen, chosen[:5], [10**9, 2**63 - 1]]))
    prepared = index.select(given)
    for n_queries in (1, 400):
        queries = random_codes(n_queries, seed=9)
        wanted = expected.search(queries, 8)
        for filter in (given, prepared, lambda ids: np.isin(ids, chosen)):
            np.testing.assert_array_equal(index.search(queries, 8, filter=filter), wanted)
            found = index.range_search(queries, 22, filter=filter)
            for ours, theirs in zip(found, expected.range_search(queries, 22), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_a_prepared_filter_prepares_only_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    index = HammingIndex(64)
    index.add(random_codes(4000))
    prepared = index.select(even)
    asked: list[int] = []
    plain = selection._candidates

    def counting(segment: Any, *arguments: Any) -> Any:
        asked.append(len(segment))
        return plain(segment, *arguments)

    monkeypatch.setattr(selection, "_candidates", counting)
    for _ in range(3):
        index.search(random_codes(2), 3, filter=prepared)
    assert asked == []
    index.add(random_codes(10, seed=1))
    _, ids = index.search(random_codes(2, seed=1), 3, filter=prepared)
    assert asked == [10]
    assert (ids % 2 == 0).all()
    other = HammingIndex(64)  # the same filter serves other indexes
    other.add(random_codes(6))
    assert sorted(other.search(random_codes(1), 3, filter=prepared)[1][0]) == [0, 2, 4]


def test_a_selection_does_not_follow_the_array_it_was_made_from() -> None:
    index = HammingIndex(64)
    index.add(random_codes(10))
    chosen = np.array([1, 2])
    prepared = index.select(chosen)
    chosen[:] = 7
    assert sorted(index.search(random_codes(1), 2, filter=prepared)[1][0]) == [1, 2]
    assert isinstance(prepared, Selection)


def test_a_function_is_asked_for_ids_that_are_held() -> None:
    index = HammingIndex(64)
    index.add(random_codes(10))
    index.remove([3])
    labels = {number: number > 5 for number in range(10) if number != 3}
    found = index.search(random_codes(1), 9, filter=lambda ids: [labels[i] for i in ids.tolist()])
    assert sorted(found[1][0]) == [-1] * 5 + [6, 7, 8, 9]


@pytest.mark.parametrize("first", [0, 5])
@pytest.mark.parametrize("n", [256, 300])
def test_the_id_one_past_the_end_is_not_held(n: int, first: int) -> None:
    """Of a segment of consecutive ids, whose last group is full or has room for more codes."""
    index = HammingIndex(64)
    index.add(random_codes(n), np.arange(n) + first)
    end = first + n
    assert end not in index
    assert end - 1 in index
    assert index.search(random_codes(1), 2, filter=[end])[1].tolist() == [[-1, -1]]
    for call in (index.get, index.remove):
        with pytest.raises(ValueError, match=f"id {end} is not in the index"):
            call([end])
    with pytest.raises(ValueError, match=f"id {end} is not in the index"):
        index.update(random_codes(1), [end])
    index.add(random_codes(1, seed=2), [end])
    assert end in index
    if first:
        assert first - 1 not in index
        assert index.search(random_codes(1), 1, filter=[first - 1])[1].tolist() == [[-1]]


def test_a_mask_of_a_snapshot_may_span_segments() -> None:
    index, codes = HammingIndex(64), random_codes(1000)
    index.add(codes[:900])
    index.add(codes[900:])
    snapshot = index.snapshot()
    assert len(snapshot._segments) == 2
    mask = even(snapshot.ids)
    for found, expected in zip(
        snapshot.search(codes[:3], 5, filter=mask),
        index.search(codes[:3], 5, filter=snapshot.ids[mask]),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"mask must have shape \(1000,\)"):
        snapshot.search(codes[:3], 5, filter=mask[:900])
