"""HDF5, MATLAB, Parquet and Arrow: read by rows, whoever wrote them."""

from __future__ import annotations

import gc
import re
import struct
import sys
import zlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import scipy.io
from numpy.typing import NDArray

import sigah
from sigah.evaluation import evaluate
from sigah.rows import LazyRows, MissingLibraryError, load_vectors, open_array, open_vectors
from sigah.rows.blocks import is_row_source
from sigah.rows.formats import hdf5, tables

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(500, 12)).astype(np.float32)


def write_hdf5(file: Path, **arrays: Any) -> None:
    with h5py.File(file, "w") as stored:
        for name, array in arrays.items():
            stored[name] = array


def write_mat73(file: Path, **arrays: Any) -> None:
    """As MATLAB does: HDF5 behind 512 bytes, axes reversed, chunked and deflated."""
    with h5py.File(file, "w", userblock_size=512) as stored:
        for name, array in arrays.items():
            table = stored.create_dataset(name, data=np.asarray(array).T, compression="gzip")
            table.attrs["MATLAB_class"] = np.bytes_("single")
    with file.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<HH", 0x0200, 0x4D49))


def as_lists(array: NDArray[Any], *, fixed: bool = True) -> pa.Array:
    values = pa.array(array.ravel())
    if fixed:
        return pa.FixedSizeListArray.from_arrays(values, array.shape[1])
    return pa.ListArray.from_arrays(np.arange(len(array) + 1, dtype="i4") * array.shape[1], values)


def write_parquet(file: Path, *, fixed: bool = True, **arrays: Any) -> None:
    table = pa.table({name: as_lists(array, fixed=fixed) for name, array in arrays.items()})
    pq.write_table(table, file, row_group_size=190)


def write_arrow(file: Path, *, compression: str = "zstd", **arrays: Any) -> None:
    table = pa.table({name: as_lists(array) for name, array in arrays.items()})
    pyarrow.feather.write_feather(table, file, compression=compression, chunksize=190)


WRITERS: dict[str, Callable[..., None]] = {
    "a.h5": write_hdf5,
    "b.mat": write_mat73,
    "c.parquet": write_parquet,
    "d.parquet": lambda file, **arrays: write_parquet(file, fixed=False, **arrays),
    "e.arrow": write_arrow,
    "f.feather": lambda file, **arrays: write_arrow(file, compression="uncompressed", **arrays),
}


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that holds VECTORS as ``x`` and twice that as ``y``."""
    file = tmp_path / request.param
    WRITERS[request.param](file, x=VECTORS, y=2 * VECTORS)
    return file


def test_any_slice_in_any_order(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_BYTES", 77 * 48)  # batches end within groups
    rows = open_vectors(f"{written}:x")
    gc.collect()  # the file stays open as long as its rows
    assert isinstance(rows, LazyRows) and is_row_source(rows)
    assert rows.shape == VECTORS.shape and rows.dtype == np.float32
    for _ in range(200):
        start, stop = RNG.integers(-520, 520, size=2)
        np.testing.assert_array_equal(rows[start:stop], VECTORS[start:stop])
    np.testing.assert_array_equal(rows[:], VECTORS)
    chosen = RNG.integers(500, size=(4, 7))
    np.testing.assert_array_equal(rows[chosen], VECTORS[chosen])
    copied = load_vectors(f"{written}:y")
    assert copied.flags.c_contiguous and copied.flags.writeable
    np.testing.assert_array_equal(copied, 2 * VECTORS)


def test_other_keys_are_refused(written: Path) -> None:
    rows = open_vectors(f"{written}:x")
    for key in (3, slice(0, 9, 2), (slice(3), 0)):
        with pytest.raises(TypeError, match="by slices"):
            rows[key]
    for beyond in (-1, 500):
        with pytest.raises(IndexError, match="0 to 499"):
            rows[np.array([beyond])]
    with pytest.raises(ValueError, match="without a copy"):
        np.array(rows, copy=False)


def test_the_table_to_read_is_named(written: Path) -> None:
    name = re.escape(written.name)
    with pytest.raises(ValueError, match=f"holds 2 .*{name}:x, {name}:y"):
        open_vectors(written)
    with pytest.raises(ValueError, match=f"'z'.*{name}:x, {name}:y"):
        open_vectors(f"{written}:z")
    WRITERS[written.name](written, only=VECTORS)
    np.testing.assert_array_equal(open_vectors(written), VECTORS)


def test_fit_and_evaluate_read_the_rows(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    rows = open_vectors(f"{written}:x")
    hasher = sigah.ITQ(n_bits=8, random_state=0)
    expected = sigah.ITQ(n_bits=8, random_state=0).fit(VECTORS).transform(VECTORS)
    np.testing.assert_array_equal(hasher.fit(rows).transform(rows), expected)
    makers = {"itq": lambda n_bits, seed: sigah.ITQ(n_bits, random_state=seed)}
    options: dict[str, Any] = {"n_bits": [8], "k": 10, "n_train": 300}
    mine = evaluate(makers, rows, rows, name="x", **options)["runs"][0]["metrics"]
    theirs = evaluate(makers, VECTORS, VECTORS, name="x", **options)["runs"][0]["metrics"]
    assert mine["map"] == theirs["map"]


def test_truncated_files_give_one_named_error(written: Path) -> None:
    whole = written.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.97):
        written.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError) as caught:
            open_vectors(f"{written}:x")[:]
        assert str(caught.value).startswith(f"{written}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.h5", "a.mat", "a.parquet", "a.arrow", "a.feather"])
@pytest.mark.parametrize("stored", [b"?", b"these are not numbers\n" * 99])
def test_foreign_bytes(name: str, stored: bytes, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(stored)
    with pytest.raises(ValueError, match=re.escape(str(file))):
        open_vectors(file)


@pytest.mark.parametrize(
    ("name", "library"),
    [("a.h5", "h5py"), ("b.mat", "h5py"), ("c.parquet", "pyarrow"), ("e.arrow", "pyarrow")],
)
def test_a_missing_library_is_one_line(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[name](tmp_path / name, x=VECTORS)
    for module in [module for module in sys.modules if module.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingLibraryError, match=f"{library}, .*: pip install 'sigah\\[data\\]'"):
        open_vectors(tmp_path / name)


class TestHdf5:
    def test_groups_types_and_byte_orders(self, tmp_path: Path) -> None:
        file = tmp_path / "a.hdf5"
        with h5py.File(file, "w") as stored:
            stored.create_dataset("deep/er/x", data=VECTORS.astype(">f8"), chunks=(7, 5))
            stored["deep/labels"] = np.arange(500)
            stored["deep/words"] = ["a", "b"]
            stored["deep/letters"] = np.array([["1", "2"]], "S1")
            stored["deep/pairs"] = VECTORS.astype(complex)
        rows = open_vectors(f"{file}:deep/er/x")
        assert rows.dtype == np.float64 and rows.dtype.isnative
        np.testing.assert_array_equal(rows[3:9], VECTORS[3:9])
        np.testing.assert_array_equal(open_vectors(file)[:], VECTORS)
        np.testing.assert_array_equal(np.asarray(open_array(f"{file}:/deep/labels")), range(500))
        with pytest.raises(ValueError, match=r"must have shape \(n, d\).* \(500,\)"):
            open_vectors(f"{file}:deep/labels")
        for name, kind in (("letters", r"\|S1"), ("words", "object"), ("pairs", "complex128")):
            with pytest.raises(ValueError, match=f"/deep/{name} holds {kind}, not numbers"):
                open_vectors(f"{file}:deep/{name}")

    def test_values_in_other_files_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(VECTORS.tobytes())
        write_hdf5(tmp_path / "other.h5", x=VECTORS)
        layout = h5py.VirtualLayout((500, 12), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (500, 12))
        with h5py.File(tmp_path / "a.h5", "w") as stored:
            outside = [(str(tmp_path / "secret"), 0, VECTORS.nbytes)]
            stored.create_dataset("external", (500, 12), "f4", external=outside)
            stored.create_virtual_dataset("virtual", layout)
            stored["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
        for name in ("external", "virtual"):
            with pytest.raises(ValueError, match=f"/{name} keeps its values in other files"):
                open_vectors(f"{tmp_path}/a.h5:{name}")
        with pytest.raises(ValueError, match="no table of numbers 'link'"):
            open_vectors(f"{tmp_path}/a.h5:link")

    def test_a_promise_is_not_a_table(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with h5py.File(tmp_path / "a.h5", "w") as stored:
            stored.create_dataset("huge", (10**12, 1000), "f4", chunks=(100, 1000))
            stored.create_dataset("late", (10**9, 1000), "f4")
            stored.create_dataset("none", (0, 4), "f4")
            stored.create_dataset("scalar", data=1.5)
            stored.create_dataset("truths", data=VECTORS > 0)
            stored.create_dataset("wide", data=VECTORS, chunks=(500, 12))
        for name in ("huge", "late"):
            with pytest.raises(ValueError, match=f"/{name} has shape .* not all of it was written"):
                open_vectors(f"{tmp_path}/a.h5:{name}")
        with pytest.raises(ValueError, match=r"no vectors.* \(0, 4\)"):
            open_vectors(f"{tmp_path}/a.h5:none")
        np.testing.assert_array_equal(open_vectors(f"{tmp_path}/a.h5:truths")[:], VECTORS > 0)
        for name in ("scalar", "", "a/b"):
            with pytest.raises(ValueError, match=f"no table of numbers '{name}'"):
                open_vectors(f"{tmp_path}/a.h5:{name}")
        monkeypatch.setattr(hdf5, "LARGEST_CHUNK", 1000)
        with pytest.raises(ValueError, match="chunks of 24,000 bytes"):
            open_vectors(f"{tmp_path}/a.h5:wide")


class TestMatlab:
    @pytest.mark.parametrize("compressed", [True, False])
    def test_older_files(self, compressed: bool, tmp_path: Path) -> None:
        file = tmp_path / "a.mat"
        content = {"X": VECTORS, "labels": np.arange(500) % 9, "note": "hello", "s": {"a": 1}}
        scipy.io.savemat(file, content, do_compression=compressed)
        np.testing.assert_array_equal(open_vectors(f"{file}:X"), VECTORS)
        with pytest.raises(ValueError, match=r"holds 2 matrices.*a\.mat:X, a\.mat:labels"):
            open_vectors(file)
        with pytest.raises(ValueError, match=r"no matrix of numbers 'note'"):
            open_vectors(f"{file}:note")

    @pytest.mark.parametrize("version", ["4", "5", "deflated"])
    @pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u2", "i4", "u1", ">f4"])
    def test_what_scipy_reads_is_read(self, version: str, dtype: str, tmp_path: Path) -> None:
        file = tmp_path / "a.mat"
        for shape in ((4, 6), (1, 1), (300, 7), (1, 5)):
            matrix = (9 * RNG.normal(size=shape)).astype(dtype)
            content = {"a": matrix, "a_longer_name": matrix + 1}
            if version != "4":
                content |= {"note": "hello", "pairs": 1j * matrix, "s": {"a": 1}, "c": [["x"], [1]]}
            options = {"format": version[:1].replace("d", "5"), "do_compression": len(version) > 1}
            scipy.io.savemat(file, content, **options)
            expected = scipy.io.loadmat(file)
            for name in ("a", "a_longer_name"):
                found = load_vectors(f"{file}:{name}")
                np.testing.assert_array_equal(found, expected[name], strict=True)
            with pytest.raises(ValueError, match=r"holds 2 matrices"):
                load_vectors(file)

    def test_a_claim_beyond_the_file_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "a.mat"
        scipy.io.savemat(file, {"X": VECTORS})
        shape = struct.pack("<II", 500, 12)
        for rows, columns in ((2**31 - 1, 2**31 - 1), (-500, 12), (500, 13)):
            forged = file.read_bytes().replace(shape, struct.pack("<ii", rows, columns))
            (tmp_path / "b.mat").write_bytes(forged)
            with pytest.raises(ValueError, match=r"b\.mat: "):
                open_vectors(tmp_path / "b.mat")

    def test_a_small_bomb_stays_small(self, tmp_path: Path) -> None:
        """A deflated matrix that claims 4 GB and ends after 1 MB of zeros."""
        element = struct.pack("<IIIIII", 14, 2**32 - 8, 6, 8, 6, 0)  # a matrix of doubles
        element += struct.pack("<IIii", 5, 8, 23_000, 23_000) + struct.pack("<HH4s", 1, 1, b"X")
        element += struct.pack("<II", 9, 2**32 - 64) + bytes(1 << 20)
        packed = zlib.compress(element)
        header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
        file = tmp_path / "a.mat"
        file.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
        with pytest.raises(ValueError, match="claims the shape"):
            open_vectors(file)


class TestColumns:
    @pytest.mark.parametrize("number", ["f2", "f4", "f8", "u1", "i4"])
    def test_types_of_numbers(self, number: str, tmp_path: Path) -> None:
        vectors = np.arange(24).reshape(8, 3).astype(number)
        write_parquet(tmp_path / "a.parquet", x=vectors)
        write_arrow(tmp_path / "a.arrow", x=vectors)
        for name in ("a.parquet", "a.arrow"):
            rows = open_vectors(tmp_path / name)
            assert rows.dtype == vectors.dtype
            np.testing.assert_array_equal(rows[2:5], vectors[2:5])

    @pytest.mark.parametrize("write", [pq.write_table, pyarrow.feather.write_feather])
    @pytest.mark.parametrize(
        ("lists", "complaint"),
        [
            ([[1.0, 2.0]] * 5 + [[1.0]], "row 5 has dimension 1, row 0 has 2"),
            ([[1.0, 2.0], None], "row 1 is null"),
            ([[1.0, 2.0]] * 3 + [[1.0, None]], "row 3 is null or has a null"),
            ([None, [1.0]], "row 0 is null"),
            ([[], []], "no vectors"),
        ],
    )
    def test_ragged_and_null(self, write: Any, lists: Any, complaint: str, tmp_path: Path) -> None:
        file = tmp_path / ("a.parquet" if write is pq.write_table else "a.arrow")
        write(pa.table({"x": pa.array(lists, pa.list_(pa.float64()))}), file)
        with pytest.raises(ValueError, match=f"{re.escape(str(file))}: .*{complaint}"):
            open_vectors(file)[:]

    def test_other_columns_are_not_vectors(self, tmp_path: Path) -> None:
        columns = {"id": [1, 2], "words": [["a"], ["b"]], "x": [[1.0], [2.0]]}
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        np.testing.assert_array_equal(open_vectors(tmp_path / "a.parquet")[:], [[1], [2]])
        with pytest.raises(ValueError, match=r"'id' holds int64, not lists of .*a\.parquet:x"):
            open_vectors(f"{tmp_path}/a.parquet:id")
        pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
        with pytest.raises(ValueError, match="holds 0 columns .* no list of numbers"):
            open_vectors(tmp_path / "a.parquet")
        nothing = pa.array([], pa.list_(pa.float32()))
        pq.write_table(pa.table({"x": nothing}), tmp_path / "b.parquet")
        with pytest.raises(ValueError, match="no rows"):
            open_vectors(tmp_path / "b.parquet")

    @pytest.mark.parametrize("write", [pq.write_table, pyarrow.feather.write_feather])
    def test_every_kind_of_list_has_one_result(self, write: Any, tmp_path: Path) -> None:
        numbers = np.arange(24, dtype=np.float32).reshape(6, 4)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), 4)
        flags = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel() > 7), 4)
        tensor, matrix = (
            pa.fixed_shape_tensor(pa.float32(), [4]),
            pa.fixed_shape_tensor(pa.float32(), [2, 2]),
        )
        columns = {
            "tensor": pa.ExtensionArray.from_storage(tensor, flat),
            "matrix": pa.ExtensionArray.from_storage(matrix, flat),
            "large": flat.cast(pa.large_list(pa.float32())),
            "flags": flags,
            "nested": pa.array([[[1.0], [2.0]]] * 6),
            "words": pa.array([["1", "2"]] * 6),
            "dates": pa.array([[0]] * 6).cast(pa.list_(pa.timestamp("s"))),
            "decimals": pa.array([[Decimal(1)]] * 6, pa.list_(pa.decimal128(20, 1))),
            "bytes": pa.array([b"1234"] * 6),
            "number": pa.array([1.5] * 6),
            "wide": pa.array([[2**53 + 1, 2**63 - 1]] * 6),
        }
        file = tmp_path / ("a.parquet" if write is pq.write_table else "a.arrow")
        for name, column in columns.items():
            write(pa.table({"id": range(6), name: column}), file)
            if name in ("tensor", "large"):
                np.testing.assert_array_equal(open_vectors(file)[1:5], numbers[1:5])
            elif name == "flags":
                np.testing.assert_array_equal(open_vectors(file)[:], numbers > 7)
            elif name == "wide":  # kept as they are; hashers round to float32
                assert open_vectors(file)[:1].tolist() == [[2**53 + 1, 2**63 - 1]]
            else:
                with pytest.raises(ValueError, match="0 columns"):
                    open_vectors(file)
                kind = re.escape(str(column.type).partition("<")[0])
                with pytest.raises(ValueError, match=f"'{name}' holds {kind}.*, not lists of"):
                    open_vectors(f"{file}:{name}")

    def test_damaged_bytes_give_vectors_or_one_named_error(self, tmp_path: Path) -> None:
        for name in ("c.parquet", "e.arrow"):
            file = tmp_path / name
            WRITERS[name](file, x=VECTORS[:40])
            whole, failures = file.read_bytes(), 0
            for _ in range(150):
                stored = bytearray(whole)
                for position in RNG.integers(len(whole), size=3):
                    stored[position] = RNG.integers(256)
                file.write_bytes(stored)
                try:
                    open_vectors(file)[:]
                except ValueError as error:
                    assert str(error).startswith(f"{file}: ")
                    failures += 1
            assert failures > 10
