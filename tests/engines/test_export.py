"""What all engines share, seen through FAISS's flat index: bad input, damage, and the words."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from contract import make_codes

import sigah
from sigah.cli.engines import read_labels
from sigah.engines import VectorSearch, connect, export
from sigah.engines.base import About, Engine, _padded
from sigah.engines.faiss import Faiss
from sigah.engines.registry import ENGINES, engine_class, parse_settings
from sigah.files import load_codes, save_codes

CODES, IDS, QUERIES = make_codes(64, n=100)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "codes.faiss"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"ids": [1] * 100}, "ids must be unique, but 1 is repeated"),
        ({"ids": [-1, *range(99)]}, "ids must be whole numbers from 0"),
        ({"ids": range(99)}, r"ids must have shape \(100,\)"),
        ({"labels": ["cat"]}, r"labels must have shape \(100,\)"),
        ({"labels": [0.5] * 100}, "labels must be all whole numbers or all text"),
        ({"labels": ["cat"] * 99 + [3]}, "all whole numbers or all text"),
        ({"labels": [True] * 100}, "all whole numbers or all text"),
        ({"labels": ["a\0b"] * 100}, "without null characters"),
        ({"labels": ["\ud800"] * 100}, "lone surrogates"),
        ({"labels": [2**63] * 100}, "must fit in 64 bits"),
        ({"kind": "pq"}, "kind must be one of flat, ivf, hnsw, got 'pq'"),
        ({"probes": 0}, "probes must be a whole number of at least 1, got 0"),
        ({"speed": 3}, "'speed' is not a setting of faiss; it has kind, lists, probes"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    given: dict[str, Any], problem: str, target: Path
) -> None:
    with pytest.raises(ValueError, match=problem):
        export("faiss", target, CODES, fingerprint="f", **given)
    assert list(target.parent.iterdir()) == []


def test_no_codes_and_no_such_engine(target: Path) -> None:
    with pytest.raises(ValueError, match="no codes to export"):
        export("faiss", target, CODES[:0], fingerprint="f")
    with pytest.raises(ValueError, match="unknown engine 'oracle'; known: .*faiss, "):
        export("oracle", target, CODES, fingerprint="f")
    with pytest.raises(ValueError, match="'fast' is not a setting"):
        parse_settings("faiss", ["fast"])


def test_another_kind_is_refused(target: Path) -> None:
    export("faiss", target, CODES, fingerprint="f")
    for act in (
        lambda: export("faiss", target, CODES, fingerprint="f", kind="hnsw"),
        lambda: connect("faiss", target, kind="hnsw"),
    ):
        with pytest.raises(ValueError, match="has an index of kind flat, not hnsw"):
            act()


def test_what_sigah_did_not_make_is_left_alone(target: Path) -> None:
    target.write_bytes(b"precious")
    with pytest.raises(ValueError, match="exists, but `sigah export` did not make it"):
        export("faiss", target, CODES, fingerprint="f")
    assert target.read_bytes() == b"precious"


def damage_index(target: Path, sidecar: Path) -> None:
    target.write_bytes(target.read_bytes()[:-300])


def lose_index(target: Path, sidecar: Path) -> None:
    target.unlink()


def swap_index(target: Path, sidecar: Path) -> None:
    other = target.with_name("other.faiss")
    export("faiss", other, make_codes(72, n=50)[0], fingerprint="f")
    other.replace(target)


def damage_sidecar(target: Path, sidecar: Path) -> None:
    sidecar.write_bytes(b"no database" * 100)


def write_text(sidecar: Path, text: str) -> None:
    with sqlite3.connect(sidecar) as notes:
        notes.execute("UPDATE about SET text = ?", (text,))
    notes.close()


def damage_about(target: Path, sidecar: Path) -> None:
    write_text(sidecar, "[]")


def come_from_the_future(target: Path, sidecar: Path) -> None:
    text = json.loads(About(64, "f", "flat").to_json())
    write_text(sidecar, json.dumps(text | {"format_version": 2}))


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (damage_index, "faiss: .*"),
        (lose_index, "is missing; only codes.faiss.sqlite is there"),
        (swap_index, "holds codes of 72 bits, its sidecar says 64"),
        (damage_sidecar, "faiss: .*: file is not a database"),
        (damage_about, "damaged or too new"),
        (come_from_the_future, "damaged or too new"),
    ],
)
def test_damage_is_one_line(harm: Any, problem: str, target: Path) -> None:
    export("faiss", target, CODES, fingerprint="f")
    harm(target, Path(f"{target}.sqlite"))
    for act in (
        lambda: connect("faiss", target),
        lambda: export("faiss", target, CODES, fingerprint="f"),
    ):
        with pytest.raises((OSError, ValueError), match=problem) as told:
            act()
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("step", ["_write", "_add", "write_about"])
def test_no_moment_of_death_loses_or_doubles_codes(
    step: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call of a step is the last one, before and after; then the export runs again."""
    monkeypatch.setattr(Faiss, "batch", 40)
    labels = [f"label {i}" for i in range(100)]

    class Dead(BaseException):
        pass

    original = getattr(Faiss, step)
    for after in (False, True):
        for fatal in range(3):
            calls = []

            def dying(
                self: Any, *args: Any, calls: Any = calls, fatal: int = fatal, after: bool = after
            ) -> Any:
                calls.append(args)
                if len(calls) > fatal + 1:
                    raise Dead  # a dead process does not flush either
                if len(calls) == fatal + 1 and not after:
                    raise Dead
                result = original(self, *args)
                if len(calls) == fatal + 1:
                    raise Dead
                return result

            place = target.with_name(f"{after}-{fatal}")
            with monkeypatch.context() as patch:
                patch.setattr(Faiss, step, dying)
                try:
                    export("faiss", place, CODES, fingerprint="f", ids=IDS, labels=labels)
                except Dead:
                    assert len(calls) >= fatal + 1
            export("faiss", place, CODES, fingerprint="f", ids=IDS, labels=labels)
            with connect("faiss", place) as engine:
                assert len(engine) == 100
                rows = engine.get(np.sort(IDS))
                assert len(rows) == 100
                found = dict(zip(rows.ids.tolist(), rows.labels.tolist(), strict=True))
                assert found == dict(zip(IDS.tolist(), labels, strict=True))


def test_a_failed_write_leaves_the_old_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export("faiss", target, CODES[:50], fingerprint="f")
    before = target.read_bytes()

    def full(self: Any, path: str) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(Faiss, "_write", full)
    with pytest.raises(OSError, match="disk full"):
        export("faiss", target, CODES, fingerprint="f")
    assert target.read_bytes() == before
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "codes.faiss",
        "codes.faiss.sqlite",
    ]


def test_an_interrupt_inside_faiss_is_not_written(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAISS adds codes and then their ids; Ctrl-C comes between."""
    monkeypatch.setattr(Faiss, "batch", 40)
    export("faiss", target, CODES[:40], fingerprint="f")
    before = target.read_bytes()
    add = Faiss._add

    def interrupted(self: Faiss, ids: Any, codes: Any) -> None:
        if ids[0] == 40:
            return add(self, ids, codes)
        self._index.index.add(codes)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Faiss, "_add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export("faiss", target, CODES, fingerprint="f")
    assert target.read_bytes() == before
    export("faiss", target, CODES, fingerprint="f")
    with connect("faiss", target) as engine:
        np.testing.assert_array_equal(engine.get(np.arange(100)).codes, CODES)


def test_faiss_itself_opens_the_file(target: Path) -> None:
    import faiss

    export("faiss", target, CODES, fingerprint="f", ids=IDS)
    index = faiss.read_index_binary(str(target))
    distances, ids = index.search(QUERIES, 1)
    with connect("faiss", target) as engine:
        np.testing.assert_array_equal(engine.search(QUERIES, 1)[0], distances)
        assert set(ids.ravel()) <= set(IDS)


def test_importing_loads_no_engine() -> None:
    check = (
        "import sigah.engines, sys; print([m for m in sys.modules if m.split('.')[0] in sys.argv])"
    )
    words = ["faiss", "usearch", "lancedb", "pyarrow", "pymilvus", "psycopg", "chdb"]
    done = subprocess.run(
        [sys.executable, "-c", check, *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_its_name_and_an_extra(name: str) -> None:
    import tomllib

    engine = engine_class(name)
    assert issubclass(engine, Engine)
    assert engine.name == name
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert name in extras
    assert name in extras["engines"][0]


def test_ragged_answers_are_padded() -> None:
    distances, ids = _padded([[(3, 7)], [], [(1, 2), (2, 1)]])
    np.testing.assert_array_equal(ids, [[7, -1], [-1, -1], [2, 1]])
    np.testing.assert_array_equal(distances[ids >= 0], [3, 1, 2])


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("3\n-5\n", [3, -5]),
        ("007\n8\n", ["007", "8"]),
        ("cat\n8\n", ["cat", "8"]),
        (f"{2**70}\n", [str(2**70)]),
    ],
)
def test_a_text_file_of_labels(text: str, labels: list[Any], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert read_labels(tmp_path / "labels.txt").tolist() == labels


def test_codes_of_a_file_bring_their_model_and_ids(target: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    save_codes(
        tmp_path / "codes.parquet", CODES, {"method": "lsh", "fingerprint": "c0ffee"}, ids=IDS
    )
    stored = load_codes(tmp_path / "codes.parquet")
    with pytest.raises(ValueError, match=r"made by another model \(fingerprint c0ffee, not f\)"):
        export("faiss", target, stored, fingerprint="f")
    export("faiss", target, stored)
    with connect("faiss", target) as engine:
        assert engine.about is not None
        assert engine.about.fingerprint == "c0ffee"
        np.testing.assert_array_equal(engine.search(CODES[:9], 1)[1][:, 0], IDS[:9])
        for other in (SimpleNamespace(fingerprint="f"), SimpleNamespace(fingerprint=None)):
            with pytest.raises(ValueError, match="made by another model"):
                VectorSearch(engine, other)
    with pytest.raises(ValueError, match="holds codes of another model"):
        export("faiss", target, CODES, fingerprint="f")
    with pytest.raises(ValueError, match="fingerprint is missing"):
        export("faiss", target, CODES)


def test_codes_without_a_model_are_refused(target: Path, run: Any) -> None:
    np.save(target.with_name("plain.npy"), CODES)
    status, _, told = run("export", "faiss", target.with_name("plain.npy"), "--to", target)
    assert status == 1
    assert "do not name the model that made them" in told


def test_an_interrupt_on_the_command_line_says_what_to_do(
    target: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sigah.files import save_codes

    def interrupt(self: Any, rows: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Faiss, "put", interrupt)
    codes = target.with_name("codes.npy")
    save_codes(codes, CODES, {"method": "lsh", "fingerprint": "f"})
    status, _, told = run("export", "faiss", codes, "--to", target)
    assert status == 130
    assert "the same command resumes" in told


def test_keys_go_from_a_table_to_an_engine_and_back(
    target: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.chdir(target.parent)
    vectors = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    names = [f"doc/{row}" for row in range(200)]
    column = pyarrow.FixedSizeListArray.from_arrays(vectors.ravel(), 16)
    parquet.write_table(pyarrow.table({"name": names, "vector": column}), "docs.parquet")
    np.save("queries.npy", vectors[:5])
    np.save("truth.npy", np.array(names[:5])[:, np.newaxis])
    sigah.ITQ(16, random_state=0).fit(vectors).save("m.model")
    codes = ["encode", "m.model", "docs.parquet", "--ids", "name", "--out", "c.parquet"]
    assert run(*codes)[0] == 0
    Path("labels.txt").write_text("a\n" * 200)
    words = ["export", "faiss", "c.parquet", "--to", "c.faiss"]
    status, _, told = run(*words, "--metadata", "labels.txt")
    assert status == 1 and "--metadata labels.txt: an engine keeps one text beside a code" in told
    assert run(*words)[0] == 0
    query = ["query", "faiss", "m.model", "queries.npy", "--from", "c.faiss", "-k", 2]
    assert run(*query, "--out", "n.npz")[0] == 0
    with np.load("n.npz") as found:
        assert [name in row for name, row in zip(names, found["ids"], strict=False)] == [True] * 5
    status, printed, _ = run(*query, "--filter", "doc/7", "--filter", "doc/8")
    assert status == 0 and printed.count("doc/7") == 5
    status, printed, told = run(
        "evaluate", "m.model", "c.faiss", "queries.npy", "--engine", "faiss", "-k", 1,
        "--truth", "truth.npy",
    )  # fmt: skip
    assert status == 0, told
    assert run("withdraw", "faiss", "doc/7,doc/9,none", "--from", "c.faiss")[1].startswith(
        "faiss: 2 codes removed"
    )
    status, _, told = run("evaluate", "m.model", "c.faiss", "queries.npy", "--engine", "faiss",
                          "--vectors", "docs.parquet")  # fmt: skip
    assert status == 1 and "give --truth" in told


def test_keys_of_one_hash_are_refused(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def first_letter(keys: Any) -> Any:
        return np.array([2 * ord(key[0]) for key in keys], np.uint64)

    monkeypatch.setattr("sigah.engines.base.hash_keys", first_letter)
    with pytest.raises(ValueError, match=r"'a1' and 'a2' have the same hash"):
        export("faiss", target, CODES[:3], fingerprint="f", ids=["b", "a1", "a2"])
    export("faiss", target, CODES[:2], fingerprint="f", ids=["a1", "b"])
    with pytest.raises(ValueError, match=r"'a2' and 'a1' have the same hash"):
        export("faiss", target, CODES[:1], fingerprint="f", ids=["a2"])
    with connect("faiss", target) as engine:
        assert engine.search(CODES[:1], 1)[1].tolist() == [["a1"]]
