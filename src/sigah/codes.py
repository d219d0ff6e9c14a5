"""Packed binary codes, the form in which all parts of the library exchange codes.

A set of ``n`` codes of ``r`` bits is a ``uint8`` array of shape ``(n, r // 8)``. Bit ``j`` of a row
is bit ``7 - j % 8`` of byte ``j // 8`` (the big bit order of :func:`numpy.packbits`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["check_codes", "check_n_bits", "pack", "signs", "unpack"]


def check_n_bits(n_bits: object) -> int:
    """Return ``n_bits`` as a positive multiple of 8, or say what is wrong with it.

    Examples
    --------
    >>> from sigah.codes import check_n_bits
    >>> check_n_bits(64)
    64
    """
    if isinstance(n_bits, bool) or not isinstance(n_bits, (int, np.integer)):
        raise ValueError(f"n_bits must be a whole number, got {n_bits!r}")
    if n_bits <= 0 or n_bits % 8:
        raise ValueError(
            f"n_bits must be a positive multiple of 8 (codes are packed in bytes), got {n_bits}"
        )
    if n_bits >= 2**31:
        raise ValueError(f"n_bits must be less than {2**31}")
    return int(n_bits)


def check_codes(
    codes: ArrayLike, *, n_bits: int | None = None, name: str = "codes"
) -> NDArray[np.uint8]:
    """Return packed codes as a C-contiguous ``uint8`` array of shape ``(n, n_bits // 8)``.

    Parameters
    ----------
    codes : array-like of uint8, shape (n, n_bytes)
        Packed codes. Other dtypes are refused rather than cast: 0/1 floats, unpacked bits and
        wider integers would otherwise be taken for bytes and give wrong neighbours in silence.
    n_bits : int, optional
        The width that the codes must have.
    name : str
        What to call the array in an error message.

    Raises
    ------
    ValueError
        If the array is not two-dimensional uint8 or does not have ``n_bits`` bits a row.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.codes import check_codes
    >>> check_codes(np.zeros((3, 8), np.uint8), n_bits=64).shape
    (3, 8)
    """
    array = np.asarray(codes)
    if array.dtype != np.uint8:
        raise ValueError(
            f"{name} must be packed bytes (uint8), got {array.dtype}; pack 0/1 bits with"
            " sigah.codes.pack first"
        )
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, n_bytes), got {array.shape}")
    if n_bits is not None and array.shape[1] * 8 != n_bits:
        raise ValueError(f"{name} have {array.shape[1] * 8} bits, expected {n_bits}")
    return np.ascontiguousarray(array)


def pack(bits: ArrayLike) -> NDArray[np.uint8]:
    """Pack boolean (or 0/1) rows into bytes, eight bits a byte.

    Parameters
    ----------
    bits : array-like of bool, shape (n, n_bits)
        ``n_bits`` must be a multiple of 8.

    Returns
    -------
    ndarray of uint8, shape (n, n_bits // 8)

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.codes import pack
    >>> pack(np.array([[1, 0, 0, 0, 0, 0, 0, 1]]))
    array([[129]], dtype=uint8)
    """
    array = np.asarray(bits)
    if array.ndim != 2:
        raise ValueError(f"bits must have shape (n, n_bits), got {array.shape}")
    check_n_bits(array.shape[1])
    if array.dtype != np.bool_:
        if not np.isin(array, (0, 1)).all():
            raise ValueError("bits must be 0 or 1")
        array = array.astype(np.bool_)
    return np.packbits(array, axis=1)


def unpack(codes: ArrayLike) -> NDArray[np.bool_]:
    """Undo :func:`pack`: bytes to boolean rows of shape ``(n, n_bits)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.codes import unpack
    >>> unpack(np.array([[129]], np.uint8)).astype(int)
    array([[1, 0, 0, 0, 0, 0, 0, 1]])
    """
    return np.unpackbits(check_codes(codes), axis=1).astype(np.bool_)


def signs(codes: ArrayLike) -> NDArray[np.float32]:
    """Codes as vectors of the hypercube {-1, +1}^n_bits, ``float32`` of shape ``(n, n_bits)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.codes import signs
    >>> signs(np.array([[129]], np.uint8))
    array([[ 1., -1., -1., -1., -1., -1., -1.,  1.]], dtype=float32)
    """
    return np.where(unpack(codes), np.float32(1), np.float32(-1))
