"""Descriptors of photographs in Debian packages."""

from __future__ import annotations

from sigah.lab.datasets.dataset import Build, Dataset
from sigah.lab.datasets.descriptors.gist import COLOUR, TINY
from sigah.lab.datasets.descriptors.photo_sets import PhotoGist, PhotoSift

__all__ = ["SETS"]

LICENCE = (
    "photographs: CC0, CC BY 4.0, CC BY-SA 3.0 and 4.0, GPL 2 or later, as in the copyright files"
    " of the packages"
)
SIFT_REFERENCE = "Lowe, Distinctive image features from scale-invariant keypoints, IJCV 2004"
GIST_REFERENCE = (
    "Oliva and Torralba, Modeling the shape of the scene: a holistic representation of the spatial"
    " envelope, IJCV 2001"
)

SETS = (
    Dataset(
        name="photo-sift",
        summary="SIFT of photographs in Debian packages, whole numbers up to 255; queries from"
        " other photographs",
        licence=LICENCE,
        reference=SIFT_REFERENCE,
        n_base=1_000_000,
        n_queries=10_000,
        dim=128,
        dtype="uint8",
        stand_in_for="SIFT1M",
        build=Build(
            base_sha256="59e4b187f20552b740e4f52638b6b5129220bbe31beb55b320d5c867e457e335",
            queries_sha256="8333a778e286ba1b70b84382d1ea9fbfb08e5dc399e7c618651def431637134d",
            base_mean=27.642844,
            queries_mean=25.446995,
        ),
        # there are 1,028,265 with OpenCV 5.0.0: the margin is for other versions
        sources=(PhotoSift(1_000_000, 10_000, longest=4000),),
    ),
    Dataset(
        name="photo-gist-384",
        summary="grey GIST of random squares of photographs in Debian packages, shrunk to"
        " 32 x 32; queries from other photographs",
        licence=LICENCE,
        reference=GIST_REFERENCE,
        n_base=100_000,
        n_queries=1_000,
        dim=384,
        dtype="float32",
        stand_in_for="Tiny100K",
        build=Build(
            base_sha256="8ae8e93b8a4848009a92c2444747f6e97447ea979c6dc1e02491400551b11105",
            queries_sha256="bd147c1ca09f18b7b41c3570ed6426ff1d5ddd117558b1cf075c21f8fed883f6",
            base_mean=0.0322579,
            queries_mean=0.0293885,
        ),
        sources=(PhotoGist(100_000, 1_000, "L", TINY, longest=2600),),
    ),
    Dataset(
        name="photo-gist-960",
        summary="colour GIST of random squares of photographs in Debian packages, shrunk to"
        " 32 x 32; queries from other photographs",
        licence=LICENCE,
        reference=GIST_REFERENCE,
        n_base=100_000,
        n_queries=1_000,
        dim=960,
        dtype="float32",
        stand_in_for="GIST1M",
        build=Build(
            base_sha256="b6e55c34b7194e6eb67c9e04211cd3011016b74784f80682d2bbda4a3cd1549d",
            queries_sha256="4df790048a656488e33b2a0119331cdbbc34ddb7a02073a4817f110f7b5a9adb",
            base_mean=0.04432476,
            queries_mean=0.03921073,
        ),
        sources=(PhotoGist(100_000, 1_000, "RGB", COLOUR, longest=2600),),
    ),
)
