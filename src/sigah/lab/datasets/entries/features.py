"""The sets of descriptors and deep features that the paper measures on."""

from __future__ import annotations

from sigah.lab.datasets.dataset import Dataset
from sigah.lab.datasets.entries.ann_benchmarks import GIST
from sigah.lab.datasets.published import BillionScale, VectorArchive
from sigah.lab.datasets.supplied import SuppliedMatrix, SuppliedSet

__all__ = ["SETS"]

SETS = (
    Dataset(
        name="gist1m",
        summary="colour GIST of photographs from the web",
        licence="usually given as CC0",
        reference="Jégou, Douze and Schmid, Product quantization for nearest neighbor search, PAMI"
        " 2011",
        n_base=1_000_000,
        n_queries=1_000,
        dim=960,
        sources=(
            VectorArchive(
                "ftp://ftp.irisa.fr/local/texmex/corpus/gist.tar.gz",
                {"base": "gist/gist_base.fvecs", "queries": "gist/gist_query.fvecs"},
            ),
            GIST,  # the same vectors in the same order
        ),
    ),
    Dataset(
        name="deep1m",
        summary="the first million of Deep1B: features of GoogLeNet, reduced to 96 dimensions, of"
        " length 1",
        licence="usually given as CC BY 4.0",
        reference="Babenko and Lempitsky, Efficient indexing of billion-scale datasets of deep"
        " descriptors, CVPR 2016",
        n_base=1_000_000,
        n_queries=10_000,
        dim=96,
        stand_in_for="the Deep1M of the paper, which has 256 dimensions",
        sources=(
            BillionScale(
                "https://storage.yandexcloud.net/yandex-research/ann-datasets/DEEP/",
                base="base.1B.fbin",
                queries="query.public.10K.fbin",
                n_base=1_000_000,
                dim=96,
            ),
        ),
    ),
    Dataset(
        name="tiny-100k",
        summary="GIST of 100,000 of the 80 million tiny images; rows of zeros are left out and the"
        " queries drawn by a fixed seed",
        licence="none: the images were withdrawn by their authors in 2020",
        reference="Torralba, Fergus and Freeman, 80 million tiny images, PAMI 2008",
        n_base=None,
        n_queries=1_000,
        dim=384,
        sources=(
            SuppliedMatrix(
                "The tiny images were withdrawn by their authors, so nobody offers this set; a copy"
                " of its features can still be read",
                file="Tiny100k.mat",
                variable="X",
                dim=384,
                n_queries=1_000,
            ),
        ),
    ),
    Dataset(
        name="imagenet-100",
        summary="features of your own of 100 classes of ImageNet, such as VGG-16 fc7",
        licence="that of ImageNet: research that is not commercial",
        reference="Deng, Dong, Socher, Li, Li and Fei-Fei, ImageNet: a large-scale hierarchical"
        " image database, CVPR 2009; the 100 classes: Cao, Long, Wang and Yu, HashNet, ICCV 2017",
        n_base=None,
        n_queries=None,
        dim=None,
        n_classes=100,
        sources=(
            SuppliedSet(
                "ImageNet is given only to those who accept its terms, and its features depend on"
                " the network"
            ),
        ),
    ),
)
