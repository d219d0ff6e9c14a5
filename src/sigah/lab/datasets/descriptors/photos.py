"""Photographs in Debian packages: which ones, which are held out, and squares cut from them.

The packages hold wallpapers. Drawings, renderings, patterns and screenshots among them are left
out, and of a photograph in several sizes the largest is taken. A tenth of the photographs, the
same everywhere, is held out: queries come from these and from no other, since two patches of one
photograph are more alike than patches of two.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sigah.extras import require
from sigah.lab.datasets.downloads import Progress
from sigah.lab.datasets.packages import unpack_debian

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PACKAGES", "PhotoPackage", "crops", "held_out", "open_photo", "unpack_photos"]

HELD_OUT = 10  # one photograph in so many
SMALLEST_CROP = 64  # pixels, twice the size of the images that are made of crops


@dataclass(frozen=True)
class PhotoPackage:
    """A Debian package of one version, and the photographs in it.

    Attributes
    ----------
    name, version, sha256 : str
        What to download, and the checksum of the archive.
    folder : str
        Where the photographs lie in it.
    files : tuple of str
        Their paths below ``folder``.
    """

    name: str
    version: str
    sha256: str
    folder: str
    files: tuple[str, ...]


PACKAGES = (
    PhotoPackage(
        "lomiri-wallpapers-16.04",
        "20.04.0-2",
        "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
        "usr/share/backgrounds",
        (
            "Bridge_by_Sander_Klootwijk.jpg",
            "Dragonfly_by_Bolly.jpg",
            "Picture_0B_by_freespace.jpg",
            "Picture_1A_by_freespace.jpg",
            "Wine_by_Jakkub_Mede.jpg",
            "aitzgorri_by_Aitzol_Berasategi.jpg",
            "free_by_Peter_Nerlich.jpg",
            "friends_by_Aitzol_Berasategi.jpg",
            "greentock_by_Peter_Nerlich.jpg",
            "life_by_Aitzol_Berasategi.jpg",
            "picosdeeuropa_by_Aitzol_Berasategi.jpg",
            "seeding_by_Clements_Engelhardt.jpg",
            "sunset_by_Aitzol_Berasategi.jpg",
        ),
    ),
    PhotoPackage(
        "lomiri-wallpapers-20.04",
        "20.04.0-2",
        "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709",
        "usr/share/backgrounds",
        ("Kleiber_by_Lukas_Baubkus.jpg",),
    ),
    PhotoPackage(
        "mate-backgrounds",
        "1.26.0-1",
        "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
        "usr/share/backgrounds/mate/nature",
        (
            "Aqua.jpg",
            "Blinds.jpg",
            "Dune.jpg",
            "FreshFlower.jpg",
            "Garden.jpg",
            "GreenMeadow.jpg",
            "LadyBird.jpg",
            "RainDrops.jpg",
            "Storm.jpg",
            "TwoWings.jpg",
            "Wood.jpg",
            "YellowFlower.jpg",
        ),
    ),
    PhotoPackage(
        "plasma-workspace-wallpapers",
        "4:5.27.5-2",
        "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
        "usr/share/wallpapers",
        tuple(
            f"{title}/contents/images/2560x1600.jpg"
            for title in (
                "BytheWater",
                "ColdRipple",
                "ColorfulCups",
                "DarkestHour",
                "EveningGlow",
                "FallenLeaf",
                "Grey",
                "Kite",
                "OneStandsOut",
                "Path",
                "summer_1am",
            )
        ),
    ),
)


def held_out(names: Sequence[str]) -> frozenset[str]:
    """Choose the tenth of some photographs (at least one) whose names have the lowest SHA-256.

    Examples
    --------
    >>> from sigah.lab.datasets.descriptors.photos import held_out
    >>> sorted(held_out([f"{number}.jpg" for number in range(20)]))
    ['0.jpg', '19.jpg']
    """
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return frozenset(ranked[: max(1, round(len(ranked) / HELD_OUT))])


def unpack_photos(
    packages: Sequence[PhotoPackage], folder: Path, progress: Progress
) -> dict[str, Path]:
    """Put the photographs of packages into ``folder``, unless they are there.

    Returns
    -------
    dict of str to Path
        Each photograph's file by its name, ``package/path``, in the order of the packages.

    Raises
    ------
    OSError
        If a package cannot be downloaded or unpacked.
    ValueError
        If a package is not the one expected, or lacks a photograph.
    """
    photos = {}
    for package in packages:
        place = folder / package.name
        if not place.is_dir():
            progress(f"Debian package {package.name}", 0, None)
            with tempfile.TemporaryDirectory(dir=folder) as name:
                unpacked = unpack_debian(
                    f"{package.name}={package.version}", Path(name), sha256=package.sha256
                )
                source = unpacked / package.folder
                for file in package.files:
                    if not (source / file).is_file():
                        raise ValueError(f"Debian package {package.name} has no photograph {file}")
                source.rename(place)  # last, so that the place is whole if it is there
        for file in package.files:
            photos[str(PurePosixPath(package.name, file))] = place / file
    return photos


def open_photo(file: Path, mode: str, longest: int) -> Image.Image:
    """Read a photograph, grey (``"L"``) or in colour (``"RGB"``), its longest side at most that.

    Raises
    ------
    ValueError
        If the file is not a whole image.
    """
    pillow = require("PIL.Image", "opening photographs", "lab")
    try:
        with pillow.open(file) as image:
            photo: Image.Image = image.convert(mode)
    except (OSError, pillow.DecompressionBombError) as error:
        # A damaged file will not mend itself; as an OSError it would be tried again as it is.
        raise ValueError(f"{file.name} is not a whole image: {error}") from error
    scale = longest / max(photo.size)
    if scale >= 1:
        return photo
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return photo.resize(size, pillow.Resampling.LANCZOS)


def crops(photo: Image.Image, n: int, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut random squares out of a photograph and shrink them to ``size x size``.

    The side of a square is drawn log-uniformly between 64 pixels and the photograph's shorter
    side, its place uniformly.

    Parameters
    ----------
    photo : PIL.Image.Image
        Grey or RGB, at least 64 pixels high and wide.
    n, size : int
        How many crops, and their size, at most 64.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of uint8, shape (n, size, size) or (n, size, size, 3)

    Raises
    ------
    ValueError
        If the photograph is too small.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> from sigah.lab.datasets.descriptors.photos import crops
    >>> photo = Image.linear_gradient("L")
    >>> crops(photo, 5, 32, np.random.default_rng(0)).shape
    (5, 32, 32)
    """
    pillow = require("PIL.Image", "cropping photographs", "lab")
    shorter = min(photo.size)
    if shorter < SMALLEST_CROP:
        raise ValueError(
            f"a photograph of {photo.width} x {photo.height} pixels is too small: crops need at"
            f" least {SMALLEST_CROP}"
        )
    halves = list(_halves(photo))
    cut = []
    for _ in range(n):
        side = int(SMALLEST_CROP * (shorter / SMALLEST_CROP) ** rng.random())
        left = int(rng.integers(photo.width - side + 1))
        top = int(rng.integers(photo.height - side + 1))
        # Shrinking a large square costs as much as it has pixels: take it from a smaller copy
        # that still has at least 64 of them on its side.
        level = min(int(np.log2(side / SMALLEST_CROP)), len(halves) - 1)
        smaller = halves[level]
        x, y = smaller.width / photo.width, smaller.height / photo.height
        box = (left * x, top * y, (left + side) * x, (top + side) * y)
        cut.append(smaller.resize((size, size), pillow.Resampling.BILINEAR, box=box))
    bands = photo.getbands()
    shape = (n, size, size, len(bands)) if len(bands) > 1 else (n, size, size)
    return np.array([np.asarray(crop) for crop in cut], np.uint8).reshape(shape)


def _halves(photo: Image.Image) -> Iterator[Image.Image]:
    """The photograph, its half, its quarter ... while they are at least 64 pixels wide and high."""
    while min(photo.size) >= SMALLEST_CROP:
        yield photo
        photo = photo.reduce(2)
