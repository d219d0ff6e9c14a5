"""Files of codes: a safetensors file or an ordinary ``.npy`` file, by the suffix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.codes import check_codes
from sigah.files.atomic import StrPath, atomic_write
from sigah.files.errors import DAMAGE, FileFormatError, reading
from sigah.files.npy_files import npy_head, npy_tail, open_npy
from sigah.files.safetensors_files import open_safetensors, save_safetensors
from sigah.files.seals import (
    CODES_FORMAT,
    Header,
    begin_digest,
    canonical_json,
    format_fields,
    unseal,
    verify_arrays,
)

__all__ = ["check_same_model", "load_codes", "save_codes", "seal_codes", "unseal_codes"]


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
    >>> from sigah.files import check_same_model
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
    >>> from sigah.files import load_codes, save_codes
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
    complete = {**header, **format_fields(CODES_FORMAT), **_size(codes.shape)}
    _check_origin(complete)
    if _codes_suffix(path) == ".safetensors":
        save_safetensors(path, complete, {"codes": codes})
        return
    with atomic_write(path) as file:
        file.write(npy_head(codes.shape))
        file.write(codes.data)
        file.write(npy_tail(seal_codes(header, codes.shape, [codes.data])))


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
    with reading(path):
        if suffix == ".npy":
            codes, header = open_npy(path)
        else:
            header, arrays = open_safetensors(path, CODES_FORMAT)
            codes = arrays["codes"]
        codes = check_codes(codes)
        if header is not None:
            _check_origin(header)
            if {**header, **_size(codes.shape)} != header:
                raise ValueError("the header contradicts the codes")
    return codes if mmap else codes.copy(), header


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
    >>> from sigah.files import seal_codes
    >>> seal_codes({"method": "lsh", "fingerprint": "c0ffee"}, (2, 1), [b"a", b"b"])[-20:-2]
    '91a31130baf217e26e'
    """
    complete = {**header, **format_fields(CODES_FORMAT), **_size(shape)}
    _check_origin(complete)
    digest = begin_digest(complete, {"codes": ["|u1", tuple(shape)]})
    for chunk in chunks:
        digest.update(chunk)
    return canonical_json({"header": complete, "sha256": digest.hexdigest()})


def unseal_codes(seal: str | bytes, codes: NDArray[np.uint8]) -> Header:
    """The header out of :func:`seal_codes`, once the codes are proven to be those that it sealed.

    Raises
    ------
    FileFormatError
        If they are not, or the seal is none.
    """
    try:
        content = unseal(seal, CODES_FORMAT)
        verify_arrays(content["header"], {"codes": codes}, content["sha256"])
    except DAMAGE as error:
        raise FileFormatError(f"the codes cannot be trusted: {error}") from error
    header: Header = content["header"]
    return header


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
