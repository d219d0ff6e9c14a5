"""Folders in the form of BEIR: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv``.

Thakur et al., "BEIR: a heterogeneous benchmark for zero-shot evaluation of information retrieval
models", NeurIPS 2021.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sigah.evaluation.qrels import read_qrels
from sigah.lab.collections.collection import Collection

__all__ = ["is_beir", "read_beir"]


def is_beir(folder: Path) -> bool:
    """Whether a folder has the files of BEIR."""
    return (folder / "corpus.jsonl").is_file() and (folder / "queries.jsonl").is_file()


def read_beir(folder: Path, split: str = "test") -> Collection:
    """Read a collection in the form of BEIR; a text is its title and its body.

    Only queries that the split judges are kept, because a folder has the queries of all splits.

    Raises
    ------
    ValueError
        If a file is damaged; the message names the file and the line.
    OSError
        If a file is missing.
    """
    judged = folder / "qrels" / f"{split}.tsv"
    if not judged.is_file():
        splits = sorted(file.stem for file in (folder / "qrels").glob("*.tsv"))
        raise FileNotFoundError(
            f"{folder}: there are no judgements of the split {split!r}; there are {splits}"
        )
    judgements = read_qrels(judged)
    queries = _read_texts(folder / "queries.jsonl")
    return Collection(
        folder.resolve().name,
        _read_texts(folder / "corpus.jsonl"),
        {query: text for query, text in queries.items() if query in judgements},
        judgements,
    )


def _read_texts(file: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                name, text = entry["_id"], _join(entry.get("title", ""), entry["text"])
                f"{name}{text}".encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"{file}: line {number} is not Unicode: it has one half of a surrogate pair"
                ) from error
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise ValueError(
                    f"{file}: line {number} is not a JSON object with _id and text ({error!r})"
                ) from error
            if problem := _problem(name, texts):
                raise ValueError(f"{file}: line {number}: the _id {name!r} {problem}")
            texts[name] = text
    return texts


def _problem(name: Any, texts: dict[str, str]) -> str | None:
    """What is wrong with an id: judgements name it in one field of one line."""
    if not isinstance(name, str):
        return "is not a text"
    if len(name.splitlines()) != 1 or "\t" in name:
        return "is empty, or has a tab or a line break"
    return "is repeated" if name in texts else None


def _join(title: Any, body: Any) -> str:
    if not isinstance(title, str) or not isinstance(body, str):
        raise TypeError("title and text must be texts")
    return f"{title} {body}".strip()
