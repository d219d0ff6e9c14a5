"""``sigah data``, and vectors in files of several tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import sigah
from sigah.lab import datasets


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_list_has_every_set_below_its_heading(run: Any) -> None:
    status, out, _ = run("data", "list")
    assert status == 0
    lines = [line.strip() for line in out.splitlines()]
    at = [lines.index(heading) for heading in datasets.GROUPS]
    assert at == sorted(at)
    for start, stop, sets in zip(at, [*at[1:], len(lines)], datasets.GROUPS.values(), strict=True):
        first_words = [line.split()[0] for line in lines[start + 1 : stop] if line]
        names = [word for word in first_words if word in datasets.CATALOG]
        assert names == [entry.name for entry in sets]
    assert "Not the Deep1M of the paper" in out
    assert "1,000,000 + 1,000" in out


def test_a_set_of_ones_own_is_explained_fetched_checked_and_used(
    run: Any, cache: Path, blobs: Any
) -> None:
    status, _, err = run("data", "fetch", "imagenet-100")
    place = cache / "imagenet-100" / "supplied"
    assert status == 1
    assert str(place) in err.replace("\n", "") and "`base_labels`" in err
    assert run("data", "check", "imagenet-100")[0] == 1
    labels = np.arange(2000) % 100
    np.savez(
        place / "features.npz",
        base=blobs[:1900], queries=blobs[1900:], base_labels=labels[:1900],
        query_labels=labels[1900:],
    )  # fmt: skip
    status, out, _ = run("data", "fetch", "imagenet-100")
    assert (status, out.strip()) == (0, str(cache / "imagenet-100"))
    assert ": whole" in run("data", "check", "imagenet-100")[1]
    assert run("fit", "imagenet-100", "--bits", 8, "--method", "itq", "--out", cache / "m")[0] == 0
    out = cache / "codes.npy"
    assert run("encode", cache / "m", "imagenet-100:queries", "--out", out)[0] == 0
    expected = sigah.load(cache / "m").transform(blobs[1900:])
    np.testing.assert_array_equal(np.load(out), expected)
    damaged = cache / "imagenet-100" / "base.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    status, _, err = run("fit", "imagenet-100", "--bits", 8, "--out", cache / "m")
    assert (status, "run `sigah data fetch imagenet-100`" in err) == (1, True)


def test_a_table_of_a_file_is_named_after_a_colon(run: Any, tmp_path: Path, blobs: Any) -> None:
    file = tmp_path / "vectors.h5"
    with h5py.File(file, "w") as stored:
        stored["train"], stored["test"] = blobs[50:], blobs[:50]
    model, codes = tmp_path / "m", tmp_path / "c.npy"
    fit = ("fit", "--bits", 8, "--method", "itq", "--out", model)
    assert run(*fit, f"{file}:train")[0] == 0
    assert run("encode", model, f"{file}:train", "--out", codes)[0] == 0
    for more in ((), ("--by", "raw", "--vectors", f"{file}:train")):
        out = tmp_path / "found.npz"
        call = ("search", model, codes, f"{file}:test", "-k", 5, *more, "--out", out)
        assert run(*call)[0] == 0
    with np.load(out) as found:
        gaps = blobs[:50, None] - blobs[50:][found["ids"]]
        np.testing.assert_allclose(found["distances"], (gaps**2).sum(2), rtol=1e-4)
    status, _, err = run(*fit, file)
    assert (status, "vectors.h5:test, vectors.h5:train" in err.replace("\n", " ")) == (1, True)
