"""What a file of sigah holds, whatever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sigah.files.atomic import StrPath
from sigah.files.codes import load_codes
from sigah.files.errors import reading
from sigah.files.safetensors_files import open_safetensors
from sigah.files.seals import CODES_FORMAT, INDEX_FORMAT, MODEL_FORMAT, Arrays, Header

__all__ = ["describe"]


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
        with reading(path):
            header, arrays = open_safetensors(path, MODEL_FORMAT, CODES_FORMAT, INDEX_FORMAT)
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
