"""The data of an experiment: a named set, features, or images by path; whole or a slice of it.

Images are named with a backbone, as in ``PATH@vgg16:64``; their features are computed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation import EvaluationData
from sigah.lab import datasets, images
from sigah.lab.images.cifar import fetched_cifar
from sigah.lab.images.features import images_of, is_features

if TYPE_CHECKING:
    from sigah.lab.experiments.experiment import Experiment

__all__ = ["available", "explain_absence", "prepare", "with_backbones"]

THUMBNAIL = 32  # pixels a side
QUICK_BASE, QUICK_QUERIES, QUICK_K = 3000, 200, 100
K = 1000
# what is installable nearest to a set of the paper, the nearest first; never called by its name
STAND_INS = {
    "gist1m": ("photo-gist-960",),
    "deep1m": ("glove-50",),
    "tiny-100k": ("cifar-10@gist-384", "photo-gist-384"),  # CIFAR-10 is a part of Tiny Images
}
IMAGE_SET = "cifar-10"  # the named set that experiments on images take their images from
IMAGES = {"mnist": (28, 28), "fashion-mnist": (28, 28)}  # whose vectors are pixels in [0, 1]


def with_backbones(name: str, experiment: Experiment) -> list[str]:
    """The data that a name means to an experiment: of images, the features of each backbone.

    Raises
    ------
    ValueError
        If the name is a folder of images, and the experiment is not about images.
    """
    if name == IMAGE_SET and experiment.backbones:
        return [f"{name}@{backbone}" for backbone in experiment.backbones]
    if name in datasets.CATALOG or "@" in name or not Path(name).exists() or is_features(name):
        return [name]
    if not experiment.backbones:
        raise ValueError(
            f"{name} is no data set of {experiment.name}, which takes vectors: compute them with"
            f" `sigah features {name} --backbone NAME --out FOLDER`, then --data FOLDER; or name a"
            f" backbone, as in --data {name}@mobilenet"
        )
    return [f"{name}@{backbone}" for backbone in experiment.backbones]


def prepare(name: str, *, quick: bool = False, show: bool = False) -> EvaluationData:
    """Load a named set, or for the quick form its first vectors; ``show`` the progress."""
    title, n_train, metric, pictures = "", None, "l2", None
    classes: tuple[str, ...] = ()
    if is_features(name) or "@" in name:
        found, pictures = images_and_features(name, show=show)
        split: datasets.Split = found.split
        if not len(split.queries):
            raise ValueError(f"{name} has no queries: put the images into `base` and `queries`")
        name, title = found.name, found.title
        n_train, metric, classes = found.n_train, found.metric, found.classes
    else:
        split = datasets.load(name)
    base, queries = split.base, split.queries
    base_labels = getattr(split, "base_labels", None)  # not every set has them
    query_labels = getattr(split, "query_labels", None)
    part = ""
    rows = {"base": np.arange(len(base)), "queries": np.arange(len(queries))}
    if quick:
        take = spread if classes else first  # images come class by class
        rows = {"base": take(len(base), QUICK_BASE), "queries": take(len(queries), QUICK_QUERIES)}
        base, queries = np.array(base[rows["base"]]), np.array(queries[rows["queries"]])
        base_labels = None if base_labels is None else base_labels[rows["base"]]
        query_labels = None if query_labels is None else query_labels[rows["queries"]]
        some = f"{len(base):,} vectors and {len(queries):,} queries"
        part = f"{some} of it" if classes else f"its first {some}"
    data = EvaluationData(
        name,
        base,
        queries,
        k=min(QUICK_K if quick else K, len(base)),
        base_labels=base_labels,
        query_labels=query_labels,
        classes=classes,
        picture=IMAGES.get(name),
        thumbnails=None if pictures is None else partial(thumbnails, pictures, rows),
        part=part,
        quick=quick,
        title=title,
        metric=metric,
        n_train=None if n_train is None or n_train >= len(base) else n_train,
    )
    known = datasets.CATALOG[name].build if name in datasets.CATALOG else None
    if known and not quick and known.equals(base, queries):
        data.description.update(known.checksums)
    return data


def first(n: int, most: int) -> NDArray[np.intp]:
    """The first rows of ``n``."""
    return np.arange(min(n, most))


def spread(n: int, most: int) -> NDArray[np.intp]:
    """Rows of ``n`` at equal distances."""
    return np.arange(min(n, most)) * n // min(n, most)


def thumbnails(
    found: images.ImageSet, rows: Mapping[str, NDArray[np.intp]], part: str, numbers: NDArray[Any]
) -> NDArray[np.uint8]:
    """Small pictures of some rows of a part."""
    return images.squares(found.parts[part], rows[part][numbers].tolist(), THUMBNAIL)


def images_and_features(
    name: str, *, show: bool
) -> tuple[images.FeatureSet, images.ImageSet | None]:
    """A folder of features and its images, if they are at hand; or images, and their features.

    The features of ``PATH@BACKBONE`` come from the cache if they are there.
    """
    if is_features(name):
        features = images.open_features(name)
        return features, images_of(features)
    path, _, backbone = name.rpartition("@")
    found = fetched_cifar() if path == IMAGE_SET else images.open_images(path)
    return images.cached_features(found, images.open_backbone(backbone), show=show), found


def available(name: str) -> bool:
    """Whether a set is in the cache, or at its path."""
    path = name.rpartition("@")[0]
    if is_features(name) or (path and path not in datasets.CATALOG and Path(path).exists()):
        return True
    name = path or name
    try:
        datasets.path(name)
    except (ValueError, OSError):
        return False
    return True


def explain_absence(name: str) -> str:
    """Say that a set is not here, how to get it, and what may stand in for it."""
    name = name.rpartition("@")[0] or name
    if name == IMAGE_SET:
        return (
            f"the data set {name} is not here: fetch it with `sigah data fetch {name}`, or give"
            " images by path, as in --data cifar-10-batches-py (its official files, a folder or an"
            " archive; or any images as train/CLASS/IMAGE and test/CLASS/IMAGE)"
        )
    known = name in datasets.CATALOG
    text = f"the data set {name} is not here"
    text += f": fetch it with `sigah data fetch {name}`" if known else " and not in the catalogue"
    stand_ins = STAND_INS.get(name, ())
    for stand_in in filter(available, stand_ins):
        return f"{text}, or run on {stand_in}, its stand-in, with --data {stand_in}"
    if stand_ins:
        last = stand_ins[-1]
        return f"{text}, or take its stand-in: `sigah data fetch {last}`, then --data {last}"
    here = [other for other in datasets.CATALOG if available(other)]
    return f"{text}; here are {', '.join(here)}: --data {here[0]}" if here else text
