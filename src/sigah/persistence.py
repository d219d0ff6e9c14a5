"""Files: open formats, versioned, checksummed, written atomically, never pickled.

A model or an index is a safetensors file. Codes are a safetensors file, or an ordinary ``.npy``
file in which a second ``.npy`` record follows the codes; :func:`numpy.load` reads the first and
stops. All carry one JSON text (under the metadata key ``sigah``, or as the bytes of the second
record)::

    {"header": {"format": ..., "format_version": 1, ...}, "sha256": fingerprint(header, arrays)}

so that a change to anything but the packaging (padding, order) is noticed when the file is opened.
An index may be too large to be read whole for that: its text also has the SHA-256 of the rest of
the text, and the arrays are verified before their first use.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open

from sigah.codes import check_codes

__all__ = [
    "FileFormatError",
    "atomic_write",
    "check_same_model",
    "describe",
    "fingerprint",
    "is_index",
    "load_codes",
    "load_model",
    "npy_head",
    "npy_tail",
    "open_index",
    "save_codes",
    "save_index",
    "save_model",
    "seal_codes",
    "unseal_codes",
]

MODEL_FORMAT = "sigah-model"
CODES_FORMAT = "sigah-codes"
INDEX_FORMAT = "sigah-index"
FORMAT_VERSION = 1

METADATA_KEY = "sigah"
DTYPES = {  # by their names in safetensors
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "F16": "<f2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
END_OF_SEAL = re.compile(rb'"sha256":"[0-9a-f]{64}"\}\Z')
LONGEST_NPY_HEADER = 1 << 16
ALIGNMENT = 64  # bytes, of the arrays of an index: what vector instructions read at once

# what the parsers of safetensors, .npy headers and JSON raise on bytes that are not theirs
DAMAGE = (SafetensorError, ValueError, TypeError, KeyError, RecursionError, tokenize.TokenError)

StrPath = str | os.PathLike[str]
Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


class FileFormatError(ValueError):
    """A file is damaged, too new, or not what it is taken for."""


@contextmanager
def atomic_write(path: StrPath) -> Iterator[BinaryIO]:
    """Open a file to be written whole or not at all.

    The bytes go to a temporary file beside ``path``, which takes its place only when the block
    ends without an exception; otherwise it is removed and what was at ``path`` stays as it was.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists; a symbolic link is followed.

    Yields
    ------
    file : binary file object

    Raises
    ------
    OSError
        If the directory is missing, ``path`` is not a regular file, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sigah.persistence import atomic_write
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "note.txt"
    ...     with atomic_write(path) as file:
    ...         _ = file.write(b"whole")
    ...     path.read_bytes()
    b'whole'
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such directory", str(target.parent))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "Cannot replace what is not a regular file", str(target))
    temporary = target.with_name(f".sigah-{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:  # an interrupt, too, must leave nothing behind
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            reason = f"Cannot write ({error.strerror})"
            raise OSError(error.errno, reason, str(target)) from error
        raise


def fingerprint(header: Mapping[str, Any], arrays: Mapping[str, ArrayLike]) -> str:
    """Identity of a header and named arrays: SHA-256 of canonical JSON and the arrays' bytes.

    It depends on names, dtypes, shapes and values; not on the order of names, nor on the memory
    layout or byte order of the arrays.

    Parameters
    ----------
    header : mapping
        Anything that JSON can hold (no NaN or infinity).
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
    >>> from sigah.persistence import fingerprint
    >>> fingerprint({"method": "lsh"}, {"weights": np.zeros((2, 8))})[:16]
    '0d3e2a702be08ebc'
    """
    plain = _plain_arrays(arrays)
    shapes = {name: [array.dtype.str, array.shape] for name, array in plain.items()}
    digest = _digest(header, shapes)
    for name in sorted(plain):
        digest.update(plain[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def check_same_model(codes_header: Header | None, model_header: Header) -> None:
    """Refuse codes that another model made: their distances would mean nothing.

    Parameters
    ----------
    codes_header, model_header : dict
        As given by :func:`load_codes` and :func:`load_model`.

    Raises
    ------
    ValueError
        If the fingerprints differ, or the codes come without a header (a foreign ``.npy``).

    Examples
    --------
    >>> from sigah.persistence import check_same_model
    >>> check_same_model({"fingerprint": "c0ffee"}, {"fingerprint": "c0ffee"})
    """
    if codes_header is None:
        raise ValueError("the codes do not say which model made them; write them with save_codes")
    made_by, model = codes_header.get("fingerprint"), model_header.get("fingerprint")
    if made_by != model or model is None:
        raise ValueError(
            f"the codes were made by another model (fingerprint {made_by}, this model has {model});"
            " encode the vectors again with this model"
        )


def save_model(path: StrPath, header: Mapping[str, Any], arrays: Mapping[str, ArrayLike]) -> None:
    """Write a model as one safetensors file, atomically.

    Parameters
    ----------
    path : str or path-like
    header : mapping
        JSON content; ``format`` and ``format_version`` are filled in.
    arrays : mapping of str to array-like
        Booleans, integers or floats of at most 64 bits.

    Raises
    ------
    ValueError
        If the header or an array cannot be stored.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sigah.persistence import load_model, save_model
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "model.safetensors"
    ...     save_model(path, {"method": "lsh"}, {"weights": np.zeros((2, 8))})
    ...     header, arrays = load_model(path)
    >>> header
    {'format': 'sigah-model', 'format_version': 1, 'method': 'lsh'}
    """
    _save_safetensors(path, {**header, **_format(MODEL_FORMAT)}, arrays)


def load_model(path: StrPath) -> tuple[Header, Arrays]:
    """Read a model file and verify its checksum.

    Returns
    -------
    header : dict
        As saved, with ``format`` and ``format_version``.
    arrays : dict of str to ndarray

    Raises
    ------
    FileFormatError
        If the file is damaged, not a model, or of a newer format.
    OSError
        If the file cannot be read.
    """
    with _reading(path):
        header, arrays = _open_safetensors(path, MODEL_FORMAT)
        return header, {name: array.copy() for name, array in arrays.items()}


def save_codes(path: StrPath, codes: ArrayLike, header: Mapping[str, Any]) -> None:
    """Write packed codes and what they are, atomically.

    Parameters
    ----------
    path : str or path-like
        The suffix ``.npy`` or ``.safetensors`` chooses the container. ``.npy`` streams the codes;
        ``.safetensors`` holds a second copy of them in memory while writing.
    codes : array-like of uint8, shape (n, n_bits // 8)
    header : mapping
        JSON content with at least ``method`` and ``fingerprint`` (of the model), both str;
        ``format``, ``format_version``, ``n_bits`` and ``count`` are filled in.

    Raises
    ------
    ValueError
        If the codes are not packed codes, or the header or the suffix is wrong.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sigah.persistence import load_codes, save_codes
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "codes.npy"
    ...     save_codes(path, np.zeros((3, 8), np.uint8), {"method": "lsh", "fingerprint": "c0ffee"})
    ...     codes, header = load_codes(path)
    ...     np.load(path).shape
    (3, 8)
    >>> header["n_bits"], header["count"]
    (64, 3)
    """
    codes = check_codes(codes)
    complete = {**header, **_format(CODES_FORMAT), **_size(codes.shape)}
    _check_origin(complete)
    if _codes_suffix(path) == ".safetensors":
        _save_safetensors(path, complete, {"codes": codes})
        return
    with atomic_write(path) as file:
        file.write(npy_head(codes.shape))
        file.write(codes.data)
        file.write(npy_tail(seal_codes(header, codes.shape, [codes.data])))


def npy_head(shape: tuple[int, ...]) -> bytes:
    """What stands before the bytes of a ``.npy`` record; as long for any number of rows.

    Examples
    --------
    >>> from sigah.persistence import npy_head
    >>> len(npy_head((0, 8))), len(npy_head((10**12, 8)))
    (128, 128)
    """
    head = io.BytesIO()
    npy.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    )
    return head.getvalue()


def npy_tail(seal: str) -> bytes:
    """What :func:`save_codes` puts behind the codes: a second record, of the sealed header.

    Examples
    --------
    >>> from sigah.persistence import npy_tail
    >>> len(npy_tail("{}"))
    130
    """
    return npy_head((len(seal),)) + seal.encode()


def seal_codes(
    header: Mapping[str, Any], shape: tuple[int, int], chunks: Iterable[bytes | memoryview]
) -> str:
    """Header and checksum of codes that need not be in memory, as every file of codes has them.

    Parameters
    ----------
    header : mapping
        As for :func:`save_codes`.
    shape : tuple of int
        ``(n, n_bits // 8)``
    chunks : iterable of bytes
        The codes in order.

    Raises
    ------
    ValueError
        If the header cannot be stored.

    Examples
    --------
    >>> from sigah.persistence import seal_codes
    >>> seal_codes({"method": "lsh", "fingerprint": "c0ffee"}, (2, 1), [b"a", b"b"])[-20:-2]
    '91a31130baf217e26e'
    """
    complete = {**header, **_format(CODES_FORMAT), **_size(shape)}
    _check_origin(complete)
    digest = _digest(complete, {"codes": ["|u1", tuple(shape)]})
    for chunk in chunks:
        digest.update(chunk)
    return _canonical({"header": complete, "sha256": digest.hexdigest()})


def unseal_codes(seal: str | bytes, codes: NDArray[np.uint8]) -> Header:
    """The header out of :func:`seal_codes`, once the codes are proven to be those that it sealed.

    Raises
    ------
    FileFormatError
        If they are not, or the seal is none.
    """
    try:
        content = _unseal(seal, CODES_FORMAT)
        _verify(content["header"], {"codes": codes}, content["sha256"])
    except DAMAGE as error:
        raise FileFormatError(f"the codes cannot be trusted: {error}") from error
    header: Header = content["header"]
    return header


def load_codes(path: StrPath, *, mmap: bool = False) -> tuple[NDArray[np.uint8], Header | None]:
    """Read a file of codes and verify its checksum.

    Parameters
    ----------
    path : str or path-like
        A ``.npy`` or ``.safetensors`` file.
    mmap : bool
        Map the codes read-only instead of copying them into memory. The checksum is still
        verified, which reads the file once.

    Returns
    -------
    codes : ndarray of uint8, shape (n, n_bits // 8)
    header : dict or None
        None for a plain ``.npy`` of codes that sigah did not write. A file cut off exactly
        between codes and header is such a file, too: nothing in it tells otherwise.

    Raises
    ------
    FileFormatError
        If the file is damaged, does not hold packed codes, or is of a newer format.
    OSError
        If the file cannot be read.
    """
    header: Header | None
    suffix = _codes_suffix(path)
    with _reading(path):
        if suffix == ".npy":
            codes, header = _open_npy(path)
        else:
            header, arrays = _open_safetensors(path, CODES_FORMAT)
            codes = arrays["codes"]
        codes = check_codes(codes)
        if header is not None:
            _check_origin(header)
            if {**header, **_size(codes.shape)} != header:
                raise ValueError("the header contradicts the codes")
    return codes if mmap else codes.copy(), header


def save_index(path: StrPath, header: Mapping[str, Any], arrays: Mapping[str, ArrayLike]) -> None:
    """Write the arrays of an index as one safetensors file, atomically and without copying them.

    Parameters
    ----------
    path : str or path-like
    header : mapping
        JSON content; ``format`` and ``format_version`` are filled in.
    arrays : mapping of str to array-like
        Each but the last must have a multiple of 64 bytes, so that all begin at one.

    Raises
    ------
    ValueError
        If the header or an array cannot be stored.
    OSError
        If the file cannot be written.
    """
    plain = _plain_arrays(arrays)
    header = {**header, **_format(INDEX_FORMAT)}
    checksum = fingerprint(header, plain)
    seal = {
        "header": header,
        "sha256": checksum,
        "seal": fingerprint(header | {"of": checksum}, {}),
    }
    layout: dict[str, Any] = {"__metadata__": {METADATA_KEY: _canonical(seal)}}
    names = {dtype: name for name, dtype in DTYPES.items()}
    end = 0
    for name, array in plain.items():
        start, end = end, end + array.nbytes
        layout[name] = {
            "dtype": names[array.dtype.str], "shape": array.shape, "data_offsets": [start, end]
        }  # fmt: skip
    text = json.dumps(layout).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in plain.values():
            file.write(array.reshape(-1).view(np.uint8).data)


def open_index(path: StrPath) -> tuple[Header, Arrays, Callable[[], None]]:
    """Map the arrays of an index file, in a time that does not grow with them.

    Returns
    -------
    header : dict
    arrays : dict of str to ndarray
        Views of the mapped file, not verified yet.
    verify : callable
        Reads all arrays and raises FileFormatError if the file is damaged.

    Raises
    ------
    FileFormatError
        If the file is not an index, is of a newer format, or its header is damaged.
    OSError
        If the file cannot be read.
    """
    with _reading(path):
        header, arrays, seal = _map_safetensors(path, INDEX_FORMAT)
        if seal["seal"] != fingerprint(header | {"of": seal["sha256"]}, {}):
            raise ValueError("the checksum of its header does not match; the file is damaged")

    def verify() -> None:
        with _reading(path):
            _verify(header, arrays, seal["sha256"])

    return header, arrays, verify


def is_index(path: StrPath) -> bool:
    """Whether a file says that it is an index; what else it holds is not looked at."""
    if not Path(path).is_file():
        return False
    try:
        with safe_open(path, framework="np") as file:
            seal = json.loads((file.metadata() or {})[METADATA_KEY])
        return bool(seal["header"]["format"] == INDEX_FORMAT)
    except DAMAGE:
        return False


def describe(path: StrPath) -> dict[str, Any]:
    """Say what a file of sigah holds, after verifying it.

    Returns
    -------
    dict
        ``kind`` ("model", "codes" or "index"), ``n_bytes`` of the file, its ``header`` (None for a
        plain ``.npy`` of codes), and ``arrays``: the dtype and shape of each. JSON can hold it.

    Raises
    ------
    FileFormatError
        If the file is anything else, damaged, or of a newer format.
    OSError
        If the file cannot be read.
    """
    header: Header | None
    kind = "codes"
    if Path(path).suffix.lower() == ".npy":
        codes, header = load_codes(path, mmap=True)
        arrays: Arrays = {"codes": codes}
    else:
        with _reading(path):
            header, arrays = _open_safetensors(path, MODEL_FORMAT, CODES_FORMAT, INDEX_FORMAT)
            kind = header["format"].removeprefix("sigah-")
    return {
        "kind": kind,
        "n_bytes": Path(path).stat().st_size,
        "header": header,
        "arrays": {
            name: {"dtype": array.dtype.name, "shape": list(array.shape)}
            for name, array in arrays.items()
        },
    }


def _save_safetensors(path: StrPath, header: Header, arrays: Mapping[str, ArrayLike]) -> None:
    plain = _plain_arrays(arrays)
    content = safetensors.numpy.save(plain, {METADATA_KEY: _seal(header, plain)})
    with atomic_write(path) as file:
        file.write(content)


def _open_safetensors(path: StrPath, *formats: str) -> tuple[Header, Arrays]:
    """Header and arrays (views of the mapped file) of a sigah safetensors file, verified."""
    header, arrays, seal = _map_safetensors(path, *formats)
    _verify(header, arrays, seal["sha256"])
    return header, arrays


def _map_safetensors(path: StrPath, *formats: str) -> tuple[Header, Arrays, dict[str, Any]]:
    """Header, arrays (views of the mapped file) and seal; only the layout is verified."""
    with safe_open(path, framework="np") as file:  # proves the layout sound before it is used
        metadata = file.metadata() or {}
    if METADATA_KEY not in metadata:
        raise ValueError("it is a safetensors file, but not one of sigah's")
    seal = _unseal(metadata[METADATA_KEY], *formats)
    content = np.memmap(path, np.uint8, mode="r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    layout = json.loads(content[8:start].tobytes())
    del layout["__metadata__"]
    arrays = {}
    for name, entry in layout.items():
        first, last = entry["data_offsets"]
        array = content[start + first : start + last].view(DTYPES[entry["dtype"]])
        arrays[name] = np.asarray(array.reshape(entry["shape"]))
    return seal["header"], arrays, seal


def _open_npy(path: StrPath) -> tuple[NDArray[np.uint8], Header | None]:
    """Codes (a view of the mapped file) and header of a ``.npy`` file, verified."""
    content = np.memmap(path, np.uint8, mode="r")
    codes, end = _npy_record(content, 0)
    if end == len(content):
        # A damaged shape can make the codes swallow the header record behind them.
        if END_OF_SEAL.search(content[-128:].tobytes()):
            raise ValueError("the shape of the codes is damaged")
        return codes, None
    record, end = _npy_record(content, end)
    if end != len(content):
        raise ValueError("it has unexpected bytes at its end")
    seal = _unseal(record.tobytes(), CODES_FORMAT)
    _verify(seal["header"], {"codes": codes}, seal["sha256"])
    return codes, seal["header"]


def _npy_record(content: NDArray[np.uint8], start: int) -> tuple[NDArray[np.uint8], int]:
    """Array of bytes whose ``.npy`` record begins at ``start``, and where the record ends."""
    head = io.BytesIO(content[start : start + LONGEST_NPY_HEADER].tobytes())
    version = npy.read_magic(head)
    if version == (1, 0):
        shape, by_columns, dtype = npy.read_array_header_1_0(head)
    elif version == (2, 0):
        shape, by_columns, dtype = npy.read_array_header_2_0(head)
    else:
        raise ValueError(f"it has .npy version {version}, which plain arrays of bytes never have")
    if dtype != np.uint8:
        raise ValueError(f"it holds {dtype}, not packed bytes (uint8)")
    start += head.tell()
    end = start + math.prod(shape)
    if end > len(content):
        raise ValueError("it is cut off: it holds fewer codes than it says")
    array = content[start:end].reshape(shape, order="F" if by_columns else "C")
    return np.asarray(array), end


@contextmanager
def _reading(path: StrPath) -> Iterator[None]:
    """Turn whatever a foreign or damaged file provokes into one error that names the file."""
    if Path(path).exists() and not Path(path).is_file():  # opening a pipe would wait for ever
        raise FileFormatError(f"cannot open {path}: it is not a regular file")
    try:
        yield
    except DAMAGE as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise FileFormatError(f"cannot open {path}: {reason}") from error


def _format(name: str) -> Header:
    return {"format": name, "format_version": FORMAT_VERSION}


def _size(shape: tuple[int, ...]) -> Header:
    return {"n_bits": shape[1] * 8, "count": shape[0]}


def _check_origin(header: Header) -> None:
    for key in ("method", "fingerprint"):
        if not isinstance(header.get(key), str):
            raise ValueError(f"the header of codes must name its {key!r} (a str)")


def _codes_suffix(path: StrPath) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (".npy", ".safetensors"):
        raise ValueError(f"files of codes end in .npy or .safetensors, got {path}")
    return suffix


def _plain_arrays(arrays: Mapping[str, ArrayLike]) -> Arrays:
    """Arrays as the files hold them: little-endian and C-contiguous."""
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


def _digest(header: Mapping[str, Any], shapes: Mapping[str, Any]) -> hashlib._Hash:
    """The checksum of a header and arrays, before the bytes of the arrays."""
    return hashlib.sha256(_canonical({"header": header, "arrays": shapes}).encode())


def _canonical(value: object) -> str:
    """JSON with one spelling for each value, in ASCII."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"JSON cannot hold the header: {error}") from error


def _seal(header: Header, arrays: Mapping[str, ArrayLike]) -> str:
    return _canonical({"header": header, "sha256": fingerprint(header, arrays)})


def _unseal(text: str | bytes, *formats: str) -> dict[str, Any]:
    """The content of a sealed text, its header of one of the formats expected."""
    seal: dict[str, Any] = json.loads(text)
    header, _ = seal["header"], seal["sha256"]
    name, version = header["format"], header["format_version"]
    if name not in formats:
        raise ValueError(f"it is a file of the format {name!r}, not {' or '.join(formats)}")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"it has version {version} of the format {name}, which this sigah does not know"
            f" (it reads version {FORMAT_VERSION}); upgrade sigah"
        )
    return seal


def _verify(header: Header, arrays: Arrays, checksum: str) -> None:
    if fingerprint(header, arrays) != checksum:
        raise ValueError("its checksum does not match; the file is damaged")
