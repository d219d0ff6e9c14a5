from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sigah.files import (
    FileFormatError,
    atomic_write,
    check_same_model,
    describe,
    fingerprint,
    load_codes,
    load_model,
    open_codes,
    save_codes,
    save_model,
    seal_codes,
)

Content = tuple[Any, dict[str, np.ndarray]]

HEADER = {"method": "itq", "parameters": {"n_bits": 8, "tolerance": 1e-05}, "note": "naïve ✓"}
ARRAYS = {
    "weights_": np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8),
    "thresholds_": np.zeros(8),
    "mask": np.array([True, False, True]),
    "scalar": np.array(3, np.int16),
    "empty": np.empty((0, 4), np.float16),
}
ORIGIN = {"method": "itq", "fingerprint": "ab" * 32}
CODES = np.arange(40, dtype=np.uint8).reshape(5, 8)


def read_model(path: Path) -> Content:
    return load_model(path)


def read_codes(path: Path) -> Content:
    stored = load_codes(path)
    return stored.header, {"codes": stored.codes}


def write_model(path: Path) -> None:
    save_model(path, HEADER, ARRAYS)


def write_codes(path: Path) -> None:
    save_codes(path, CODES, ORIGIN)


def same(one: Content, other: Content) -> bool:
    """Equal to the last bit: headers, names, dtypes, shapes and bytes."""
    return (
        one[0] == other[0]
        and one[1].keys() == other[1].keys()
        and all(
            (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
            for a, b in ((array, other[1][name]) for name, array in one[1].items())
        )
    )


FILES = [
    pytest.param("model.safetensors", write_model, read_model, id="model"),
    pytest.param("codes.npy", write_codes, read_codes, id="codes-npy"),
]
Write = Callable[[Path], None]
Read = Callable[[Path], Content]


# --- what is written comes back -------------------------------------------------------------------


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    write_model(tmp_path / "model.safetensors")
    header, arrays = load_model(tmp_path / "model.safetensors")
    marks = {"format": "sigah-model", "format_version": 1}
    assert same((header, arrays), ({**HEADER, **marks}, ARRAYS))
    assert all(array.flags.writeable for array in arrays.values())


@settings(max_examples=30, deadline=None)  # it waits for the disk
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        hnp.arrays(
            hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes(sizes=(16, 32, 64)),
            hnp.array_shapes(min_dims=0, min_side=0),
        ),
        max_size=4,
    )
)
def test_any_arrays_come_back(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.mktemp("model") / "model"
    save_model(path, {}, arrays)
    _, loaded = load_model(path)
    little_endian = {
        name: array.astype(array.dtype.newbyteorder("<")) for name, array in arrays.items()
    }
    assert same(({}, loaded), ({}, little_endian))


def test_a_transposed_or_sliced_array_is_stored_by_value(tmp_path: Path) -> None:
    table = np.arange(24.0).reshape(4, 6)
    save_model(tmp_path / "model", {}, {"transposed": table.T, "sliced": table[::2, ::-3]})
    _, arrays = load_model(tmp_path / "model")
    np.testing.assert_array_equal(arrays["transposed"], table.T)
    np.testing.assert_array_equal(arrays["sliced"], table[::2, ::-3])


def test_equal_models_are_equal_files_that_safetensors_opens(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write_model(one)
    save_model(other, dict(reversed(HEADER.items())), dict(reversed(ARRAYS.items())))
    assert one.read_bytes() == other.read_bytes()
    assert same(({}, safetensors.numpy.load_file(one)), ({}, ARRAYS))


@pytest.mark.parametrize("read", [load_codes, open_codes])
@pytest.mark.parametrize("codes", [CODES, CODES[:0], CODES[:, :3], np.asfortranarray(CODES)])
@pytest.mark.parametrize("suffix", [".npy", ".NPY"])
def test_codes_come_back_with_what_they_are(
    tmp_path: Path, suffix: str, codes: np.ndarray, read: Any
) -> None:
    path = tmp_path / f"codes{suffix}"
    save_codes(path, codes, {**ORIGIN, "source": "mnist"})
    stored = read(path)
    np.testing.assert_array_equal(stored.codes, codes, strict=True)
    assert stored.codes.flags.writeable is (read is load_codes)
    assert stored.ids is None
    assert (len(stored), stored.n_bits) == (len(codes), 8 * codes.shape[1])
    assert stored.fingerprint == ORIGIN["fingerprint"]
    assert stored.header == {
        **ORIGIN,
        "source": "mnist",
        "format": "sigah-codes",
        "format_version": 1,
        "n_bits": codes.shape[1] * 8,
        "count": len(codes),
    }


def test_a_header_that_was_loaded_can_be_saved_with_other_codes(tmp_path: Path) -> None:
    write_codes(tmp_path / "all.npy")
    stored = load_codes(tmp_path / "all.npy")
    assert stored.header is not None
    save_codes(tmp_path / "some.npy", stored.codes[:2], stored.header)
    assert load_codes(tmp_path / "some.npy").header == {**stored.header, "count": 2}


def test_numpy_alone_reads_the_codes_and_then_the_header(tmp_path: Path) -> None:
    path = tmp_path / "codes.npy"
    write_codes(path)
    np.testing.assert_array_equal(np.load(path), CODES, strict=True)
    np.testing.assert_array_equal(np.load(path, mmap_mode="r"), CODES, strict=True)
    with path.open("rb") as file:
        np.load(file)
        header = json.loads(np.load(file).tobytes())["header"]
        assert file.read() == b""
    assert header == load_codes(path).header


def test_mapped_codes_are_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "codes.npy"
    write_codes(path)
    owner = open_codes(path).codes
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    assert isinstance(owner, np.memmap)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_plain_npy_of_codes_has_no_header(
    tmp_path: Path, version: tuple[int, int], order: Any
) -> None:
    path = tmp_path / "plain.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.asarray(CODES, order=order), version)
    stored = load_codes(path)
    assert stored.header is None and stored.fingerprint is None
    np.testing.assert_array_equal(stored.codes, CODES, strict=True)


# --- damage is noticed ----------------------------------------------------------------------------


def damaged(content: bytes, path: Path) -> Iterator[str]:
    """Write every version of ``content`` with one bit flipped."""
    with path.open("r+b") as file:
        for position, byte in enumerate(content):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), position)
                yield f"bit {bit} of byte {position}"
            os.pwrite(file.fileno(), bytes([byte]), position)


@pytest.mark.parametrize(("name", "write", "read"), FILES)
def test_every_flipped_bit_is_refused_or_inert(
    tmp_path: Path, name: str, write: Write, read: Read
) -> None:
    path = tmp_path / name
    write(path)
    intact = read(path)
    refused = 0
    for where in damaged(path.read_bytes(), path):
        try:
            assert same(read(path), intact), where
        except FileFormatError as error:
            assert name in str(error), where
            refused += 1
    assert refused > 0.99 * 8 * path.stat().st_size
    assert same(read(path), intact)  # the last flip is undone


@pytest.mark.parametrize(("name", "write", "read"), FILES)
def test_every_truncation_is_refused(tmp_path: Path, name: str, write: Write, read: Read) -> None:
    path = tmp_path / name
    write(path)
    bare_codes = 128 + CODES.nbytes  # the one cut that leaves an ordinary .npy file
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        if path.suffix == ".npy" and length == bare_codes:
            assert same(read(path), (None, {"codes": CODES}))
            continue
        with pytest.raises(FileFormatError):
            read(path)


def test_codes_that_are_cut_off_are_said_to_be_so(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", CODES)
    os.truncate(tmp_path / "plain.npy", 150)
    with pytest.raises(FileFormatError, match="cut off"):
        load_codes(tmp_path / "plain.npy")


@pytest.mark.parametrize(("name", "write", "read"), FILES)
def test_bytes_added_at_the_end_are_refused(
    tmp_path: Path, name: str, write: Write, read: Read
) -> None:
    path = tmp_path / name
    write(path)
    with path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(FileFormatError):
        read(path)


def test_a_damaged_shape_cannot_take_the_header_for_codes(tmp_path: Path) -> None:
    path = tmp_path / "codes.npy"
    for padding in range(8):  # so that the header record is a whole number of codes
        save_codes(path, CODES, {**ORIGIN, "note": "x" * padding})
        n_rows, rest = divmod(path.stat().st_size - 128, 8)
        if not rest:
            break
    content = path.read_bytes().replace(b"(5, 8), } ", b"(%d, 8), }" % n_rows)
    path.write_bytes(content)
    assert np.load(path).shape == (n_rows, 8)  # NumPy is taken in
    with pytest.raises(FileFormatError, match="shape"):
        load_codes(path)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\x93NUMPY\x01\x00\x76\x00{", b"\x93NUMPY"]))
def test_arbitrary_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, head: bytes
) -> None:
    directory = tmp_path_factory.getbasetemp()
    reads = {"x.npy": load_codes, "x.safetensors": load_codes, "x": load_model}
    for name, read in (reads | {"x.parquet": load_codes}).items():
        (directory / name).write_bytes(head + tail)
        with pytest.raises(FileFormatError):
            read(directory / name)


def raw_safetensors(path: Path, layout: bytes, data: bytes = b"") -> None:
    path.write_bytes(len(layout).to_bytes(8, "little") + layout + data)


def as_layout(seal: str, **entries: Any) -> bytes:
    return json.dumps({"__metadata__": {"sigah": seal}, **entries}).encode()


@pytest.mark.parametrize(
    "layout", [b'{"a":' + b"[" * 100_000, b"[]", b"null", b'"x"', b"{}", b"\xff"]
)
def test_hostile_safetensors_headers_are_refused(tmp_path: Path, layout: bytes) -> None:
    raw_safetensors(tmp_path / "model", layout)
    with pytest.raises(FileFormatError):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    "seal",
    [
        "[" * 100_000,
        "[]",
        "{}",
        '{"header": [], "sha256": ""}',
        '{"header": {"format": "sigah-model"}, "sha256": ""}',
        '{"header": {"format": "sigah-model", "format_version": "1"}, "sha256": ""}',
        '{"header": {"format": "sigah-model", "format_version": 1, "x": NaN}, "sha256": ""}',
        '{"header": {"format": "sigah-model", "format_version": 1, "x": 1e999}, "sha256": ""}',
        '{"header": {"format": "sigah-model", "format_version": 1}, "sha256": null}',
        '{"header": {"format": "sigah-model", "format_version": %s}, "sha256": ""}' % ("9" * 5000),
    ],
)
def test_hostile_seals_are_refused(tmp_path: Path, seal: str) -> None:
    raw_safetensors(tmp_path / "model", as_layout(seal))
    with pytest.raises(FileFormatError):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": [2**63, 0], "data_offsets": [0, 0]},
        {"dtype": "U8", "shape": [2**40, 2**40], "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": [4], "data_offsets": [0, 2**62]},
        {"dtype": "U8", "shape": [1] * 100, "data_offsets": [0, 1]},
    ],
)
def test_hostile_layouts_are_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    seal = '{"header": {"format": "sigah-model", "format_version": 1}, "sha256": ""}'
    data = bytes(min(4, entry["data_offsets"][1]))
    raw_safetensors(tmp_path / "model", as_layout(seal, a=entry), data)
    with pytest.raises(FileFormatError):
        load_model(tmp_path / "model")


def npy_header(text: str, version: bytes = b"\x01\x00") -> bytes:
    length = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + length + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999999, 8)}"),
        npy_header(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999999999999, 0)}"
        ),
        npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 8)}") + b"\0" * 16,
        npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (16,)}") + b"\0" * 16,
        npy_header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 1)}") + b"\0" * 16,
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}") + b"\0" * 16,
        npy_header("(" * 5000),
        npy_header("{'descr': '''"),
        npy_header("9" * 5000),
        npy_header("[]", b"\x03\x00"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
    ],
)
def test_hostile_npy_headers_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "codes.npy").write_bytes(content)
    with pytest.raises(FileFormatError):
        load_codes(tmp_path / "codes.npy")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
@pytest.mark.parametrize("name", ["codes.npy", "codes.safetensors"])
def test_an_absurd_header_length_allocates_nothing(tmp_path: Path, name: str) -> None:
    head = b"\x93NUMPY\x02\x00\xff\xff\xff\xff" if name.endswith("npy") else b"\xff" * 4 + b"\0" * 4
    (tmp_path / name).write_bytes(head + b"{}" * 50)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), before[1]))
    try:
        with pytest.raises(FileFormatError):
            load_codes(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", ["model.safetensors", "codes.npy", "codes.parquet"])
def test_a_newer_format_asks_for_an_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (write_model if name.startswith("model") else write_codes)(tmp_path / name)
    monkeypatch.setattr(
        "sigah.files.seals.KNOWN_VERSIONS", dict.fromkeys(("sigah-model", "sigah-codes"), (0,))
    )
    with pytest.raises(FileFormatError, match=r"version [12] .* upgrade sigah"):
        (read_model if name.startswith("model") else read_codes)(tmp_path / name)


def test_models_and_codes_are_not_taken_for_each_other(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"'sigah-codes', not sigah-model"):
        load_model(Path(__file__).parents[1] / "golden" / "08d4737" / "codes.safetensors")
    write_model(tmp_path / "model.safetensors")
    with pytest.raises(FileFormatError, match=r"'sigah-model', not sigah-codes"):
        load_codes(tmp_path / "model.safetensors")


def test_a_safetensors_file_of_others_is_named_as_such(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"codes": CODES}, tmp_path / "other.safetensors")
    with pytest.raises(FileFormatError, match="not one of sigah's"):
        load_codes(tmp_path / "other.safetensors")


def test_a_header_that_contradicts_its_codes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # the checksum is right, the count is a lie
        patch.setattr("sigah.files.codes._size", lambda codes: {"n_bits": 64, "count": 6})
        write_codes(tmp_path / "codes.npy")
    with pytest.raises(FileFormatError, match="contradicts"):
        load_codes(tmp_path / "codes.npy")


@pytest.mark.parametrize("read", [load_model, load_codes, describe])
def test_a_missing_file_or_a_pipe_is_said_to_be_one(tmp_path: Path, read: Any) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere.safetensors")
    os.mkfifo(tmp_path / "pipe.npy")
    for path in (tmp_path / "pipe.npy", tmp_path / "directory.npy"):
        path.is_fifo() or path.mkdir()
        with pytest.raises(FileFormatError, match="not a regular file"):
            read(path)


# --- what cannot be stored is refused before anything is written ----------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float32(1), {1, 2}, b"x", object()])
def test_a_header_that_json_cannot_hold_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match="JSON cannot hold the header"):
        save_model(tmp_path / "model", {"value": value}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.array(["text"])},
        {"a": np.array([object()])},
        {"a": np.ones(2, complex)},
        {"a": np.ones(2, np.longdouble)},
        {"a": np.array(["2020"], "datetime64[Y]")},
        {"__metadata__": np.ones(2)},
        {1: np.ones(2)},
    ],
)
def test_arrays_that_safetensors_cannot_hold_are_refused(tmp_path: Path, arrays: Any) -> None:
    with pytest.raises(ValueError, match="array"):
        save_model(tmp_path / "model", {}, arrays)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "codes", "header", "message"),
    [
        ("codes.npy", CODES, {"method": "itq"}, "'fingerprint'"),
        ("codes.npy", CODES, {"fingerprint": "ab", "method": None}, "'method'"),
        ("codes.npy", CODES.astype(int), ORIGIN, "uint8"),
        ("codes.bin", CODES, ORIGIN, r"\.npy or \.parquet"),
        ("codes.safetensors", CODES, ORIGIN, r"\.npy or \.parquet"),
    ],
)
def test_codes_without_origin_type_or_container_are_refused(
    tmp_path: Path, name: str, codes: Any, header: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        save_codes(tmp_path / name, codes, header)
    assert not list(tmp_path.iterdir())


# --- identity -------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_the_content_not_of_its_layout() -> None:
    expected = fingerprint(HEADER, ARRAYS)
    assert expected == fingerprint(
        dict(reversed(HEADER.items())),
        {
            name: np.asfortranarray(array).astype(array.dtype.newbyteorder(">"))
            if array.ndim
            else array
            for name, array in reversed(ARRAYS.items())
        },
    )


def test_the_fingerprint_changes_with_anything_in_the_content() -> None:
    weights = ARRAYS["weights_"]
    variants = [
        (HEADER, ARRAYS),
        ({**HEADER, "method": "lsh"}, ARRAYS),
        ({**HEADER, "more": None}, ARRAYS),
        (HEADER, {**ARRAYS, "weights_": np.nextafter(weights, np.float32(2))}),
        (HEADER, {**ARRAYS, "weights_": weights.T}),
        (HEADER, {**ARRAYS, "weights_": weights.reshape(4, 4)}),
        (HEADER, {**ARRAYS, "weights_": weights.view(np.int32)}),
        (HEADER, {**ARRAYS, "more": np.empty(0)}),
        (HEADER, {name: array for name, array in ARRAYS.items() if name != "empty"}),
        (HEADER, {**ARRAYS, "mask": ARRAYS["scalar"], "scalar": ARRAYS["mask"]}),
    ]
    assert len({fingerprint(header, arrays) for header, arrays in variants}) == len(variants)


def test_codes_of_another_model_are_refused() -> None:
    check_same_model({"fingerprint": "aa"}, {"fingerprint": "aa"})
    with pytest.raises(ValueError, match="another model"):
        check_same_model({"fingerprint": "aa"}, {"fingerprint": "bb"})
    with pytest.raises(ValueError, match="another model"):
        check_same_model({}, {})
    with pytest.raises(ValueError, match="which model"):
        check_same_model(None, {"fingerprint": "bb"})


# --- describe -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "codes.npy"])
def test_describe_says_what_a_file_holds(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    kind = path.stem
    (write_model if kind == "model" else write_codes)(path)
    found = json.loads(json.dumps(describe(path)))
    assert (found["kind"], found["n_bytes"]) == (kind, path.stat().st_size)
    if kind == "codes":
        assert found["header"] == load_codes(path).header
        assert found["arrays"] == {"codes": {"dtype": "uint8", "shape": [5, 8]}}
    else:
        assert found["header"] == load_model(path)[0]
        assert found["arrays"]["weights_"] == {"dtype": "float32", "shape": [2, 8]}
        assert found["arrays"].keys() == ARRAYS.keys()


def test_describe_refuses_everything_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing of the kind")
    np.save(tmp_path / "vectors.npy", np.ones((3, 4)))
    safetensors.numpy.save_file({"a": np.ones(3)}, tmp_path / "other.safetensors")
    for path in tmp_path.iterdir():
        with pytest.raises(FileFormatError, match=path.name):
            describe(path)


# --- atomic writing -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half of the new")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    program = (
        "import os, sys\nfrom sigah.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'new' * 100_000)\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["codes.npy", "codes.parquet"])
def test_a_full_disk_leaves_the_old_file_and_a_clear_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=f"Cannot write .*{name}"):
            noise = np.random.default_rng(0).integers(256, size=(50_000, 8), dtype=np.uint8)
            save_codes(path, noise, ORIGIN, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_on_flushing_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left on device.*model"):
        write_model(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/model: its folder does not exist"):
        write_model(tmp_path / "nowhere" / "model")


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("pipe", "directory"):
        with pytest.raises(OSError, match=rf"{name} is (not a regular file|a folder)"):
            write_model(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_is_followed_and_the_umask_kept(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    old_mask = os.umask(0o027)
    try:
        write_model(tmp_path / "link")
    finally:
        os.umask(old_mask)
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o640


def test_of_concurrent_writers_one_wins_whole(tmp_path: Path) -> None:
    path = tmp_path / "codes.npy"
    sets = [np.full((1000, 8), value, np.uint8) for value in range(8)]
    writers = [threading.Thread(target=save_codes, args=(path, codes, ORIGIN)) for codes in sets]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert any(np.array_equal(load_codes(path).codes, codes) for codes in sets)
    assert list(tmp_path.iterdir()) == [path]


def test_reading_and_writing_files_needs_no_torch() -> None:
    program = "import sys, sigah.files, sigah.search; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("missing", ["method", "fingerprint"])
def test_a_seal_names_the_model_that_made_the_codes(missing: str) -> None:
    header = {"method": "lsh", "fingerprint": "c0ffee"}
    seal_codes(header, (1, 1), [b"a"])
    with pytest.raises(ValueError, match=f"must name its '{missing}'"):
        seal_codes({**header, missing: None}, (1, 1), [b"a"])
