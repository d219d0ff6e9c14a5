"""What counts as vectors: the one check at the door, for every kind of source.

============================================ =====================================================
source                                       result
============================================ =====================================================
floats of any width and byte order           read as float32
integers and booleans                        read as float32: rounded to 24 significant bits
``bfloat16`` and its kin (``ml_dtypes``)     read as float32, exactly
torch tensors, ``bfloat16`` and GPUs too     read as float32, a block at a time
objects that are numbers                     read as float64, then as float32
masked arrays without masked values          read as the array below
masked arrays with masked values             refused; the first masked row and column are named
complex numbers, dates, text, bytes, records refused
sparse matrices                              refused
NaN, infinity, numbers beyond float32        refused as they are read; row and column are named
other than two dimensions; no rows           refused
============================================ =====================================================
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "RowSource",
    "as_array",
    "as_float32",
    "as_numbers",
    "check_dtype",
    "check_rows",
    "is_row_source",
]


class RowSource(Protocol):
    """What a hasher can read: a shape, a dtype and row slicing."""

    shape: tuple[int, int]
    dtype: Any

    def __getitem__(self, key: Any) -> Any: ...


def is_row_source(X: object) -> bool:
    """Whether ``X`` is a foreign source that is to be read by row slices."""
    return (
        not isinstance(X, (np.ndarray, np.generic))
        and hasattr(X, "dtype")
        and hasattr(X, "__getitem__")
        and isinstance(getattr(X, "shape", None), tuple)
    )


def check_rows(X: Any, name: str = "X") -> RowSource:
    """Return ``X`` as rows of numbers, or say what it is instead.

    Nothing is read of a source that is read by slices; arrays are neither copied nor converted.

    Parameters
    ----------
    X : array-like, shape (n, d)
        A NumPy array or memory map, a list of rows, a table of numbers, or anything with
        ``shape``, ``dtype`` and row slicing.
    name : str
        What the caller calls it.

    Returns
    -------
    RowSource
        An array, or ``X`` itself.

    Raises
    ------
    ValueError
        If it holds anything but numbers, is masked, sparse or empty, or has not two dimensions.
    TypeError
        If it holds objects that are no numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.rows.dtypes import check_rows
    >>> check_rows([[1, 2], [3, 4]]).shape
    (2, 2)
    >>> check_rows(np.array([["1", "2"]]))
    Traceback (most recent call last):
    ValueError: X must hold numbers, but it holds text (<U1): convert it first
    """
    if hasattr(X, "tocsr") or str(getattr(X, "layout", "torch.strided")) != "torch.strided":
        raise ValueError(f"{name} is sparse, which is not supported: sparse data has to be dense")
    if isinstance(X, np.ma.MaskedArray):
        X = _unmasked(X, 0, name)
    if not is_row_source(X):
        X = X if isinstance(X, np.memmap) else _as_array(X, name)
    shape = tuple(X.shape)
    if len(shape) != 2:
        raise ValueError(
            f"Expected a 2D array of shape (n, d), but {name} has shape {shape}. Reshape your data:"
            " .reshape(1, -1) makes one vector of it"
        )
    for axis, what in enumerate(("sample", "feature")):
        if not shape[axis]:
            raise ValueError(
                f"{name} holds no vectors: 0 {what}(s) (shape={shape}) while a minimum of 1 is"
                " required."
            )
    check_dtype(X.dtype, name)
    if isinstance(X, np.ndarray) and X.dtype == object:
        X = _from_objects(X, name)
    return cast(RowSource, X)


def check_dtype(dtype: Any, name: str = "X") -> None:
    """Refuse a dtype, of NumPy or another library, that does not hold real numbers.

    Examples
    --------
    >>> from sigah.rows.dtypes import check_dtype
    >>> check_dtype("M8[D]", "dates.npy")
    Traceback (most recent call last):
    ValueError: dates.npy must hold numbers, but it holds dates or times (datetime64[D]): \
convert it first
    """
    if dtype == np.float32:  # the usual one
        return
    try:
        known = np.dtype(dtype)
    except TypeError:  # torch's, and others that NumPy does not know: by name, as in torch.float32
        label = str(dtype).rpartition(".")[2]
        real = label.startswith(("float", "bfloat", "int", "uint", "bool"))
        kind = "f" if real else "c" if label.startswith("complex") else "?"
    else:
        label, kind = known.name if known.kind in "Mm" else str(known), known.kind
        if kind == "V" and known.names is None and np.can_cast(known, np.float32):
            kind = "f"  # ml_dtypes registers bfloat16 and its kin as void types that can be cast
    if kind in "biufO":  # objects are converted one by one
        return
    if kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} holds {label}; put real and imaginary parts side"
            " by side"
        )
    holds = {"M": "dates or times", "m": "durations", "U": "text", "S": "bytes", "V": "raw bytes"}
    raise ValueError(
        f"{name} must hold numbers, but it holds {holds.get(kind, 'something else')} ({label}):"
        " convert it first"
    )


def as_float32(block: Any, first_row: int = 0, name: str = "X") -> NDArray[np.float32]:
    """A block of a source as an array of ``float32``; masked values and non-numbers are refused.

    Numbers beyond float32 become infinite, which :func:`sigah.rows.finite` reports.
    """
    if type(block) is np.ndarray and block.dtype == np.float32:  # the usual one
        return block
    with np.errstate(over="ignore"):
        return as_numbers(block, first_row, name).astype(np.float32, copy=False)


def as_numbers(block: Any, first_row: int = 0, name: str = "X") -> NDArray[Any]:
    """A block of a source as NumPy's integers or floats, at the precision it has.

    Masked values and non-numbers are refused; ``first_row`` is the row of the source at which the
    block begins.
    """
    if isinstance(block, np.ma.MaskedArray):  # such as netCDF4 reads
        block = _unmasked(block, first_row, name)
    array = as_array(block)
    check_dtype(array.dtype, name)  # a source may say one thing and slice to another
    if array.dtype == object:  # such as the strings of HDF5
        return _from_objects(array, name, first_row)
    return array.astype(np.float32) if array.dtype.kind == "V" else array  # bfloat16


def as_array(block: Any) -> NDArray[Any]:
    """A block of a source as an array of NumPy, which reads neither torch's bfloat16 nor GPUs."""
    if hasattr(block, "detach"):
        block = block.detach().cpu()
        if str(block.dtype).startswith(("torch.bfloat16", "torch.float8")):
            block = block.float()
        block = block.numpy()
    return np.asarray(block)


def _unmasked(X: Any, first_row: int, name: str) -> NDArray[Any]:
    if np.ma.is_masked(X):
        row, *column = np.argwhere(np.ma.getmaskarray(X))[0]
        where = ", ".join([f"row {first_row + row}", *(f"column {at}" for at in column[:1])])
        raise ValueError(
            f"{name} is masked (first at {where}): remove such rows, or fill them in with"
            " X.filled(value)"
        )
    unmasked: NDArray[Any] = X.data
    return unmasked


def _as_array(X: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(X)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not a table of numbers, (n, d): {error}") from error


def _from_objects(X: NDArray[Any], name: str, first_row: int = 0) -> NDArray[np.float64]:
    """Numbers that are kept as Python's objects; text is refused, even if it looks like one."""
    for (row, column), value in np.ndenumerate(X):
        if isinstance(value, (str, bytes)):
            raise ValueError(
                f"{name} must hold numbers, but row {first_row + row}, column {column} holds text"
                f" ({value!r}): convert it first"
            )
        if isinstance(value, (complex, np.complexfloating, np.datetime64, np.timedelta64)):
            raise TypeError(
                f"{name} must hold numbers, but row {first_row + row}, column {column} holds"
                f" {value!r}"
            )
    try:
        return X.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must hold numbers: {error}") from error
