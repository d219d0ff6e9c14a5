"""Describe any file of sigah: a model, codes, an index, or a folder of codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sigah.files.atomic import StrPath
from sigah.files.codes import open_codes
from sigah.files.errors import reading
from sigah.files.folders import is_code_folder
from sigah.files.safetensors_files import open_safetensors
from sigah.files.seals import (
    CODES_FORMAT,
    INDEX_FORMAT,
    MODEL_FORMAT,
    VECTORS_FORMAT,
    Header,
)

__all__ = ["describe"]


def describe(path: StrPath) -> dict[str, Any]:
    """Verify a file of sigah or a folder of codes, and describe its content.

    Returns
    -------
    dict
        ``kind`` ("model", "codes", "index" or "vectors"), ``n_bytes`` on disk, its ``header``
        (None for a plain ``.npy`` of codes), and ``arrays``: the dtype and shape of each. JSON can
        hold it.

    Raises
    ------
    FileFormatError
        If the file is anything else, damaged, or of a newer format.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah import LSH
    >>> from sigah.files import describe
    >>> X = np.random.default_rng(0).normal(size=(100, 32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     LSH(n_bits=8, random_state=0).fit(X).save(f"{folder}/lsh.model")
    ...     told = describe(f"{folder}/lsh.model")
    >>> told["kind"], told["header"]["method"]
    ('model', 'lsh')
    """
    header: Header | None
    kind = "codes"
    if is_code_folder(path) or Path(path).suffix.lower() in (".npy", ".parquet"):
        stored = open_codes(path)
        header, arrays = stored.header, {"codes": stored.codes}
        if stored.ids is not None:
            arrays["ids"] = stored.ids
    else:
        with reading(path):
            header, arrays = open_safetensors(
                path, MODEL_FORMAT, CODES_FORMAT, INDEX_FORMAT, VECTORS_FORMAT
            )
            kind = header["format"].removeprefix("sigah-")
    return {
        "kind": kind,
        "n_bytes": sum(file.stat().st_size for file in _files(Path(path))),
        "header": header,
        "arrays": {
            name: {
                "dtype": "str" if array.dtype == object else array.dtype.name,
                "shape": list(array.shape),
            }
            for name, array in arrays.items()
        },
    }


def _files(path: Path) -> list[Path]:
    return [file for file in path.iterdir() if file.is_file()] if path.is_dir() else [path]
