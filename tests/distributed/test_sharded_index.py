from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import HammingIndex
from sigah.distributed import ShardedIndex, sharded_index
from sigah.distributed.shards import write_shards

pytestmark = pytest.mark.engine


@pytest.fixture
def collection(tmp_path: Path) -> tuple[HammingIndex, Path]:
    """Codes with many ties, in one index and in three shards cut at random."""
    rng = np.random.default_rng(0)
    codes = rng.integers(256, size=(3000, 2), dtype=np.uint8)
    ids = rng.permutation(10**6)[:3000]
    index = HammingIndex(16, fingerprint="f")
    index.add(codes, ids)
    cuts = np.sort(rng.choice(np.arange(1, 3000), 2, replace=False))
    shares = zip(np.split(codes, cuts), np.split(ids, cuts), strict=True)
    write_shards(shares, tmp_path / "shards", 16, "f")
    return index, tmp_path / "shards"


def process_of(index: ShardedIndex, number: int) -> int:
    shard: Any = index._shards[number]
    pid: int = index._ray.get(shard.__ray_call__.remote(lambda self: os.getpid()))
    return pid


def same(found: Any, expected: Any) -> bool:
    return all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def test_answers_are_those_of_one_index_also_when_a_shard_is_killed(
    ray: Any, collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = collection
    queries = np.random.default_rng(1).integers(256, size=(40, 2), dtype=np.uint8)
    expected = whole.search(queries, 25)
    with ShardedIndex(folder, n_threads=1) as index:
        assert (len(index), index.n_bits, index.fingerprint) == (3000, 16, "f")
        assert same(index.search(queries, 25), expected)
        assert same(index.search(queries[:0], 25), whole.search(queries[:0], 25))
        assert same(index.search(queries[:2], 4000), whole.search(queries[:2], 4000))
        assert same(index.range_search(queries, 3), whole.range_search(queries, 3))
        with monkeypatch.context() as small:  # block after block of queries
            small.setattr(sharded_index, "ANSWER_BYTES", 3 * 25 * 12 * 7)
            assert same(index.search(queries, 25), expected)
        with pytest.raises(ValueError, match="codes have 8 bits, expected 16"):
            index.search(queries[:, :1], 5)
        with pytest.raises(ValueError, match="k must be a whole number of at least 1"):
            index.search(queries, 0)

        first = process_of(index, 1)
        killed = threading.Event()

        def kill() -> None:
            os.kill(first, signal.SIGKILL)
            killed.set()

        killer = threading.Timer(0.1, kill)
        killer.start()
        searches = 0
        while not killed.is_set() or searches < 20:
            assert same(index.search(queries, 25), expected)
            searches += 1
        killer.join()
        assert process_of(index, 1) != first
        assert same(index.search(queries, 25), expected)
    index.close()  # twice does no harm
    assert ray.is_initialized()  # the program's own connection is left alone


def test_a_damaged_shard_is_refused_by_name(ray: Any, tmp_path: Path) -> None:
    write_shards([(np.zeros((9, 2), np.uint8), np.arange(9))], tmp_path / "shards", 16, "f")
    file = tmp_path / "shards" / "shard-00000.index"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"shard-00000\.index.*damaged"):
        ShardedIndex(tmp_path / "shards")
    other = HammingIndex(16, fingerprint="g")
    other.add(np.zeros((9, 2), np.uint8))
    other.save(file)
    with pytest.raises(ValueError, match=r"shard-00000\.index: it does not match the manifest"):
        ShardedIndex(tmp_path / "shards")
