from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sigah.rows import load_vectors
from sigah.rows.formats import binary as binary_reader
from sigah.rows.readers import read_idx, read_npy

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


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_was_written_is_read(
    name: str, mmap: bool, tmp_path: Path, data: st.DataObject
) -> None:
    write, dtype = FORMATS[name]
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
    expected = data.draw(hnp.arrays(dtype, shapes))
    file = tmp_path / name
    file.write_bytes(write(expected))
    found = load_vectors(file, mmap=mmap)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    if not mmap:
        assert found.flags.c_contiguous and found.flags.writeable


@pytest.mark.parametrize("name", MAPPED)
def test_rows_stay_on_disk(name: str, tmp_path: Path) -> None:
    write, dtype = FORMATS[name]
    file = tmp_path / name
    file.write_bytes(write(np.abs(VECTORS).astype(dtype)))
    mapped, copied = load_vectors(str(file)), load_vectors(str(file), mmap=False)
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
    np.testing.assert_array_equal(load_vectors(file), images.reshape(2, 12))
    np.testing.assert_array_equal(read_idx(file), images)


def test_fortran_order_and_foreign_byte_order(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(npy(np.asfortranarray(VECTORS).astype(">f4")))
    found = load_vectors(file)
    assert found.dtype == np.float32 and found.dtype.isnative
    np.testing.assert_array_equal(found, VECTORS)
    assert load_vectors(file, mmap=False).flags.c_contiguous


def test_archive_of_several_arrays(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    file.write_bytes(npz(x=VECTORS, y=VECTORS + 1))
    np.testing.assert_array_equal(load_vectors(f"{file}:y"), VECTORS + 1)
    with pytest.raises(ValueError, match=r"holds 2 arrays.*a\.npz:x, a\.npz:y"):
        load_vectors(file)
    with pytest.raises(ValueError, match=r"no array 'z'.*a\.npz:x, a\.npz:y"):
        load_vectors(f"{file}:z")


@pytest.mark.parametrize(
    "head", ["", "\ufeff", "width,height\n", '"a b","c"\n', "\ufeffw,h\n", "\n\n"]
)
def test_csv_with_and_without_a_header(head: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(head + "1,-2.5\n\n nan, 4e3\r\n", encoding="utf-8")
    np.testing.assert_array_equal(load_vectors(file), [[1, -2.5], [np.nan, 4000]])


def test_one_column_and_one_row(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x\n1\n2\n")
    assert load_vectors(file).shape == (2, 1)
    file.write_text("1,2\n")
    assert load_vectors(file).shape == (1, 2)


def test_a_wrong_row_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary_reader, "BYTES_PER_LOOK", 2 * 28)
    rows = bytearray(vecs(VECTORS))
    rows[2 * 28 : 2 * 28 + 4] = struct.pack("<i", 7)
    file = tmp_path / "a.fvecs"
    file.write_bytes(rows)
    with pytest.raises(ValueError, match="row 2 has dimension 7, row 0 has 6"):
        load_vectors(file)


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
    "long.npy": (npy(VECTORS.astype(np.longdouble)), "holds float"),
    "truths.npy": (npy(VECTORS > 0), "holds bool"),
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
    "ragged.csv": (b"1,2\n3,4,5\n", "columns changed from 2 to 3"),
    "slip.csv": (b"1,2\n3,x4\n", "'x4'"),
    "first.csv": (b"1,x2\n3,4\n", "'x2'"),
    "comment.csv": (b"1,2\n#3,4\n", "'#3'"),
    "header.csv": (b"width,height\n", "no rows of numbers"),
    "hole.csv": (b"1,,3\n", "could not convert string ''"),
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
        load_vectors(file)
    named, _, said = str(caught.value).partition(": ")
    assert named == str(file)
    assert re.search(complaint, said), said


@pytest.mark.parametrize("name", FORMATS)
def test_empty_missing_and_folder(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    with pytest.raises(FileNotFoundError, match=name):
        load_vectors(file)
    file.touch()
    with pytest.raises(ValueError, match="is empty"):
        load_vectors(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(OSError, match=name):
        load_vectors(file)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
            return Path.touch, (trap,)

    array = np.array([[Trap()]], dtype=object)
    for name, stored in {"a.npy": npy(array), "a.npz": npz(x=array)}.items():
        (tmp_path / name).write_bytes(stored)
        with pytest.raises(ValueError, match=r"Python objects|pickle"):
            load_vectors(tmp_path / name)
    assert not trap.exists()


def test_other_members_of_an_archive_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", npy(VECTORS))
        archive.writestr("readme.txt", "about x")
    np.testing.assert_array_equal(load_vectors(file), VECTORS)


def test_read_npy_takes_any_shape_and_refuses_damage(tmp_path: Path) -> None:
    file = tmp_path / "labels.npy"
    file.write_bytes(npy(np.array([7, 9], np.uint8)))
    assert read_npy(file).tolist() == [7, 9]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"labels\.npy"):
        read_npy(file)


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
        found = load_vectors(file)
    except ValueError as error:
        assert str(error).startswith(f"{file}: ")
    else:
        assert found.ndim == 2 and found.dtype.kind in "fiu" and found.size
