"""The content of an index file: a header and the arrays of one segment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.search.layout import GROUP, LANES
from sigah.search.segment import Segment, all_alive

__all__ = ["header_and_arrays", "segment_from"]

Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def header_and_arrays(
    segment: Segment, n_bits: int, fingerprint: str | None
) -> tuple[Header, Arrays]:
    """A segment in the form that :func:`sigah.files.save_index` takes; nothing is copied."""
    header = {
        "n_bits": n_bits,
        "count": len(segment),
        "first_id": segment.ids.start if isinstance(segment.ids, range) else None,
        "fingerprint": fingerprint,
    }
    arrays = {"planes": segment.planes}
    if segment.extra.shape[2]:
        arrays["extra"] = segment.extra
    if isinstance(segment.ids, range):
        return header, arrays
    return header, arrays | {"ids": segment.ids}


def segment_from(header: Header, arrays: Arrays, n_extra: int = 0) -> Segment:
    """The segment in an index file; its arrays are not read yet."""
    count, first, n_bits = header["count"], header["first_id"], header["n_bits"]
    if not isinstance(header["fingerprint"], str | None):
        raise ValueError("its header is damaged")
    whole = [count, n_bits] if first is None else [count, n_bits, first]
    if not all(type(number) is int and 0 <= number < 2**63 for number in whole):
        raise ValueError("its header is damaged")
    planes = arrays["planes"]
    shape = (-(-count // GROUP), n_bits // 8, GROUP)
    aligned = count == 0 or planes.ctypes.data % LANES == 0
    if planes.dtype != np.uint8 or planes.shape != shape or not aligned:
        raise ValueError("its header contradicts its codes")
    extra = arrays.get("extra", np.empty((len(planes), GROUP, 0), np.uint8))
    if extra.dtype != np.uint8 or extra.shape != (len(planes), GROUP, n_extra):
        raise ValueError("its header contradicts the bytes beside its codes")
    ids: range | NDArray[np.int64]
    if first is None:
        ids = arrays["ids"]
        if ids.dtype != np.int64 or ids.shape != (count,):
            raise ValueError("its header contradicts its ids")
    elif first + count > 2**63:
        raise ValueError("its ids are too large")
    else:
        ids = range(first, first + count)
    return Segment(planes, ids, all_alive(count), count, extra)
