"""The HDF5 files of ann-benchmarks: what vector indexes are compared on.

Sets that are published for angular distance are angles only: Euclidean distance orders their
neighbours in the same way once every vector is divided by its length.
"""

from __future__ import annotations

from sigah.lab.datasets.dataset import Dataset
from sigah.lab.datasets.published import AnnBenchmark

__all__ = ["GIST", "SETS"]

URL = "http://ann-benchmarks.com/"
GIST = AnnBenchmark(
    URL + "gist-960-euclidean.hdf5",
    sha256="8e95831936bfdbfa0a56086942e2cf98cd703517c67f985914183eb4cdbf026a",
)
JEGOU = "Jégou, Douze and Schmid, Product quantization for nearest neighbor search, PAMI 2011"
GLOVE = "Pennington, Socher and Manning, GloVe: global vectors for word representation, EMNLP 2014"


def glove(dim: int) -> Dataset:
    """Word vectors of one dimension."""
    return Dataset(
        name=f"glove-{dim}-angular",
        summary="GloVe vectors of words on Twitter, not of length 1; for angular distance",
        licence="PDDL 1.0",
        reference=GLOVE,
        n_base=1_183_514,
        n_queries=10_000,
        dim=dim,
        sources=(AnnBenchmark(f"{URL}glove-{dim}-angular.hdf5"),),
    )


SETS = (
    Dataset(
        name="sift-128-euclidean",
        summary="SIFT1M: SIFT of photographs, whole numbers up to 255",
        licence="usually given as CC0",
        reference=JEGOU,
        n_base=1_000_000,
        n_queries=10_000,
        dim=128,
        sources=(
            AnnBenchmark(
                URL + "sift-128-euclidean.hdf5",
                sha256="dd6f0a6ed6b7ebb8934680f861a33ed01ff33991eaee4fd60914d854a0ca5984",
            ),
        ),
    ),
    Dataset(
        name="gist-960-euclidean",
        summary="GIST1M, as in gist1m: colour GIST of photographs from the web",
        licence="usually given as CC0",
        reference=JEGOU,
        n_base=1_000_000,
        n_queries=1_000,
        dim=960,
        sources=(GIST,),
    ),
    *(glove(dim) for dim in (25, 50, 100, 200)),
    Dataset(
        name="deep-image-96-angular",
        summary="9,990,000 of Deep1B: features of GoogLeNet, reduced to 96 dimensions; for angular"
        " distance",
        licence="usually given as CC BY 4.0",
        reference="Babenko and Lempitsky, Efficient indexing of billion-scale datasets of deep"
        " descriptors, CVPR 2016",
        n_base=9_990_000,
        n_queries=10_000,
        dim=96,
        sources=(AnnBenchmark(URL + "deep-image-96-angular.hdf5"),),
    ),
    Dataset(
        name="fashion-mnist-784-euclidean",
        summary="pictures of clothes: 28 x 28 grey pixels, whole numbers up to 255 as float32",
        licence="MIT, (c) Zalando SE",
        reference="Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking"
        " machine learning algorithms, arXiv:1708.07747, 2017",
        n_base=60_000,
        n_queries=10_000,
        dim=784,
        sources=(AnnBenchmark(URL + "fashion-mnist-784-euclidean.hdf5"),),
    ),
)
