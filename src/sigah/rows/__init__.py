"""Rows of vectors, wherever they are: arrays, memory maps, files, folders and batches."""

from __future__ import annotations

from sigah.rows.blocks import Rows, RowSource, finite, is_row_source
from sigah.rows.dtypes import check_rows
from sigah.rows.folder import FolderRows
from sigah.rows.lazy import LazyRows, MissingLibraryError
from sigah.rows.readers import load_vectors, open_array, open_vectors
from sigah.rows.sampling import sample, training_rows
from sigah.rows.sources import Batches, as_rows, files_of, identity, read_blocks

__all__ = [
    "Batches",
    "FolderRows",
    "LazyRows",
    "MissingLibraryError",
    "RowSource",
    "Rows",
    "as_rows",
    "check_rows",
    "files_of",
    "finite",
    "identity",
    "is_row_source",
    "load_vectors",
    "open_array",
    "open_vectors",
    "read_blocks",
    "sample",
    "training_rows",
]
