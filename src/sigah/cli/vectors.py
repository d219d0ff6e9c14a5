"""What a VECTORS argument means: a file, a folder of files, or a part of a named data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sigah import rows
from sigah.cli.data import fetch_with_bar
from sigah.lab import datasets

__all__ = ["read_vectors"]


def read_vectors(argument: str) -> Any:
    """Vectors ``(n, d)`` of a file, a folder, or ``NAME`` or ``NAME:queries`` of a named set.

    A file of several tables takes a name after a colon, as in ``file.h5:train``. What is returned
    is an array, a memory map, or rows that are read on demand.
    """
    name, _, part = argument.partition(":")
    # a folder of the same name, say of results, does not hide a set: ./mnist is that folder
    if Path(argument).is_file() or name not in datasets.CATALOG:
        return rows.open_vectors(argument)
    if part not in ("", "base", "queries"):
        raise ValueError(f"{argument}: a set has the parts {name}:base and {name}:queries")
    try:
        datasets.path(name)
    except FileNotFoundError:
        fetch_with_bar(name)
    split = datasets.load(name)
    return split.queries if part == "queries" else split.base
