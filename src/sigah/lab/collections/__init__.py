"""Test collections of texts with relevance judgements, read from files that the user has.

Texts are here, in the lab, because no other room works on texts: hashers and searches work on
vectors, and :mod:`sigah.evaluation` judges rankings of ids.
"""

from __future__ import annotations

import os
from pathlib import Path

from sigah.lab.collections.beir import is_beir, read_beir
from sigah.lab.collections.collection import Collection
from sigah.lab.collections.embedding import EmbeddedCollection, embed, write_embedded
from sigah.lab.collections.glasgow import glasgow_name, read_glasgow

__all__ = [
    "Collection",
    "EmbeddedCollection",
    "embed",
    "read_beir",
    "read_collection",
    "read_glasgow",
    "write_embedded",
]


def read_collection(path: str | os.PathLike[str], *, split: str = "test") -> Collection:
    r"""Read a collection: a folder in the form of BEIR, or one of the Glasgow collections.

    Parameters
    ----------
    path : str or path-like
        A folder.
    split : str, default="test"
        The judgements of a BEIR folder to use.

    Returns
    -------
    Collection

    Raises
    ------
    ValueError
        If the folder is of neither form, or a file is damaged; the message names the file and the
        line.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from sigah.lab.collections import read_collection
    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = Path(name) / "tiny"
    ...     (folder / "qrels").mkdir(parents=True)
    ...     text = {"_id": "d1", "title": "Codes", "text": "are short."}
    ...     _ = (folder / "corpus.jsonl").write_text(json.dumps(text))
    ...     _ = (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "short codes"}')
    ...     judgements = "query-id\tcorpus-id\tscore\nq1\td1\t1"
    ...     _ = (folder / "qrels" / "test.tsv").write_text(judgements)
    ...     print(read_collection(folder))
    tiny: 1 texts, 1 queries, 1 of them judged
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: there is no such folder")
    if is_beir(folder):
        return read_beir(folder, split)
    if glasgow_name(folder) is not None:
        return read_glasgow(folder)
    raise ValueError(
        f"{path}: it holds no collection: neither corpus.jsonl and queries.jsonl (BEIR), nor the"
        " raw files of a Glasgow collection (ADI, CISI, CRAN, LISA, MED, NPL, TIME)"
    )
