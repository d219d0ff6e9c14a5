"""The classic collections that the University of Glasgow distributes, as its raw files.

ADI, CISI, CRAN, LISA, MED, NPL and TIME, each in a folder of its own. Each has its own format, and
some have faults, which the readers mend as their docstrings say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from sigah.evaluation.qrels import Judgements
from sigah.lab.collections.collection import Collection

__all__ = ["glasgow_name", "read_glasgow"]

Texts = dict[str, str]

FIELD = re.compile(r"\.([A-Z])\s*")
NUMBERED = re.compile(r"\.I\s+0*(\d+)\s*")


def glasgow_name(folder: Path) -> str | None:
    """Which of the collections a folder holds, by the name of its file of texts."""
    return next((name for name, file in FILES.items() if (folder / file).is_file()), None)


def read_glasgow(folder: Path) -> Collection:
    """Read one of the seven collections.

    Texts are the title and the abstract, without authors and sources, in one line. Texts and
    queries that are in capitals only (LISA, NPL, TIME) are put in small letters.

    Raises
    ------
    ValueError
        If the folder is none of them, or a file is damaged; the message names the file and the
        line.
    OSError
        If a file is missing.
    """
    name = glasgow_name(folder)
    if name is None:
        raise ValueError(
            f"{folder}: it has none of the files {', '.join(FILES.values())} of the Glasgow"
            " collections"
        )
    return Collection(name, *READERS[name](folder))


def read_adi(folder: Path) -> tuple[Texts, Texts, Judgements]:
    """ADI: 82 texts, 35 queries."""
    return (
        _read_fields(folder / "ADI.ALL"),
        _read_fields(folder / "ADI.QRY"),
        _read_pairs(folder / "ADI.REL"),
    )


def read_cisi(folder: Path) -> tuple[Texts, Texts, Judgements]:
    """CISI: 1,460 texts, 112 queries, of which 76 are judged."""
    return (
        _read_fields(folder / "CISI.ALL"),
        _read_fields(folder / "CISI.QRY"),
        _read_pairs(folder / "CISI.REL"),
    )


def read_cran(folder: Path) -> tuple[Texts, Texts, Judgements]:
    """CRAN: 1,400 texts, 225 queries, with grades.

    The judgements number the queries by their place, not by the numbers of the file of queries.
    Code 1 is the best (a complete answer) and 4 the least; they become the grades 4 to 1. Codes 5
    and -1 (of no interest) become 0. The texts 471 and 995 are empty.
    """
    queries = _read_fields(folder / "cran.qry")
    judged = _read_pairs(folder / "cranqrel", grade=lambda code: 5 - code if code > 0 else 0)
    return (
        _read_fields(folder / "cran.all.1400"),
        {str(place): text for place, text in enumerate(queries.values(), 1)},
        judged,
    )


def read_med(folder: Path) -> tuple[Texts, Texts, Judgements]:
    """MED: 1,033 texts, 30 queries."""
    return (
        _read_fields(folder / "MED.ALL"),
        _read_fields(folder / "MED.QRY"),
        _read_pairs(folder / "MED.REL", result=2),
    )


def read_npl(folder: Path) -> tuple[Texts, Texts, Judgements]:
    """NPL: 11,429 texts, 93 queries."""
    return (
        _read_blocks(folder / "doc-text"),
        _read_blocks(folder / "query-text"),
        {
            query: _relevant(folder / "rlv-ass", results)
            for query, results in _read_blocks(folder / "rlv-ass").items()
        },
    )


def read_time(folder: Path) -> tuple[Texts, Texts, Judgements]:
    """TIME: 423 texts, 83 queries.

    Texts are numbered by their place, as in the judgements. The judgements count 425 texts, and the
    words of judged texts show that two of the texts 371 to 377 are missing from the file; none of
    these is judged. So the texts from place 376 on have numbers that are 2 larger. TIME.REL.ALL has
    all judgements, TIME.REL only a part.
    """
    places = list(_read_starred(folder / "TIME.ALL", r"\*TEXT\s+(\d+)\b.*").values())
    missing = 2 if len(places) == 423 else 0
    texts = {
        str(place if place < 376 else place + missing): text for place, text in enumerate(places, 1)
    }
    judged = {}
    file = folder / "TIME.REL.ALL"
    for _, line in _lines(file):
        query, _, results = line.strip().partition(" ")
        judged[query] = _relevant(file, results)
    return texts, _read_starred(folder / "TIME.QUE", r"\*FIND\s+(\d+)\s*"), judged


def read_lisa(folder: Path) -> tuple[Texts, Texts, Judgements]:
    """LISA: 5,999 texts, 35 queries.

    The texts are numbered to 6,004; 1,993 to 1,997 are missing, and none of these is judged. The
    file LISA1.501.ALL is not read, because it repeats LISA1.501 and parts of its neighbours.
    """
    texts: Texts = {}
    for file in sorted(folder.glob("LISA?.???")):
        if not re.fullmatch(r"LISA\d\.\d{3}", file.name):
            continue
        number, lines = "", list[str]()
        for place, line in _lines(file):
            if line.startswith("*****"):
                if number in ("", *texts):
                    raise ValueError(f"{file}: line {place} ends text {number or '?'}, which is"
                                     " unnumbered or repeated")  # fmt: skip
                texts[number], number, lines = _one_line(lines), "", []
            elif not number:
                if (head := re.fullmatch(r"\s*Document\s+(\d+)\s*", line)) is None:
                    raise ValueError(f"{file}: line {place} is not the number of a text: {line!r}")
                number = head[1]
            else:
                lines.append(line)
    queries = _read_blocks(folder / "LISA.QUE", end=re.compile(r"(.*)#\s*"))
    judged, file, query = {}, folder / "LISA.REL", ""
    for place, line in _lines(file):
        if head := re.fullmatch(r"Query\s+(\d+)\s*", line):
            query = head[1]
            judged[query] = dict[str, int]()
        elif query and "Relevant Refs" not in line:
            judged[query] |= _relevant(file, line.replace("-1", ""))
        elif not query:
            raise ValueError(f"{file}: line {place} belongs to no query: {line!r}")
    return texts, queries, judged


FILES = {
    "adi": "ADI.ALL",
    "cisi": "CISI.ALL",
    "cran": "cran.all.1400",
    "lisa": "LISA0.001",
    "med": "MED.ALL",
    "npl": "doc-text",
    "time": "TIME.ALL",
}
READERS: dict[str, Callable[[Path], tuple[Texts, Texts, Judgements]]] = {
    "adi": read_adi,
    "cisi": read_cisi,
    "cran": read_cran,
    "lisa": read_lisa,
    "med": read_med,
    "npl": read_npl,
    "time": read_time,
}


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, numbered from 1."""
    text = file.read_text(encoding="latin-1")
    return ((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip())


def _one_line(lines: list[str]) -> str:
    """Lines as one text; in small letters if it has capitals only."""
    text = " ".join(" ".join(lines).split())
    return text.lower() if text == text.upper() else text


def _read_fields(file: Path) -> Texts:
    """SMART's format: ``.I`` and a number, then fields; ``.T`` is the title and ``.W`` the text."""
    texts: Texts = {}
    number, field, fields = "", "", dict[str, list[str]]()

    def finish() -> None:
        if number:
            title, body = _one_line(fields.get("T", [])), _one_line(fields.get("W", []))
            # the abstracts of CRAN begin with the title
            texts[number] = body if body.startswith(title) else f"{title} {body}"

    for place, line in _lines(file):
        if head := NUMBERED.fullmatch(line):
            finish()
            number, field, fields = head[1], "", {}
            if number in texts:
                raise ValueError(f"{file}: line {place}: the number {number} is repeated")
        elif head := FIELD.fullmatch(line):
            field = head[1]
        elif not number or not field:
            raise ValueError(f"{file}: line {place} belongs to no field: {line[:60]!r}")
        else:
            fields.setdefault(field, []).append(line)
    finish()
    return texts


def _read_blocks(file: Path, end: re.Pattern[str] = re.compile(r"(\s*)/\s*")) -> Texts:
    """Blocks that begin with a number alone in its line and end as ``end`` says."""
    texts: Texts = {}
    number, lines = "", list[str]()
    for place, line in _lines(file):
        if not number:
            if not line.strip().isdecimal() or line.strip() in texts:
                raise ValueError(f"{file}: line {place} is not a new number: {line[:60]!r}")
            number = line.strip()
        elif last := end.fullmatch(line):
            texts[number] = _one_line([*lines, last[1]])
            number, lines = "", []
        else:
            lines.append(line)
    if number and not lines:
        raise ValueError(f"{file}: it ends after the number {number}")
    if number:  # the last of NPL's judgements lack their end
        texts[number] = _one_line(lines)
    return texts


def _read_starred(file: Path, head: str) -> Texts:
    """Texts below lines that begin with a star and have a number."""
    texts: Texts = {}
    pattern, number, lines = re.compile(head), "", list[str]()
    for place, line in _lines(file):
        if found := pattern.fullmatch(line):
            if number:
                texts[number] = _one_line(lines)
            number, lines = found[1], []
            if number in texts:
                raise ValueError(f"{file}: line {place}: the number {number} is repeated")
        elif line.startswith("*STOP"):
            break
        elif not number:
            raise ValueError(f"{file}: line {place} belongs to no text: {line[:60]!r}")
        else:
            lines.append(line)
    if number:
        texts[number] = _one_line(lines)
    return texts


def _read_pairs(
    file: Path, result: int = 1, grade: Callable[[int], int] | None = None
) -> Judgements:
    """A query and a result in each line; with ``grade``, the third column is a code for it."""
    judged: dict[str, dict[str, int]] = {}
    for place, line in _lines(file):
        try:
            numbers = [int(word) for word in line.split()[:3]]
            value = 1 if grade is None else grade(numbers[2])
            judged.setdefault(str(numbers[0]), {})[str(numbers[result])] = value
        except (ValueError, IndexError):
            raise ValueError(f"{file}: line {place} is not a judgement: {line!r}") from None
    return judged


def _relevant(file: Path, results: str) -> dict[str, int]:
    if wrong := [word for word in results.split() if not word.isdecimal()]:
        raise ValueError(f"{file}: {wrong[0]!r} is not the number of a text")
    return {str(int(word)): 1 for word in results.split()}
