"""Both stages of a search see one state of the index, whatever a writer does meanwhile."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from sigah import ITQ, HammingIndex, TwoStageSearch

SECONDS = 2  # version 08d4737 gave its first wrong answer after 0.4 to 1 s
N = 400


@pytest.mark.parametrize("by", ["asymmetric", "spherical", "decoded"])
def test_two_stages_answer_from_one_state_while_another_thread_writes(
    by: str, switching_often: None
) -> None:
    vectors = np.random.default_rng(0).normal(size=(N, 16)).astype(np.float32)
    hasher = ITQ(16, random_state=0).fit(vectors)
    codes, ids = hasher.transform(vectors), np.arange(N)
    index = HammingIndex(16, n_threads=1)
    index.add(codes, ids)
    search = TwoStageSearch(index, hasher, by, oversampling=5)
    queries = vectors[:20]

    def answer() -> Any:
        return [part.tobytes() for part in search.search(queries, 4)]

    states = [lambda: index.update(codes, ids), lambda: index.update(codes[::-1], ids)]
    states.append(lambda: index.remove(ids[: N // 2]))
    right = []
    for change in states:
        change()
        right.append(answer())
    index.upsert(codes, ids)
    assert len({tuple(each) for each in right}) == 3
    stop = threading.Event()
    writes = 0

    def write() -> None:
        nonlocal writes
        while not stop.is_set():
            for change in states:
                change()
            index.upsert(codes[::-1], ids)  # all at once: the second state again
            writes += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        searches, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end or writes < 3:
            assert answer() in right
            searches += 1
    finally:
        stop.set()
        writer.join()
    assert searches > 3
