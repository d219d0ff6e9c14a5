from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sigah.lab.datasets.descriptors.gist import COLOUR, TINY
from sigah.lab.datasets.descriptors.photo_sets import PhotoGist, PhotoSift
from sigah.lab.datasets.descriptors.photos import (
    PACKAGES,
    PhotoPackage,
    crops,
    held_out,
    open_photo,
    unpack_photos,
)
from sigah.lab.datasets.descriptors.sift import sift
from sigah.lab.datasets.entries import photos

NAMES = tuple(f"{number}.png" for number in range(6))
PACKAGE = PhotoPackage("walls", "1-1", "0" * 64, "usr/share", NAMES)


def silent(label: str, done: int, total: int | None) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The six photographs of a package that has been unpacked: smoothed noise."""
    place = tmp_path / "walls"
    place.mkdir()
    for number, name in enumerate(NAMES):
        noise = np.random.default_rng(number).integers(256, size=(20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((240, 160), Image.Resampling.BICUBIC).save(place / name)
    return tmp_path


def test_a_tenth_is_held_out_whatever_the_order() -> None:
    names = [f"{package.name}/{file}" for package in PACKAGES for file in package.files]
    assert len(names) == len(set(names)) == 37
    assert len(held_out(names)) == 4
    assert held_out(names) == held_out(names[::-1])


@pytest.mark.parametrize(("mode", "orientations", "dim"), [("L", TINY, 384), ("RGB", COLOUR, 960)])
def test_gist_is_built_twice_the_same(
    mode: str, orientations: tuple[int, ...], dim: int, folder: Path
) -> None:
    source = PhotoGist(33, 7, mode, orientations, longest=200, packages=(PACKAGE,))
    first, again = source.read(folder, silent), source.read(folder, silent)
    assert first["base"].shape == (33, dim)
    assert first["queries"].shape == (7, dim)
    for part in first:
        np.testing.assert_array_equal(first[part], again[part])


def test_sift_is_built_twice_the_same_and_queries_are_of_held_out_photographs(
    folder: Path,
) -> None:
    pytest.importorskip("cv2")
    source = PhotoSift(50, 20, longest=240, packages=(PACKAGE,))
    first, again = source.read(folder, silent), source.read(folder, silent)
    for part, n in (("base", 50), ("queries", 20)):
        assert first[part].shape == (n, 128)
        assert first[part].dtype == np.uint8
        np.testing.assert_array_equal(first[part], again[part])
    chosen = held_out([f"walls/{name}" for name in NAMES])
    all_of_them = {
        tuple(row)
        for name in chosen
        for row in sift(np.asarray(open_photo(folder / name, "L", 240)))
    }
    assert {tuple(row) for row in first["queries"]} <= all_of_them
    assert not {tuple(row) for row in first["base"]} & all_of_them


def test_too_few_descriptors_is_an_error(folder: Path) -> None:
    pytest.importorskip("cv2")
    with pytest.raises(ValueError, match="1000000 are needed"):
        PhotoSift(1_000_000, 1, longest=240, packages=(PACKAGE,)).read(folder, silent)


def test_sift_of_blank_and_of_wrong_images() -> None:
    pytest.importorskip("cv2")
    assert sift(np.zeros((64, 64), np.uint8)).shape == (0, 128)
    with pytest.raises(ValueError, match="float64"):
        sift(np.zeros((64, 64)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(8, 8, 3\)"):
        sift(np.zeros((8, 8, 3), np.uint8))


def test_crops_come_from_the_photograph_and_have_its_scales() -> None:
    """On a ramp from left to right, a crop is a ramp whose slope tells its side."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None], 256, axis=0)
    cut = crops(Image.fromarray(ramp), 200, 32, np.random.default_rng(0)).astype(float)
    slope = (cut[:, :, 24:].mean((1, 2)) - cut[:, :, :8].mean((1, 2))) / 24
    assert np.abs(np.diff(cut, axis=1)).max() == 0
    assert slope.min() == pytest.approx(64 / 32, rel=0.1)
    assert 5 < slope.max() < 8.1
    assert np.median(slope) == pytest.approx(4, rel=0.2), "log-uniform between 2 and 8"


def test_a_small_photograph_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too small"):
        crops(Image.new("L", (100, 63)), 1, 32, np.random.default_rng(0))
    Image.new("L", (300, 100)).save(tmp_path / "whole.png")
    assert open_photo(tmp_path / "whole.png", "RGB", 150).size == (150, 50)
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"cut\.png is not a whole image"):
        open_photo(tmp_path / "cut.png", "L", 150)


def test_a_package_without_its_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(package: str, work: Path, *, sha256: str) -> Path:
        assert (package, sha256) == ("walls=1-1", PACKAGE.sha256)
        (work / "unpacked" / "usr" / "share").mkdir(parents=True)
        return work / "unpacked"

    monkeypatch.setattr("sigah.lab.datasets.descriptors.photos.unpack_debian", unpack)
    with pytest.raises(ValueError, match=r"walls has no photograph 0\.png"):
        unpack_photos((PACKAGE,), tmp_path, silent)
    assert not list(tmp_path.iterdir())


def test_entries_say_what_their_sources_give() -> None:
    for entry in photos.SETS:
        (source,) = entry.sources
        assert (entry.n_base, entry.n_queries) == (source.n_base, source.n_queries)
