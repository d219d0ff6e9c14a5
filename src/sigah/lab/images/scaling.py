"""How pixels enter a network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCALINGS", "pooled", "scaled"]

Floats = NDArray[np.float32]


class Scaling(NamedTuple):
    """Pixels in [0, 255] enter as ``(pixel - mean) / scale``."""

    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    blue_first: bool = False


SCALINGS = {
    "imagenet": Scaling((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": Scaling((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), blue_first=True),
    "tf": Scaling((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "unit": Scaling((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "none": Scaling((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def scaled(images: NDArray[np.uint8], scaling: str) -> Floats:
    """Images ``(n, side, side, 3)`` of uint8 in RGB as float32, in the order that is asked for."""
    how = SCALINGS[scaling]
    ordered = images[..., ::-1] if how.blue_first else images
    mean, scale = np.array([how.mean, how.scale], np.float32)
    found: Floats = (ordered.astype(np.float32) - mean) / scale
    return found


def pooled(output: Floats, layer: str) -> Floats:
    """Vectors ``(n, dim)`` of an output: maps averaged over the image, tokens over their number.

    Raises
    ------
    ValueError
        If the output has neither form.
    """
    if output.ndim == 4:  # channels first, in ONNX and in PyTorch
        output = output.mean(axis=(2, 3))
    elif output.ndim == 3:
        output = output.mean(axis=1)
    if output.ndim != 2:
        raise ValueError(
            f"{layer} gives an array of shape {output.shape}, expected (n, dim), maps (n, dim,"
            " height, width) or tokens (n, tokens, dim)"
        )
    return np.ascontiguousarray(output, np.float32)
