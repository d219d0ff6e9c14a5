"""Wrong command lines: each answer names the argument as written, the place and the cure."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sigah
from sigah import streams

MANY = ",".join(map(str, range(100_000, 100_100)))  # longer than any name of a file

# command line -> what its answer must say, in this order
WRONG: dict[str, tuple[str, ...]] = {
    # VECTORS
    "fit nothing.npy -o m": ("VECTORS nothing.npy", "no such file or folder", "sigah data list"),
    "fit mnits -o m": ("VECTORS mnits", "did you mean mnist?"),
    "fit fashion-mnits:queries -o m": ("did you mean fashion-mnist:queries?",),
    "fit mnist:query -o m": ("VECTORS mnist:query", "mnist:base and mnist:queries"),
    "fit nan.npy --method itq --bits 16 -o m": ("VECTORS nan.npy", "NaN", "row 2100, column 3"),
    "fit nan.npy --bits 16 -o m": ("VECTORS nan.npy", "NaN", "row 2100, column 3"),
    "fit empty.npy -o m": ("VECTORS empty.npy", "empty"),
    "fit words.npy -o m": ("VECTORS words.npy", "must be real numbers", "<U1"),
    "fit cube.npy -o m": ("VECTORS cube.npy", "(n, d)", "(2, 3, 4)"),
    "fit row.npy -o m": ("VECTORS row.npy", "(n, d)", "(24,)"),
    "fit cut.npy -o m": ("VECTORS cut.npy",),
    "fit bad.csv -o m": ("VECTORS bad.csv", "line 2, field 2", "'x'"),
    "fit notes.txt -o m": ("VECTORS notes.txt", "known endings: .npy"),
    "fit dir -o m": ("VECTORS dir", "no vector files"),
    "fit two.npz -o m": ("VECTORS two.npz", "two.npz:a, two.npz:b"),
    "fit two.npz:c -o m": ("VECTORS two.npz:c", "no array 'c'", "two.npz:a"),
    "fit m.model -o m": ("VECTORS m.model holds a model, not vectors",),
    "fit codes.npy -o m": ("VECTORS codes.npy holds codes, not vectors",),
    "fit codes.parquet -o m": ("VECTORS codes.parquet holds codes, not vectors",),
    "fit -o m": ("Missing argument", "VECTORS"),
    "fit base.npy queries.npy -o m": ("unexpected extra argument", "queries.npy"),
    # how to learn
    "fit base.npy --method magic -o m": ("--method magic", "known: sigah"),
    "fit base.npy --set speed=9 -o m": ("speed=9", "sigah has"),
    "fit base.npy --set n_steps=two -o m": ("n_steps", "'two'"),
    "fit base.npy --set n_steps=0 -o m": ("n_steps", "at least 1", "got 0"),
    "fit base.npy --metric dot -o m": ("--metric", "'dot' is not one of l2, cosine, ip"),
    "fit base.npy --metric ip --set metric=l2 -o m": ("--metric ip", "two metrics"),
    "fit base.npy --bits 12 -o m": ("--bits", "12", "multiple of 8"),
    "fit base.npy --bits many -o m": ("--bits", "integer"),
    "fit base.npy --bits 64 --method itq -o m": ("--bits 64", "(24)", "choose fewer"),
    "fit base.npy --sample 0 -o m": ("--sample", "1"),
    "fit base.npy --seed -1 -o m": ("--seed", "0"),
    "fit base.npy --seed 4294967296 -o m": ("--seed", "4294967295"),
    "drift m.model base.npy queries.npy --seed 4294967296": ("--seed", "4294967295"),
    "fit base.npy --sample 4 --method itq --bits 16 -o m": ("--bits 16", "16 vectors", "are 4"),
    "fit base.npy --continue m.model -o m": ("--continue m.model", "fit a new model"),
    "fit base.npy --continue nothing.model -o m": ("--continue nothing.model: no such file",),
    # MODEL
    "encode base.npy m.model -o c.npy": ("MODEL base.npy", "not hold a model", "comes before"),
    "encode nothing.model base.npy -o c.npy": ("MODEL nothing.model: no such file",),
    "encode codes.npy base.npy -o c.npy": ("MODEL codes.npy holds codes, not a model",),
    "encode i.index base.npy -o c.npy": ("MODEL i.index holds an index, not a model",),
    "encode empty.model base.npy -o c.npy": ("MODEL empty.model", "empty"),
    "encode cut.model base.npy -o c.npy": ("MODEL cut.model", "not hold a model"),
    "encode bent.model base.npy -o c.npy": ("MODEL bent.model", "damaged"),
    "encode dir base.npy -o c.npy": ("MODEL dir is a folder, not a model",),
    "encode m.model narrow.npy -o c.npy": ("VECTORS narrow.npy", "5 dimensions", "24"),
    "encode m.model codes.npy -o c.npy": ("VECTORS codes.npy holds codes, not vectors",),
    "encode m.model base.npy -o c.txt": ("--out c.txt", ".npy or .parquet"),
    "encode m.model base.npy -o c.npy --ids key": ("--ids key", ".parquet files only"),
    "encode m.model base.npy -o c.parquet --ids key": ("--ids key", "Parquet and Arrow"),
    "encode m.model source.parquet -o c.parquet --ids kay": (
        "--ids kay", "no column 'kay'; there is key, vector",
    ),
    # outputs
    "fit base.npy": ("Missing option", "--out"),
    "fit base.npy -o no/such/m": ("--out no/such/m", "folder does not exist", "create it"),
    "fit base.npy -o dir": ("--out dir is a folder", "name a file"),
    "fit base.npy -o /proc/m": ("--out /proc/m", "cannot be written"),
    "fit base.npy -o base.npy --overwrite": ("--out base.npy is one of the inputs",),
    "fit base.npy -o notes.txt": ("--out notes.txt exists and is not a model", "--overwrite"),
    "fit shards -o shards/0.npy": ("--out shards/0.npy is one of the inputs",),
    "encode m.model base.npy -o base.npy": ("--out base.npy is one of the inputs",),
    "encode m.model base.npy -o m.model": ("--out m.model is one of the inputs",),
    "encode m.model two.npz:a -o two.npz": ("--out two.npz is one of the inputs",),
    "index build codes.npy -o codes.npy": ("--out codes.npy is one of the inputs",),
    "index build codes.npy --ids ids.txt -o ids.txt": ("--out ids.txt is one of the inputs",),
    "index build codes.npy -o m.model": ("--out m.model exists and is not an index", "a model"),
    "index search i.index codes.npy -o i.index": ("--out i.index is one of the inputs",),
    "search m.model codes.npy queries.npy -o codes.npy": ("--out codes.npy is one of",),
    "search m.model codes.npy queries.npy -o notes.txt": ("notes.txt exists", "--overwrite"),
    "onnx m.model -o m.model": ("--out m.model is one of the inputs",),
    "onnx m.model -o codes.npy": ("--out codes.npy exists and is not an ONNX graph",),
    "drift m.model base.npy base.npy --json package.json": ("--json package.json exists",),
    "evaluate base.npy queries.npy --json base.npy": ("--json base.npy is one of the inputs",),
    "evaluate base.npy queries.npy --json dir": ("--json dir is a folder",),
    "evaluate base.npy queries.npy --json package.json": ("package.json exists", "not results"),
    "report --results dir -o notes.txt": ("--out notes.txt exists", "not a page"),
    "demo --out notes.txt": ("--out notes.txt is a file; name a folder",),
    "demo --out notes.txt/demo": ("--out notes.txt/demo: its folder cannot be created", "choose"),
    "demo --out site": ("--out site/index.html exists and is not a page",),
    "cluster fit base.npy -o base.npy": ("--out base.npy is one of the inputs",),
    "export faiss codes.npy --to codes.npy": ("codes.npy exists", "did not make it"),
    # CODES and QUERIES
    "search base.npy codes.npy queries.npy": ("MODEL base.npy", "comes before vectors and codes"),
    "search m.model base.npy queries.npy": ("CODES|INDEX base.npy", "float32", "sigah encode"),
    "search m.model queries.npy codes.npy": ("CODES|INDEX queries.npy", "sigah encode"),
    "search m.model codes.npy codes.npy": ("QUERIES codes.npy holds codes, not vectors",),
    "search m.model codes.npy nan.npy": ("QUERIES nan.npy", "NaN", "row 2100, column 3"),
    "search m.model codes.npy nan.npy --by asymmetric": ("QUERIES nan.npy", "row 2100, column 3"),
    "search m.model codes.npy narrow.npy": ("QUERIES narrow.npy", "5 dimensions", "24"),
    "search m.model nothing.npy queries.npy": ("CODES|INDEX nothing.npy: no such file",),
    "search m.model twin.npy queries.npy": ("CODES|INDEX twin.npy", "another model", "again"),
    "search other.model codes.npy queries.npy": ("CODES|INDEX codes.npy", "16 bits", "32"),
    "search m.model codes.npy queries.npy -k 0": ("-k", "1"),
    "search m.model codes.npy queries.npy -k -3": ("-k", "1"),
    "search m.model codes.npy queries.npy -k ten": ("-k", "integer"),
    "search m.model codes.npy queries.npy --by asym": ("--by", "'asym'", "asymmetric"),
    "search m.model codes.npy queries.npy --by raw": ("--by raw needs --vectors",),
    "search m.model codes.npy queries.npy --by raw --vectors queries.npy": (
        "--vectors queries.npy", "2499", "60 rows",
    ),
    "search m.model codes.npy queries.npy --vectors base.npy": ("--vectors", "add --by raw"),
    "search other.model foreign.npy queries.npy --by decoded": ("--by decoded",),
    "search m.model codes.npy queries.npy --by asymmetric --oversampling 0": ("--oversampling",),
    "search m.model codes.npy queries.npy --oversampling 5": ("--oversampling 5", "with --by"),
    "search m.model codes.npy queries.npy --filter nofile.txt": ("--filter nofile.txt", "no such"),
    "search m.model bytes.npy queries.npy": ("CODES|INDEX bytes.npy", "32 bits", "16"),
    # INDEX and ids
    "index build base.npy -o x.index": ("CODES base.npy", "does not hold codes", "sigah encode"),
    "index build m.model -o x.index": ("CODES m.model holds a model, not codes",),
    "index build codes.npy --ids 1,2 -o x.index": ("--ids 1,2", "(2500,)", "(2,)"),
    "index build codes.npy --ids nofile.txt -o x.index": ("--ids nofile.txt", "no such file"),
    "index build codes.npy --ids ids.txt -o x.index": ("--ids ids.txt", "line 3", "'seven'"),
    "index build codes.npy --ids floats.npy -o x.index": ("--ids floats.npy", "whole numbers"),
    "index build codes.npy --ids bin.txt -o x.index": ("--ids bin.txt", "neither"),
    "index add i.index named.parquet": ("CODES named.parquet", "has keys", "encode --ids"),
    "index add i.index base.npy": ("CODES base.npy", "does not hold codes"),
    "index add m.model codes.npy": ("INDEX m.model holds a model, not an index",),
    "index add i.index foreign.npy": ("CODES foreign.npy", "another model"),
    "index add i.index bytes.npy": ("CODES bytes.npy", "name the model", "sigah encode"),
    "index add i.index codes.npy --ids few.txt": ("--ids few.txt", "(2500,)", "(2,)"),
    f"index remove i.index {MANY}": ("INDEX i.index", "id 100000 is not in the index"),
    "index remove i.index 1,1": ("id 1 is given twice",),
    "index remove i.index seven": ("IDS seven", "no such file", "commas"),
    "index remove i.index 1,2,x": ("IDS 1,2,x", "commas"),
    f"index remove i.index {'9' * 30}": ("IDS", "2**63"),
    f"index remove i.index {'x' * 300}": ("IDS xxx", "no such file"),
    "index remove i.index ids.txt": ("IDS ids.txt", "line 3", "'seven'"),
    "index remove i.index ''": ("IDS is empty",),
    "index search i.index base.npy": ("CODES base.npy", "does not hold codes"),
    "index search i.index foreign.npy": ("CODES foreign.npy", "32 bits", "16"),
    "index search codes.npy i.index": ("INDEX codes.npy holds codes, not an index",),
    "index search bent.index codes.npy": ("bent.index", "damaged"),
    "index search i.index codes.npy --filter nofile.txt": ("--filter nofile.txt", "no such"),
    "index stats nothing.index": ("INDEX nothing.index: no such file",),
    "index stats bent.index": ("INDEX bent.index", "damaged"),
    "inspect nothing": ("FILE nothing: no such file",),
    "inspect dir": ("FILE dir is a folder",),
    "inspect notes.txt": ("FILE notes.txt",),
    # engines
    "export fais codes.npy --to t.faiss": ("ENGINE fais", "faiss"),
    "export faiss base.npy --to t.faiss": ("CODES base.npy", "does not hold codes"),
    "export faiss bytes.npy --to t.faiss": ("CODES bytes.npy", "name the model"),
    "export faiss codes.npy --to no/t.faiss": ("no/t.faiss", "folder does not exist"),
    "export faiss codes.npy --to t.faiss --ids 1,2": ("--ids 1,2: ids must have shape", "(2,)"),
    "export faiss codes.npy --to t.faiss --set kind=fast": ("kind", "flat, ivf, hnsw", "'fast'"),
    "export faiss codes.npy --to t.faiss --set speed=1": ("'speed'", "faiss", "kind"),
    "export faiss codes.npy --to t.faiss --metadata nofile.txt": ("--metadata nofile.txt", "no"),
    "export faiss codes.npy --to t.faiss --metadata few.txt": ("--metadata few.txt", "2 labels"),
    "export faiss codes.npy": ("Missing option", "--to"),
    "query faiss m.model queries.npy --from nothing.faiss": ("nothing.faiss", "sigah export"),
    # the rest
    "drift m.model base.npy nothing.npy": ("NEW nothing.npy", "no such file"),
    "drift m.model narrow.npy base.npy": ("OLD narrow.npy", "5 dimensions"),
    "drift m.model base.npy nan.npy": ("NEW nan.npy", "NaN", "row 2100, column 3"),
    "drift m.model base.npy base.npy --sample 0": ("--sample",),
    "onnx base.npy -o g.onnx": ("MODEL base.npy", "not hold a model"),
    "onnx other.model -o g.onnx --decoder": ("lsh", "no decoder"),
    "evaluate base.npy": ("QUERIES is missing",),
    "evaluate mnits": ("BASE mnits", "did you mean mnist?"),
    "evaluate base.npy queries.npy --seeds 0": ("--seeds", "1"),
    "evaluate base.npy queries.npy --methods magic": ("unknown method 'magic'", "known:"),
    "evaluate base.npy queries.npy --bits many": ("--bits", "'many'"),
    "evaluate base.npy queries.npy --bits 12": ("multiple of 8", "12"),
    "evaluate base.npy queries.npy --metric L2": ("--metric", "'L2' is not one of l2, cosine"),
    "evaluate base.npy queries.npy --metric ip --methods lsh:metric=l2": ("two metrics",),
    "evaluate base.npy queries.npy -k 5000": ("5000", "2500"),
    "evaluate base.npy queries.npy --train 0": ("--train", "1"),
    "evaluate base.npy queries.npy --resume": ("--resume needs --json",),
    "evaluate nan.npy queries.npy --methods lsh --bits 8 -k 20": (
        "BASE nan.npy", "NaN", "row 2100, column 3",
    ),
    "evaluate base.npy narrow.npy --methods lsh --bits 8 -k 20": ("queries", "5 dimensions", "24"),
    "report --results nothing -o r.html": ("--results nothing", "no such folder"),
    "reproduce table99": ("table99", "table1"),
    "reproduce table2 --seeds 0": ("--seeds", "1"),
    "data fetch mnits": ("mnits", "mean mnist?"),
    "cluster shards dir --out sh -n 0": ("-n", "1"),
    "advise base.npy --metric dot": ("--metric", "'dot' is not one of l2, cosine, ip"),
    "advise": ("Missing argument", "VECTORS"),
    "fits base.npy": ("No such command", "fits"),
    "methods --all": ("No such option", "--all"),
}  # fmt: skip


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and bad files."""
    at = tmp_path_factory.mktemp("workplace")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2500, 24)).astype(np.float32)
    spoilt = vectors.copy()
    spoilt[2100, 3] = np.nan  # not in the first block of any search
    for name, array in {
        "base": vectors,
        "queries": vectors[:60],
        "narrow": vectors[:, :5],
        "nan": spoilt,
        "words": np.array(["a", "b"]),
        "cube": np.zeros((2, 3, 4)),
        "row": np.zeros(24),
        "floats": np.array([0.5, 1]),
        "bytes": np.zeros((5, 4), np.uint8),
    }.items():
        np.save(at / name, array)
    np.savez(at / "two.npz", a=vectors, b=vectors)
    for name in ("dir", "shards", "site"):
        (at / name).mkdir()
    np.save(at / "shards" / "0.npy", vectors)
    for name, text in {
        "ids.txt": "1\n2\nseven\n",
        "few.txt": "1\n2\n",
        "bad.csv": "1,2\n3,x\n",
        "notes.txt": "hello",
        "package.json": '{"name": 1}',
        "site/index.html": "<!doctype html><title>Mine</title>",
        "empty.npy": "",
        "empty.model": "",
    }.items():
        (at / name).write_text(text)
    (at / "bin.txt").write_bytes(b"\xff\xfe\x00\x01")
    (at / "cut.npy").write_bytes((at / "base.npy").read_bytes()[:5000])
    model = sigah.ITQ(16, random_state=0).fit(vectors)
    twin = sigah.ITQ(16, random_state=1).fit(vectors)
    other = sigah.LSH(32, random_state=0).fit(vectors)
    model.save(at / "m.model")
    other.save(at / "other.model")
    streams.encode(model, vectors, at / "codes.npy")
    streams.encode(model, vectors, at / "codes.parquet")
    streams.encode(twin, vectors, at / "twin.npy")
    streams.encode(other, vectors[:60], at / "foreign.npy")
    write_named(at, model, vectors)
    index = sigah.HammingIndex(16, fingerprint=model.fingerprint)
    index.add(model.transform(vectors))
    index.save(at / "i.index")
    (at / "cut.model").write_bytes((at / "m.model").read_bytes()[:300])
    for name in ("m.model", "i.index"):
        content = bytearray((at / name).read_bytes())
        content[-3] ^= 1
        (at / name.replace("m.", "bent.").replace("i.", "bent.")).write_bytes(content)
    return at


def write_named(at: Path, model: Any, vectors: Any) -> None:
    """Codes whose ids are words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sigah import rows

    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors[:50].ravel()), 24)
    names = [f"n{number}" for number in range(50)]
    pq.write_table(pa.table({"key": names, "vector": column}), at / "source.parquet")
    source = rows.open_vectors(at / "source.parquet")
    streams.encode(model, source, at / "named.parquet", ids="key")


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("line", WRONG, ids=lambda line: line[:70])
def test_a_wrong_command_line_is_told_in_one_line(
    line: str, workplace: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("COLUMNS", "400")
    before = state(workplace)
    status, out, err = run(*shlex.split(line))
    assert status in (1, 2)
    assert out == ""
    assert "Traceback" not in err
    assert "━" not in err, "a progress bar stays behind"
    if status == 1:
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
    at = 0
    for part in WRONG[line]:
        found = err.find(part, at)
        assert found >= 0, f"{part!r} is not said, or not in this place: {err}"
        at = found + len(part)
    assert state(workplace) == before, "an error leaves all files as they were"


def test_more_neighbours_than_codes_are_all_codes(
    workplace: Path, run: Any, tmp_path: Path
) -> None:
    for k in (2500, 2501, 10**20):
        call = ("search", workplace / "m.model", workplace / "codes.npy", workplace / "queries.npy")
        status, _, err = run(*call, "-k", k, "--out", tmp_path / "found.npz")
        assert status == 0
        assert ("there are only 2,500 codes" in err) == (k > 2500)
        with np.load(tmp_path / "found.npz") as found:
            assert (np.sort(found["ids"], axis=1) == np.arange(2500)).all()


def test_a_list_of_ids_may_be_of_any_length(workplace: Path, run: Any, tmp_path: Path) -> None:
    index = tmp_path / "index"
    assert run("index", "build", workplace / "codes.npy", "--out", index)[0] == 0
    assert "2,400 codes" in run("index", "remove", index, ",".join(map(str, range(100))))[1]
    (tmp_path / "ids.txt").write_text("100, 101\n\n102\n")
    assert "2,397 codes" in run("index", "remove", index, tmp_path / "ids.txt")[1]


def test_codes_in_parquet_are_codes_everywhere(workplace: Path, run: Any, tmp_path: Path) -> None:
    answers = []
    for kind in ("npy", "parquet"):
        codes, index = workplace / f"codes.{kind}", tmp_path / f"{kind}.index"
        first, second = tmp_path / "first.npz", tmp_path / "second.npz"
        model, queries = workplace / "m.model", workplace / "queries.npy"
        assert run("search", model, codes, queries, "-k", 3, "-o", first)[0] == 0
        assert run("index", "build", codes, "-o", index)[0] == 0
        assert run("index", "search", index, codes, "-k", 3, "-o", second)[0] == 0
        with np.load(first) as one, np.load(second) as other:
            answers.append((one["ids"], one["distances"], other["ids"], other["distances"]))
    for of_npy, of_parquet in zip(*answers, strict=True):
        np.testing.assert_array_equal(of_npy, of_parquet)
