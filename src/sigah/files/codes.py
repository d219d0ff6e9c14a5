"""Files of codes: ``.npy`` for codes alone, ``.parquet`` for codes and ids; folders of Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.codes import check_codes
from sigah.files.atomic import StrPath, atomic_write
from sigah.files.errors import FileFormatError, reading
from sigah.files.folders import CODES_FOLDER, is_code_folder, read_manifest
from sigah.files.npy_files import npy_head, npy_tail, open_npy
from sigah.files.parquet import as_ids, read_parquet, read_unsealed, write_parquet
from sigah.files.safetensors_files import open_safetensors
from sigah.files.seals import CODES_FORMAT, Header, begin_digest, canonical_json, format_fields
from sigah.files.targets import check_target

__all__ = [
    "Codes",
    "check_same_model",
    "load_codes",
    "open_codes",
    "open_parts",
    "save_codes",
    "seal_codes",
]


@dataclass(frozen=True, eq=False)
class Codes:
    """The content of a file or folder of codes.

    Attributes
    ----------
    codes : ndarray of uint8, shape (n, n_bits // 8)
    ids : ndarray, shape (n,), or None
        int64, or str objects. None if the file has none: then the row number is the id.
    header : dict or None
        At least ``method``, ``fingerprint`` (of the model), ``n_bits`` and ``count``. None for a
        plain ``.npy`` of codes that sigah did not write.
    """

    codes: NDArray[np.uint8]
    ids: NDArray[Any] | None
    header: Header | None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def n_bits(self) -> int:
        """Bits per code."""
        return 8 * self.codes.shape[1]

    @property
    def fingerprint(self) -> str | None:
        """Identity of the model that made the codes, if the file says so."""
        return None if self.header is None else self.header["fingerprint"]


def check_same_model(codes_header: Header | None, model_header: Header) -> None:
    """Refuse codes of another model: distances to them would mean nothing.

    Parameters
    ----------
    codes_header, model_header : dict
        As returned by :func:`load_codes` and :func:`load_model`.

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


def save_codes(
    path: StrPath,
    codes: ArrayLike,
    header: Mapping[str, Any],
    *,
    ids: Any = None,
    overwrite: bool = False,
) -> None:
    """Write packed codes and their header, atomically.

    Parameters
    ----------
    path : str or path-like
        The suffix chooses the container: ``.npy`` for codes alone, ``.parquet`` for codes and ids
        (with ``sigah[data]``).
    codes : array-like of uint8, shape (n, n_bits // 8)
    header : mapping
        JSON content with at least ``method`` and ``fingerprint`` (of the model), both str;
        ``format``, ``format_version``, ``n_bits`` and ``count`` are filled in.
    ids : array-like of int or str, shape (n,), optional
        For ``.parquet``; default: 0, 1, 2, ...
    overwrite : bool, default=False
        Whether a file that does not hold codes may be replaced.

    Raises
    ------
    ValueError
        If the codes are not packed codes, the ids are not one whole number or string per code, the
        header or the suffix is wrong, or ``path`` is a file of another kind.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sigah.files import load_codes, save_codes
    >>> codes, header = np.zeros((3, 8), np.uint8), {"method": "lsh", "fingerprint": "c0ffee"}
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save_codes(directory + "/codes.npy", codes, header)
    ...     save_codes(directory + "/codes.parquet", codes, header, ids=["a", "b", "c"])
    ...     np.load(directory + "/codes.npy").shape
    ...     stored = load_codes(directory + "/codes.parquet")
    (3, 8)
    >>> stored.n_bits, stored.ids.tolist()
    (64, ['a', 'b', 'c'])
    """
    packed = check_codes(codes)
    check_origin(header)
    suffix = _suffix(path)
    check_target(path, kind="codes", overwrite=overwrite)
    if suffix == ".parquet":
        keys = as_ids(np.arange(len(packed)) if ids is None else ids)
        if len(keys) != len(packed):
            raise ValueError(f"there are {len(packed)} codes and {len(keys)} ids")
        write_parquet(path, header, packed.shape, [(packed, keys)], keys.type)
        return
    if ids is not None:
        raise ValueError("ids are kept in .parquet files only; a .npy file holds codes and no ids")
    seal = seal_codes(header, packed.shape, [packed.data])
    with atomic_write(path) as file:
        file.write(npy_head(packed.shape))
        file.write(packed.data)
        file.write(npy_tail(seal))


def load_codes(path: StrPath) -> Codes:
    """Read codes and their ids into memory, and verify their checksum.

    Parameters
    ----------
    path : str or path-like
        A ``.npy`` or ``.parquet`` file, or a folder that ``sigah cluster encode`` made. (Codes
        in ``.safetensors``, which early versions wrote, still open.)

    Returns
    -------
    Codes

    Raises
    ------
    FileFormatError
        If a file is damaged, does not hold packed codes, or is of a newer format. A ``.npy`` file
        truncated exactly between codes and header cannot be told from a plain one.
    OSError
        If a file cannot be read, or ``pyarrow`` is missing.

    See Also
    --------
    open_codes : maps the file.
    """
    stored = open_codes(path)
    if stored.codes.flags.writeable:
        return stored
    return Codes(stored.codes.copy(), stored.ids, stored.header)


def open_codes(path: StrPath) -> Codes:
    """Open codes as :func:`load_codes` does, mapped from disk if the format allows it.

    Codes of a ``.npy`` file are a read-only memory map; Parquet is read into memory. The checksum
    is verified either way, which reads the file once.
    """
    if not is_code_folder(path):
        return _open_file(path)
    manifest, parts = open_parts(path)
    whole = list(parts)
    ids = [np.empty(0, np.int64) if part.ids is None else part.ids for part in whole]
    return Codes(np.concatenate([part.codes for part in whole]), np.concatenate(ids), manifest)


def open_parts(path: StrPath) -> tuple[Header | None, Iterator[Codes]]:
    """The header of a file or folder of codes, and its codes file by file."""
    if not is_code_folder(path):
        stored = _open_file(path)
        return stored.header, iter([stored])
    manifest = read_manifest(path, CODES_FOLDER)

    def parts() -> Iterator[Codes]:
        for entry in manifest["files"]:
            file = Path(path) / entry["file"]
            if manifest["format_version"] == 1:  # of 08d4737: ids by their own name, no seal
                codes, ids, origin = read_unsealed(file, manifest["ids"])
            else:
                codes, ids, origin = read_parquet(file)
            if origin["fingerprint"] != manifest["fingerprint"]:
                raise FileFormatError(
                    f"cannot open {file}: its codes were made by another model than {path} says"
                )
            if codes.shape != (entry["count"], manifest["n_bits"] // 8):
                raise FileFormatError(
                    f"cannot open {file}: {path} says that it holds {entry['count']} codes of"
                    f" {manifest['n_bits']} bits, it holds {len(codes)} of {8 * codes.shape[1]}"
                )
            yield Codes(codes, ids, origin)

    return manifest, parts()


def seal_codes(
    header: Mapping[str, Any], shape: tuple[int, ...], chunks: Iterable[bytes | memoryview]
) -> str:
    """Seal (header and checksum) of codes that need not be in memory, for :func:`npy_tail`.

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
    check_origin(complete)
    digest = begin_digest(complete, {"codes": ["|u1", tuple(shape)]})
    for chunk in chunks:
        digest.update(chunk)
    return canonical_json({"header": complete, "sha256": digest.hexdigest()})


def check_origin(header: Mapping[str, Any]) -> None:
    """Refuse a header that does not say which model made the codes."""
    for key in ("method", "fingerprint"):
        if not isinstance(header.get(key), str):
            raise ValueError(f"the header of codes must name its {key!r} (a str)")


def _open_file(path: StrPath) -> Codes:
    header: Header | None
    suffix = _suffix(path, readable=True)
    ids = None
    with reading(path):
        if suffix == ".npy":
            codes, header = open_npy(path)
        elif suffix == ".parquet":
            codes, ids, header = read_parquet(path)
        else:
            header, arrays = open_safetensors(path, CODES_FORMAT)
            codes = arrays["codes"]
        codes = check_codes(codes)
        if header is not None:
            check_origin(header)
            if {**header, **_size(codes.shape)} != header:
                raise ValueError("the header contradicts the codes")
    return Codes(codes, ids, header)


def _size(shape: tuple[int, ...]) -> Header:
    return {"n_bits": shape[1] * 8, "count": shape[0]}


def _suffix(path: StrPath, *, readable: bool = False) -> str:
    suffix = Path(path).suffix.lower()
    if suffix in (".npy", ".parquet") or (readable and suffix == ".safetensors"):
        return suffix
    if Path(path).is_dir():
        raise FileFormatError(
            f"cannot open {path}: it is not a regular file, and no folder of codes that"
            " `sigah cluster encode` made"
        )
    raise ValueError(f"files of codes end in .npy or .parquet, got {path}")
