"""Arrays, foreign rows, files and batches pass one door: one result for each type of value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
import torch

import sigah
from sigah import rows, streams
from sigah.hashers.base import BinaryHasher
from sigah.rows import files_of, identity, open_vectors

X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def hasher() -> BinaryHasher:
    return sigah.ITQ(8, random_state=0).fit(X)


@pytest.fixture
def doors(hasher: BinaryHasher, tmp_path: Path) -> dict[str, Callable[[Any], Any]]:
    """All ways by which rows come in."""
    out = tmp_path / "codes.npy"
    return {
        "fit": lambda source: sigah.ITQ(8, random_state=0).fit(source),
        "transform": hasher.transform,
        "encode": lambda source: streams.encode(hasher, source, out),
        "batches": lambda source: streams.encode(hasher, iter([source]), out),
        "sample": lambda source: rows.sample(source, 5, 0),
    }


def stored(tmp_path: Path, name: str) -> Any:
    """A table of HDF5, as h5py gives it."""
    file = h5py.File(tmp_path / "a.h5", "w")
    tables: dict[str, Any] = {
        "floats": X,
        "big-endian": X.astype(">f8"),
        "flags": X > 0,
        "bytes": X.astype("S9"),
        "strings": (X.astype(str).astype(object), h5py.string_dtype()),
        "complex": X.astype(complex),
    }
    values = tables[name]
    if isinstance(values, tuple):
        return file.create_dataset(name, data=values[0], dtype=values[1])
    return file.create_dataset(name, data=values)


READ: dict[str, Callable[[Path], Any]] = {
    "float16": lambda _: X.astype(np.float16),
    "big-endian": lambda _: X.astype(">f8"),
    "long doubles": lambda _: X.astype(np.longdouble),
    "integers": lambda _: (9 * X).astype(">i2"),
    "booleans": lambda _: X > 0,
    "bfloat16": lambda _: X.astype(ml_dtypes.bfloat16),
    "objects": lambda _: X.astype(object),
    "lists": lambda _: X.tolist(),
    "nothing masked": lambda _: np.ma.masked_array(X),
    "torch": lambda _: torch.tensor(X),
    "torch bfloat16": lambda _: torch.tensor(X).bfloat16(),
    "h5py": lambda folder: stored(folder, "floats"),
    "h5py big-endian": lambda folder: stored(folder, "big-endian"),
    "h5py flags": lambda folder: stored(folder, "flags"),
}


@pytest.mark.parametrize("kind", READ)
def test_what_is_read_has_the_same_codes_through_every_door(
    kind: str, doors: Any, hasher: BinaryHasher, tmp_path: Path
) -> None:
    source = READ[kind](tmp_path)
    plain = source.float().numpy() if isinstance(source, torch.Tensor) else np.asarray(source)
    plain = np.asarray(plain[:], np.float32)
    expected = hasher.transform(plain)
    np.testing.assert_array_equal(doors["transform"](source), expected)
    for door in ("encode", "batches"):
        doors[door](source)
        np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), expected)
    np.testing.assert_array_equal(doors["sample"](source), rows.sample(plain, 5, 0))
    assert doors["fit"](source).fingerprint == doors["fit"](plain).fingerprint


class Liar:
    """Says that it holds floats, and slices to something else."""

    shape, dtype = X.shape, X.dtype

    def __init__(self, block: Any) -> None:
        self.block = block

    def __getitem__(self, where: Any) -> Any:
        return self.block[where]


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "masked": (lambda _: np.ma.masked_array(X, X[3, 2] == X), "masked .*row 3, column 2"),
    "complex": (lambda _: X.astype(complex), "Complex data"),
    "dates": (lambda _: X.astype("M8[s]"), "dates or times"),
    "durations": (lambda _: X.astype("m8[s]"), "durations"),
    "text": (lambda _: X.astype(str), "text"),
    "bytes": (lambda _: X.astype("S9"), "bytes"),
    "raw bytes": (lambda _: X.astype("f2").view("V2"), "raw bytes"),
    "records": (lambda _: np.zeros((60, 8), "f4,f4"), "raw bytes"),
    "objects of text": (lambda _: X.astype(str).astype(object), "row 0, column 0 holds text"),
    "torch complex": (lambda _: torch.tensor(X).to(torch.complex64), "Complex data"),
    "h5py bytes": (lambda folder: stored(folder, "bytes"), "bytes"),
    "h5py strings": (lambda folder: stored(folder, "strings"), "row 0, column 0 holds text"),
    "h5py complex": (lambda folder: stored(folder, "complex"), "Complex data"),
    "one axis": (lambda _: X[0], "2D array"),
    "three axes": (lambda _: X[None], "2D array"),
    "a liar": (lambda _: Liar(X.astype(complex)), "Complex data"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("door", ["fit", "transform", "encode", "batches", "sample"])
def test_everything_else_is_refused_at_every_door(
    door: str, kind: str, doors: Any, tmp_path: Path
) -> None:
    make, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        doors[door](make(tmp_path))
    assert not (tmp_path / "codes.npy").exists()


def test_a_bad_value_is_named_by_its_row_in_the_source(doors: Any, tmp_path: Path) -> None:
    """And not by its row in a block, a file of a folder or a batch."""
    bad = np.tile(X, (40_000, 1))
    bad[2_100_000, 3] = np.nan
    (tmp_path / "in").mkdir()
    for number, part in enumerate(np.split(bad, [1_000_000, 2_000_000])):
        np.save(tmp_path / "in" / f"{number}.npy", part)
    folder = open_vectors(tmp_path / "in")
    for door, source in (("fit", bad), ("transform", folder), ("encode", bad), ("encode", folder)):
        with pytest.raises(ValueError, match="row 2100000, column 3"):
            doors[door](source)
    with pytest.raises(ValueError, match="row 2100000, column 3"):
        streams.encode(doors["fit"](X), iter(np.split(bad, 8)), tmp_path / "other.npy")


def test_a_source_knows_its_files(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    paths = [tmp_path / "in" / "a.npy", tmp_path / "in" / "sub" / "b.npy"]
    for path in paths:
        np.save(path, X)
    assert files_of(X) == []
    assert files_of(open_vectors(paths[0])[3:]) == paths[:1]
    assert files_of(open_vectors(tmp_path / "in")) == paths
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = X
    assert files_of(open_vectors(tmp_path / "a.h5")) == [tmp_path / "a.h5"]
    kinds = [X, X + 1, X[:9], open_vectors(paths[0]), open_vectors(paths[1])]
    assert len({str(identity(rows)) for rows in [*kinds, open_vectors(tmp_path / "in")]}) == 6
    assert identity(open_vectors(paths[0])) == identity(open_vectors(paths[0]))
