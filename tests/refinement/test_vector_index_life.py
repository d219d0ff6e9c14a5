"""VectorIndex beside writers, in copies, in other processes, and over a file that changes."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import ITQ, VectorIndex
from sigah.files import FileFormatError, save_index
from sigah.refinement import RefinedCodes
from sigah.refinement import vector_index as module

N, DIM = 600, 16


@pytest.fixture(scope="module")
def vectors() -> Any:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, DIM))
    return (centres[rng.integers(0, 20, N)] + 0.5 * rng.normal(size=(N, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def built(vectors: Any) -> VectorIndex:
    return VectorIndex.build(vectors, 4, metric="l2", random_state=0, n_threads=1)


@pytest.fixture
def index(built: VectorIndex) -> VectorIndex:
    return copy.copy(built)


def through_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def even(ids: Any) -> Any:
    return ids % 2 == 0


@pytest.mark.parametrize("filter", [None, even, "prepared"])
def test_all_parts_of_a_search_answer_from_one_state_while_another_thread_writes(
    filter: Any,
    index: VectorIndex,
    vectors: Any,
    monkeypatch: pytest.MonkeyPatch,
    switching_often: None,
) -> None:
    """The writer turns all vectors into one, then into another: no search may see both."""
    monkeypatch.setattr(module, "QUERY_BYTES", 1)  # 16 queries are a part
    states = [np.repeat(vectors[row : row + 1], N, axis=0) for row in (0, 1)]
    index.update(states[0], np.arange(N))
    chosen = index.select(even) if filter == "prepared" else filter
    queries = np.repeat(vectors[:1], 48, axis=0)
    stop, wrong, searches = threading.Event(), list[Any](), 0

    def read() -> None:
        nonlocal searches
        while not stop.is_set():
            distances, ids = index.search(queries, 2, filter=chosen)
            searches += 1
            if len(np.unique(distances)) != 1 or (chosen is not None and (ids % 2).any()):
                wrong.append((distances, ids))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    until = time.monotonic() + 20
    turn = 0
    while (turn < 60 or searches < 20) and time.monotonic() < until:
        turn += 1
        index.update(states[turn % 2], np.arange(N))
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert searches >= 20


def test_masks_are_refused_because_the_index_may_have_changed(
    index: VectorIndex, vectors: Any
) -> None:
    mask = index.ids % 2 == 0
    index.remove([4])
    index.add(vectors[:1], [700])
    for call in (lambda: index.search(vectors[:1], 3, filter=mask), lambda: index.select(mask)):
        with pytest.raises(ValueError, match="a boolean mask belongs to one state"):
            call()


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, through_pickle])
@pytest.mark.parametrize("kind", ["in memory", "mapped"])
def test_a_copy_answers_the_same_and_is_independent(
    kind: str, way: Any, index: VectorIndex, vectors: Any, tmp_path: Path
) -> None:
    if kind == "mapped":
        index.save(tmp_path / "index")
        index = VectorIndex.open(tmp_path / "index", n_threads=1)
    twin = way(index)
    if kind == "mapped" and way is through_pickle:
        (tmp_path / "index").unlink()
    expected = index.search(vectors[:30], 5)
    np.testing.assert_array_equal(twin.search(vectors[:30], 5), expected)
    assert (twin.n_threads, twin.shortlist, twin.metric) == (1, index.shortlist, "l2")
    twin.remove(np.arange(0, N, 2))
    twin.update(-vectors[1:2], [1])
    twin.add(-vectors[:3])
    twin.shortlist = 7
    np.testing.assert_array_equal(index.search(vectors[:30], 5), expected)
    assert (len(index), index.shortlist == 7) == (N, False)
    assert len(twin) == N // 2 + 3


def test_a_spawned_worker_takes_it(index: VectorIndex, vectors: Any) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(index.search, (vectors[:10], 5))
    np.testing.assert_array_equal(found, index.search(vectors[:10], 5))


FORK = """
import faulthandler, os, signal, sys, threading, time, warnings
import numpy as np
from sigah import VectorIndex
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
faulthandler.enable()
sys.setswitchinterval(1e-5)
index = VectorIndex.load(sys.argv[1], n_threads=2)
vectors = np.load(sys.argv[2])
n = len(index)

def write():
    while True:
        index.add(vectors, 10**6 + np.arange(len(vectors)))
        index.remove(10**6 + np.arange(len(vectors)))

def read():
    while True:
        index.search(vectors[:20], 3)

index.add(vectors[:2], [10**8, 10**8 + 1])
for filter in (None, [1, 5, 10**8]):  # so that no child waits for kernels to compile
    index.search(vectors[:20], 3, filter=filter)
index.remove([10**8, 10**8 + 1])
for work in (write, read):
    threading.Thread(target=work, daemon=True).start()
for _ in range(12):
    time.sleep(0.003)
    child = os.fork()
    if not child:
        assert len(index) in (n, n + len(vectors))
        index.add(vectors[:2], [10**7, 10**7 + 1])
        index.remove([10**7 + 1])
        distances, ids = index.search(vectors[:1], 3, filter=[10**7, 5])
        os._exit(0 if sorted(ids[0]) == [-1, 5, 10**7] else 1)
    deadline = time.monotonic() + 30
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGABRT)  # says where it hangs
            os._exit(9)
        time.sleep(0.002)
    if done[1]:
        os._exit(1)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_while_threads_work_can_search_and_write(
    index: VectorIndex, vectors: Any, tmp_path: Path
) -> None:
    index.save(tmp_path / "index")
    np.save(tmp_path / "vectors.npy", vectors)
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path / "index"), str(tmp_path / "vectors.npy")],
        timeout=400,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_replaced_file_leaves_the_open_index_and_a_changed_one_is_an_error(
    index: VectorIndex, vectors: Any, tmp_path: Path
) -> None:
    path = tmp_path / "index"
    index.save(path)
    opened = VectorIndex.open(path, n_threads=1)
    expected = opened.search(vectors[:5], 3)
    index.remove(np.arange(100))
    index.save(path)
    np.testing.assert_array_equal(opened.search(vectors[:5], 3), expected)
    held = VectorIndex.load(path)
    opened = VectorIndex.open(path)
    opened.search(vectors[:5], 3)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
        os.utime(path, (0, 0))
    for call in (
        lambda: opened.search(vectors[:1], 1),
        lambda: opened.reconstruct([200]),
        lambda: copy.copy(opened).search(vectors[:1], 1),
        lambda: opened.save(tmp_path / "other"),
    ):
        with pytest.raises(FileFormatError, match="somebody wrote into the file"):
            call()
    assert held.search(vectors[200:201], 1)[1].item() == 200


@pytest.mark.parametrize("wrong", [["7", 0.1], [0, 0.1], [7, -1.0], [7, "x"], [7], 7])
@pytest.mark.parametrize("name", ["shortlist", "wide_shortlist"])
def test_shortlists_that_no_index_wrote_are_damage(
    index: VectorIndex, tmp_path: Path, name: str, wrong: Any
) -> None:
    header, arrays = index.content()
    save_index(tmp_path / "v", header | {name: wrong}, arrays, kind="vectors")
    with pytest.raises(FileFormatError, match="its header is damaged"):
        VectorIndex.open(tmp_path / "v")


def test_searches_beside_a_calibration_use_the_shortlist_as_it_was(
    index: VectorIndex, vectors: Any
) -> None:
    before = index.shortlist
    seen = []

    def original(ids: Any) -> Any:
        seen.append(index.shortlist)
        return vectors[ids]

    truth = np.arange(20)[:, None]
    index.calibrate(vectors[:20], truth, target_recall=1.0, vectors=original)
    assert set(seen) == {before}

    def interrupted(ids: Any) -> Any:
        raise KeyboardInterrupt

    before = index.shortlist
    with pytest.raises(KeyboardInterrupt):
        index.calibrate(vectors[:20], truth, target_recall=1.0, vectors=interrupted)
    assert index.shortlist == before


@pytest.mark.parametrize(
    ("truth", "recall", "says"),
    [
        ([[0], [1]], float("nan"), "target_recall must be above 0"),
        ([[0], [1]], True, "target_recall must be above 0"),
        ([[0], [1]], "high", "target_recall must be above 0"),
        ([[0], [-1]], 0.9, "truth names id -1 for query 1"),
        ([[0], [N]], 0.9, f"truth names id {N} for query 1"),
        ([[0.0], [1.0]], 0.9, "truth must be ids"),
        ([[0, 0], [1, 2]], 0.9, "truth must not repeat"),
        ([[0]], 0.9, r"truth must be ids of shape \(2, k\)"),
    ],
)
def test_a_calibration_names_what_is_wrong_and_changes_nothing(
    truth: Any, recall: Any, says: str, index: VectorIndex, vectors: Any
) -> None:
    before = index.shortlist
    with pytest.raises(ValueError, match=says):
        index.calibrate(vectors[:2], truth, target_recall=recall)
    assert index.shortlist == before


@pytest.mark.parametrize("hasher", ["itq", ITQ, ITQ(8)])
def test_what_is_no_fitted_hasher_is_refused(hasher: Any, vectors: Any) -> None:
    with pytest.raises(ValueError, match="hasher must be a fitted hasher, got"):
        RefinedCodes(hasher, 4)
    with pytest.raises(ValueError, match="refined must be fitted RefinedCodes, got"):
        VectorIndex(hasher)
    with pytest.raises(ValueError, match="hasher must be a fitted hasher, got"):
        VectorIndex.build(vectors, 4, hasher=hasher)


def test_the_metric_comes_from_the_hasher_or_is_given(vectors: Any) -> None:
    hasher = ITQ(8, random_state=0).fit(vectors)
    with pytest.raises(ValueError, match="leave it out, or give no hasher"):
        RefinedCodes(hasher, 4, metric="l2")
    with pytest.raises(ValueError, match="metric must be one of"):
        RefinedCodes(None, 4)
    with pytest.raises(ValueError, match="n_bytes must be"):
        RefinedCodes(None, 1, metric="l2")
    with pytest.raises(ValueError, match="refined must be fitted RefinedCodes, got"):
        VectorIndex(None)  # type: ignore[arg-type]


def test_more_candidates_than_vectors_are_all_vectors(index: VectorIndex, vectors: Any) -> None:
    """Memory follows what the index holds, not what is asked."""
    expected = index.search(vectors[:20], 3, vectors=vectors, n_ranked=N)
    found = index.search(vectors[:20], 3, vectors=vectors, n_ranked=10**15)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("gives", [lambda ids: np.ones((1, DIM)), lambda ids: None])
def test_a_function_must_give_a_vector_for_each_id(
    gives: Any, index: VectorIndex, vectors: Any
) -> None:
    with pytest.raises(ValueError, match=r"vectors must give a vector for each of the \d+ ids"):
        index.search(vectors[:1], 3, vectors=gives)


@pytest.mark.parametrize("ids", [{1, 2}, 1, [1.5], [2**70], ["1"], [[1]]])
def test_what_are_no_ids_are_refused_by_their_name(
    ids: Any, index: VectorIndex, vectors: Any
) -> None:
    with pytest.raises(ValueError, match=r"^ids must"):
        index.holds(ids)
    with pytest.raises(ValueError, match=r"^ids must"):
        index.remove(ids)
    with pytest.raises(ValueError, match=r"^filter must"):
        index.search(vectors[:1], 3, filter=ids)
    if not np.ndim(ids):
        with pytest.raises(ValueError, match="give an array or a list"):
            index.select(ids)


def test_a_model_that_is_fitted_again_changes_no_index_and_spoils_no_file(
    vectors: Any, tmp_path: Path
) -> None:
    refined = RefinedCodes(None, 4, metric="l2")
    with pytest.raises(ValueError, match="not fitted"):
        _ = refined.n_features
    index = VectorIndex(refined.fit(vectors, random_state=0))
    index.add(vectors)
    expected = index.search(vectors[:5], 3)
    refined.fit(-2 * vectors, random_state=1)
    np.testing.assert_array_equal(index.search(vectors[:5], 3), expected)
    index.save(tmp_path / "index")
    np.testing.assert_array_equal(
        VectorIndex.open(tmp_path / "index").search(vectors[:5], 3), expected
    )
    hasher = ITQ(8, random_state=0).fit(vectors)
    index = VectorIndex.build(vectors, 4, metric="l2", hasher=hasher, random_state=0)
    hasher.fit(vectors[::2])
    with pytest.raises(ValueError, match="fitted again.*build the index again"):
        index.save(tmp_path / "index")
    assert len(VectorIndex.open(tmp_path / "index")) == N


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.ones((3, 8)))
    with pytest.raises(FileFormatError, match="vectors.npy: it is damaged, or a file of another"):
        VectorIndex.open(tmp_path / "vectors.npy")


def test_memory_does_not_follow_the_candidates_of_all_queries(
    index: VectorIndex, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = index.search(vectors[:50], 3, vectors=vectors, n_ranked=400)
    monkeypatch.setattr(module, "CANDIDATES", 2000)
    asked: list[int] = []

    def original(ids: Any) -> Any:
        asked.append(len(ids))
        return vectors[ids]

    found = index.search(vectors[:50], 3, vectors=original, n_ranked=400)
    np.testing.assert_array_equal(found, expected)
    assert len(asked) == 10, "five queries at a time"
    index.search(vectors[:3], 3, vectors=original, n_ranked=10**9)
    assert max(asked) <= N
