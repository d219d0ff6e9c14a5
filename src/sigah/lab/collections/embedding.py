"""Collections as vectors: every text and every judged query through a sentence encoder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import platformdirs
from numpy.lib import format as npy
from numpy.typing import NDArray

from sigah.evaluation.qrels import Judgements, judgements_of, write_qrels
from sigah.evaluation.relevance import Grades
from sigah.extras import require
from sigah.files import atomic_write
from sigah.files.folders import new_folder
from sigah.lab.collections.collection import Collection
from sigah.lab.datasets.downloads import Progress
from sigah.lab.datasets.entries.text import USE

__all__ = ["ENCODERS", "EmbeddedCollection", "Encoder", "embed", "write_embedded"]


class Encoder(Protocol):
    """Makes one vector of length 1 of each text; ``str()`` of it says which encoder it is."""

    def encode(self, texts: Sequence[str], progress: Progress, /) -> NDArray[np.float32]:
        """Vectors of texts that have no line breaks."""


ENCODERS: dict[str, Encoder] = {"use": USE}


@dataclass(frozen=True, eq=False)
class EmbeddedCollection:
    """A collection as vectors.

    Attributes
    ----------
    name, encoder : str
    base : ndarray of float32, shape (n, d)
        Of length 1, one for each text that is not empty.
    ids : ndarray of str, shape (n,)
        Ids of the texts.
    queries : ndarray of float32, shape (q, d)
        One for each judged query.
    query_ids : ndarray of str, shape (q,)
    judgements : mapping
        Grades by query and text.
    """

    name: str
    encoder: str
    base: NDArray[np.float32]
    ids: NDArray[np.str_]
    queries: NDArray[np.float32]
    query_ids: NDArray[np.str_]
    judgements: Judgements

    @property
    def grades(self) -> list[Grades]:
        """The grades of each query, for :func:`sigah.evaluation.ndcg` and the like."""
        return judgements_of(self.judgements, self.query_ids)


def embed(
    collection: Collection,
    encoder: str | Encoder = "use",
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> EmbeddedCollection:
    """Embed a collection, or read its vectors from the cache.

    Vectors are stored in the folder ``collections`` of the cache, under a name that depends on the
    encoder and the texts.

    Parameters
    ----------
    collection : Collection
        From :func:`~sigah.lab.collections.read_collection`.
    encoder : str or Encoder, default="use"
        ``"use"`` is the multilingual universal sentence encoder, which ``wordnet-text`` uses; it is
        downloaded. Or any object with ``encode(texts, progress)``.
    cache_dir : path-like, optional
        By default ``$SIGAH_CACHE`` or the user's cache directory; if that cannot be written,
        nothing is stored.
    progress : callable, optional
        Called with a label, the work done, and all of it.

    Returns
    -------
    EmbeddedCollection
        Without empty texts, which have no meaning, and without queries that have no judgements.

    Raises
    ------
    ValueError
        If the encoder is unknown, or its vectors are not finite.
    OSError
        If the encoder cannot be had or fails.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sigah.lab.collections import Collection, embed
    >>> class Lengths:
    ...     def encode(self, texts, progress):
    ...         rows = np.array([[len(text), 1] for text in texts], np.float32)
    ...         return rows / np.linalg.norm(rows, axis=1, keepdims=True)
    >>> texts, judged = {"a": "one", "b": "", "c": "three"}, {"q": {"c": 1}}
    >>> collection = Collection("tiny", texts, {"q": "seven", "r": "no"}, judged)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     embedded = embed(collection, Lengths(), cache_dir=folder)
    >>> embedded.ids, embedded.query_ids, embedded.base.shape
    (array(['a', 'c'], dtype='<U1'), array(['q'], dtype='<U1'), (2, 2))
    """
    name = encoder if isinstance(encoder, str) else str(encoder)
    if isinstance(encoder, str):
        if encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, got {encoder!r}")
        encoder = ENCODERS[encoder]
    texts = {key: _one_line(text) for key, text in collection.texts.items() if text.strip()}
    queries = {
        key: _one_line(text)
        for key, text in collection.queries.items()
        if key in collection.judgements and text.strip()
    }
    vectors = _cached_vectors([*texts.values(), *queries.values()], encoder, cache_dir, progress)
    return EmbeddedCollection(
        collection.name,
        name,
        vectors[: len(texts)],
        np.array(list(texts)),
        vectors[len(texts) :],
        np.array(list(queries)),
        collection.judgements,
    )


def write_embedded(embedded: EmbeddedCollection, path: str | os.PathLike[str]) -> None:
    """Write an embedded collection as a new folder that the commands of sigah read.

    ``base.parquet`` and ``queries.parquet`` have the columns ``id`` and ``vector``; ``qrels.tsv``
    has the judgements.

    Raises
    ------
    OSError
        If the folder exists or cannot be written, or pyarrow is missing.
    """
    pyarrow = require("pyarrow", "writing Parquet", "data")
    parquet = require("pyarrow.parquet", "writing Parquet", "data")
    with new_folder(path) as folder:
        for part, ids, vectors in (
            ("base", embedded.ids, embedded.base),
            ("queries", embedded.query_ids, embedded.queries),
        ):
            column = pyarrow.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
            table = pyarrow.table({"id": pyarrow.array(ids.tolist()), "vector": column})
            parquet.write_table(table, folder / f"{part}.parquet")
        write_qrels(folder / "qrels.tsv", embedded.judgements)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cached_vectors(
    texts: list[str],
    encoder: Encoder,
    cache_dir: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> NDArray[np.float32]:
    key = hashlib.sha256("\n".join([str(encoder), *texts]).encode()).hexdigest()
    cache = cache_dir or os.environ.get("SIGAH_CACHE")
    folder = Path(cache or platformdirs.user_cache_dir("sigah", appauthor=False)) / "collections"
    file = folder / f"{key}.npy"
    # a file that was cut short, or is no array, is written again
    with suppress(OSError, ValueError), file.open("rb") as stream:
        stored = npy.read_array(stream, allow_pickle=False)
        if stored.dtype == np.float32 and stored.ndim == 2 and len(stored) == len(texts):
            return stored
    # only a cache that the caller names must work; it fails before the work, not after it
    optional: Any = nullcontext() if cache_dir else suppress(OSError)
    with optional:
        folder.mkdir(parents=True, exist_ok=True)
    vectors = encoder.encode(texts, progress or _silent)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise ValueError(f"the encoder {encoder} did not make one finite vector of each text")
    with optional, atomic_write(file) as stream:
        npy.write_array(stream, np.ascontiguousarray(vectors, np.float32), allow_pickle=False)
    return vectors


def _silent(label: str, done: int, total: int | None) -> None:
    pass
