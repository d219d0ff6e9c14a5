"""MATLAB files: version 7.3 is HDF5 and read by rows, older ones are read into memory."""

from __future__ import annotations

import warnings
from math import prod
from pathlib import Path

from sigah.rows.formats.hdf5 import open_hdf5
from sigah.rows.lazy import Array, LazyRows

__all__ = ["open_mat"]

HDF5_MARK = b"\x89HDF\r\n\x1a\n"
HDF5_OFFSETS = (0, 512)  # MATLAB puts its own header of 512 bytes before
DEFLATE_RATIO = 1032  # no deflated byte stands for more
NUMBERS = {"double", "single", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}


def open_mat(file: Path, name: str | None) -> Array | LazyRows:
    """Read the variable ``name``, or the only one that could be vectors."""
    from scipy import io  # only here: sigah starts without it

    with file.open("rb") as stream:
        head = stream.read(HDF5_OFFSETS[-1] + len(HDF5_MARK))
    if any(head[offset : offset + len(HDF5_MARK)] == HDF5_MARK for offset in HDF5_OFFSETS):
        return open_hdf5(file, name, by_columns=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # SciPy warns where a damaged file makes it guess
        listed = io.whosmat(str(file), appendmat=False)
        found = {variable: shape for variable, shape, kind in listed if kind in NUMBERS}
        choices = ", ".join(f"{file.name}:{variable}" for variable in found) or "no full matrix"
        if name is None:
            if len(found) != 1:
                raise ValueError(f"holds {len(found)} matrices, name the one to read: {choices}")
            (name,) = found
        if name not in found:
            raise ValueError(f"there is no matrix of numbers {name!r}; the file holds {choices}")
        shape = found[name]
        if min(shape) < 0 or prod(shape) > DEFLATE_RATIO * file.stat().st_size:
            raise ValueError(f"{name} claims the shape {shape}, more than the file can hold")
        array: Array = io.loadmat(str(file), appendmat=False, variable_names=[name])[name]
    return array
