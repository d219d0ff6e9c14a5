"""Sets of descriptors that are computed from photographs: their sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.lab.datasets.descriptors.gist import gist
from sigah.lab.datasets.descriptors.photos import (
    PACKAGES,
    PhotoPackage,
    crops,
    held_out,
    open_photo,
    unpack_photos,
)
from sigah.lab.datasets.descriptors.sift import require_opencv, sift
from sigah.lab.datasets.downloads import Progress

__all__ = ["PhotoGist", "PhotoSift"]

Vectors = NDArray[Any]
Photos = dict[str, Path]

SEED = 0
CROP = 32


@dataclass(frozen=True)
class PhotoSift:
    """SIFT descriptors of photographs; ``n_base`` and ``n_queries`` drawn from all there are.

    ``longest`` bounds the longer side of the photographs in pixels: larger ones are shrunk.
    """

    n_base: int
    n_queries: int
    longest: int
    packages: tuple[PhotoPackage, ...] = PACKAGES

    def __str__(self) -> str:
        return "SIFT of photographs in Debian packages"

    def read(self, folder: Path, progress: Progress) -> dict[str, Vectors]:
        """Download the photographs into ``folder``, and describe their keypoints."""
        require_opencv()  # before hundreds of megabytes come
        base, queries = _split(unpack_photos(self.packages, folder, progress))
        rng = np.random.default_rng(SEED)
        described = _with_progress(base | queries, progress)
        found = {
            name: sift(np.asarray(open_photo(file, "L", self.longest))) for name, file in described
        }
        return {
            "base": _drawn([found[name] for name in base], self.n_base, rng),
            "queries": _drawn([found[name] for name in queries], self.n_queries, rng),
        }


@dataclass(frozen=True)
class PhotoGist:
    """GIST descriptors of random squares of photographs, as many of each photograph.

    ``mode`` is ``"L"`` for grey squares and ``"RGB"`` for colour.
    """

    n_base: int
    n_queries: int
    mode: str
    orientations: tuple[int, ...]
    longest: int
    packages: tuple[PhotoPackage, ...] = PACKAGES

    def __str__(self) -> str:
        return "GIST of photographs in Debian packages"

    def read(self, folder: Path, progress: Progress) -> dict[str, Vectors]:
        """Download the photographs into ``folder``, cut squares and describe them."""
        base, queries = _split(unpack_photos(self.packages, folder, progress))
        rng = np.random.default_rng(SEED)
        share = {
            **dict(zip(base, _shares(self.n_base, len(base)), strict=True)),
            **dict(zip(queries, _shares(self.n_queries, len(queries)), strict=True)),
        }
        found = {
            name: self._described(file, share[name], rng)
            for name, file in _with_progress(base | queries, progress)
        }
        return {
            "base": _drawn([found[name] for name in base], self.n_base, rng),
            "queries": _drawn([found[name] for name in queries], self.n_queries, rng),
        }

    def _described(self, file: Path, n: int, rng: np.random.Generator) -> Vectors:
        squares = crops(open_photo(file, self.mode, self.longest), n, CROP, rng)
        return gist(squares, self.orientations)


def _split(photos: Photos) -> tuple[Photos, Photos]:
    """The photographs to search in, and the ones held out for queries."""
    chosen = held_out(tuple(photos))
    base = {name: file for name, file in photos.items() if name not in chosen}
    return base, {name: file for name, file in photos.items() if name in chosen}


def _shares(total: int, parts: int) -> list[int]:
    """``total`` in whole parts that differ by at most one."""
    return [total // parts + (number < total % parts) for number in range(parts)]


def _drawn(groups: Sequence[Vectors], n: int, rng: np.random.Generator) -> Vectors:
    """``n`` rows of all the groups, without replacement and in random order.

    The order matters to whoever learns from the first rows: it must not follow the photographs.
    """
    rows = np.concatenate(groups)
    if len(rows) < n:
        raise ValueError(f"the photographs gave {len(rows)} descriptors, {n} are needed")
    return rows[rng.permutation(len(rows))[:n]]


def _with_progress(photos: Photos, progress: Progress) -> Iterator[tuple[str, Path]]:
    """The photographs, with progress in bytes of their files."""
    total = sum(file.stat().st_size for file in photos.values())
    done = 0
    for name, file in photos.items():
        progress("describing photographs", done, total)
        yield name, file
        done += file.stat().st_size
    progress("describing photographs", done, total)
