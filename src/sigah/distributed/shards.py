"""A folder of shards: index files that each hold a share of the codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.files import open_parts
from sigah.files.folders import (
    SHARDS_FOLDER,
    Manifest,
    new_folder,
    read_manifest,
    write_manifest,
)
from sigah.search.index import HammingIndex

__all__ = ["build_shards", "write_shards"]

Share = tuple[NDArray[np.uint8], NDArray[Any]]  # codes and their ids


def build_shards(source: str | PathLike[str], out: str | PathLike[str], n_shards: int) -> Manifest:
    """Make index files from codes; their sizes differ by at most one code.

    Runs in this process and holds one shard at a time and all ids in memory.

    Parameters
    ----------
    source : path
        A folder that :func:`encode` wrote, or a file of codes. Its ids must be whole numbers that
        are not negative and unique.
    out : path
        A folder that does not exist yet. It holds ``shard-00000.index`` and so on, each an index
        that :class:`sigah.HammingIndex` opens, and a manifest.
    n_shards : int

    Returns
    -------
    dict
        The manifest: ``count``, ``n_bits``, ``fingerprint``, ``files``.

    Raises
    ------
    ValueError
        If a file is damaged, the ids are not such numbers, or there are fewer codes than shards.
    OSError
        If ``out`` exists or a file is missing.

    Examples
    --------
    >>> from sigah.distributed import build_shards
    >>> build_shards("codes", "shards", n_shards=4)["count"]  # doctest: +SKIP
    1000000
    """
    n_shards = check_whole(n_shards, "n_shards", least=1)
    header, parts = open_parts(source)
    if header is None:
        raise ValueError(f"{source} does not name the model that made its codes")
    if header["count"] < n_shards:
        raise ValueError(f"{header['count']} codes cannot fill {n_shards} shards")
    bounds = np.linspace(0, header["count"], n_shards + 1).round().astype(int)
    # None means a file without ids, which is the only part
    given = ((p.codes, np.arange(len(p)) if p.ids is None else p.ids) for p in parts)
    shares = cut(given, np.diff(bounds).tolist())
    return write_shards(shares, out, header["n_bits"], header["fingerprint"])


def cut(shares: Iterable[Share], sizes: Sequence[int]) -> Iterator[Share]:
    """Split codes, in their order, into shares of the given sizes."""
    held: list[Share] = []
    n_held = 0
    wanted = iter(sizes)
    size = next(wanted)
    for codes, ids in shares:
        while n_held + len(codes) >= size:
            missing = size - n_held
            held.append((codes[:missing], ids[:missing]))
            codes, ids = codes[missing:], ids[missing:]
            yield np.concatenate([c for c, _ in held]), np.concatenate([i for _, i in held])
            held, n_held = [], 0
            if (size := next(wanted, 0)) == 0:
                return
        held.append((codes, ids))
        n_held += len(codes)


def write_shards(
    shares: Iterable[Share], out: str | PathLike[str], n_bits: int, fingerprint: str | None
) -> Manifest:
    """Write an index file for each share; an id may be in one share only."""
    files: dict[str, int] = {}
    held: list[NDArray[np.int64]] = []
    with new_folder(out) as folder:
        for number, (codes, ids) in enumerate(shares):
            index = HammingIndex(n_bits, fingerprint=fingerprint)
            index.add(codes, ids)
            name = f"shard-{number:05d}.index"
            index.save(folder / name)
            files[name] = len(index)
            held.append(index.ids)
        if not files:
            raise ValueError("there are no shards to write")
        in_order = np.sort(np.concatenate(held))
        repeated = in_order[1:][in_order[1:] == in_order[:-1]]
        if len(repeated):
            raise ValueError(f"ids must be unique in all shards, but {repeated[0]} is repeated")
        return write_manifest(
            folder, SHARDS_FOLDER, {"n_bits": n_bits, "fingerprint": fingerprint}, files
        )


def shard_files(folder: str | PathLike[str]) -> tuple[Manifest, list[Path]]:
    """The manifest of a folder of shards, and the paths of its files."""
    manifest = read_manifest(folder, SHARDS_FOLDER)
    return manifest, [Path(folder).resolve() / entry["file"] for entry in manifest["files"]]
