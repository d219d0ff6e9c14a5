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
``fit`` and ``transform``, which read them in blocks. A folder is read as its files, one after the
other, as :func:`sigah.rows.folder.walk` lists them: :class:`FolderRows`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from sigah.rows.folder import FolderRows, open_files, walk
from sigah.rows.formats.binary import read_bin, read_vecs
from sigah.rows.formats.csv import open_csv
from sigah.rows.formats.hdf5 import open_hdf5
from sigah.rows.formats.matlab import open_mat
from sigah.rows.formats.plain import open_idx_rows, open_npy, open_npz
from sigah.rows.formats.tables import open_arrow, open_parquet
from sigah.rows.lazy import Array, LazyRows, MissingLibraryError, as_vectors, naming

__all__ = [
    "FolderRows",
    "LazyRows",
    "MissingLibraryError",
    "load_vectors",
    "open_array",
    "open_vectors",
    "vector_files",
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
CSV = ".csv"
IDX_NAME = re.compile(r"([.-]idx\d?(-ubyte)?|-ubyte)(\.gz)?$", re.IGNORECASE)


def load_vectors(path: str | Path, *, header: bool | None = None) -> Array:
    """Read the vectors of a file or a folder into memory.

    Parameters
    ----------
    path : str or Path
        As for :func:`open_vectors`.
    header : bool, optional
        As for :func:`open_vectors`.

    Returns
    -------
    ndarray, shape (n, d)
        Writable and C-contiguous, of the dtype that the file has.

    See Also
    --------
    open_vectors : leaves the rows on disk; for errors and formats, too.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah.rows import load_vectors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/vectors.npy", np.eye(3, 2, dtype=np.float32))
    ...     load_vectors(folder + "/vectors.npy")
    array([[1., 0.],
           [0., 1.],
           [0., 0.]], dtype=float32)
    """
    return np.array(open_vectors(path, header=header), order="C")


def open_vectors(path: str | Path, *, header: bool | None = None) -> Array | LazyRows:
    """Open the vectors of a file or a folder, and leave them on disk where the format allows.

    Parameters
    ----------
    path : str or Path
        The file; its suffix names the format (see the table of this module). Or ``file:name`` for
        one table of a file that holds several: an array of an ``.npz``, a dataset of an HDF5 file,
        a variable of a ``.mat``, a column of a table. Or a folder (``folder:name``): all files of
        known endings in it and its subfolders, in the order of their paths. Names that begin with
        ``_`` or ``.`` are skipped.
    header : bool, optional
        For CSV: whether the first line is a header. Default: it is one if all of it is text, it is
        none if all of it is numbers, and anything else is an error.

    Returns
    -------
    ndarray or LazyRows, shape (n, d)
        Of the dtype that the file has, in the machine's byte order (CSV: float64). A memory map is
        read-only and may be strided. Images in IDX files are flattened to one row each.

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

    See Also
    --------
    load_vectors : reads into memory.

    References
    ----------
    The ``.fvecs`` family: Jégou, Douze and Schmid, "Product quantization for nearest neighbor
    search", PAMI 2011 (the TEXMEX corpora). ``.fbin``: the NeurIPS 2021 challenge on
    billion-scale search. IDX: LeCun, Cortes and Burges, the MNIST database.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah.rows import open_vectors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/vectors.npy", np.eye(3, 2, dtype=np.float32))
    ...     open_vectors(folder + "/vectors.npy").shape
    (3, 2)
    """
    file, reader = _reader(path, header)
    with naming(file):
        return as_vectors(reader(file))


def vector_files(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders that hold vectors, in the order they are read."""
    return walk(folder, _is_known)


def open_array(path: str | Path) -> Array | LazyRows:
    """Open a file as :func:`open_vectors` does, with any number of axes and of any dtype.

    For labels and the like. Images in IDX files are flattened to one row each, labels are not.

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


def _reader(
    path: str | Path, header: bool | None = None
) -> tuple[Path, Callable[[Path], Array | LazyRows]]:
    """The file that an argument names, and what reads it."""
    file, member = Path(path), None
    named = MEMBER.fullmatch(str(path))
    if named and not file.exists():
        file, member = Path(named[1]), named[2]
    elif not file.exists() and Path(folder := str(path).rpartition(":")[0]).is_dir() and folder:
        file, member = Path(folder), str(path).rpartition(":")[2]
    if file.is_dir():

        def open_one(one: Path) -> Array | LazyRows:
            return open_vectors(f"{one}:{member}" if member else one, header=header)

        return file, lambda folder: open_files(folder, vector_files(folder), open_one)
    suffix = file.suffix.lower()
    if suffix == CSV:
        return file, partial(open_csv, header=header)
    if header is not None:
        raise ValueError(f"{file}: only .csv files have a header line; leave out header")
    if suffix in SEVERAL:
        return file, lambda file: SEVERAL[suffix](file, member)
    if suffix in ONE:
        return file, ONE[suffix]
    if IDX_NAME.search(file.name):
        return file, open_idx_rows
    known = ", ".join([*ONE, *SEVERAL, CSV, ".idx", "-ubyte"])
    raise ValueError(f"{file}: unknown kind of vector file; known endings: {known} (IDX also .gz)")


def _is_known(name: str) -> bool:
    """Whether the name of a file says that it holds vectors."""
    return Path(name).suffix.lower() in {*ONE, *SEVERAL, CSV} or bool(IDX_NAME.search(name))
