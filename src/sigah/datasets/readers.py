"""Vector files of the field, read as ``(n, d)`` arrays and memory-mapped where the format allows.

===================== ====================================================== =============
suffix                format                                                 memory-mapped
===================== ====================================================== =============
``.npy``              one NumPy array                                        yes
``.npz``              NumPy archive; ``file.npz:name`` picks one of several  no
``.fvecs .ivecs``     TEXMEX rows: int32 ``d``, then ``d`` float32 or int32  yes
``.bvecs``            TEXMEX rows: int32 ``d``, then ``d`` uint8             yes
``.csv``              numbers and commas, with or without a header line      no
``.idx`` ``-ubyte``   IDX, as MNIST is published; also with ``.gz``          unless .gz
===================== ====================================================== =============
"""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["load_vectors", "read_idx", "read_npy"]

Array = NDArray[Any]

_IDX_NAME = re.compile(r"([.-]idx\d?(-ubyte)?|-ubyte)(\.gz)?$", re.IGNORECASE)
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load_vectors(path: str | Path, *, mmap: bool = True) -> Array:
    """Read the vectors of a file; its suffix names the format (see the table of this module).

    Parameters
    ----------
    path : str or Path
        The file, or ``file.npz:name`` for one array of an archive that holds several.
    mmap : bool
        Leave the rows on disk where the format allows. The array is then read-only and may be
        strided. ``False`` returns a writable C-contiguous array in memory.

    Returns
    -------
    ndarray, shape (n, d)
        float16, float32, float64 or an integer dtype, as stored, in the machine's byte order
        (CSV: float64). Images in IDX files are flattened to one row each.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not what its suffix says, is damaged, or does not hold one two-dimensional
        table of numbers. Pickled objects are never loaded. NaN and infinity pass.

    References
    ----------
    The ``.fvecs`` family: Jégou, Douze and Schmid, "Product quantization for nearest neighbor
    search", PAMI 2011 (the TEXMEX corpora). IDX: LeCun, Cortes and Burges, the MNIST database.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah.datasets import load_vectors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/vectors.npy", np.eye(3, 2, dtype=np.float32))
    ...     load_vectors(folder + "/vectors.npy", mmap=False)
    array([[1., 0.],
           [0., 1.],
           [0., 0.]], dtype=float32)
    """
    file, member = _split_member(path)
    reader = _reader(file, member)
    with _naming(file):
        array = _as_vectors(reader(file))
    return array if mmap else np.array(array, order="C")


def read_idx(path: str | Path) -> Array:
    """Read an IDX file, gzipped or plain, with the shape and dtype that its header states.

    Unlike :func:`load_vectors` it takes any number of axes, so it also reads label files.

    Raises
    ------
    ValueError
        If the bytes are not one whole IDX array.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sigah.datasets.readers import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "labels-idx1-ubyte")
    ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    ...     read_idx(file).tolist()
    [7, 9]
    """
    file = Path(path)
    with _naming(file):
        return _idx(file)


def read_npy(path: str | Path) -> Array:
    """Memory-map a ``.npy`` file of any number of axes, read-only; pickled objects are refused.

    Raises
    ------
    ValueError
        If the bytes are not one whole array in NumPy's format.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah.datasets.readers import read_npy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/labels.npy", [7, 9])
    ...     read_npy(folder + "/labels.npy").tolist()
    [7, 9]
    """
    file = Path(path)
    with _naming(file):
        return _npy(file)


def _split_member(path: str | Path) -> tuple[Path, str | None]:
    archive, mark, member = str(path).rpartition(".npz:")
    return (Path(archive + ".npz"), member) if mark else (Path(path), None)


def _reader(file: Path, member: str | None) -> Callable[[Path], Array]:
    suffix = file.suffix.lower()
    if suffix == ".npz":
        return lambda file: _npz(file, member)
    if suffix in _READERS:
        return _READERS[suffix]
    if _IDX_NAME.search(file.name):
        return _idx_rows
    known = ", ".join([*_READERS, ".npz", ".idx", "-ubyte"])
    raise ValueError(f"{file}: unknown kind of vector file; known endings: {known} (IDX also .gz)")


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn whatever damaged bytes make a parser raise into one ValueError that names the file."""
    with file.open("rb") as stream:  # no file, no permission: an OSError that says so already
        if not stream.read(1):
            raise ValueError(f"{file}: the file is empty")
    try:
        yield
    except Exception as error:  # NumPy, zipfile, gzip and their helpers raise a dozen types
        raise ValueError(f"{file}: {str(error) or type(error).__name__}") from error


def _as_vectors(array: Array) -> Array:
    """Rows of numbers in native byte order, or an error that says what the array is instead."""
    dtype = array.dtype
    if not (dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize <= 8)):
        raise ValueError(f"vectors must be float16/32/64 or integers, the array holds {dtype}")
    if array.ndim != 2:
        raise ValueError(f"vectors must have shape (n, d), the array has shape {array.shape}")
    if not array.size:
        raise ValueError(f"there are no vectors, the array has shape {array.shape}")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _npy(file: Path) -> Array:
    with file.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise ValueError("not a .npy file: its first bytes are not the NumPy mark")
    # Mapping refuses object arrays and shapes that the file is too short for.
    array = np.lib.format.open_memmap(file, mode="r")
    expected = array.offset + array.nbytes
    if expected != file.stat().st_size:
        raise ValueError(f"the header says {expected} bytes, but there are {file.stat().st_size}")
    return array


def _npz(file: Path, member: str | None) -> Array:
    with zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        choices = ", ".join(f"{file.name}:{name}" for name in names) or "nothing"
        if member is None and len(names) != 1:
            raise ValueError(f"holds {len(names)} arrays, name the one to read: {choices}")
        name = names[0] if member is None else member
        if name not in names:
            raise ValueError(f"there is no array {name!r}; the archive holds {choices}")
        with archive.open(f"{name}.npy") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)


def _vecs(file: Path, dtype: str) -> Array:
    stored = np.memmap(file, dtype=np.uint8, mode="r")
    if stored.size < 4:
        raise ValueError(f"{stored.size} bytes are too few for one row")
    d = int(stored[:4].view("<i4")[0])
    row = 4 + d * np.dtype(dtype).itemsize
    if d <= 0:
        raise ValueError(f"the first row says its dimension is {d}")
    if stored.size % row:
        raise ValueError(
            f"the first row says its dimension is {d}, but {stored.size} bytes are not a whole"
            f" number of {row}-byte rows: truncated, or rows of different dimensions"
        )
    rows = stored.reshape(-1, row)
    dimensions = rows[:, :4].view("<i4")[:, 0]
    if (dimensions != d).any():
        odd = int(np.argmax(dimensions != d))
        raise ValueError(f"row {odd} has dimension {dimensions[odd]}, row 0 has {d}")
    return rows[:, 4:].view(dtype)


def _csv(file: Path) -> Array:
    with file.open(encoding="utf-8-sig") as stream:
        lines = (line for line in stream if line.strip())
        first = next(lines, "")
        # A line without one number is a header; a row with a slip of the pen is not.
        if not any(map(_is_number, first.split(","))):
            first = next(lines, "")
        if not first:
            raise ValueError("there are no rows of numbers")
        return np.loadtxt(chain([first], lines), delimiter=",", comments=None, ndmin=2)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _idx(file: Path) -> Array:
    with file.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    stored: bytes | Array
    stored = gzip.decompress(file.read_bytes()) if zipped else np.memmap(file, np.uint8, mode="r")
    mark = bytes(stored[:4])
    if len(mark) < 4 or mark[:2] != b"\0\0" or mark[2] not in _IDX_DTYPES or not mark[3]:
        raise ValueError("not an IDX file: its first four bytes are not an IDX mark")
    dtype, start = np.dtype(_IDX_DTYPES[mark[2]]), 4 + 4 * mark[3]
    if len(stored) < start:
        raise ValueError(f"truncated: {len(stored)} bytes do not hold the header")
    shape = tuple(np.frombuffer(stored, ">u4", mark[3], offset=4).tolist())
    expected = start + prod(shape) * dtype.itemsize
    if len(stored) != expected:
        raise ValueError(
            f"the header says {dtype.name} of shape {shape}, in all {expected} bytes, but there"
            f" are {len(stored)}"
        )
    return np.frombuffer(stored, dtype, offset=start).reshape(shape)


def _idx_rows(file: Path) -> Array:
    array = _idx(file)
    return array.reshape(len(array), -1) if array.ndim > 2 and array.size else array


_READERS: dict[str, Callable[[Path], Array]] = {
    ".npy": _npy,
    ".fvecs": lambda file: _vecs(file, "<f4"),
    ".ivecs": lambda file: _vecs(file, "<i4"),
    ".bvecs": lambda file: _vecs(file, "u1"),
    ".csv": _csv,
}
