"""Codes in Parquet: an id and a code per row, for databases and data frames.

The columns are ``id`` (int64 or string) and ``code`` (fixed bytes, packed as everywhere in sigah).
The metadata of the file has a sealed header under the key ``sigah``, as in all files of codes. Its
checksum covers codes and ids, for any row groups, pages and compression::

    sha256(canonical JSON of the header, types and shapes
           + the bytes of all codes
           + sha256(the ids as little-endian int64))

For strings, two checksums replace the last one: of their lengths in bytes, as little-endian int64,
and of their concatenated UTF-8 bytes. docs/format.md specifies the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.files.atomic import StrPath, atomic_write
from sigah.files.errors import reading
from sigah.files.seals import (
    CODES_FORMAT,
    CODES_WITH_IDS,
    METADATA_KEY,
    Header,
    begin_digest,
    canonical_json,
    format_fields,
    unseal,
    verify_arrays,
)
from sigah.rows.lazy import require

__all__ = ["as_ids", "id_type", "read_parquet", "read_unsealed", "write_parquet"]

PURPOSE = "Parquet files"

Batch = tuple[NDArray[np.uint8], Any]  # codes (m, n_bytes) and their ids, an Arrow array


def id_type(given: Any, name: str = "ids") -> Any:
    """The Arrow type in which ids of a type are stored: int64 or string."""
    pyarrow = require("pyarrow", PURPOSE)
    types = pyarrow.types
    if types.is_dictionary(given):
        given = given.value_type
    if types.is_integer(given):
        return pyarrow.int64()
    if types.is_string(given) or types.is_large_string(given) or types.is_string_view(given):
        return pyarrow.string()
    raise ValueError(f"{name} must be whole numbers or strings, these are {given}")


def as_ids(ids: Any, name: str = "ids") -> Any:
    """Ids as an Arrow array of int64 or strings, or an error if they are invalid.

    Examples
    --------
    >>> from sigah.files.parquet import as_ids
    >>> as_ids(["a", "b"]).to_pylist()
    ['a', 'b']
    """
    pyarrow = require("pyarrow", PURPOSE)
    arrow = (pyarrow.Array, pyarrow.ChunkedArray)
    array = ids if isinstance(ids, arrow) else pyarrow.array(ids)
    if isinstance(array, pyarrow.ChunkedArray):
        array = array.combine_chunks()
    if not len(array):  # no ids may have any type
        return array.cast(array.type if array.type == pyarrow.string() else pyarrow.int64())
    kind = id_type(array.type, name)
    if array.null_count:
        raise ValueError(f"{name} must not be missing, {array.null_count} of {len(array)} are")
    try:
        return array.cast(kind)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{name} must be below 2**63: {error}") from error


def write_parquet(
    path: StrPath,
    header: Mapping[str, Any],
    shape: tuple[int, int],
    batches: Iterable[Batch],
    kind: Any,
) -> None:
    """Write ids and codes atomically, with one row group per batch.

    Parameters
    ----------
    path : path-like
    header : mapping
        As for :func:`sigah.files.save_codes`.
    shape : tuple of int
        Of all codes: ``(n, n_bits // 8)``.
    batches : iterable of (ndarray of uint8, Arrow array)
        Codes and their ids, in order.
    kind : Arrow type
        Of the ids, from :func:`id_type`.
    """
    pyarrow, pq = require("pyarrow", PURPOSE), require("pyarrow.parquet", PURPOSE)
    n_rows, width = shape
    schema = pyarrow.schema([("id", kind), ("code", pyarrow.binary(width))])
    complete = {
        **header,
        **format_fields(CODES_FORMAT, CODES_WITH_IDS),
        "n_bits": 8 * width,
        "count": n_rows,
    }
    digest = Digest(complete, shape, kind)
    written = 0
    with atomic_write(path) as file, pq.ParquetWriter(file, schema) as writer:
        for codes, given in batches:
            ids = as_ids(given)
            packed = np.ascontiguousarray(codes)
            column = pyarrow.FixedSizeBinaryArray.from_buffers(
                pyarrow.binary(width), len(packed), [None, pyarrow.py_buffer(packed)]
            )
            digest.update(packed, ids)
            writer.write_table(pyarrow.table([ids, column], schema=schema))
            written += len(packed)
        if written != n_rows:
            raise ValueError(f"{n_rows} codes were announced, {written} came")
        seal = canonical_json({"header": complete, "sha256": digest.hexdigest()})
        writer.add_key_value_metadata({METADATA_KEY: seal})


def read_parquet(path: StrPath) -> tuple[NDArray[np.uint8], NDArray[Any], Header]:
    """Read codes, their ids and their header from a Parquet file, and verify them.

    Returns
    -------
    codes : ndarray of uint8, shape (n, n_bits // 8)
    ids : ndarray, shape (n,)
        int64, or str objects.
    header : dict

    Raises
    ------
    FileFormatError
        If the file is damaged, or is no sealed file of codes.
    OSError
        If it cannot be read.
    """
    pyarrow = require("pyarrow", PURPOSE)
    with reading(path), opened(path) as file:
        seal = (file.metadata.metadata or {}).get(METADATA_KEY.encode())
        if seal is None:
            raise ValueError("it is a Parquet file, but not one of sigah's codes")
        content = unseal(seal, CODES_FORMAT)
        header, checksum = content["header"], content["sha256"]
        table = columns(file, "id")
        codes = as_codes(table.column("code"))
        ids = table.column("id")
        if header["format_version"] < CODES_WITH_IDS:  # its checksum covers only the codes
            verify_arrays(header, {"codes": codes}, checksum)
            return codes, ids.to_numpy(), header
        if ids.type not in (pyarrow.int64(), pyarrow.string()) or ids.null_count:
            raise ValueError(f"its ids are {ids.type}, not whole numbers or strings in each row")
        digest = Digest(header, codes.shape, ids.type)
        digest.update(codes, *ids.chunks)
        if digest.hexdigest() != checksum:
            raise ValueError("its checksum does not match; the file is damaged")
        return codes, ids.to_numpy(), header


def read_unsealed(path: StrPath, id_name: str) -> tuple[NDArray[np.uint8], NDArray[Any], Header]:
    """Read a part of a folder of codes of version 1, which has no checksum."""
    with reading(path), opened(path) as file:
        origin = json.loads((file.metadata.metadata or {}).get(METADATA_KEY.encode(), b"{}"))
        if not isinstance(origin["fingerprint"], str):
            raise ValueError("its header is damaged")
        table = columns(file, id_name)
        return as_codes(table.column("code")), table.column(id_name).to_numpy(), origin


@contextmanager
def opened(path: StrPath) -> Iterator[Any]:
    """A Parquet file; Arrow's errors about its bytes become a ValueError."""
    pyarrow, pq = require("pyarrow", PURPOSE), require("pyarrow.parquet", PURPOSE)
    try:
        with pq.ParquetFile(Path(path)) as file:
            yield file
    except (pyarrow.ArrowException, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the system, not of Arrow about damaged pages
        raise ValueError(" ".join(str(error).split()) or "it is damaged") from error


def columns(file: Any, id_name: str) -> Any:
    """The columns of ids and codes, after checks of their layout; each must exist once."""
    for name in (id_name, "code"):
        if file.schema_arrow.names.count(name) != 1:
            raise ValueError(f"it has no column {name!r} of its own")
    table = file.read(columns=[id_name, "code"], use_threads=False)
    table.validate(full=True)
    return table


def as_codes(column: Any) -> NDArray[np.uint8]:
    """A column of fixed bytes as codes ``(n, n_bytes)``, not copied if it is contiguous."""
    types = require("pyarrow", PURPOSE).types
    if not types.is_fixed_size_binary(column.type) or not column.type.byte_width:
        raise ValueError(f"its codes are {column.type}, not bytes of a fixed size")
    if column.null_count:
        raise ValueError("some codes are null")
    width = column.type.byte_width
    parts = [
        np.frombuffer(chunk.buffers()[1], np.uint8)[
            chunk.offset * width : (chunk.offset + len(chunk)) * width
        ].reshape(-1, width)
        for chunk in column.chunks
        if len(chunk)
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.empty((0, width), np.uint8), *parts])


class Digest:
    """The checksum of codes and ids, which may come in parts of any size."""

    def __init__(self, header: Header, shape: tuple[int, ...], kind: Any) -> None:
        self.types = require("pyarrow", PURPOSE).types
        self.whole = begin_digest(header, {"codes": ["|u1", shape], "ids": [str(kind), shape[:1]]})
        self.ids = [hashlib.sha256() for _ in range(2 if self.types.is_string(kind) else 1)]

    def update(self, codes: NDArray[np.uint8], *ids: Any) -> None:
        self.whole.update(codes.reshape(-1).data)
        for array in ids:
            for digest, values in zip(self.ids, self._values(array), strict=True):
                digest.update(np.ascontiguousarray(values).data)

    def hexdigest(self) -> str:
        for digest in self.ids:
            self.whole.update(digest.digest())
        return self.whole.hexdigest()

    def _values(self, ids: Any) -> list[NDArray[Any]]:
        if not self.types.is_string(ids.type):
            return [ids.to_numpy().astype("<i8", copy=False)]
        if not len(ids):
            return [np.empty(0, "<i8"), np.empty(0, np.uint8)]
        _, offsets, characters = ids.buffers()
        ends = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
        content = np.frombuffer(characters, np.uint8) if characters else np.empty(0, np.uint8)
        return [np.diff(ends).astype("<i8"), content[ends[0] : ends[-1]]]
