"""Sealed headers and arrays in safetensors files: written, mapped, verified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import ArrayLike
from safetensors import safe_open

from sigah.files.atomic import StrPath, atomic_write
from sigah.files.seals import (
    DTYPES,
    METADATA_KEY,
    Arrays,
    Header,
    plain_arrays,
    seal_header,
    unseal,
    verify_arrays,
)

__all__ = ["map_safetensors", "open_safetensors", "save_safetensors"]


def save_safetensors(path: StrPath, header: Header, arrays: Mapping[str, ArrayLike]) -> None:
    """Write a header, sealed, and its arrays as one safetensors file, atomically."""
    plain = plain_arrays(arrays)
    content = safetensors.numpy.save(plain, {METADATA_KEY: seal_header(header, plain)})
    with atomic_write(path) as file:
        file.write(content)


def open_safetensors(path: StrPath, *formats: str) -> tuple[Header, Arrays]:
    """Header and arrays (views of the mapped file) of a sigah safetensors file, verified."""
    header, arrays, seal = map_safetensors(path, *formats)
    verify_arrays(header, arrays, seal["sha256"])
    return header, arrays


def map_safetensors(path: StrPath, *formats: str) -> tuple[Header, Arrays, dict[str, Any]]:
    """Header, arrays (views of the mapped file) and seal; only the layout is verified."""
    with safe_open(path, framework="np") as file:  # checks the layout first
        metadata = file.metadata() or {}
    if METADATA_KEY not in metadata:
        raise ValueError("it is a safetensors file, but not one of sigah's")
    seal = unseal(metadata[METADATA_KEY], *formats)
    content = np.memmap(path, np.uint8, mode="r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    layout = json.loads(content[8:start].tobytes())
    if layout.pop("__metadata__") != metadata:  # the name got another file between the two opens
        return map_safetensors(path, *formats)
    arrays = {}
    for name, entry in layout.items():
        first, last = entry["data_offsets"]
        array = content[start + first : start + last].view(DTYPES[entry["dtype"]])
        arrays[name] = np.asarray(array.reshape(entry["shape"]))
    return seal["header"], arrays, seal
