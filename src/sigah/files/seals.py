"""The sealed header of every file: a description, and a checksum of it and the arrays.

It is one JSON text, under the metadata key ``sigah`` of a safetensors file or in the second record
of a ``.npy`` file::

    {"header": {"format": ..., "format_version": 1, ...}, "sha256": fingerprint(header, arrays)}

so every change is noticed when the file is opened, except in packaging (padding, order).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CODES_FORMAT",
    "CODES_WITH_IDS",
    "DTYPES",
    "INDEX_FORMAT",
    "INDEX_WITH_KEYS",
    "METADATA_KEY",
    "MODEL_FORMAT",
    "VECTORS_ALONE",
    "VECTORS_BY_ROWS",
    "VECTORS_FORMAT",
    "VECTORS_WITH_KEYS",
    "Arrays",
    "Header",
    "begin_digest",
    "canonical_json",
    "fingerprint",
    "format_fields",
    "plain_arrays",
    "seal_header",
    "unseal",
    "verify_arrays",
]

MODEL_FORMAT = "sigah-model"
CODES_FORMAT = "sigah-codes"
INDEX_FORMAT = "sigah-index"
VECTORS_FORMAT = "sigah-vectors"  # an index of rows, and the model that made them
FORMAT_VERSION = 1  # of new files
CODES_WITH_IDS = 2  # the version of codes whose checksum also covers ids
INDEX_WITH_KEYS = 2  # the version of indexes whose ids stand for strings
VECTORS_BY_ROWS = 2  # the version of indexes of vectors whose refinement bytes lie row by row
VECTORS_ALONE = 3  # the version of those without a hasher
VECTORS_WITH_KEYS = 4  # the version of those whose ids stand for strings
KNOWN_VERSIONS = {
    MODEL_FORMAT: (1,),
    CODES_FORMAT: (1, CODES_WITH_IDS),
    INDEX_FORMAT: (1, INDEX_WITH_KEYS),
    VECTORS_FORMAT: (1, VECTORS_BY_ROWS, VECTORS_ALONE, VECTORS_WITH_KEYS),
}

METADATA_KEY = "sigah"
DTYPES = {  # by their names in safetensors
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "F16": "<f2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip

Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def fingerprint(header: Mapping[str, Any], arrays: Mapping[str, ArrayLike]) -> str:
    """Identity of a header and named arrays: SHA-256 of canonical JSON and the arrays' bytes.

    It depends on names, dtypes, shapes and values; not on the order of names, nor on the memory
    layout or byte order of the arrays.

    Parameters
    ----------
    header : mapping
        Content that JSON can hold (no NaN or infinity).
    arrays : mapping of str to array-like
        Booleans, integers or floats of at most 64 bits.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ValueError
        If the header or an array cannot be stored.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.files import fingerprint
    >>> fingerprint({"method": "lsh"}, {"weights": np.zeros((2, 8))})[:16]
    '0d3e2a702be08ebc'
    """
    plain = plain_arrays(arrays)
    shapes = {name: [array.dtype.str, array.shape] for name, array in plain.items()}
    digest = begin_digest(header, shapes)
    for name in sorted(plain):
        digest.update(plain[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def seal_header(header: Header, arrays: Mapping[str, ArrayLike]) -> str:
    """The text of a sealed header."""
    return canonical_json({"header": header, "sha256": fingerprint(header, arrays)})


def unseal(text: str | bytes, *formats: str) -> dict[str, Any]:
    """The content of a sealed text, whose header must have one of the expected formats."""
    seal: dict[str, Any] = json.loads(text)
    header, _ = seal["header"], seal["sha256"]
    name, version = header["format"], header["format_version"]
    if name not in formats:
        raise ValueError(f"it is a file of the format {name!r}, not {' or '.join(formats)}")
    if type(version) is not int or version not in KNOWN_VERSIONS[name]:
        raise ValueError(
            f"it has version {version} of the format {name}, which this sigah does not know"
            f" (it reads up to version {KNOWN_VERSIONS[name][-1]}); upgrade sigah"
        )
    return seal


def verify_arrays(header: Header, arrays: Arrays, checksum: str) -> None:
    """Refuse a header and arrays that do not match the checksum."""
    if fingerprint(header, arrays) != checksum:
        raise ValueError("its checksum does not match; the file is damaged")


def format_fields(name: str, version: int = FORMAT_VERSION) -> Header:
    """The first fields of every header."""
    return {"format": name, "format_version": version}


def plain_arrays(arrays: Mapping[str, ArrayLike]) -> Arrays:
    """Arrays in the form of the files: little-endian and C-contiguous."""
    plain = {}
    for name, values in arrays.items():
        array = np.asarray(values, order="C")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in DTYPES.values():
            raise ValueError(f"the array {name!r} has the dtype {array.dtype}, which has no file")
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"an array cannot be named {name!r}")
        plain[name] = array
    return plain


def begin_digest(header: Mapping[str, Any], shapes: Mapping[str, Any]) -> hashlib._Hash:
    """The checksum of a header and arrays, before the bytes of the arrays."""
    return hashlib.sha256(canonical_json({"header": header, "arrays": shapes}).encode())


def canonical_json(value: object) -> str:
    """JSON in ASCII with one representation for each value."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"JSON cannot hold the header: {error}") from error
