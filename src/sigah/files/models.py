"""Files of models: a header and arrays in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from sigah.files.atomic import StrPath
from sigah.files.errors import reading
from sigah.files.safetensors_files import open_safetensors, save_safetensors
from sigah.files.seals import MODEL_FORMAT, Arrays, Header, format_fields
from sigah.files.targets import check_target

__all__ = ["load_model", "save_model"]


def save_model(
    path: StrPath,
    header: Mapping[str, Any],
    arrays: Mapping[str, ArrayLike],
    *,
    overwrite: bool = False,
) -> None:
    """Write a model as one safetensors file, atomically.

    Parameters
    ----------
    path : str or path-like
    header : mapping
        JSON content; ``format`` and ``format_version`` are filled in.
    arrays : mapping of str to array-like
        Booleans, integers or floats of at most 64 bits.
    overwrite : bool, default=False
        Whether a file that is not a model may be replaced.

    Raises
    ------
    ValueError
        If the header or an array cannot be stored, or a file of another kind is there.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sigah.files import load_model, save_model
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "model.safetensors"
    ...     save_model(path, {"method": "lsh"}, {"weights": np.zeros((2, 8))})
    ...     header, arrays = load_model(path)
    >>> header
    {'format': 'sigah-model', 'format_version': 1, 'method': 'lsh'}
    """
    check_target(path, kind="model", overwrite=overwrite)
    save_safetensors(path, {**header, **format_fields(MODEL_FORMAT)}, arrays)


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
    with reading(path):
        header, arrays = open_safetensors(path, MODEL_FORMAT)
        return header, {name: array.copy() for name, array in arrays.items()}
