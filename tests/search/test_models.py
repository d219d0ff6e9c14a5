"""Codes and queries of one model: an index knows it, and what belongs to another is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sigah import ITQ, LSH, HammingIndex, TwoStageSearch, files


@pytest.fixture(scope="module")
def hasher(blobs: Any) -> Any:
    return ITQ(16, random_state=0).fit(blobs)


@pytest.fixture(scope="module")
def other(blobs: Any) -> Any:
    return ITQ(16, random_state=1).fit(blobs)


def test_an_index_of_a_hasher_carries_its_fingerprint(
    hasher: Any, other: Any, blobs: Any, tmp_path: Path
) -> None:
    index = HammingIndex.of(hasher, n_threads=1)
    assert (index.n_bits, index.n_threads, index.fingerprint) == (16, 1, hasher.fingerprint)
    index.add(hasher.transform(blobs))
    index.save(tmp_path / "index")
    for same in (index, HammingIndex.open(tmp_path / "index"), index.snapshot()):
        TwoStageSearch(same, hasher, "asymmetric").search(blobs[:3], 2)
        with pytest.raises(ValueError, match="the index holds codes of another model") as refused:
            TwoStageSearch(same, other, "asymmetric")
        assert hasher.fingerprint in str(refused.value)
        assert other.fingerprint in str(refused.value)


@pytest.mark.parametrize("name", ["codes.npy", "codes.parquet"])
def test_an_index_of_a_file_of_codes_carries_its_fingerprint(
    name: str, hasher: Any, other: Any, blobs: Any, tmp_path: Path
) -> None:
    codes = hasher.transform(blobs)
    header = {"method": "itq", "fingerprint": hasher.fingerprint}
    files.save_codes(tmp_path / name, codes, header)
    index = HammingIndex.of_codes(tmp_path / name, np.arange(len(codes)) * 2)
    index.check_model(hasher)
    np.testing.assert_array_equal(index.get([0, 2, 4]), codes[:3])
    with pytest.raises(ValueError, match="another model"):
        index.check_model(other)
    np.save(tmp_path / "plain.npy", codes)
    assert HammingIndex.of_codes(tmp_path / "plain.npy").fingerprint is None


def test_an_index_of_a_parquet_file_has_its_ids(hasher: Any, blobs: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from sigah import streams

    streams.encode(hasher, blobs, tmp_path / "codes.parquet")
    index = HammingIndex.of_codes(tmp_path / "codes.parquet")
    assert index.fingerprint == hasher.fingerprint
    np.testing.assert_array_equal(index.get(np.arange(len(blobs))), hasher.transform(blobs))


def test_codes_that_say_they_are_of_another_model_are_not_added(hasher: Any, other: Any) -> None:
    index = HammingIndex.of(hasher)
    codes = np.zeros((2, 2), np.uint8)
    index.add(codes, fingerprint=hasher.fingerprint)
    with pytest.raises(ValueError, match="another model"):
        index.add(codes, fingerprint=other.fingerprint)
    assert len(index) == 2


def test_without_a_fingerprint_nothing_is_refused(hasher: Any, other: Any, blobs: Any) -> None:
    index = HammingIndex(16)
    index.add(hasher.transform(blobs), fingerprint=hasher.fingerprint)
    TwoStageSearch(index, other, "asymmetric").search(blobs[:2], 2)
    known = HammingIndex.of(hasher)
    TwoStageSearch(known, SimpleNamespace(transform=hasher.transform), "spherical")


def test_a_hasher_of_another_width_is_refused(hasher: Any, blobs: Any) -> None:
    with pytest.raises(ValueError, match="holds codes of 16 bits, the hasher makes 32"):
        TwoStageSearch(HammingIndex(16), LSH(32, random_state=0).fit(blobs), "asymmetric")


@pytest.mark.parametrize("whole", [np.int8, np.int64, np.uint16])
def test_numpy_scalars_are_numbers(whole: Any, hasher: Any, blobs: Any, tmp_path: Path) -> None:
    index = HammingIndex(whole(16), n_threads=whole(1))
    index.add(hasher.transform(blobs))
    index.save(tmp_path / "index")
    assert HammingIndex.load(tmp_path / "index", n_threads=whole(1)).stats()["n_bits"] == 16
    queries = hasher.transform(blobs[:3])
    np.testing.assert_array_equal(index.search(queries, whole(2)), index.search(queries, 2))
    assert index.range_search(queries, whole(1))[0][-1] > 0
    search = TwoStageSearch(index, hasher, "asymmetric", oversampling=np.float32(4))
    np.testing.assert_array_equal(search.search(blobs[:3], whole(2)), search.search(blobs[:3], 2))
    truth = index.search(queries, 2)[1]
    found = search.calibrate(blobs[:3], truth, target_recall=np.float32(0.5))
    assert type(found.target_recall) is float


@pytest.mark.parametrize("bad", [np.bool_(True), True, 0, -1, 1.5, "3", None, np.nan])
def test_numbers_that_are_none_are_named(bad: Any, hasher: Any, blobs: Any) -> None:
    index = HammingIndex.of(hasher)
    queries = np.zeros((1, 2), np.uint8)
    with pytest.raises(ValueError, match="k must be a whole number of at least 1"):
        index.search(queries, bad)
    with pytest.raises(ValueError, match="k must be a whole number of at least 1"):
        TwoStageSearch(index, hasher, "asymmetric").search(blobs[:1], bad)
    if bad is not None:
        with pytest.raises(ValueError, match="n_threads must be a whole number of at least 1"):
            HammingIndex(16, n_threads=bad)
    if bad != 1.5:
        with pytest.raises(ValueError, match="oversampling must be a number of at least 1"):
            TwoStageSearch(index, hasher, "asymmetric", oversampling=bad)
