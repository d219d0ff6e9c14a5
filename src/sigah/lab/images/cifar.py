"""The official files of CIFAR-10: pickled batches of Python, or binary batches."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sigah.lab import datasets
from sigah.lab.datasets.sources import load_array_pickle
from sigah.lab.images.sets import ImageSet, PixelImages

__all__ = ["CIFAR_CLASSES", "fetched_cifar", "is_cifar", "read_cifar"]

CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
BASE = tuple(f"data_batch_{number}" for number in range(1, 6))
QUERIES = "test_batch"
SIDE, CHANNELS = 32, 3
PIXELS = SIDE * SIDE * CHANNELS


def is_cifar(path: Path) -> bool:
    """Whether a path is an archive, or a folder that holds a batch of CIFAR-10."""
    if path.is_file():
        return path.name.endswith((".tar", ".tar.gz", ".tgz"))
    return any((path / f"{QUERIES}{ending}").is_file() for ending in ("", ".bin"))


def read_cifar(path: Path) -> ImageSet:
    """Read all six batches from a folder, or from the archive as published.

    Raises
    ------
    ValueError
        If a batch is missing or damaged; the message names it.
    """
    batches = {name: _batch(path, name) for name in (*BASE, QUERIES)}
    parts = {
        "base": _joined({name: batches[name] for name in BASE}),
        "queries": _joined({QUERIES: batches[QUERIES]}),
    }
    return ImageSet("cifar-10", "CIFAR-10", parts, CIFAR_CLASSES)


def fetched_cifar() -> ImageSet:
    """The images of the named set ``cifar-10``, which is fetched if it is not in the cache."""
    split = datasets.load("cifar-10")
    parts = {}
    for part, labels in (("base", split.base_labels), ("queries", split.query_labels)):
        rows = np.round(getattr(split, part) * 255).astype(np.uint8)
        parts[part] = _images(rows, tuple(f"{part}/{i}" for i in range(len(rows))), labels)
    return ImageSet("cifar-10", "CIFAR-10", parts, CIFAR_CLASSES)


def _images(rows: NDArray[Any], names: tuple[str, ...], labels: Any) -> PixelImages:
    """Images of rows of 3,072 pixels: the red plane, then the green, then the blue one."""
    pixels = rows.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
    return PixelImages(pixels, names, np.asarray(labels, np.int64))


def _joined(batches: dict[str, tuple[NDArray[Any], NDArray[Any]]]) -> PixelImages:
    rows = np.concatenate([pixels for pixels, _ in batches.values()])
    return _images(
        rows,
        tuple(f"{name}/{i}" for name, (pixels, _) in batches.items() for i in range(len(pixels))),
        np.concatenate([labels for _, labels in batches.values()]),
    )


def _batch(path: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels ``(n, 3072)`` and labels ``(n,)`` of one batch, in whichever form it is there."""
    with _opened(path, name) as (stream, place, binary):
        content = stream.read()
    try:
        pixels, labels = _read_binary(content) if binary else _read_pickle(content)
    except Exception as error:  # damaged pickles raise many types
        raise ValueError(f"{place}: this is no batch of CIFAR-10 ({error})") from error
    if pixels.shape != (len(labels), PIXELS) or not len(labels) or pixels.dtype != np.uint8:
        raise ValueError(
            f"{place}: {pixels.dtype} pixels of shape {pixels.shape} and {len(labels)} labels,"
            f" expected uint8 of shape (n, {PIXELS}) and n labels"
        )
    if not 0 <= labels.min() <= labels.max() < len(CIFAR_CLASSES):
        raise ValueError(f"{place}: labels from {labels.min()} to {labels.max()}, expected 0 to 9")
    return pixels, labels


def _read_pickle(content: bytes) -> tuple[NDArray[Any], NDArray[Any]]:
    batch = load_array_pickle(content)
    return np.asarray(batch["data"]), np.asarray(batch["labels"], np.int64)


def _read_binary(content: bytes) -> tuple[NDArray[Any], NDArray[Any]]:
    if len(content) % (1 + PIXELS):
        raise ValueError(f"{len(content)} bytes are not whole records of {1 + PIXELS}")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return records[:, 1:], records[:, 0].astype(np.int64)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[IO[bytes], str, bool]]:
    """A batch of a folder or an archive, where it is, and whether it is binary."""
    if path.is_dir():
        file = next((f for f in (path / name, path / f"{name}.bin") if f.is_file()), None)
        if file is None:
            raise ValueError(f"{path} lacks {name} (or {name}.bin), a batch of CIFAR-10")
        with file.open("rb") as stream:
            yield stream, str(file), file.suffix == ".bin"
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                last = member.name.rpartition("/")[2]
                if member.isfile() and last in (name, f"{name}.bin"):
                    found = archive.extractfile(member)
                    assert found is not None
                    with found:
                        yield found, f"{path}:{member.name}", last.endswith(".bin")
                    return
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path}: the archive is damaged ({error})") from error
    raise ValueError(f"{path} lacks {name} (or {name}.bin), a batch of CIFAR-10")
