"""Features of images: the same whatever interrupts, and whoever computes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import Make
from PIL import Image
from typer.testing import CliRunner

from sigah.cli.root import app
from sigah.lab.images import (
    Backbone,
    ImageSet,
    PixelImages,
    cached_features,
    extract,
    features,
    open_features,
    open_images,
)
from sigah.threads import limit_threads


class Means:
    """A backbone of five numbers; it counts the images that it has seen, and may fail."""

    def __init__(self) -> None:
        self.seen = 0
        self.fails_after = 10**9

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.seen += len(images)
        if self.seen > self.fails_after:
            raise KeyboardInterrupt
        means = images.reshape(len(images), -1, 3).mean(axis=1, dtype=np.float64)
        return np.hstack([means, means[:, :2] ** 2]).astype(np.float32)


@pytest.fixture
def means() -> Means:
    return Means()


@pytest.fixture
def backbone(means: Means, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    monkeypatch.setattr(features, "BLOCK", 4)
    monkeypatch.setattr(features, "BATCH", 3)
    return Backbone("means-8", "Means, 8 pixels", 8, "l2", "print", means)


def test_rows_labels_and_names_are_those_of_the_images(
    backbone: Backbone, folder_of_images: Make, tmp_path: Path
) -> None:
    images = open_images(folder_of_images(n=5))
    found = extract(images, backbone, tmp_path / "out")
    assert found.name == "pets-more-means-8" and found.title == "Pets & more; Means, 8 pixels"
    assert found.classes == ("cat", "dog")
    for part, rows in (("base", found.split.base), ("queries", found.split.queries)):
        files = images.parts[part]
        small = [
            np.asarray(files.read(i).resize((8, 8), Image.Resampling.BILINEAR)) for i in range(10)
        ]
        np.testing.assert_array_equal(rows, Means()(np.stack(small)))
    assert (
        found.split.base_labels.tolist() == found.split.query_labels.tolist() == [0] * 5 + [1] * 5
    )
    names = (tmp_path / "out" / "query_names.txt").read_text().splitlines()
    assert tuple(names) == images.parts["queries"].names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("base.npy", "base_labels.npy", "base_names.txt", "features.json"),
        *("queries.npy", "query_labels.npy", "query_names.txt"),
    ]


@pytest.mark.parametrize("after", [2, 5, 10, 17, 23])
def test_an_interruption_loses_no_finished_block_and_changes_no_feature(
    after: int, backbone: Backbone, means: Means, folder_of_images: Make, tmp_path: Path
) -> None:
    images = open_images(folder_of_images(n=6))  # 12 and 12
    whole = extract(images, backbone, tmp_path / "whole")
    means.seen, means.fails_after = 0, after
    with limit_threads(1), pytest.raises(KeyboardInterrupt):
        extract(images, backbone, tmp_path / "out")
    assert not features.is_features(tmp_path / "out")
    means.seen, means.fails_after = 0, 10**9
    resumed = extract(images, backbone, tmp_path / "out")
    # one image tells the dimension; at most the block in work, and one that waits, are done again
    assert means.seen - 1 <= 24 - max(0, (after - 1) // 4 - 2) * 4
    for part in ("base", "queries"):
        np.testing.assert_array_equal(getattr(resumed.split, part), getattr(whole.split, part))


def test_what_is_there_is_not_computed_again(
    backbone: Backbone, means: Means, folder_of_images: Make, tmp_path: Path
) -> None:
    root = folder_of_images()
    extract(open_images(root), backbone, tmp_path / "out")
    means.seen = 0
    extract(open_images(root), backbone, tmp_path / "out")
    assert means.seen == 0
    other = replace(backbone, fingerprint="other", name="other-8")
    with pytest.raises(FileExistsError, match="out holds other features \\(Pets & more; Means"):
        extract(open_images(root), other, tmp_path / "out")
    found = extract(open_images(root), other, tmp_path / "out", overwrite=True)
    assert found.name == "pets-more-other-8"
    assert means.seen == 13
    (root / "train/cat/0.png").write_bytes((root / "train/cat/1.png").read_bytes())
    with pytest.raises(FileExistsError):
        extract(open_images(root), other, tmp_path / "out")


def test_the_cache_follows_the_images(
    backbone: Backbone,
    means: Means,
    folder_of_images: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    root = folder_of_images()
    first = np.array(cached_features(open_images(root), backbone).split.base)
    means.seen = 0
    cached_features(open_images(root), backbone)
    assert means.seen == 0
    Image.new("RGB", (16, 16), (9, 9, 9)).save(root / "train/cat/0.png")
    changed = cached_features(open_images(root), backbone).split.base
    assert changed[0].tolist() == [9, 9, 9, 81, 81]
    np.testing.assert_array_equal(changed[1:], first[1:])


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_no_feature(
    threads: int, folder_of_images: Make, tmp_path: Path, backbone: Backbone
) -> None:
    seen: list[int] = []

    def compute(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return np.full((len(images), 2), len(images), np.float32)  # depends on its batch

    images = open_images(folder_of_images(("base", "queries"), n=5))
    with limit_threads(threads):
        found = extract(images, replace(backbone, compute=compute), tmp_path / "out")
    assert found.split.base[:, 0].tolist() == [3, 3, 3, 1, 3, 3, 3, 1, 2, 2]
    assert sorted(seen[1:]) == sorted([3, 1, 3, 1, 2] * 2)


def test_a_damaged_image_is_named_and_the_rest_is_kept(
    folder_of_images: Make, tmp_path: Path, backbone: Backbone, means: Means
) -> None:
    root = folder_of_images(n=6)
    good = (root / "train/dog/5.png").read_bytes()
    (root / "train/dog/5.png").write_bytes(good[:60])
    with (
        limit_threads(1),
        pytest.raises(ValueError, match=r"dog.5\.png: this image cannot"),
    ):
        extract(open_images(root), backbone, tmp_path / "out")
    (root / "train/dog/5.png").write_bytes(good)
    means.seen = 0
    extract(open_images(root), backbone, tmp_path / "out")
    assert means.seen == 1 + 24  # the images are others now: nothing of the first run counts


def test_features_that_are_not_finite_name_their_image(
    folder_of_images: Make, tmp_path: Path, backbone: Backbone
) -> None:
    def compute(images: np.ndarray) -> np.ndarray:
        found = np.zeros((len(images), 2), np.float32)
        found[-1, 1] = np.nan if len(images) == 3 else 0
        return found

    images = open_images(folder_of_images(n=2))
    with pytest.raises(ValueError, match="Means.* gives NaN or infinity for train/dog/0"):
        extract(images, replace(backbone, compute=compute), tmp_path / "out")


def test_images_without_queries_and_labels(backbone: Backbone, tmp_path: Path) -> None:
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    images = ImageSet("plain", "Plain", {"base": PixelImages(pixels, ("a", "b", "c"))})
    found = extract(images, backbone, tmp_path / "out").split
    assert found.base.shape == (3, 5) and found.queries.shape == (0, 5)
    assert found.base_labels is None and found.query_labels is None


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("features.json", b"{}", r"features\.json"),
        ("features.json", b"{", r"features\.json"),
        ("base.npy", b"x", r"base\.npy"),
        ("base_labels.npy", b"", r"base_labels\.npy: the file is empty"),
    ],
)
def test_damaged_folders_of_features(
    file: str,
    content: bytes,
    complaint: str,
    backbone: Backbone,
    folder_of_images: Make,
    tmp_path: Path,
) -> None:
    extract(open_images(folder_of_images()), backbone, tmp_path / "out")
    (tmp_path / "out" / file).write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        open_features(tmp_path / "out")


def test_rows_of_another_number_are_refused(
    backbone: Backbone, folder_of_images: Make, tmp_path: Path
) -> None:
    extract(open_images(folder_of_images()), backbone, tmp_path / "out")
    np.save(tmp_path / "out" / "query_labels.npy", np.zeros(5, np.int64))
    with pytest.raises(ValueError, match=r"query_labels\.npy: int64 of shape \(5,\)"):
        open_features(tmp_path / "out")


def test_the_command_names_the_argument_that_is_wrong(
    folder_of_images: Make, tmp_path: Path
) -> None:
    absent, root = str(tmp_path / "absent"), str(folder_of_images())
    for images, backbone, message in (
        (absent, "gist-384", f"IMAGES {absent}: there is no such folder of images"),
        (root, "gist-385", "--backbone gist-385: "),
        (root, "gist-384:3", "--backbone gist-384:3: the side of images is from 8 to 4096"),
    ):
        run = CliRunner().invoke(app, ["features", images, "--backbone", backbone, "-o", "out"])
        assert isinstance(run.exception, (ValueError, OSError)), run.exception
        assert str(run.exception).startswith(message)


@pytest.mark.parametrize("name", ["base.npy", "queries.npy", "query_labels.npy"])
def test_files_of_the_user_are_not_replaced_unasked(
    backbone: Backbone, folder_of_images: Make, tmp_path: Path, name: str
) -> None:
    images = open_images(folder_of_images())
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"has a file {name} that is not of finished"):
        extract(images, backbone, tmp_path)
    assert [file.name for file in tmp_path.glob("*.npy*")] == [name]
    assert (tmp_path / name).read_text() == "mine"
    extract(images, backbone, tmp_path, overwrite=True)
    assert open_features(tmp_path).split.base.shape[0] == 6


def test_the_command(folder_of_images: Make, tmp_path: Path) -> None:
    root, out = folder_of_images(), tmp_path / "vectors"
    run = CliRunner().invoke(app, ["features", str(root), "--backbone", "gist-384", "-o", str(out)])
    assert run.exit_code == 0, run.output
    assert "Pets & more; GIST-384, 32 pixels: 6 base, 6 queries, 384 dimensions" in run.output
    assert np.load(out / "base.npy").shape == (6, 384)
    content = json.loads((out / "features.json").read_bytes())
    assert content["classes"] == ["cat", "dog"] and content["parts"]["queries"] == [6, 384]
