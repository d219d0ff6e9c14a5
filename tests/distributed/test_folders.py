"""Folders of codes and of shards as files: what is damaged or foreign is refused (no Ray)."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sigah import HammingIndex
from sigah.cli import app
from sigah.distributed import build_shards
from sigah.distributed.shards import cut, write_shards
from sigah.distributed.training import pooled
from sigah.files import load_codes, save_codes
from sigah.files.folders import CODES_FOLDER, new_folder, write_manifest
from sigah.search.merging import merge_nearest, merge_within_radius

pytest.importorskip("pyarrow")


def random_codes(n: int, n_bytes: int = 1, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(256, size=(n, n_bytes), dtype=np.uint8)


def make_folder(path: Path, codes: Any, ids: Any, sizes: list[int], fingerprint: str = "f") -> Path:
    origin = {"method": "lsh", "fingerprint": fingerprint, "n_bits": 8 * codes.shape[1]}
    files, start = {}, 0
    with new_folder(path) as folder:
        for number, size in enumerate(sizes):
            some = slice(start, start + size)
            name = f"part-{number:05d}.parquet"
            save_codes(folder / name, codes[some], origin, ids=ids[some])
            files[name], start = size, start + size
        write_manifest(folder, CODES_FOLDER, origin, files)
    return path


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_cutting_keeps_codes_ids_and_order(sizes: list[int], data: Any) -> None:
    n = sum(sizes)
    bounds = sorted(data.draw(st.sets(st.integers(1, max(1, n - 1)), max_size=n - 1)))
    wanted = np.diff([0, *bounds, n]).tolist()
    codes, ids = random_codes(n), np.arange(n)
    starts = np.cumsum([0, *sizes])
    shares = [(codes[a:b], ids[a:b]) for a, b in pairwise(starts)]
    found = list(cut(shares, wanted))
    assert [len(c) for c, _ in found] == wanted
    assert np.array_equal(np.concatenate([c for c, _ in found]), codes)
    assert np.array_equal(np.concatenate([i for _, i in found]), ids)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 12), st.integers(0, 8))
def test_merged_answers_are_those_of_one_index(
    seed: int, n_shards: int, k: int, radius: int
) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(n_shards, 60))
    codes, ids = random_codes(n, seed=seed), rng.permutation(10 * n)[:n]
    owner = np.r_[np.arange(n_shards), rng.integers(n_shards, size=n - n_shards)]  # none is empty
    whole = HammingIndex(8)
    whole.add(codes, ids)
    shards = [HammingIndex(8) for _ in range(n_shards)]
    for number, shard in enumerate(shards):
        shard.add(codes[owner == number], ids[owner == number])
    queries = random_codes(int(rng.integers(0, 5)), seed=seed + 1)
    found = merge_nearest([shard.search(queries, k) for shard in shards], len(queries), k)
    for mine, theirs in zip(found, whole.search(queries, k), strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    balls = merge_within_radius(
        [shard.range_search(queries, radius) for shard in shards], len(queries)
    )
    for mine, theirs in zip(balls, whole.range_search(queries, radius), strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)


def test_shards_are_indexes_of_equal_size(tmp_path: Path) -> None:
    codes, ids = random_codes(10, 2), np.arange(100, 110)
    manifest = build_shards(make_folder(tmp_path / "c", codes, ids, [7, 3]), tmp_path / "s", 4)
    assert [entry["count"] for entry in manifest["files"]] == [2, 3, 3, 2]
    opened = [HammingIndex.open(tmp_path / "s" / entry["file"]) for entry in manifest["files"]]
    assert np.array_equal(np.concatenate([index.ids for index in opened]), ids)
    assert np.array_equal(np.concatenate([index.get(index.ids) for index in opened]), codes)
    assert {index.fingerprint for index in opened} == {"f"}


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "codes", random_codes(10, 2), np.arange(10), [10])
    words = ["cluster", "shards", str(folder), "--out", str(tmp_path / "shards"), "-n", "3"]
    done = CliRunner().invoke(app, words)
    assert done.stdout == f"{tmp_path / 'shards'}: 10 codes of 16 bits in 3 shards\n"
    assert isinstance(CliRunner().invoke(app, words).exception, FileExistsError)


def test_shards_want_whole_numbers_each_once(tmp_path: Path) -> None:
    codes = random_codes(4)
    for ids, message in (
        (np.array([1, 2, 3, 1]), "unique in all shards, but 1 is repeated"),
        (np.array(list("abcd")), "must be whole numbers"),
        (np.array([0, 1, -5, 2]), "must be whole numbers"),
    ):
        folder = make_folder(tmp_path / "codes", codes, ids, [2, 2])
        with pytest.raises(ValueError, match=message):
            build_shards(folder, tmp_path / "shards", 2)
        shutil.rmtree(folder)
    folder = make_folder(tmp_path / "codes", codes, np.arange(4), [4])
    with pytest.raises(ValueError, match="4 codes cannot fill 5 shards"):
        build_shards(folder, tmp_path / "shards", 5)
    with pytest.raises(ValueError, match="n_shards must be a whole number"):
        build_shards(folder, tmp_path / "shards", 0)
    with pytest.raises(ValueError, match="no shards"):
        write_shards([], tmp_path / "shards", 8, None)
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    codes = random_codes(6, 2)
    folder = make_folder(tmp_path / "codes", codes, np.arange(6), [4, 2])
    manifest = folder / "_sigah.json"
    sound = json.loads(manifest.read_text())
    entries = sound["files"]
    for change, message in (
        ({"format": "sigah-shards"}, "it is of the format"),
        ({"format_version": 3}, "version 3 .* upgrade sigah"),
        ({"format_version": True}, "version True"),
        ({"format_version": 1}, "the name of its ids|lacks 'ids'"),
        ({"n_bits": 15}, "multiple of 8"),
        ({"count": 7}, "list of files is damaged"),
        ({"files": [{"file": "../codes.parquet", "count": 6}]}, "list of files is damaged"),
        ({"files": 3}, "cannot open"),
        ({"fingerprint": 3}, "fingerprint is damaged"),
        ({"n_bits": 24}, "4 codes of 24 bits, it holds 4 of 16"),
        ({"fingerprint": "g"}, "another model"),
        (
            {"files": [entries[0] | {"count": 2}, entries[1] | {"count": 4}]},
            "says that it holds 2 codes",
        ),
    ):
        manifest.write_text(json.dumps(sound | change))
        with pytest.raises(ValueError, match=message):
            load_codes(folder)
    manifest.write_text("{")
    with pytest.raises(ValueError, match=r"cannot open .*_sigah\.json"):
        load_codes(folder)
    manifest.write_text(json.dumps(sound))
    assert np.array_equal(load_codes(folder).codes, codes)
    (folder / "part-00001.parquet").unlink()
    with pytest.raises(FileNotFoundError):
        load_codes(folder)
    with pytest.raises(ValueError, match="no folder of codes"):
        load_codes(tmp_path)


def test_statistics_of_shares_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 5)) @ rng.normal(size=(5, 5)) + 10 * rng.normal(size=5)
    shares = np.split(X, [10, 11, 60])
    mean, covariance = pooled(
        np.array([len(share) for share in shares]),
        np.array([share.mean(axis=0) for share in shares]),
        np.array([np.cov(share.T, bias=True) for share in (*shares[:1], shares[1], *shares[2:])]),
    )
    assert np.allclose(mean, X.mean(axis=0))
    assert np.allclose(covariance, np.cov(X.T, bias=True))
