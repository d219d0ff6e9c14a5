"""Vector files of the field, read as ``(n, d)`` arrays or by rows.

======================== =================================================== ===============
suffix                   format                                              rows stay on disk
======================== =================================================== ===============
``.npy``                 one NumPy array                                     mapped
``.npz``                 NumPy archive, of one array or ``file.npz:name``    no
``.fvecs .ivecs .bvecs`` TEXMEX rows: int32 ``d``, then ``d`` float32,       mapped
                         int32 or uint8
``.fbin .ibin .u8bin``   uint32 ``n``, ``d``, then ``n`` rows of float32,    mapped
``.i8bin``               int32, uint8 or int8
``.h5 .hdf5``            HDF5, ``file.h5:train``                             sliced
``.mat``                 MATLAB, ``file.mat:X``                              v7.3: sliced
``.parquet``             a column of lists, ``file.parquet:column``          sliced
``.arrow .feather``      the same in Arrow's own format                      sliced
``.csv``                 numbers and commas, with or without a header line   no
``.idx`` ``-ubyte``      IDX, as MNIST is published; also with ``.gz``       unless .gz
======================== =================================================== ===============

A name after a colon picks one table of a file that holds several; it may be left out where there
is only one. *Mapped* files are memory maps, *sliced* ones :class:`LazyRows`: both are sources for
``fit`` and ``transform``, which read them in blocks. A folder is read as its files one after the
other, sorted by name: :class:`FolderRows`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, overload

import numpy as np

from sigah.rows.folder import FolderRows, open_folder
from sigah.rows.formats.binary import read_bin, read_vecs
from sigah.rows.formats.hdf5 import open_hdf5
from sigah.rows.formats.matlab import open_mat
from sigah.rows.formats.plain import open_csv, open_idx, open_idx_rows, open_npy, open_npz
from sigah.rows.formats.tables import open_arrow, open_parquet
from sigah.rows.lazy import Array, LazyRows, MissingLibraryError, as_vectors, naming

__all__ = [
    "FolderRows",
    "LazyRows",
    "MissingLibraryError",
    "load_vectors",
    "open_array",
    "read_idx",
    "read_npy",
]

# Formats of one array a file, and of several by name.
ONE: dict[str, Callable[[Path], Array]] = {
    ".npy": open_npy,
    ".fvecs": partial(read_vecs, dtype="<f4"),
    ".ivecs": partial(read_vecs, dtype="<i4"),
    ".bvecs": partial(read_vecs, dtype="u1"),
    ".fbin": partial(read_bin, dtype="<f4"),
    ".ibin": partial(read_bin, dtype="<i4"),
    ".u8bin": partial(read_bin, dtype="u1"),
    ".i8bin": partial(read_bin, dtype="i1"),
    ".csv": open_csv,
}
SEVERAL: dict[str, Callable[[Path, str | None], Array | LazyRows]] = {
    ".npz": open_npz,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".mat": open_mat,
    ".parquet": open_parquet,
    ".arrow": open_arrow,
    ".feather": open_arrow,
}
MEMBER = re.compile(rf"(.+(?:{'|'.join(map(re.escape, SEVERAL))})):(.*)", re.IGNORECASE)
IDX_NAME = re.compile(r"([.-]idx\d?(-ubyte)?|-ubyte)(\.gz)?$", re.IGNORECASE)


@overload
def load_vectors(path: str | Path, *, mmap: Literal[False]) -> Array: ...
@overload
def load_vectors(path: str | Path, *, mmap: bool = True) -> Array | LazyRows: ...
def load_vectors(path: str | Path, *, mmap: bool = True) -> Array | LazyRows:
    """Read the vectors of a file; its suffix names the format (see the table of this module).

    Parameters
    ----------
    path : str or Path
        The file, or ``file:name`` for one table of a file that holds several: an array of an
        ``.npz``, a dataset of an HDF5 file, a variable of a ``.mat``, a column of a table. Or a
        folder (``folder:name``): all files in it that have a known ending, in the order of their
        names, character by character. Other files and folders in it are not looked at.
    mmap : bool
        Leave the rows on disk where the format allows. A memory map is then read-only and may be
        strided. ``False`` returns a writable C-contiguous array in memory.

    Returns
    -------
    ndarray or LazyRows, shape (n, d)
        float16, float32, float64 or an integer dtype, as stored, in the machine's byte order
        (CSV: float64). Images in IDX files are flattened to one row each.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not what its suffix says, is damaged, or does not hold one two-dimensional
        table of numbers. Pickled objects are never loaded. NaN and infinity pass. Damage to rows
        of HDF5, Parquet and Arrow is found when they are read.
    OSError
        If the optional library that reads the format is not installed.

    References
    ----------
    The ``.fvecs`` family: Jégou, Douze and Schmid, "Product quantization for nearest neighbor
    search", PAMI 2011 (the TEXMEX corpora). ``.fbin``: the NeurIPS 2021 challenge on
    billion-scale search. IDX: LeCun, Cortes and Burges, the MNIST database.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah.rows import load_vectors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/vectors.npy", np.eye(3, 2, dtype=np.float32))
    ...     load_vectors(folder + "/vectors.npy", mmap=False)
    array([[1., 0.],
           [0., 1.],
           [0., 0.]], dtype=float32)
    """
    file, reader = _reader(path)
    with naming(file):
        array = as_vectors(reader(file))
    return array if mmap else np.array(array, order="C")


def open_array(path: str | Path) -> Array | LazyRows:
    """Read a file as :func:`load_vectors` does, with any number of axes and of any dtype.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah.rows.readers import open_array
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(folder + "/set.npz", vectors=np.eye(2), labels=[7, 9])
    ...     open_array(folder + "/set.npz:labels").tolist()
    [7, 9]
    """
    file, reader = _reader(path)
    with naming(file):
        return reader(file)


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
    >>> from sigah.rows.readers import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "labels-idx1-ubyte")
    ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    ...     read_idx(file).tolist()
    [7, 9]
    """
    file = Path(path)
    with naming(file):
        return open_idx(file)


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
    >>> from sigah.rows.readers import read_npy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/labels.npy", [7, 9])
    ...     read_npy(folder + "/labels.npy").tolist()
    [7, 9]
    """
    file = Path(path)
    with naming(file):
        return open_npy(file)


def _reader(path: str | Path) -> tuple[Path, Callable[[Path], Array | LazyRows]]:
    """The file that an argument names, and what reads it."""
    file, member = Path(path), None
    named = MEMBER.fullmatch(str(path))
    if named and not file.exists():
        file, member = Path(named[1]), named[2]
    elif not file.exists() and Path(folder := str(path).rpartition(":")[0]).is_dir() and folder:
        file, member = Path(folder), str(path).rpartition(":")[2]
    if file.is_dir():
        return file, lambda folder: open_folder(folder, member, _is_known, load_vectors)
    suffix = file.suffix.lower()
    if suffix in SEVERAL:
        return file, lambda file: SEVERAL[suffix](file, member)
    if suffix in ONE:
        return file, ONE[suffix]
    if IDX_NAME.search(file.name):
        return file, open_idx_rows
    known = ", ".join([*ONE, *SEVERAL, ".idx", "-ubyte"])
    raise ValueError(f"{file}: unknown kind of vector file; known endings: {known} (IDX also .gz)")


def _is_known(file: Path) -> bool:
    """Whether the name of a file says that it holds vectors."""
    return file.suffix.lower() in {**ONE, **SEVERAL} or bool(IDX_NAME.search(file.name))
