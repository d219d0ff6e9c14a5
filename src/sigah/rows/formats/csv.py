"""CSV: numbers and commas, with or without a header line.

Nothing is guessed. A first line of text is a header, a first line of numbers is a row, and
anything between is an error that says how to say which it is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from sigah.rows.lazy import Array

__all__ = ["open_csv"]

Line = tuple[int, str]  # counted from 1, as editors do

MISSING = {"", "-", "?", "na", "n/a", "nil", "none", "null", "missing", "<na>", "#n/a"}
OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # its byte-order marks
SAY_WHICH = "say which with header=True or header=False (--header or --no-header)"


def open_csv(file: Path, header: bool | None = None) -> Array:
    """Read rows of numbers into memory.

    Parameters
    ----------
    file : Path
        UTF-8, with or without a byte-order mark. Fields are separated by commas and may be quoted.
        Empty lines are passed over.
    header : bool, optional
        Whether the first line is a header. Default: it is one if all its fields are text.

    Raises
    ------
    ValueError
        If it cannot be told whether the first line is a header, or a field is no number.
    """
    with file.open("rb") as marked:
        if marked.read(2) in UTF_16:
            raise ValueError("the text is UTF-16; save it as UTF-8")
    with file.open(encoding="utf-8-sig", newline="") as stream:
        lines = _lines(stream)
        first = next(lines, None)
        names: list[str] = []
        if first is not None and (_is_header(first) if header is None else header):
            names, first = _fields(first[1]), next(lines, None)
        if first is None:
            raise ValueError("there are no rows of numbers")
        text = (line for _, line in chain([first], lines))
        try:
            rows: Array = np.loadtxt(text, delimiter=",", comments=None, quotechar='"', ndmin=2)
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            stream.seek(0)
            _name_the_line(_lines(stream), skip=bool(names))
            raise ValueError(f"not rows of numbers: {error}") from error
    if names and len(names) != rows.shape[1]:
        raise ValueError(
            f"the header has {len(names)} names, but the rows have {rows.shape[1]} numbers"
        )
    return rows


def _is_header(first: Line) -> bool:
    """Whether a first line is a header: all of it is text, though some names may be empty."""
    fields = [field.strip() for field in _fields(first[1])]
    numbers = sum(map(_is_number, fields))
    missing = sum(field.lower() in MISSING for field in fields)
    text = len(fields) - numbers - missing
    if not text:  # numbers; a missing one among them is named when it is read
        if numbers:
            return False
        raise ValueError(
            f"line {first[0]} holds no value at all: it may be a header without names or a row"
            f" without numbers; {SAY_WHICH}"
        )
    _check_delimiter(first)
    if numbers:
        raise ValueError(
            f"line {first[0]} holds both numbers and text ({_an_example(fields)}): it may be a"
            f" header or a damaged row; {SAY_WHICH}"
        )
    return True


def _an_example(fields: list[str]) -> str:
    text = next(field for field in fields if not _is_number(field) and field.lower() not in MISSING)
    return repr(text)


def _name_the_line(lines: Iterator[Line], *, skip: bool) -> None:
    """Raise an error about the first line that is not a row of numbers like the first row."""
    if skip:
        next(lines)
    width, first = 0, 0
    for line in lines:
        number, fields = line[0], _fields(line[1])
        _check_delimiter(line)
        width, first = width or len(fields), first or number
        if len(fields) != width:
            raise ValueError(
                f"line {number} has {len(fields)} fields, but line {first} has {width}"
            )
        for place, field in enumerate(fields, 1):
            if not field.strip():
                raise ValueError(
                    f"line {number}, field {place} is empty; write nan where a number is missing"
                )
            if not _is_number(field):
                raise ValueError(f"line {number}, field {place}: {field!r} is no number")


def _check_delimiter(line: Line) -> None:
    """Refuse a line that reads as numbers with another delimiter."""
    for delimiter, name in OTHER_DELIMITERS.items():
        parts = [part.replace(",", ".") for part in line[1].strip().split(delimiter) if part]
        if len(parts) > 1 and all(map(_is_number, parts)):
            raise ValueError(
                f"line {line[0]} has its numbers between {name}; a .csv file has commas between"
                " them"
            )


def _lines(stream: Iterator[str]) -> Iterator[Line]:
    return ((number, line) for number, line in enumerate(stream, 1) if line.strip())


def _fields(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # 1_000 is a number in Python alone
