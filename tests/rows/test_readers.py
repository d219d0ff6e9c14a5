from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sigah.rows import load_vectors, open_vectors
from sigah.rows.formats import binary as binary_reader
from sigah.rows.formats.plain import open_idx
from sigah.rows.readers import open_array

VECTORS = np.arange(24, dtype=np.float32).reshape(4, 6) - 3


def npy(array: NDArray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npz(**arrays: NDArray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def vecs(array: NDArray) -> bytes:
    return b"".join(struct.pack("<i", len(row)) + row.tobytes() for row in array)


def idx(array: NDArray, code: int = 8) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def csv(array: NDArray) -> bytes:
    return "".join(",".join(map(str, row)) + "\n" for row in array.tolist()).encode()


def binary(array: NDArray) -> bytes:
    return struct.pack("<II", *array.shape) + array.tobytes()


IDX_BYTES = idx(VECTORS.astype(np.uint8))

FORMATS: dict[str, tuple[Callable[[NDArray], bytes], type]] = {
    "a.npy": (npy, np.float32),
    "a.npz": (lambda array: npz(only=array), np.float32),
    "a.fvecs": (vecs, np.float32),
    "a.ivecs": (vecs, np.int32),
    "a.bvecs": (vecs, np.uint8),
    "a.fbin": (binary, np.float32),
    "a.ibin": (binary, np.int32),
    "a.u8bin": (binary, np.uint8),
    "a.i8bin": (binary, np.int8),
    "a.csv": (csv, np.float64),
    "a-idx2-ubyte": (idx, np.uint8),
    "a.idx2-ubyte.gz": (lambda array: gzip.compress(idx(array)), np.uint8),
    "a.idx": (lambda array: idx(array, 0x0D), np.float32),
}
MAPPED = ["a.npy", "a.fvecs", "a.ivecs", "a.bvecs", "a.fbin", "a-idx2-ubyte"]


@pytest.mark.parametrize("read", [open_vectors, load_vectors])
@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_was_written_is_read(
    name: str, read: Any, tmp_path: Path, data: st.DataObject
) -> None:
    write, dtype = FORMATS[name]
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
    expected = data.draw(hnp.arrays(dtype, shapes))
    file = tmp_path / name
    file.write_bytes(write(expected))
    found = read(file)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    if read is load_vectors:
        assert found.flags.c_contiguous and found.flags.writeable


@pytest.mark.parametrize("name", MAPPED)
def test_rows_stay_on_disk(name: str, tmp_path: Path) -> None:
    write, dtype = FORMATS[name]
    file = tmp_path / name
    file.write_bytes(write(np.abs(VECTORS).astype(dtype)))
    mapped, copied = open_vectors(str(file)), load_vectors(str(file))
    assert not mapped.flags.writeable
    with file.open("r+b") as stream:  # the last value of the last row
        stream.seek(-1, io.SEEK_END)
        stream.write(b"\x01")
    assert mapped[-1, -1] != copied[-1, -1]
    np.testing.assert_array_equal(mapped[:-1], copied[:-1])


def test_images_become_rows(tmp_path: Path) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(idx(images)))
    np.testing.assert_array_equal(open_vectors(file), images.reshape(2, 12))
    np.testing.assert_array_equal(open_idx(file), images)


def test_fortran_order_and_foreign_byte_order(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(npy(np.asfortranarray(VECTORS).astype(">f4")))
    found = open_vectors(file)
    assert found.dtype == np.float32 and found.dtype.isnative
    np.testing.assert_array_equal(found, VECTORS)
    assert load_vectors(file).flags.c_contiguous


@pytest.mark.parametrize("dtype", ["?", "f2", ">f8", np.longdouble, ">i2", "u8"])
def test_numbers_of_every_width_and_byte_order_are_read(dtype: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    stored = np.abs(VECTORS).astype(dtype)
    file.write_bytes(npy(stored))
    found = open_vectors(file)
    assert found.dtype == stored.dtype.newbyteorder("=") and found.dtype.isnative
    np.testing.assert_array_equal(found, stored)


def test_archive_of_several_arrays(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    file.write_bytes(npz(x=VECTORS, y=VECTORS + 1))
    np.testing.assert_array_equal(open_vectors(f"{file}:y"), VECTORS + 1)
    with pytest.raises(ValueError, match=r"holds 2 arrays.*a\.npz:x, a\.npz:y"):
        open_vectors(file)
    with pytest.raises(ValueError, match=r"no array 'z'.*a\.npz:x, a\.npz:y"):
        open_vectors(f"{file}:z")


@pytest.mark.parametrize(
    "head", ["", "\ufeff", "width,height\n", '"a b","c"\n', "\ufeffw,h\n", "\n\n"]
)
def test_csv_with_and_without_a_header(head: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(head + "1,-2.5\n\n nan, 4e3\r\n", encoding="utf-8")
    np.testing.assert_array_equal(open_vectors(file), [[1, -2.5], [np.nan, 4000]])


@pytest.mark.parametrize(
    ("text", "header", "rows"),
    [
        (",,\n1,2,3\n4,5,6\n", True, [[1, 2, 3], [4, 5, 6]]),
        ("0,1\n2,3\n", True, [[2, 3]]),
        ("0,1\n2,3\n", False, [[0, 1], [2, 3]]),
        ("0,1\n2,3\n", None, [[0, 1], [2, 3]]),
        ("id,0,1\n2,3,4\n", True, [[2, 3, 4]]),
        (",a,b\n0,1,2\n", None, [[0, 1, 2]]),
        ('"1","2"\r\n"3","4"\r\n', None, [[1, 2], [3, 4]]),
        ('"a,b",c\n1,2\n', None, [[1, 2]]),
        ("nan,nan\n1,2\n", None, [[np.nan, np.nan], [1, 2]]),
        ("9007199254740993\n", None, [[9007199254740992]]),
    ],
)
def test_whether_there_is_a_header_can_be_said(
    text: str, header: bool | None, rows: Any, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(text.encode())
    np.testing.assert_array_equal(load_vectors(file, header=header), rows)


def test_a_header_is_a_matter_of_csv_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",\n1,2\n")
    with pytest.raises(ValueError, match="line 1, field 1 is empty"):
        load_vectors(tmp_path / "a.csv", header=False)
    np.testing.assert_array_equal(load_vectors(tmp_path, header=True), [[1, 2]])  # in a folder, too
    (tmp_path / "a.npy").write_bytes(npy(VECTORS))
    with pytest.raises(ValueError, match=r"a\.npy: only \.csv files have a header line"):
        load_vectors(tmp_path / "a.npy", header=True)


def test_one_column_and_one_row(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x\n1\n2\n")
    assert open_vectors(file).shape == (2, 1)
    file.write_text("1,2\n")
    assert open_vectors(file).shape == (1, 2)


def test_a_wrong_row_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary_reader, "BYTES_PER_LOOK", 2 * 28)
    rows = bytearray(vecs(VECTORS))
    rows[2 * 28 : 2 * 28 + 4] = struct.pack("<i", 7)
    file = tmp_path / "a.fvecs"
    file.write_bytes(rows)
    with pytest.raises(ValueError, match="row 2 has dimension 7, row 0 has 6"):
        open_vectors(file)


HOSTILE = {
    "text.npy": (b"these are not numbers\n", "not a .npy file"),
    "cut.npy": (npy(VECTORS)[:-1], "greater than file size"),
    "longer.npy": (npy(VECTORS) + b"\0", "header says 224 bytes, but there are 225"),
    "huge.npy": (npy(VECTORS).replace(b"(4, 6), }" + b" " * 12, b"(4, 6000000000000), }"), "size"),
    "negative.npy": (npy(VECTORS).replace(b"(4, 6), }  ", b"(-4, -6), }"), "negative"),
    "objects.npy": (npy(np.array([[{}, []]], dtype=object)), "Python objects"),
    "flat.npy": (npy(VECTORS.ravel()), r"must have shape \(n, d\).* \(24,\)"),
    "cube.npy": (npy(VECTORS.reshape(2, 2, 6)), r"must have shape \(n, d\).* \(2, 2, 6\)"),
    "scalar.npy": (npy(np.float32(1)), r"must have shape \(n, d\).* \(\)"),
    "none.npy": (npy(np.zeros((0, 6), np.float32)), r"no vectors.* \(0, 6\)"),
    "thin.npy": (npy(np.zeros((6, 0), np.float32)), r"no vectors.* \(6, 0\)"),
    "complex.npy": (npy(VECTORS.astype(complex)), "holds complex128"),
    "dates.npy": (npy(VECTORS.astype("M8[D]")), "holds datetime64"),
    "raw.npy": (npy(VECTORS.astype("f2").view("V2")), r"holds \|V2"),
    "record.npy": (npy(np.zeros((2, 2), "f4,f4")), "holds .*f0"),
    "words.npy": (npy(np.array([["a", "b"]])), "holds <U1"),
    "text.npz": (b"these are not numbers\n", "not a zip file"),
    "cut.npz": (npz(x=VECTORS)[:-30], "not a zip file"),
    "objects.npz": (npz(x=np.array([[{}, []]], dtype=object)), "pickle"),
    "nothing.npz": (npz(), "holds 0 arrays"),
    "tiny.fvecs": (b"\1\0\0", "3 bytes are too few"),
    "cut.fvecs": (vecs(VECTORS)[:-1], "111 bytes are not a whole number of 28-byte rows"),
    "negative.fvecs": (struct.pack("<i", -6) + vecs(VECTORS)[4:], "dimension is -6"),
    "zero.fvecs": (bytes(8), "dimension is 0"),
    "wide.bvecs": (struct.pack("<i", 2**31 - 1) + bytes(12), "dimension is 2147483647"),
    "ragged.bvecs": (vecs(np.zeros((1, 4), "u1")) + vecs(np.zeros((2, 8), "u1")), "row 1 has"),
    "tiny.fbin": (bytes(7), "7 bytes do not hold the header"),
    "cut.fbin": (binary(VECTORS)[:-1], "float32 make 104 bytes, but there are 103"),
    "longer.u8bin": (
        binary(np.abs(VECTORS).astype("u1")) + b"?",
        "make 32 bytes, but there are 33",
    ),
    "huge.fbin": (struct.pack("<II", 2**32 - 1, 2**32 - 1), "but there are 8"),
    "none.fbin": (struct.pack("<II", 0, 6), "no vectors"),
    "thin.fbin": (struct.pack("<II", 2**32 - 1, 0), "no vectors"),
    "brain.npy": (npy(np.zeros((2, 3), "V2")), "may be bfloat16: save such numbers as float32"),
    "ragged.csv": (b"1,2\n\n3,4,5\n", "line 3 has 3 fields, but line 1 has 2"),
    "slip.csv": (b"a,b\n1,2\n3,x4\n", "line 3, field 2: 'x4' is no number"),
    "first.csv": (b"1,x2\n3,4\n", r"line 1 holds both .*'x2'.*--header or --no-header"),
    "index.csv": (b"id,0,1\n3,4,5\n", r"line 1 holds both .*'id'.*header=True"),
    "missing.csv": (b",,\n1,2,3\n4,5,6\n", r"line 1 holds no value at all.*--no-header"),
    "absent.csv": (b"NA,null\n1,2\n", "line 1 holds no value at all"),
    "comment.csv": (b"1,2\n#3,4\n", "line 2, field 1: '#3' is no number"),
    "header.csv": (b"width,height\n", "no rows of numbers"),
    "names.csv": (b"a,b,c\n1,2\n", "the header has 3 names, but the rows have 2"),
    "hole.csv": (b"1,,3\n", "line 1, field 2 is empty; write nan"),
    "trailing.csv": (b"1,2,\n3,4,\n", "line 1, field 3 is empty"),
    "spaced.csv": (b"1,2\n3_000,4\n", "line 2, field 1: '3_000' is no number"),
    "semicolon.csv": (b"1;2\n3;4\n", "line 1 has its numbers between semicolons"),
    "german.csv": (b"a;b\n1,5;2,5\n", "line 2 has its numbers between semicolons"),
    "tabs.csv": (b"1\t2\n3\t4\n", "between tabs"),
    "blanks.csv": (b"1 2\n", "between blanks"),
    "utf16.csv": ("1,2\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
    "image.csv": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "can't decode"),
    "text-ubyte": (b"these are not numbers\n", "not an IDX file"),
    "cut-idx2-ubyte": (IDX_BYTES[:-1], r"\(4, 6\), in all 36 bytes, but there are 35"),
    "stub-idx3-ubyte": (b"\0\0\x08\x03\0\0", "do not hold the header"),
    "longer.idx": (IDX_BYTES + b"\0", r"\(4, 6\), in all 36 bytes, but there are 37"),
    "labels-idx1-ubyte": (idx(np.zeros(9, np.uint8)), r"must have shape \(n, d\).* \(9,\)"),
    "huge.idx": (struct.pack(">BBBB255I", 0, 0, 8, 255, *[2**32 - 1] * 255), "but there are 1024"),
    "code.idx": (b"\0\0\x0a" + IDX_BYTES[3:], "not an IDX file"),
    "cut-idx2-ubyte.gz": (gzip.compress(IDX_BYTES)[:-9], "ended before"),
    "flipped.idx.gz": (gzip.compress(IDX_BYTES)[:-8] + bytes(8), "CRC"),
    "text.idx.gz": (b"these are not numbers\n", "not an IDX file"),
    "vectors.xyz": (b"PAR1", r"unknown kind .*\.fvecs"),
    "vectors": (b"?", r"unknown kind .*\.fvecs"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_one_error_that_names_them(name: str, tmp_path: Path) -> None:
    stored, complaint = HOSTILE[name]
    file = tmp_path / name
    file.write_bytes(stored)
    with pytest.raises(ValueError) as caught:
        open_vectors(file)
    named, _, said = str(caught.value).partition(": ")
    assert named == str(file)
    assert re.search(complaint, said), said


@pytest.mark.parametrize("name", FORMATS)
def test_empty_missing_and_folder(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    with pytest.raises(FileNotFoundError, match=name):
        open_vectors(file)
    file.touch()
    with pytest.raises(ValueError, match="is empty"):
        open_vectors(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(OSError, match=name):
        open_vectors(file)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
            return Path.touch, (trap,)

    array = np.array([[Trap()]], dtype=object)
    for name, stored in {"a.npy": npy(array), "a.npz": npz(x=array)}.items():
        (tmp_path / name).write_bytes(stored)
        with pytest.raises(ValueError, match=r"Python objects|pickle"):
            open_vectors(tmp_path / name)
    assert not trap.exists()


def test_other_members_of_an_archive_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", npy(VECTORS))
        archive.writestr("readme.txt", "about x")
    np.testing.assert_array_equal(open_vectors(file), VECTORS)


def test_open_array_takes_any_shape_and_refuses_damage(tmp_path: Path) -> None:
    file = tmp_path / "labels.npy"
    file.write_bytes(npy(np.array([7, 9], np.uint8)))
    assert open_array(file).tolist() == [7, 9]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"labels\.npy"):
        open_array(file)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_give_vectors_or_one_named_error(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(FORMATS)))
    write, dtype = FORMATS[name]
    stored = bytearray(write(np.abs(VECTORS).astype(dtype)))
    for _ in range(data.draw(st.integers(0, 3))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / name
    file.write_bytes(stored[: data.draw(st.integers(1, len(stored)))])
    try:
        found = open_vectors(file)
    except ValueError as error:
        assert str(error).startswith(f"{file}: ")
    else:
        assert found.ndim == 2 and found.dtype.kind in "fiu" and found.size
