"""Images by path: what is found, in which order, and what is refused."""

from __future__ import annotations

import io
import os
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pictures import Make, noise
from PIL import Image

from sigah.lab.images import ImageFiles, PixelImages, folders, open_images, squares
from sigah.lab.images.cifar import CIFAR_CLASSES
from sigah.lab.images.imagenet import IMAGENET_100


def save(file: Path, seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, 8, 8)).save(file)


@pytest.mark.parametrize("parts", [("base", "queries"), ("train", "test"), ("train", "val")])
def test_parts_and_classes_in_the_order_of_their_names(
    parts: tuple[str, str], folder_of_images: Make
) -> None:
    found = open_images(folder_of_images(parts, ("dog", "cat"), n=2))
    assert found.name == "pets-more" and found.title == "Pets & more"
    assert found.classes == ("cat", "dog") and found.n_train is None
    for part, folder in zip(("base", "queries"), parts, strict=True):
        images = found.parts[part]
        assert images.names == tuple(
            f"{folder}/{kind}/{n}.png" for kind in ("cat", "dog") for n in (0, 1)
        )
        assert images.labels is not None and images.labels.tolist() == [0, 0, 1, 1]
    # the first image of base/cat is the third that was made
    np.testing.assert_array_equal(np.asarray(found.parts["base"].read(0)), noise(2))


def test_images_without_parts_are_the_base(tmp_path: Path) -> None:
    for name in (
        "b/1.JPG",
        "a/2.png",
        "a/deeper/1.bmp",
        "a/.hidden.png",
        "a/notes.txt",
        ".x/1.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = open_images(tmp_path)
    assert tuple(found.parts) == ("base",) and found.classes == ("a", "b")
    assert found.parts["base"].names == ("a/2.png", "a/deeper/1.bmp", "b/1.JPG")


def test_loose_images_have_no_labels(tmp_path: Path) -> None:
    save(tmp_path / "2.png")
    save(tmp_path / "1.png")
    found = open_images(tmp_path)
    assert found.parts["base"].names == ("1.png", "2.png")
    assert found.parts["base"].labels is None and found.classes == ()


def test_a_list_of_classes_chooses_and_orders(folder_of_images: Make) -> None:
    root = folder_of_images(classes=("a", "b", "c"), n=1)
    (root / "classes.txt").write_text("c\tthe third\n\na\n")
    found = open_images(root)
    assert found.classes == ("c", "a")
    assert found.parts["base"].names == ("train/c/0.png", "train/a/0.png")
    (root / "classes.txt").write_text("c\nz\n")
    with pytest.raises(
        ValueError, match=r"classes\.txt names the class z, but .*train has no such"
    ):
        open_images(root)


def test_imagenet_is_cut_to_the_classes_of_the_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(set(IMAGENET_100)) == 100
    monkeypatch.setattr(folders, "IMAGENET_CLASSES", 103)
    others = ["n90000001", "n90000002", "n90000003"]
    for part in ("train", "val"):
        for kind in (*IMAGENET_100, *others):
            (tmp_path / part / kind).mkdir(parents=True)
            (tmp_path / part / kind / "1.JPEG").touch()
    found = open_images(tmp_path)
    assert found.classes == IMAGENET_100 and len(found.parts["queries"]) == 100
    assert (found.name, found.n_train) == ("imagenet-100", 10_000)


def test_well_known_sets_get_their_names_only_if_they_are_whole(tmp_path: Path) -> None:
    def make(root: Path, parts: dict[str, int], classes: tuple[str, ...], suffix: str) -> None:
        for part, n in parts.items():
            for kind in classes:
                place = root / part / kind
                place.mkdir(parents=True)
                (place / f"0{suffix}").touch()
                for number in range(1, n):
                    os.link(place / f"0{suffix}", place / f"{number}{suffix}")

    wordnet = ("n00000001", "n00000002")
    make(tmp_path / "tiny", {"base": 500, "queries": 50}, wordnet, ".JPEG")
    tiny = open_images(tmp_path / "tiny")
    assert (tiny.name, tiny.title) == ("tiny-imagenet-2", "Tiny ImageNet, 2 classes")
    assert tiny.n_train == 200
    (tmp_path / "tiny/queries/n00000001/7.JPEG").unlink()
    assert open_images(tmp_path / "tiny").name == "tiny"


def test_the_copy_of_cifar_is_called_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "CIFAR_SIZES", {"base": {2}, "queries": {1}})
    for part, n in (("train", 2), ("test", 1)):
        for kind in CIFAR_CLASSES:
            for number in range(n):
                file = tmp_path / part / kind / f"{number}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
    found = open_images(tmp_path)
    assert (found.name, found.title) == ("cifar-10-jpeg", "CIFAR-10, JPEG copy")
    for file in tmp_path.rglob("*.jpg"):
        file.rename(file.with_suffix(".png"))
    assert open_images(tmp_path).title == "CIFAR-10"


def batches() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    return {
        name: (rng.integers(256, size=(4, 3072), dtype=np.uint8), rng.integers(10, size=4))
        for name in names
    }


def as_pickle(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return pickle.dumps({"data": pixels, "labels": labels.tolist()})


def as_binary(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return np.hstack([labels[:, None].astype(np.uint8), pixels]).tobytes()


@pytest.mark.parametrize(("form", "ending"), [(as_pickle, ""), (as_binary, ".bin")])
@pytest.mark.parametrize("archive", [False, True])
def test_the_official_files_of_cifar(form, ending: str, archive: bool, tmp_path: Path) -> None:
    place = tmp_path / "cifar-10-batches"
    place.mkdir()
    for name, batch in batches().items():
        (place / f"{name}{ending}").write_bytes(form(*batch))
    if archive:
        with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as tar:
            tar.add(place, arcname="cifar-10-batches")
        place = tmp_path / "cifar.tar.gz"
    found = open_images(place)
    assert (found.name, found.title, found.classes) == ("cifar-10", "CIFAR-10", CIFAR_CLASSES)
    assert len(found.parts["base"]) == 20 and len(found.parts["queries"]) == 4
    pixels, labels = batches()["data_batch_2"]
    image = np.asarray(found.parts["base"].read(5))
    assert image.shape == (32, 32, 3)
    assert image[0, 1].tolist() == pixels[1].reshape(3, 1024)[:, 1].tolist()  # planes, row by row
    assert found.parts["base"].labels[4:8].tolist() == labels.tolist()
    assert found.parts["base"].names[5] == "data_batch_2/1"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no batch of CIFAR-10"),
        (pickle.dumps(os.getcwd), "only NumPy arrays are read"),
        (as_pickle(np.zeros((4, 99), np.uint8), np.zeros(4)), r"shape \(4, 99\)"),
        (as_pickle(np.zeros((4, 3072), np.uint8), np.zeros(3)), "3 labels"),
        (as_pickle(np.zeros((4, 3072), np.uint8), np.full(4, 10)), "labels from 10 to 10"),
        (as_pickle(np.zeros((4, 3072)), np.zeros(4)), "float64 pixels"),
    ],
)
def test_hostile_batches_of_cifar(content: bytes, complaint: str, tmp_path: Path) -> None:
    for name, batch in batches().items():
        (tmp_path / name).write_bytes(as_pickle(*batch))
    (tmp_path / "data_batch_3").write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as caught:
        open_images(tmp_path)
    assert str(tmp_path / "data_batch_3") in str(caught.value)


def test_what_lacks_or_breaks_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder of images"):
        open_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no images"):
        open_images(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match=r"cat: the class has no images \(\.jpg"):
        open_images(tmp_path)
    (tmp_path / "data.zip").touch()
    with pytest.raises(ValueError, match="neither a folder of images nor an archive"):
        open_images(tmp_path / "data.zip")
    (tmp_path / "cifar.tar").write_bytes(b"not a tar file" * 100)
    with pytest.raises(ValueError, match="the archive is damaged"):
        open_images(tmp_path / "cifar.tar")
    for name in list(batches())[1:]:
        (tmp_path / name).write_bytes(as_pickle(*batches()[name]))
    with pytest.raises(ValueError, match="lacks data_batch_1"):
        open_images(tmp_path)


def test_parts_with_other_classes(folder_of_images: Make) -> None:
    root = folder_of_images(n=1)
    (root / "test/dog").rename(root / "test/wolf")
    with pytest.raises(ValueError, match="test has no folder of the class dog"):
        open_images(root)


def truncated() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(noise(0, 64, 64)).save(stream, "jpeg")
    return stream.getvalue()[:-900]


@pytest.mark.parametrize("content", [b"", b"words", truncated(), b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_bad_file_is_named_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(ValueError, match="this image cannot be read") as caught:
        squares(ImageFiles(tmp_path, ("bad.jpg",)), [0], 8)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "bad.jpg")) and "\n" not in message


def test_squares_are_the_middle_of_an_image(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = (200, 100, 50)
    images = PixelImages(wide[None], ("wide",))
    np.testing.assert_array_equal(
        squares(images, [0], 10), np.tile(np.uint8([200, 100, 50]), (1, 10, 10, 1))
    )
    tall = PixelImages(wide.transpose(1, 0, 2)[None], ("tall",))
    assert (squares(tall, [0, 0], 5) == [200, 100, 50]).all()
    same = noise(3, 12, 12)
    np.testing.assert_array_equal(squares(PixelImages(same[None], ("x",)), [0], 12)[0], same)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_every_kind_of_picture_becomes_rgb(mode: str, tmp_path: Path) -> None:
    file = tmp_path / ("x.tif" if mode in ("CMYK", "I;16") else "x.png")
    image = Image.fromarray(noise(1)).convert("L" if mode == "I;16" else mode)
    (image.convert("I;16") if mode == "I;16" else image).save(file)
    assert squares(ImageFiles(tmp_path, (file.name,)), [0], 16).shape == (1, 16, 16, 3)


def test_the_identity_follows_files_labels_and_pixels(folder_of_images: Make) -> None:
    root = folder_of_images(n=2)
    images = open_images(root).parts["base"]
    before = images.identity()
    assert open_images(root).parts["base"].identity() == before
    os.utime(root / images.names[0], (1, 1))
    assert images.identity() != before
    assert re.fullmatch("[0-9a-f]{64}", before)
    pixels = PixelImages(noise(0)[None], ("a",))
    assert pixels.identity() != PixelImages(noise(1)[None], ("a",)).identity()
    assert pixels.identity() != PixelImages(noise(0)[None], ("a",), np.array([1])).identity()
