"""The named sets by their names: looked up in the catalogue, kept in the cache."""

from __future__ import annotations

import difflib
from pathlib import Path

from sigah.lab.datasets import cache
from sigah.lab.datasets.catalog import CATALOG
from sigah.lab.datasets.dataset import Dataset, Split, Texts
from sigah.lab.datasets.downloads import Progress

__all__ = ["check", "fetch", "load", "path", "texts"]


def fetch(name: str, *, progress: Progress | None = None) -> Path:
    """Put a data set into the cache, unless it is there and whole; return its folder.

    The sources of the set are tried in turn. Cached arrays are verified and a damaged set is
    fetched again. Files are replaced atomically, so an interrupted fetch harms nothing; what it
    had downloaded is used by the next one. Where a set has texts, they are fetched too.

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
        If every source failed (the message lists why), or the cache cannot be written. Sets that
        cannot be downloaded are explained: which file to put where.

    Examples
    --------
    >>> from sigah.lab import datasets
    >>> datasets.fetch("minst")
    Traceback (most recent call last):
    ValueError: no data set is named 'minst', do you mean mnist? `sigah data list` shows all
    """
    return cache.fetch(entry(name), progress=progress)


def path(name: str) -> Path:
    """Return the folder of a fetched data set.

    Raises
    ------
    FileNotFoundError
        If the set has not been fetched.

    Examples
    --------
    >>> from sigah.lab import datasets
    >>> datasets.path("mnist").name  # doctest: +SKIP
    'mnist'
    """
    return cache.path(entry(name))


def load(name: str, *, progress: Progress | None = None) -> Split:
    """Read a data set, fetching it first if it is not in the cache.

    Parameters
    ----------
    name : str
        A key of :data:`CATALOG`.
    progress : callable, optional
        As in :func:`fetch`.

    Returns
    -------
    Split
        Images are pixels / 255, in [0, 1]; other vectors are as they were published. Labels are
        None for a set that has none.

    Raises
    ------
    ValueError
        If the catalogue has no such set, or the cached files are damaged.
    OSError
        If the set had to be fetched and could not be.

    Examples
    --------
    >>> from sigah.lab import datasets
    >>> datasets.load("mnist").base.shape  # doctest: +SKIP
    (60000, 784)
    """
    return cache.load(entry(name), progress=progress)


def texts(name: str, *, progress: Progress | None = None) -> Texts:
    """Read the texts that the vectors of a set were made of, fetching them first if needed.

    Parameters
    ----------
    name : str
        A key of :data:`CATALOG`; ``wordnet-text`` has texts.
    progress : callable, optional
        As in :func:`fetch`.

    Returns
    -------
    Texts
        In the order of the vectors.

    Raises
    ------
    ValueError
        If the catalogue has no such set, the set has no texts, or the cached ones are damaged.
    OSError
        If they had to be fetched and could not be.

    Examples
    --------
    >>> from sigah.lab import datasets
    >>> datasets.texts("wordnet-text").base[1]  # doctest: +SKIP
    'an entity that has physical existence'
    >>> datasets.texts("mnist")
    Traceback (most recent call last):
    ValueError: mnist has no texts, only vectors
    """
    return cache.texts(entry(name), progress=progress)


def check(name: str) -> Path:
    """Verify every byte of a fetched data set; return its folder.

    Raises
    ------
    ValueError
        If the catalogue has no such set, or the cached files are damaged.
    FileNotFoundError
        If the set has not been fetched.

    Examples
    --------
    >>> from sigah.lab import datasets
    >>> datasets.check("mnist").name  # doctest: +SKIP
    'mnist'
    """
    return cache.check(entry(name))


def entry(name: str) -> Dataset:
    """What the catalogue has under a name."""
    if name not in CATALOG:
        close = difflib.get_close_matches(name, CATALOG, n=1)
        guess = f", do you mean {close[0]}?" if close else ";"
        raise ValueError(f"no data set is named {name!r}{guess} `sigah data list` shows all")
    return CATALOG[name]
