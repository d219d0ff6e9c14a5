"""Codes with ids in Parquet: one sealed format, in files and in folders."""

from __future__ import annotations

import json
import os
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigah.files import FileFormatError, describe, kind_of, load_codes, save_codes
from sigah.files.folders import CODES_FOLDER, new_folder, write_manifest
from sigah.files.parquet import Digest, write_parquet

ORIGIN = {"method": "itq", "fingerprint": "ab" * 32}
CODES = np.random.default_rng(0).integers(256, size=(40, 8), dtype=np.uint8)
NAMES = [f"naïve ✓ {number}" for number in range(40)]
NUMBERS = [number * 7 + 2**62 for number in range(40)]


@pytest.fixture(params=["names", "numbers", "rows"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    ids = {"names": NAMES, "numbers": NUMBERS, "rows": None}[request.param]
    save_codes(tmp_path / f"{request.param}.parquet", CODES, ORIGIN, ids=ids)
    return tmp_path / f"{request.param}.parquet"


def test_codes_come_back_with_their_ids(file: Path) -> None:
    stored = load_codes(file)
    np.testing.assert_array_equal(stored.codes, CODES, strict=True)
    assert stored.codes.flags.writeable
    assert stored.ids is not None
    expected = {"names": NAMES, "numbers": NUMBERS, "rows": list(range(40))}[file.stem]
    assert stored.ids.tolist() == expected
    assert stored.ids.dtype == (object if file.stem == "names" else np.int64)
    assert stored.header == {
        **ORIGIN,
        "format": "sigah-codes",
        "format_version": 2,
        "n_bits": 64,
        "count": 40,
    }
    found = json.loads(json.dumps(describe(file)))
    assert (found["kind"], found["header"]) == ("codes", stored.header)
    dtype = "str" if file.stem == "names" else "int64"
    assert found["arrays"]["ids"] == {"dtype": dtype, "shape": [40]}
    assert kind_of(file) == "codes"


@given(
    ids=st.lists(st.integers(-(2**63), 2**63 - 1)) | st.lists(st.text(max_size=9)),
    cuts=st.lists(st.integers(0, 30), max_size=4),
)
def test_the_checksum_does_not_depend_on_batches(ids: list[Any], cuts: list[int]) -> None:
    kind = pa.string() if ids and isinstance(ids[0], str) else pa.int64()
    array, codes = pa.array(ids, kind), np.arange(2 * len(ids), dtype=np.uint8).reshape(-1, 2)
    checksums = []
    for bounds in ([], sorted(cuts)):
        digest = Digest({}, codes.shape, kind)
        ends = [0, *(min(cut, len(ids)) for cut in bounds), len(ids)]
        for first, last in pairwise(ends):
            digest.update(codes[first:last], array[first:last])
        checksums.append(digest.hexdigest())
    assert checksums[0] == checksums[1]


def test_the_checksum_tells_ids_apart() -> None:
    """Strings that join to the same bytes, and numbers that print like strings, differ."""
    checksums = set()
    for ids in (["ab", "c"], ["a", "bc"], ["abc", ""], [1, 2], ["1", "2"], [2, 1]):
        array = pa.array(ids)
        digest = Digest({}, (2, 1), array.type)
        digest.update(np.zeros((2, 1), np.uint8), array)
        checksums.add(digest.hexdigest())
    assert len(checksums) == 6


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (np.arange(40, dtype=np.uint8), list(range(40))),
        (np.arange(40, dtype=np.uint64), list(range(40))),
        (np.array(NAMES), NAMES),
        (np.array(NAMES, object), NAMES),
        (pa.array(NAMES, pa.large_string()), NAMES),
        (pa.array(NAMES).dictionary_encode(), NAMES),
        (pa.chunked_array([NAMES[:3], NAMES[3:]]), NAMES),
    ],
)
def test_ids_of_many_types_are_kept_as_numbers_or_strings(
    ids: Any, kept: list[Any], tmp_path: Path
) -> None:
    save_codes(tmp_path / "codes.parquet", CODES, ORIGIN, ids=ids)
    assert load_codes(tmp_path / "codes.parquet").ids.tolist() == kept  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.linspace(0, 1, 40), "whole numbers or strings, these are double"),
        (np.arange(40) > 3, "these are bool"),
        (np.arange(40).astype("M8[s]"), "these are timestamp"),
        ([*NAMES[:39], None], "must not be missing, 1 of 40 are"),
        (np.full(40, 2**63, np.uint64), "below 2\\*\\*63"),
        (NAMES[:39], "40 codes and 39 ids"),
    ],
)
def test_other_ids_are_refused(ids: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        save_codes(tmp_path / "codes.parquet", CODES, ORIGIN, ids=ids)
    assert not list(tmp_path.iterdir())


def test_a_npy_file_has_no_place_for_ids(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in .parquet files only"):
        save_codes(tmp_path / "codes.npy", CODES, ORIGIN, ids=NAMES)


def test_no_codes_are_codes(tmp_path: Path) -> None:
    save_codes(tmp_path / "codes.parquet", CODES[:0], ORIGIN, ids=[])
    assert load_codes(tmp_path / "codes.parquet").codes.shape == (0, 8)


def test_every_flipped_bit_is_refused_or_inert(file: Path) -> None:
    content, flips, refused = file.read_bytes(), random.Random(0), 0
    intact = load_codes(file)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << flips.randrange(8)
        file.write_bytes(damaged)
        try:
            found = load_codes(file)
        except FileFormatError as error:
            assert str(file) in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(found.codes, intact.codes)
            assert found.ids.tolist() == intact.ids.tolist()  # type: ignore[union-attr]
            assert found.header == intact.header
    assert refused > len(content) / 2


def test_every_truncation_is_refused(file: Path) -> None:
    for length in reversed(range(0, file.stat().st_size, 3)):
        os.truncate(file, length)
        with pytest.raises(FileFormatError):
            load_codes(file)


def changed(table: Any, **columns: Any) -> Any:
    for name, values in columns.items():
        table = table.set_column(table.schema.names.index(name), name, values)
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.slice(0, 39), "checksum|contradicts"),
        (lambda t: changed(t, id=pa.array([*NAMES[1:], NAMES[0]])), "checksum"),
        (lambda t: changed(t, id=pa.array(range(40))), "checksum"),
        (lambda t: changed(t, id=pa.array([*NAMES[:39], None])), "in each row"),
        (lambda t: changed(t, id=pa.array([1.5] * 40)), "whole numbers or strings"),
        (lambda t: changed(t, code=pa.array([b"x"] * 40)), "not bytes of a fixed size"),
        (lambda t: t.drop_columns(["id"]), "no column 'id'"),
        (lambda t: t.append_column("id", t["id"]), "no column 'id'"),
        (lambda t: t.rename_columns(["id", "codes"]), "no column 'code'"),
    ],
)
def test_what_the_checksum_does_not_fit_is_refused(
    change: Any, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "codes.parquet"
    save_codes(file, CODES, ORIGIN, ids=NAMES)
    seal = pq.read_metadata(file).metadata[b"sigah"]
    table = change(pq.read_table(file))
    with pq.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"sigah": seal})
    with pytest.raises(FileFormatError, match=message):
        load_codes(file)
    with pq.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(FileFormatError, match="not one of sigah's codes"):
        load_codes(file)


def test_other_packaging_is_the_same_file(tmp_path: Path) -> None:
    """Row groups, compression and encoding are not what the checksum is of."""
    file = tmp_path / "codes.parquet"
    save_codes(file, CODES, ORIGIN, ids=NAMES)
    seal, table = pq.read_metadata(file).metadata[b"sigah"], pq.read_table(file)
    options = {"compression": "zstd", "use_dictionary": ["id"], "data_page_version": "2.0"}
    with pq.ParquetWriter(file, table.schema, **options) as writer:
        writer.write_table(table, row_group_size=7)
        writer.add_key_value_metadata({"sigah": seal})
    assert load_codes(file).ids.tolist() == NAMES  # type: ignore[union-attr]


def test_a_writer_that_ends_early_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="40 codes were announced, 20 came"):
        batches = [(CODES[:20], pa.array(NAMES[:20]))]
        write_parquet(tmp_path / "codes.parquet", ORIGIN, CODES.shape, batches, pa.string())
    assert not list(tmp_path.iterdir())


def test_a_folder_is_read_as_its_parts_in_order(tmp_path: Path) -> None:
    origin = ORIGIN | {"n_bits": 64}
    with new_folder(tmp_path / "codes") as folder:
        for name, some in (("b.parquet", slice(0, 25)), ("a.parquet", slice(25, 40))):
            save_codes(folder / name, CODES[some], origin, ids=NAMES[some])
        write_manifest(folder, CODES_FOLDER, origin, {"b.parquet": 25, "a.parquet": 15})
    stored = load_codes(tmp_path / "codes")
    np.testing.assert_array_equal(stored.codes, CODES)
    assert stored.ids.tolist() == NAMES  # type: ignore[union-attr]
    assert (stored.n_bits, stored.fingerprint) == (64, ORIGIN["fingerprint"])
    found = json.loads(json.dumps(describe(tmp_path / "codes")))
    assert (found["kind"], found["header"]["count"]) == ("codes", 40)
    part = tmp_path / "codes" / "a.parquet"
    save_codes(part, CODES[:15], origin | {"fingerprint": "cd" * 32}, ids=NAMES[:15])
    with pytest.raises(FileFormatError, match=r"a\.parquet: its codes were made by another model"):
        load_codes(tmp_path / "codes")
    part.write_bytes(b"PAR1")
    with pytest.raises(FileFormatError, match=r"a\.parquet"):
        load_codes(tmp_path / "codes")
