"""Files of relevance judgements: TREC's four columns, and the table of BEIR."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sigah.evaluation.relevance import Grades
from sigah.files import atomic_write

__all__ = ["Judgements", "judgements_of", "read_qrels", "write_qrels"]

#: The grades of all queries, by the query's id.
Judgements = Mapping[str, Grades]

HEADER = "query-id\tcorpus-id\tscore"
GRADE = re.compile(r"[+-]?[0-9]{1,9}")  # int() also takes "1_0" and the digits of other scripts


def read_qrels(path: str | os.PathLike[str]) -> dict[str, dict[str, int]]:
    r"""Read relevance judgements of a file.

    Parameters
    ----------
    path : str or path-like
        Text in UTF-8. Either TREC's four columns, separated by blanks: query, iteration (not
        used), result, grade; or BEIR's table, separated by tabs: a header, then query, result,
        grade.

    Returns
    -------
    dict of str to dict of str to int
        Grades by query and result. Grades above 0 are relevant.

    Raises
    ------
    ValueError
        If a line has another form, or a pair of query and result has two grades; the message names
        the file and the line, counted from 1.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sigah.evaluation.qrels import read_qrels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "qrels"
    ...     _ = file.write_text("q1 0 d3 2\nq1 0 d8 0\nq2 0 d3 1\n")
    ...     read_qrels(file)
    {'q1': {'d3': 2, 'd8': 0}, 'q2': {'d3': 1}}
    """
    found: dict[str, dict[str, int]] = {}
    is_table = False
    for number, line in _lines(path):
        if not found and not is_table and line.split() == HEADER.split("\t"):
            is_table = True
            continue
        fields = line.split("\t") if is_table else line.split()
        if len(fields) != (3 if is_table else 4):
            expected = (
                "three fields (query, result, grade) separated by tabs"
                if is_table
                else "four fields (query, iteration, result, grade), or BEIR's header first"
                " (query-id, corpus-id, score)"
            )
            raise ValueError(f"{path}: line {number} has {len(fields)} fields, expected {expected}")
        query, result, grade = fields[0], fields[-2], fields[-1]
        if not GRADE.fullmatch(grade):
            raise ValueError(
                f"{path}: line {number}: the grade {grade[:40]!r} is not a whole number of at most"
                " nine digits"
            )
        value = int(grade)
        if found.setdefault(query, {}).setdefault(result, value) != value:
            raise ValueError(
                f"{path}: line {number}: query {query} and result {result} had the grade"
                f" {found[query][result]} before, now {value}"
            )
    if not found:
        raise ValueError(f"{path}: there are no judgements")
    return found


def write_qrels(path: str | os.PathLike[str], judgements: Judgements) -> None:
    """Write judgements as BEIR's table, which :func:`read_qrels` reads.

    Raises
    ------
    ValueError
        If an id has a tab or a line break.
    OSError
        If the file cannot be written.
    """
    lines = [HEADER]
    for query, grades in judgements.items():
        for result, grade in grades.items():
            if len(f"{query}\t{result}".splitlines()) != 1 or "\t" in f"{query}{result}":
                raise ValueError(f"the ids {query!r} and {result!r} do not fit in one line")
            lines.append(f"{query}\t{result}\t{grade}")
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def judgements_of(judgements: Judgements, queries: Iterable[Any]) -> list[Grades]:
    """The grades of some queries in their order, for :func:`~sigah.evaluation.ndcg`.

    Parameters
    ----------
    judgements : mapping
        From :func:`read_qrels`.
    queries : iterable of int or str
        Ids of queries, compared as text. A query without judgements gets an empty mapping.

    Raises
    ------
    ValueError
        If none of the queries has judgements: the ids are not those of the file.

    Examples
    --------
    >>> from sigah.evaluation import judgements_of
    >>> judgements_of({"1": {"d3": 2}, "2": {"d8": 1}}, [2, 7])
    [{'d8': 1}, {}]
    """
    names = [str(query) for query in queries]
    rows = [judgements.get(name, {}) for name in names]
    if not any(rows):
        raise ValueError(
            f"none of the {len(names)} queries has judgements: the ids of the queries begin with"
            f" {names[:3]}, those of the judgements with {list(judgements)[:3]}"
        )
    return rows


def _lines(path: str | os.PathLike[str]) -> Iterable[tuple[int, str]]:
    """The lines that are not blank, numbered from 1."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it is not text in UTF-8 ({error.reason})") from None
    return [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
