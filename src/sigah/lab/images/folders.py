"""Sets of images by path: folders of classes, and the official CIFAR-10.

::

    cifar/train/cat/0001.jpg   parts, classes, images: train and test, train and val, or base and
    cifar/test/cat/0001.jpg    queries
    mine/cat/0001.jpg          classes and images: all of them are the base
    mine/0001.jpg              images without labels

A file ``classes.txt`` in the folder names the classes that count, one a line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigah.lab.images.cifar import CIFAR_CLASSES, is_cifar, read_cifar
from sigah.lab.images.imagenet import IMAGENET_100
from sigah.lab.images.sets import ImageFiles, ImageSet

__all__ = ["open_images"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp")
SPLITS = (("base", "queries"), ("train", "test"), ("train", "val"))
CIFAR_SIZES = {"base": {5000}, "queries": {1000}}  # images of each class
TINY_SIZES = {"base": {500}, "queries": {50}}
IMAGENET_CLASSES = 1000
TRAINING_PER_CLASS = 100  # of the paper's ImageNet


def open_images(path: str | os.PathLike[str]) -> ImageSet:
    """Find the images of a data set: list them, and recognise well-known sets.

    Parameters
    ----------
    path : path-like
        A folder as above, or the official files of CIFAR-10: their folder, or their archive. An
        ImageNet folder of 1,000 classes is cut to the 100 classes of the paper (those of HashNet).

    Returns
    -------
    ImageSet
        Classes in the order of ``classes.txt``, otherwise of their names; images in the order of
        their names.

    Raises
    ------
    ValueError
        If there are no images, or the parts differ in their classes.
    OSError
        If the path does not exist or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sigah.lab.images import open_images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         Path(folder, name).mkdir()
    ...         Image.new("RGB", (8, 8)).save(Path(folder, name, "1.png"))
    ...     images = open_images(folder)
    >>> images.classes, images.parts["base"].names
    (('cat', 'dog'), ('cat/1.png', 'dog/1.png'))
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"{path}: there is no such folder of images")
    return replace(_opened(root), source=root.resolve())


def _opened(root: Path) -> ImageSet:
    if is_cifar(root):
        return read_cifar(root)
    if not root.is_dir():
        raise ValueError(f"{root} is neither a folder of images nor an archive of CIFAR-10")
    folders = next((pair for pair in SPLITS if all((root / f).is_dir() for f in pair)), None)
    if folders is None:
        classes = _classes(root, root)
        files = _walk(root, "", classes) if classes else _loose(root)
        if not len(files):
            raise ValueError(
                f"{root} holds no images: expected CLASS/IMAGE, or these in train and test"
            )
        return _named(root, ImageSet(_slug(root.name), root.name, {"base": files}, classes))
    classes = _classes(root, root / folders[0])
    parts = {
        part: _walk(root, folder, classes)
        for part, folder in zip(("base", "queries"), folders, strict=True)
    }
    return _named(root, ImageSet(_slug(root.name), root.name, parts, classes))


def _classes(root: Path, folder: Path) -> tuple[str, ...]:
    """The classes of a set: those of ``classes.txt``, or the folders."""
    here = sorted(child.name for child in folder.iterdir() if _visible(child) and child.is_dir())
    chosen = root / "classes.txt"
    if chosen.is_file():
        lines = chosen.read_text(encoding="utf-8").splitlines()
        wanted = [line.split()[0] for line in lines if line.strip()]
        if missing := [name for name in wanted if name not in set(here)]:
            raise ValueError(
                f"{chosen} names the class {missing[0]}, but {folder} has no such folder"
            )
        return tuple(dict.fromkeys(wanted))
    if len(here) == IMAGENET_CLASSES and set(IMAGENET_100) <= set(here):
        return IMAGENET_100
    return tuple(here)


def _walk(root: Path, folder: str, classes: tuple[str, ...]) -> ImageFiles:
    """The images of every class of one part, class by class."""
    names, labels = [], []
    for label, name in enumerate(classes):
        place = root / folder / name
        if not place.is_dir():
            raise ValueError(f"{root / folder} has no folder of the class {name}")
        found = sorted(_images(place))
        if not found:
            raise ValueError(f"{place}: the class has no images ({', '.join(SUFFIXES)})")
        names += [file.relative_to(root).as_posix() for file in found]
        labels += [label] * len(found)
    return ImageFiles(root, tuple(names), np.array(labels, np.int64))


def _loose(root: Path) -> ImageFiles:
    found = sorted(_images(root))
    return ImageFiles(root, tuple(file.relative_to(root).as_posix() for file in found))


def _images(place: Path) -> Iterator[Path]:
    for folder, _, files in os.walk(place):
        yield from (
            Path(folder, file)
            for file in files
            if not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES
        )


def _visible(child: Path) -> bool:
    return not child.name.startswith((".", "_"))


def _named(root: Path, images: ImageSet) -> ImageSet:
    """Give well-known sets their names; what differs from one keeps the name of its folder."""
    sizes = {part: _per_class(files.labels) for part, files in images.parts.items()}
    if set(images.classes) == set(CIFAR_CLASSES) and sizes == CIFAR_SIZES:
        lossy = all(name.lower().endswith((".jpg", ".jpeg")) for name in images.parts["base"].names)
        name, title = ("-jpeg", ", JPEG copy") if lossy else ("", "")
        return ImageSet(f"cifar-10{name}", f"CIFAR-10{title}", images.parts, images.classes)
    n_classes = len(images.classes)
    wordnet = n_classes and all(re.fullmatch(r"n\d{8}", name) for name in images.classes)
    if wordnet and sizes == TINY_SIZES:
        title = f"Tiny ImageNet, {n_classes} classes"
        n_train = TRAINING_PER_CLASS * n_classes
        return ImageSet(f"tiny-imagenet-{n_classes}", title, images.parts, images.classes, n_train)
    if images.classes == IMAGENET_100 and "queries" in images.parts:
        title, n_train = "ImageNet, the paper's 100 classes", TRAINING_PER_CLASS * n_classes
        return ImageSet("imagenet-100", title, images.parts, images.classes, n_train)
    return images


def _per_class(labels: NDArray[np.int64] | None) -> set[int]:
    return set() if labels is None else set(np.bincount(labels).tolist())


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "images"
