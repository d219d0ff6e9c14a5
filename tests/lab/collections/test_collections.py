"""Collections are read as their files mean them; a damaged file is named with its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sigah.evaluation import read_qrels
from sigah.lab.collections import Collection, embed, read_collection, write_embedded

# Each collection in its own format, with the faults that its reader mends.
RAW = {
    "adi": {
        "ADI.ALL": ".I 1\n.T\nOn codes\n.A\nA. Uthor\n.W\nShort  codes\nfor texts\n.I 2\n.W\nx\n",
        "ADI.QRY": ".I 1\n.W\nWhich codes?\n",
        "ADI.REL": "1   2   0   0.000000   \n",
    },
    "cisi": {
        "CISI.ALL": ".I 1\n.T \nTitle\n.A\nB\n.A\nC\n.W\nBody\n.X\n1\t5\t1\n",
        "CISI.QRY": ".I 1\n.W\nOne\n.I 2\n.T\nTwo\n.W\nagain\n",
        "CISI.REL": "     1      1\t0\t0.000000\n",
    },
    "cran": {
        "cran.all.1400": ".I 1\n.T\nwings\n.B\nj. 1\n.W\nwings\nin a stream\n.I 2\n.T\n.W\n",
        "cran.qry": ".I 001\n.W\nfirst\n.I 365\n.W\nsecond\n",
        "cranqrel": "1 1 1 \n2 1 4\n2 2 -1\n",
    },
    "med": {
        "MED.ALL": ".I 1\n.W\nlens\n.I 12\n.W\nlung\n",
        "MED.QRY": ".I 1\n.W\n the lens\n",
        "MED.REL": "1 0 12 1\n",
    },
    "npl": {
        "doc-text": "1\ncompact memories\n   /\n2\ncomputers\n   /\n\n",
        "query-text": "1\nUSE OF MEMORIES\n/\n2\nCOMPUTERS\n/\n",
        "rlv-ass": "1\n    1     2\n   /\n2\n    2\n",
    },
    "time": {
        "TIME.ALL": "*TEXT 017 01/04/63 PAGE 020\n\nTHE ALLIES\n\nMET .\n*TEXT 020 X\nB\n*STOP\n",
        "TIME.QUE": "*FIND      1\n\n WHO MET .\n",
        "TIME.REL": "1  1\n",
        "TIME.REL.ALL": "1  1 2\n\n",
    },
    "lisa": {
        "LISA0.001": "Document    1\nA TITLE\n     \nAND A TEXT.\n*****\nDocument 2\nB\n*****\n",
        "LISA0.501": "Document    3\nC\n*****\n",
        "LISA1.501.ALL": "Document    3\nrepeated\n*****\n",
        "LISA.QUE": "1\nI AM\nINTERESTED. #\n",
        "LISA.REL": "Query 1\n2 Relevant Refs:\n1 3 -1\n\n",
    },
}
MEANING: dict[str, tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]] = {
    "adi": (
        {"1": "On codes Short codes for texts", "2": "x"},
        {"1": "Which codes?"},
        {"1": {"2": 1}},
    ),
    "cisi": ({"1": "Title Body"}, {"1": "One", "2": "Two again"}, {"1": {"1": 1}}),
    "cran": (
        {"1": "wings in a stream", "2": ""},
        {"1": "first", "2": "second"},
        {"1": {"1": 4}, "2": {"1": 1, "2": 0}},
    ),
    "med": ({"1": "lens", "12": "lung"}, {"1": "the lens"}, {"1": {"12": 1}}),
    "npl": (
        {"1": "compact memories", "2": "computers"},
        {"1": "use of memories", "2": "computers"},
        {"1": {"1": 1, "2": 1}, "2": {"2": 1}},
    ),
    "time": ({"1": "the allies met .", "2": "b"}, {"1": "who met ."}, {"1": {"1": 1, "2": 1}}),
    "lisa": (
        {"1": "a title and a text.", "2": "b", "3": "c"},
        {"1": "i am interested."},
        {"1": {"1": 1, "3": 1}},
    ),
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


@pytest.mark.parametrize("name", list(RAW))
def test_the_raw_files_mean_texts_queries_and_judgements(tmp_path: Path, name: str) -> None:
    found = read_collection(write(tmp_path, RAW[name]))
    assert found.name == name
    assert (found.texts, found.queries, found.judgements) == MEANING[name]


def test_the_last_texts_of_time_have_the_numbers_of_the_judgements(tmp_path: Path) -> None:
    texts = "".join(f"*TEXT {100 + place} X\nWORD{place}\n" for place in range(1, 424))
    found = read_collection(write(tmp_path, {**RAW["time"], "TIME.ALL": texts}))
    assert len(found.texts) == 423
    assert found.texts["370"] == "word370"
    assert found.texts["378"] == "word376"
    assert found.texts["425"] == "word423"


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("adi", "ADI.ALL", "text\n", "line 1 belongs to no field: 'text'"),
        ("adi", "ADI.ALL", ".I 1\n.W\na\n.I 1\n", "line 4: the number 1 is repeated"),
        ("adi", "ADI.REL", "1 2\nnone\n", "line 2 is not a judgement: 'none'"),
        ("med", "MED.REL", "1 0\n", "line 1 is not a judgement: '1 0'"),
        ("cran", "cranqrel", "1 2\n", "line 1 is not a judgement: '1 2'"),
        ("npl", "doc-text", "1\na\n/\n1\n", "line 4 is not a new number: '1'"),
        ("npl", "doc-text", "1\na\n/\n2\n", "it ends after the number 2"),
        ("npl", "rlv-ass", "1\n4 five\n/\n", "'five' is not the number of a text"),
        ("time", "TIME.QUE", "WHO?\n", r"line 1 belongs to no text: 'WHO\?'"),
        ("time", "TIME.ALL", "*TEXT 1 \nA\n*TEXT 1 \n", "line 3: the number 1 is repeated"),
        ("lisa", "LISA0.501", "Document 2\nB\n*****\n", "line 3 ends text 2, which is .*repeated"),
        ("lisa", "LISA0.501", "B\n*****\n", "line 1 is not the number of a text: 'B'"),
        ("lisa", "LISA.REL", "1 2 -1\n", "line 1 belongs to no query: '1 2 -1'"),
    ],
)
def test_a_damaged_raw_file_is_named_with_its_line(
    tmp_path: Path, name: str, file: str, content: str, message: str
) -> None:
    folder = write(tmp_path, {**RAW[name], file: content})
    with pytest.raises(ValueError, match=message) as refusal:
        read_collection(folder)
    assert str(refusal.value).startswith(f"{folder / file}: ")


BEIR = {
    "corpus.jsonl": '{"_id": "d1", "title": "T", "text": "one"}\n\n{"_id": "d2", "text": "two"}\n',
    "queries.jsonl": '{"_id": "q1", "text": "which?"}\n{"_id": "q2", "text": "of train"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td2\t2\n",
    "qrels/train.tsv": "query-id\tcorpus-id\tscore\nq2\td1\t1\n",
}


def test_a_folder_of_beir_has_the_queries_of_its_split(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", BEIR)
    test, train = read_collection(folder), read_collection(folder, split="train")
    assert test.name == "tiny"
    assert test.texts == train.texts == {"d1": "T one", "d2": "two"}
    assert (test.queries, test.judgements) == ({"q1": "which?"}, {"q1": {"d2": 2}})
    assert (train.queries, train.judgements) == ({"q2": "of train"}, {"q2": {"d1": 1}})
    with pytest.raises(FileNotFoundError, match=r"the split 'dev'; there are \['test', 'train'\]"):
        read_collection(folder, split="dev")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not a JSON object with _id and text"),
        ("[1]", "line 2 is not a JSON object"),
        ('{"_id": "d3"}', r"line 2 is not a JSON object with _id and text \(KeyError\('text'\)\)"),
        ('{"_id": "d3", "text": null}', "line 2 is not a JSON object"),
        ('{"_id": 3, "text": "x"}', "line 2: the _id 3 is not a text"),
        ('{"_id": "d1", "text": "x"}', "line 2: the _id 'd1' is repeated"),
        ('{"_id": ["d3"], "text": "x"}', r"line 2: the _id \['d3'\] is not a text"),
        ('{"_id": "", "text": "x"}', "line 2: the _id '' is empty, or has a tab"),
        (r'{"_id": "d\t3", "text": "x"}', "line 2: the _id .* has a tab or a line break"),
        (r'{"_id": "d3", "text": "\ud800"}', "line 2 is not Unicode: .* half of a surrogate pair"),
        ("[" * 100_000, "line 2 is not a JSON object"),
    ],
)
def test_a_damaged_line_of_json_is_named(tmp_path: Path, line: str, message: str) -> None:
    corpus = '{"_id": "d1", "text": "one"}\n' + line
    folder = write(tmp_path, {**BEIR, "corpus.jsonl": corpus})
    with pytest.raises(ValueError, match=message) as refusal:
        read_collection(folder)
    assert str(refusal.value).startswith(f"{folder / 'corpus.jsonl'}: ")


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it holds no collection"):
        read_collection(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_collection(tmp_path / "absent")
    with pytest.raises(ValueError, match="has no judgements of its queries"):
        Collection("x", {"d": "a"}, {"q": "b"}, {"r": {"d": 1}})


class Letters:
    """An encoder that knows a text by the numbers of its letters, and counts its calls."""

    calls = 0

    def encode(self, texts: Sequence[str], progress: Any) -> NDArray[np.float32]:
        self.calls += 1
        assert not any("\n" in text for text in texts)
        counts = [np.bincount(np.frombuffer(t.encode(), np.uint8), minlength=256) for t in texts]
        rows = np.array(counts, np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def __str__(self) -> str:
        return "letters"


def test_vectors_follow_texts_and_judged_queries_and_are_computed_once(tmp_path: Path) -> None:
    collection = Collection(
        "tiny",
        {"a": "code\nword", "b": " ", "c": "query"},
        {"q": "words", "r": "unjudged"},
        {"q": {"a": 1}},
    )
    encoder = Letters()
    embedded = embed(collection, encoder, cache_dir=tmp_path)
    assert (embedded.name, embedded.encoder) == ("tiny", "letters")
    assert embedded.ids.tolist() == ["a", "c"]
    assert embedded.query_ids.tolist() == ["q"]
    assert embedded.grades == [{"a": 1}]
    expected = encoder.encode(["code word", "query", "words"], None)
    np.testing.assert_array_equal(np.r_[embedded.base, embedded.queries], expected)

    again = embed(collection, encoder, cache_dir=tmp_path)
    assert encoder.calls == 2  # one of them is the test's own
    np.testing.assert_array_equal(again.base, embedded.base)

    (stored,) = (tmp_path / "collections").iterdir()
    stored.write_bytes(stored.read_bytes()[:-8])
    np.testing.assert_array_equal(embed(collection, encoder, cache_dir=tmp_path).base, again.base)
    assert encoder.calls == 3


def test_an_encoder_that_fails_to_make_finite_vectors_is_refused(tmp_path: Path) -> None:
    collection = Collection("tiny", {"a": "x"}, {"q": "y"}, {"q": {"a": 1}})

    class Broken:
        def encode(self, texts: Sequence[str], progress: Any) -> NDArray[np.float32]:
            return np.full((len(texts), 2), np.nan, np.float32)

    with pytest.raises(ValueError, match="did not make one finite vector of each text"):
        embed(collection, Broken(), cache_dir=tmp_path)
    with pytest.raises(ValueError, match="encoder must be one of use, got 'word2vec'"):
        embed(collection, "word2vec", cache_dir=tmp_path)


def test_written_vectors_and_judgements_are_read_back(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    collection = Collection("tiny", {"a": "one", "b": "two"}, {"q": "x"}, {"q": {"b": 3}})
    embedded = embed(collection, Letters(), cache_dir=tmp_path)
    write_embedded(embedded, tmp_path / "out")
    table = parquet.read_table(tmp_path / "out" / "base.parquet").to_pydict()
    assert table["id"] == ["a", "b"]
    np.testing.assert_array_equal(np.array(table["vector"], np.float32), embedded.base)
    assert read_qrels(tmp_path / "out" / "qrels.tsv") == {"q": {"b": 3}}
    with pytest.raises(FileExistsError):
        write_embedded(embedded, tmp_path / "out")


def test_a_collection_becomes_files_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    from typer.testing import CliRunner

    from sigah.cli import app
    from sigah.lab.collections import embedding

    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(embedding.ENCODERS, "use", Letters())
    folder, out = write(tmp_path / "tiny", BEIR), tmp_path / "out"
    done = CliRunner().invoke(app, ["data", "embed", str(folder), "--out", str(out)])
    assert "2 texts and 1 queries in 256 dimensions" in done.output
    assert {file.name for file in out.iterdir()} == {
        "base.parquet", "qrels.tsv", "queries.parquet",
    }  # fmt: skip
    nowhere = CliRunner().invoke(app, ["data", "embed", str(folder), "--out", f"{out}-3/x"])
    assert str(nowhere.exception) == f"--out {out}-3/x: its folder does not exist; create it first"
    (folder / "corpus.jsonl").write_text("{}")
    again = CliRunner().invoke(app, ["data", "embed", str(folder), "--out", f"{out}-2"])
    assert isinstance(again.exception, ValueError)
    assert str(again.exception).startswith(f"COLLECTION {folder}: {folder}/corpus.jsonl: line 1 ")
