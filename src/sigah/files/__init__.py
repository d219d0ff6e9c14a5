"""Files: open formats, versioned, checksummed, written atomically, never pickled.

``models``, ``codes`` and ``indexes`` are the kinds of files, and ``description`` tells them apart.
Each holds arrays and a header, which ``seals`` makes and checks, in one of two containers:
``safetensors_files`` or ``npy_files``. ``targets`` decides which files may be replaced, ``atomic``
writes a file completely or not at all, and ``errors`` turns all errors about a bad file into one
kind.
"""

from __future__ import annotations

from sigah.files.atomic import atomic_write
from sigah.files.codes import (
    Codes,
    check_same_model,
    load_codes,
    open_codes,
    open_parts,
    save_codes,
    seal_codes,
)
from sigah.files.description import describe
from sigah.files.errors import FileFormatError
from sigah.files.indexes import is_index, open_index, save_index
from sigah.files.models import load_model, save_model
from sigah.files.npy_files import npy_head, npy_tail
from sigah.files.seals import METADATA_KEY, Header, fingerprint
from sigah.files.targets import check_target, kind_of

__all__ = [
    "METADATA_KEY",
    "Codes",
    "FileFormatError",
    "Header",
    "atomic_write",
    "check_same_model",
    "check_target",
    "describe",
    "fingerprint",
    "is_index",
    "kind_of",
    "load_codes",
    "load_model",
    "npy_head",
    "npy_tail",
    "open_codes",
    "open_index",
    "open_parts",
    "save_codes",
    "save_index",
    "save_model",
    "seal_codes",
]
