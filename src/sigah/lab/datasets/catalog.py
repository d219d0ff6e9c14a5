"""The named sets, by kind.

To add a set, describe it by one :class:`~sigah.lab.datasets.Dataset` in the file of its kind below
``entries/``, or in a new file that is entered here. Where it comes from is a source: one of those
in :mod:`~sigah.lab.datasets.sources`, :mod:`~sigah.lab.datasets.published` and
:mod:`~sigah.lab.datasets.supplied`, or any object with ``read(folder, progress)``.
"""

from __future__ import annotations

from sigah.lab.datasets.dataset import Dataset
from sigah.lab.datasets.entries import ann_benchmarks, deep, features, images, photos, text

__all__ = ["CATALOG", "GROUPS"]

#: The sets of each kind, in the order to show them.
GROUPS: dict[str, tuple[Dataset, ...]] = {
    "Images with classes": images.SETS,
    "Descriptors and deep features": features.SETS,
    "Descriptors of photographs": photos.SETS,
    "Deep features of images": deep.SETS,
    "Text": text.SETS,
    "From ann-benchmarks": ann_benchmarks.SETS,
}

#: Every set by its name.
CATALOG: dict[str, Dataset] = {entry.name: entry for sets in GROUPS.values() for entry in sets}
