"""Parallel encoding of Parquet files (Ray Data)."""

from __future__ import annotations

import importlib
import logging
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from sigah.distributed.cluster import cluster, require_ray
from sigah.distributed.parquet import Part, read_part, split
from sigah.files.folders import CODES_FOLDER, Manifest, new_folder, write_manifest
from sigah.files.parquet import as_ids, write_parquet
from sigah.hashers import BinaryHasher, load
from sigah.progress import bar
from sigah.rows.lazy import require

__all__ = ["encode"]


def encode(
    source: str | PathLike[str],
    model: BinaryHasher | str | PathLike[str],
    out: str | PathLike[str],
    *,
    ids: str = "id",
    vectors: str | None = None,
    rows_per_part: int = 100_000,
    address: str | None = None,
    verbose: bool = False,
) -> Manifest:
    """Encode the vectors of Parquet files in parallel, and write codes with their ids.

    Each worker reads row groups, encodes them and writes one file; only file names and sizes pass
    through Ray. The model is sent to each node once. Ray Data decides how many parts are encoded at
    a time. If a worker dies, another worker encodes its part.

    Parameters
    ----------
    source : path
        A Parquet file, or a folder of them.
    model : BinaryHasher or path
        A fitted hasher, or its file.
    out : path
        A folder that does not exist yet; it appears when all codes are written. It holds a manifest
        and ``part-00000.parquet`` and so on, in the order of the vectors and in the format of
        :func:`sigah.files.save_codes`. :func:`sigah.files.load_codes` reads it.
    ids : str
        The column of ids, whole numbers or strings, which are stored with the codes.
    vectors : str, optional
        The column of vectors; by default the only column of lists of numbers.
    rows_per_part : int
        Least vectors of one task; a row group is never split.
    address : str, optional
        Of a Ray cluster, whose nodes must all see ``source`` and ``out`` under the same path; by
        default Ray runs on this machine.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    dict
        The manifest: ``count``, ``n_bits``, ``method``, ``fingerprint``, ``files``.

    Raises
    ------
    ValueError
        If a file is damaged, or the vectors do not fit the model (dimension, nulls, NaN).
    OSError
        If ``out`` exists, a file is missing, or Ray is not installed.

    Examples
    --------
    >>> from sigah.distributed import encode
    >>> from sigah.files import load_codes
    >>> encode("vectors.parquet", "vectors.model", "codes")["count"]  # doctest: +SKIP
    1000000
    >>> stored = load_codes("codes")  # its codes, ids and header  # doctest: +SKIP
    """
    if rows_per_part < 1:
        raise ValueError(f"rows_per_part must be at least 1, got {rows_per_part}")
    hasher = model if isinstance(model, BinaryHasher) else load(model)
    origin = {"method": hasher.name, "fingerprint": hasher.fingerprint, "n_bits": hasher.n_bits}
    column, parts = split(source, vectors=vectors, ids=ids, n_rows=rows_per_part)
    with new_folder(out) as folder, cluster(address) as ray, bar(show=verbose) as progress:
        task = progress.add_task("encode", total=sum(part.n_rows for part in parts), detail="")
        data = importlib.import_module("ray.data")
        work = data.from_items(
            [asdict(part) for part in parts], override_num_blocks=len(parts)
        ).map(
            encode_part,
            fn_kwargs={
                "model": ray.put(hasher),  # one copy per node, shared by its workers
                "vectors": column,
                "ids": ids,
                "folder": str(folder),
                "origin": origin,
            },
        )
        work.context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are reported below
        written = {}
        for part in work.iter_rows():
            if part["error"]:
                raise ValueError(part["error"])
            written[part["file"]] = part["count"]
            progress.advance(task, part["count"])
        for unfinished in folder.glob(".sigah-*.part"):  # of workers that died
            unfinished.unlink()
        return write_manifest(folder, CODES_FOLDER, origin, dict(sorted(written.items())))


def encode_part(
    row: dict[str, Any],
    *,
    model: Any,
    vectors: str,
    ids: str,
    folder: str,
    origin: dict[str, Any],
) -> dict[str, Any]:
    """Encode one part on a worker and write it; return the file and its rows, or an error.

    If a part is encoded again because its worker died, the file is the same.
    """
    part = Part(**row)
    pyarrow = require("pyarrow", "Parquet files")
    hasher = require_ray().get(model)
    codes, names = [], []
    at = part.start
    try:
        for at, block, some in read_part(part, vectors=vectors, ids=ids):  # noqa: B007
            codes.append(hasher.transform(block))
            names.append(some)
        keys = as_ids(pyarrow.chunked_array(names), f"the column {ids!r} of ids")
    except (ValueError, OSError) as error:
        where = "" if part.file in str(error) else f"{part.file}, in the rows from {at} on: "
        return {"file": "", "count": 0, "error": f"{where}{error}"}
    file = f"part-{part.number:05d}.parquet"
    packed = np.concatenate(codes)
    write_parquet(Path(folder) / file, origin, packed.shape, [(packed, keys)], keys.type)
    return {"file": file, "count": part.n_rows, "error": ""}
