"""The features of a set of images: a folder of arrays, computed once, block by block.

``base.npy`` and ``queries.npy`` hold a row for each image, ``base_labels.npy`` and
``query_labels.npy`` its class, ``base_names.txt`` and ``query_names.txt`` its name; the folder is
complete when ``features.json`` is there.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sigah.files import atomic_write
from sigah.lab.datasets import cache
from sigah.lab.datasets.dataset import Split
from sigah.lab.images.backbones import Backbone
from sigah.lab.images.folders import open_images
from sigah.lab.images.sets import Images, ImageSet, squares
from sigah.metric import check_metric
from sigah.progress import bar
from sigah.rows.formats.plain import open_npy
from sigah.rows.lazy import naming
from sigah.streams.journal import Journal
from sigah.threads import available_threads, limit_threads

__all__ = [
    "FeatureSet",
    "cached_features",
    "extract",
    "images_of",
    "is_features",
    "open_features",
]

MANIFEST = "features.json"
BLOCK = 250  # images; what an interruption may lose of each thread
BATCH = 25  # images; their maps stay in the cache of a processor
SINGULAR = {"base": "base", "queries": "query"}


@dataclass(frozen=True)
class FeatureSet:
    """Features and labels as :func:`extract` wrote them.

    Attributes
    ----------
    name, title : str
        Of the images and the backbone: ``cifar-10-vgg16-64``.
    split : Split
        Vectors are memory maps. Without queries, ``queries`` has no rows.
    classes : tuple of str
    metric : str
        By which the vectors are compared.
    n_train : int or None
        As :class:`~sigah.lab.images.ImageSet` has it.
    manifest : mapping
        The content of ``features.json``.
    """

    name: str
    title: str
    split: Split
    classes: tuple[str, ...]
    metric: str
    n_train: int | None
    manifest: Mapping[str, Any]


def extract(
    images: ImageSet,
    backbone: Backbone,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    show: bool = False,
) -> FeatureSet:
    """Compute the features of all images; the same call resumes after an interruption.

    Blocks of images are decoded and run in parallel, one on each thread. They are always the same
    blocks, so the features do not depend on the number of threads. Finished blocks are kept in
    ``OUT/PART.npy.partial``.

    Parameters
    ----------
    images : ImageSet
    backbone : Backbone
    out : path-like
        A folder; it is created. If it holds these features already, they are opened.
    overwrite : bool, default=False
        Whether features of other images, or of another backbone, and other files of the same
        names may be replaced.
    show : bool, default=False
        Show images per second and the time left.

    Returns
    -------
    FeatureSet

    Raises
    ------
    ValueError
        If an image is damaged (the message names it), or a feature is NaN or infinite.
    FileExistsError
        If the folder holds other features, or a file that the features would replace.
    OSError
        If a file cannot be read or written, or another process is writing this folder.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah.lab.images import ImageSet, PixelImages, extract, open_backbone
    >>> pixels = np.random.default_rng(0).integers(256, size=(9, 32, 32, 3), dtype=np.uint8)
    >>> images = ImageSet("noise", "Noise", {"base": PixelImages(pixels, tuple("abcdefghi"))})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = extract(images, open_backbone("gist-512"), folder)
    ...     found.title, found.split.base.shape
    ('Noise; GIST-512, 32 pixels', (9, 512))
    """
    folder = Path(out)
    task = {
        "images": {part: files.identity() for part, files in images.parts.items()},
        "backbone": backbone.fingerprint,
    }
    if is_features(folder):
        done = open_features(folder)
        if {key: done.manifest.get(key) for key in task} == task:
            return done
        if not overwrite:
            raise FileExistsError(
                f"{out} holds other features ({done.title}); choose another folder, or overwrite"
                " them"
            )
    elif not overwrite:
        for part in images.parts:
            for name in (
                f"{part}.npy",
                f"{SINGULAR[part]}_labels.npy",
                f"{SINGULAR[part]}_names.txt",
            ):
                if (folder / name).exists():
                    raise FileExistsError(
                        f"{out} has a file {name} that is not of finished features; choose another"
                        " folder, or overwrite it"
                    )
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    dim = _features(backbone, next(iter(images.parts.values())), [0]).shape[1]
    with ExitStack() as open_files, bar(show=show) as progress:
        journals = {}
        for part, files in images.parts.items():
            head = _head(len(files), dim)
            journal = Journal(folder / f"{part}.npy", task, 4 * dim, len(head))
            journals[part] = open_files.enter_context(journal), head
        (folder / MANIFEST).unlink(missing_ok=True)
        total = sum(map(len, images.parts.values()))
        bar_task = progress.add_task(f"features {backbone.name}", total=total, detail="")
        for part, files in images.parts.items():
            journal, _ = journals[part]
            _extract_rest(backbone, files, journal, progress, bar_task)
        for part, files in images.parts.items():
            journal, head = journals[part]
            journal.become(head, b"")
            _write_rest(folder, SINGULAR[part], files)
    content = {
        "name": f"{images.name}-{backbone.name}",
        "title": f"{images.title}; {backbone.title}",
        "classes": images.classes,
        "metric": backbone.metric,
        "n_train": images.n_train,
        "parts": {part: [len(files), dim] for part, files in images.parts.items()},
        "seconds": time.perf_counter() - began,
        "source": None if images.source is None else str(images.source),
        **task,
    }
    with atomic_write(folder / MANIFEST) as file:
        file.write(json.dumps(content, indent=2).encode() + b"\n")
    return open_features(folder)


def cached_features(images: ImageSet, backbone: Backbone, *, show: bool = False) -> FeatureSet:
    """The features of images in the cache of named sets; they are computed at the first use.

    Parameters, returns and errors are those of :func:`extract`.
    """
    place = f"{images.name}-{backbone.name}-{backbone.fingerprint[:8]}"
    return extract(images, backbone, cache.folder_of("features") / place, overwrite=True, show=show)


def is_features(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds features that :func:`extract` completed."""
    return (Path(path) / MANIFEST).is_file()


def open_features(path: str | os.PathLike[str]) -> FeatureSet:
    """Open a folder that :func:`extract` wrote.

    Raises
    ------
    ValueError
        If a file of it is damaged.
    OSError
        If a file is missing.
    """
    folder = Path(path)
    with naming(folder / MANIFEST):
        content = json.loads((folder / MANIFEST).read_bytes())
        name, title, n_train = content["name"], content["title"], content["n_train"]
        parts, classes = content["parts"], tuple(content["classes"])
        metric = check_metric(content["metric"])
    arrays: dict[str, NDArray[Any] | None] = {}
    for part, shape in parts.items():
        arrays[part] = _array(folder / f"{part}.npy", tuple(shape), "f")
        labels = folder / f"{SINGULAR[part]}_labels.npy"
        if classes:
            arrays[f"{SINGULAR[part]}_labels"] = _array(labels, (shape[0],), "iu")
    base = arrays["base"]
    assert base is not None
    queries = arrays.get("queries")
    split = Split(
        base,
        base[:0] if queries is None else queries,
        arrays.get("base_labels"),
        arrays.get("query_labels"),
    )
    return FeatureSet(name, title, split, classes, metric, n_train, content)


def images_of(features: FeatureSet) -> ImageSet | None:
    """The images of features, if they are still where they were, and the same."""
    source = features.manifest.get("source")
    try:
        images = open_images(source) if source else None
        parts = {} if images is None else images.parts
        identities = {part: files.identity() for part, files in parts.items()}
    except (OSError, ValueError):
        return None
    return images if identities == features.manifest["images"] else None


def _array(file: Path, shape: tuple[int, ...], kinds: str) -> NDArray[Any]:
    with naming(file):
        array = open_npy(file)
        if array.shape != shape or array.dtype.kind not in kinds:
            raise ValueError(f"{array.dtype} of shape {array.shape}, expected shape {shape}")
    return array


def _extract_rest(
    backbone: Backbone, images: Images, journal: Journal, progress: Any, task: int
) -> None:
    """Compute the blocks that the journal lacks, and append them in order."""
    first = journal.n_rows
    progress.advance(task, first)
    began = time.perf_counter()
    workers = available_threads()
    waiting: deque[tuple[int, Future[NDArray[np.float32]]]] = deque()

    def write_oldest() -> None:
        stop, block = waiting[0]
        rows = block.result()
        journal.append(rows.view(np.uint8))
        waiting.popleft()  # only now: after a failure, no block may be skipped
        speed = (stop - first) / (time.perf_counter() - began)
        progress.update(task, advance=len(rows), detail=f"{speed:,.0f} images/s")

    with (
        limit_threads(1),  # one block per thread: threads that share a product wait for each other
        ThreadPoolExecutor(workers, thread_name_prefix="sigah-features") as pool,
    ):
        try:
            for start in range(first, len(images), BLOCK):
                stop = min(start + BLOCK, len(images))
                numbers = list(range(start, stop))
                waiting.append((stop, pool.submit(_features, backbone, images, numbers)))
                if len(waiting) > workers:
                    write_oldest()
        finally:  # also blocks in work when an image is damaged, or at Ctrl-C
            while waiting:
                write_oldest()


def _features(backbone: Backbone, images: Images, numbers: list[int]) -> NDArray[np.float32]:
    """The features of some images, a batch at a time."""
    found = []
    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        features = backbone.compute(squares(images, batch, backbone.side))
        bad = ~np.isfinite(features).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{backbone.title} gives NaN or infinity for"
                f" {images.names[batch[int(bad.argmax())]]}"
            )
        found.append(features)
    return np.concatenate(found)


def _write_rest(folder: Path, part: str, images: Images) -> None:
    with atomic_write(folder / f"{part}_names.txt") as file:
        file.write("".join(f"{name}\n" for name in images.names).encode())
    if images.labels is not None:
        with atomic_write(folder / f"{part}_labels.npy") as file:
            np.save(file, images.labels)


def _head(n: int, dim: int) -> bytes:
    """The header of a ``.npy`` file of float32 rows."""
    stream = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (n, dim)}
    npy.write_array_header_1_0(stream, described)
    return stream.getvalue()
