"""Labelled images in the parts of a data set, wherever they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sigah.extras import require

__all__ = ["ImageFiles", "ImageSet", "Images", "PixelImages", "squares"]

Pixels = NDArray[np.uint8]


class Images(Protocol):
    """Images in one order, with their labels.

    Attributes
    ----------
    names : sequence of str
        What to call each image: its path below the folder of the set.
    labels : ndarray of int, or None
        Classes from 0 up.
    """

    @property
    def names(self) -> Sequence[str]:
        """What to call each image."""

    @property
    def labels(self) -> NDArray[Any] | None:
        """Classes from 0 up."""

    def __len__(self) -> int: ...

    def read(self, number: int) -> Any:
        """One image, as Pillow's ``Image`` in RGB."""

    def identity(self) -> str:
        """A checksum that changes with the images, made without decoding them."""


@dataclass(frozen=True)
class ImageFiles:
    """Image files below a folder.

    Attributes
    ----------
    root : Path
    names : tuple of str
        Paths below the root, with ``/``.
    labels : ndarray of int, or None
    """

    root: Path
    names: tuple[str, ...]
    labels: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def read(self, number: int) -> Any:
        """Decode one file.

        Raises
        ------
        ValueError
            If it is damaged, empty or no image; the message names the file.
        OSError
            If it cannot be read.
        """
        file = self.root / self.names[number]
        pillow = require("PIL.Image", "reading images", "lab")
        with file.open("rb") as stream:
            try:
                return pillow.open(stream).convert("RGB")
            except Exception as error:  # Pillow raises many types for damaged files
                reason = " ".join(str(error).split()).replace(repr(stream), "it")
                raise ValueError(
                    f"{file}: this image cannot be read ({reason or type(error).__name__}); repair"
                    " or remove the file"
                ) from error

    def identity(self) -> str:
        """Of names, sizes, times of change, and labels."""
        digest = _labelled(self.labels)
        for name in self.names:
            state = (self.root / name).stat()
            digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class PixelImages:
    """Images in memory.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (n, height, width, 3)
        Red, green and blue.
    names : tuple of str
    labels : ndarray of int, or None
    """

    pixels: Pixels
    names: tuple[str, ...]
    labels: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, number: int) -> Any:
        """One image, as Pillow's ``Image`` in RGB."""
        pillow = require("PIL.Image", "reading images", "lab")
        return pillow.fromarray(self.pixels[number])

    def identity(self) -> str:
        """Of all pixels and labels."""
        digest = _labelled(self.labels)
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class ImageSet:
    """A data set of images.

    Attributes
    ----------
    name : str
        In names of results: ``cifar-10-jpeg``.
    title : str
        What it is, for tables: ``CIFAR-10, JPEG copy``.
    parts : mapping of str to Images
        ``base``, and ``queries`` if the set has them.
    classes : tuple of str
        The names of the labels; empty for images without labels.
    n_train : int or None
        Hashers learn from this many images of the base by the protocol of the set; None: from all.
    source : Path or None
        Where :func:`~sigah.lab.images.open_images` found them.
    """

    name: str
    title: str
    parts: Mapping[str, Images]
    classes: tuple[str, ...] = ()
    n_train: int | None = field(default=None, compare=False)
    source: Path | None = field(default=None, compare=False)


def squares(images: Images, numbers: Sequence[int], side: int) -> Pixels:
    """Some images as squares of one size, in RGB.

    The largest square in the middle is cut out and resized bilinearly.

    Parameters
    ----------
    images : Images
    numbers : sequence of int
    side : int

    Returns
    -------
    ndarray of uint8, shape (len(numbers), side, side, 3)
    """
    pillow = require("PIL.Image", "reading images", "lab")
    found = np.empty((len(numbers), side, side, 3), np.uint8)
    for place, number in enumerate(numbers):
        image = images.read(number)
        width, height = image.size
        shorter = min(width, height)
        left, top = (width - shorter) // 2, (height - shorter) // 2
        box = (left, top, left + shorter, top + shorter)
        found[place] = image.crop(box).resize((side, side), pillow.Resampling.BILINEAR)
    return found


def _labelled(labels: NDArray[Any] | None) -> Any:
    content = b"" if labels is None else np.asarray(labels, np.int64).tobytes()
    return hashlib.sha256(content)
