"""Codes in ``.npy`` files: a record of the codes, then a record of their sealed header.

:func:`numpy.load` reads the first record only.
"""

from __future__ import annotations

import io
import math
import re

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sigah.files.atomic import StrPath
from sigah.files.seals import CODES_FORMAT, Header, unseal, verify_arrays

__all__ = ["npy_head", "npy_tail", "open_npy"]

END_OF_SEAL = re.compile(rb'"sha256":"[0-9a-f]{64}"\}\Z')
LONGEST_NPY_HEADER = 1 << 16


def npy_head(shape: tuple[int, ...]) -> bytes:
    """The start of a ``.npy`` record, of the same length for any number of rows.

    Examples
    --------
    >>> from sigah.files import npy_head
    >>> len(npy_head((0, 8))), len(npy_head((10**12, 8)))
    (128, 128)
    """
    head = io.BytesIO()
    npy.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    )
    return head.getvalue()


def npy_tail(seal: str) -> bytes:
    """The second record of a file of codes: the sealed header.

    Examples
    --------
    >>> from sigah.files import npy_tail
    >>> len(npy_tail("{}"))
    130
    """
    return npy_head((len(seal),)) + seal.encode()


def open_npy(path: StrPath) -> tuple[NDArray[np.uint8], Header | None]:
    """Codes (a view of the mapped file) and header of a ``.npy`` file, verified."""
    content = np.memmap(path, np.uint8, mode="r")
    codes, end = _npy_record(content, 0)
    if end == len(content):
        # A damaged shape can make the codes include the header record behind them.
        if END_OF_SEAL.search(content[-128:].tobytes()):
            raise ValueError("the shape of the codes is damaged")
        return codes, None
    record, end = _npy_record(content, end)
    if end != len(content):
        raise ValueError("it has unexpected bytes at its end")
    seal = unseal(record.tobytes(), CODES_FORMAT)
    verify_arrays(seal["header"], {"codes": codes}, seal["sha256"])
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
