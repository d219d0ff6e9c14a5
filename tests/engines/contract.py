"""What every engine keeps to. A test module registers an engine by a subclass of the contract::

    class TestFlat(EngineContract):
        name = "faiss"
        settings = {"kind": "flat"}

and overrides ``target`` where it is not a path, ``unreachable`` where a server may be down, and the
attributes that say what the kind of index cannot do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import sigah
from sigah.engines import VectorSearch, connect, export, loading, make_engine
from sigah.testing import ENGINE_CHECKS, EngineCase
from sigah.testing.engines import WORDS, make_codes

SEARCH = """
import json, sys
import numpy as np
from sigah.engines import connect
name, target, settings, queries = sys.argv[1:]
with connect(name, target, **json.loads(settings)) as engine:
    distances, ids = engine.search(np.load(queries), 10)
print(json.dumps([distances.tolist(), ids.tolist()]))
"""

DIE = """
import json, os, sys
import numpy as np
from sigah.engines import export, registry
name, target, settings, codes, ids, labels = sys.argv[1:]
engine = registry.engine_class(name)
engine.batch = 250
put, calls = engine.put, []
def die_in_the_third(self, rows):
    calls.append(rows)
    if len(calls) == 3:
        self.flush()
        put(self, rows)
        os._exit(9)
    put(self, rows)
engine.put = die_in_the_third
export(name, target, np.load(codes), fingerprint="c0ffee", ids=np.load(ids), labels=np.load(labels),
       **json.loads(settings))
"""


class EngineContract:
    name: ClassVar[str]
    module: ClassVar[str]  # the library that may be missing
    settings: ClassVar[dict[str, Any]] = {}  # that make searches as exact as they get
    recall: ClassVar[float] = 1.0  # floor; 1 means exact
    filters: ClassVar[bool] = True
    replaces: ClassVar[bool] = True  # whether a code may change under its id
    unreachable: ClassVar[str | None] = None  # an address where no server listens

    @pytest.fixture
    def target(self, tmp_path: Path) -> str:
        return str(tmp_path / "target")

    def export(self, target: str, codes: Any, **given: Any) -> Any:
        return export(
            self.name, target, codes, **{"fingerprint": "c0ffee", **self.settings, **given}
        )

    def connect(self, target: str) -> Any:
        return connect(self.name, target, **self.settings)

    def check(self, found: Any, codes: Any, ids: Any, queries: Any) -> None:
        EngineCase(self.name, "", self.settings, self.recall).compare(found, codes, ids, queries)

    @pytest.mark.parametrize("promise", ENGINE_CHECKS)
    def test_it_keeps_its_promises(self, promise: str, target: str) -> None:
        ENGINE_CHECKS[promise](EngineCase(self.name, target, self.settings, self.recall))

    def test_what_it_cannot_do_is_known(self, target: str) -> None:
        self.export(target, make_codes(64, n=100)[0])
        with self.connect(target) as engine:
            assert (engine.filter_refusal is None) == self.filters
            assert (engine.replace_refusal is None) == self.replaces

    def test_a_new_process_finds_the_same(self, target: str, tmp_path: Path) -> None:
        codes, ids, queries = make_codes(64, n=2000)
        self.export(target, codes, ids=ids)
        with self.connect(target) as engine:
            distances, found = engine.search(queries, 10)
        np.save(tmp_path / "queries.npy", queries)
        done = subprocess.run(
            [sys.executable, "-c", SEARCH, self.name, target, json.dumps(self.settings),
             str(tmp_path / "queries.npy")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        again = json.loads(done.stdout.splitlines()[-1])
        assert again == [distances.tolist(), found.tolist()]

    def test_the_same_export_again_changes_nothing(
        self, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        codes, ids, queries = make_codes(64, n=2000)
        labels = WORDS[np.arange(2000) % 4]
        assert self.export(target, codes, ids=ids, labels=labels).written == 2000
        for hook in ("put", "create", "write_about", "finish"):
            monkeypatch.setattr(
                type(make_engine(self.name, target)), hook,
                lambda *_: pytest.fail("the target was written to"),
            )  # fmt: skip
        backwards = slice(None, None, -1)
        again = self.export(target, codes[backwards], ids=ids[backwards], labels=labels[backwards])
        assert again == (2000, 0)
        with self.connect(target) as engine:
            assert len(engine) == 2000
            self.check(engine.search(queries, 10), codes, ids, queries)

    def test_a_killed_export_goes_on(self, target: str, tmp_path: Path) -> None:
        codes, ids, queries = make_codes(64, n=2000)
        labels = WORDS[np.arange(2000) % 4].astype(str)
        files = [str(tmp_path / f"{name}.npy") for name in ("codes", "ids", "labels")]
        for path, array in zip(files, (codes, ids, labels), strict=True):
            np.save(path, array)
        done = subprocess.run(
            [sys.executable, "-c", DIE, self.name, target, json.dumps(self.settings), *files],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 9, done.stderr
        again = self.export(target, codes, ids=ids, labels=labels)
        assert again.written <= 1500  # what came to rest before the kill is not put again
        with self.connect(target) as engine:
            assert len(engine) == 2000
            self.check(engine.search(queries, 10), codes, ids, queries)
            held = engine.get(np.sort(ids)).labels
            assert sorted(held.tolist()) == sorted(labels.tolist())

    def test_a_failure_that_passes_is_tried_again(
        self, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        codes, ids, queries = make_codes(64, n=500)
        engine = type(make_engine(self.name, target))
        put, failures = engine.put, [ConnectionResetError("lost"), TimeoutError("slow")]

        def unsteady(self: Any, rows: Any) -> None:
            if failures:
                raise failures.pop()
            put(self, rows)

        monkeypatch.setattr(loading, "WAITS", (0, 0, 0))
        monkeypatch.setattr(engine, "put", unsteady)
        assert self.export(target, codes, ids=ids) == (500, 500)
        with self.connect(target) as found:
            self.check(found.search(queries, 10), codes, ids, queries)

    def test_a_failure_that_stays_is_one_line(
        self, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(self: Any, rows: Any) -> None:
            raise ConnectionResetError("the line is dead\nand so on")

        monkeypatch.setattr(loading, "WAITS", (0, 0))
        monkeypatch.setattr(type(make_engine(self.name, target)), "put", lost)
        with pytest.raises(OSError, match=rf"^{self.name}: .*: the line is dead$"):
            self.export(target, make_codes(64, n=10)[0])

    def test_another_model_is_refused(self, target: str, blobs: Any, tmp_path: Path) -> None:
        hasher, other = (sigah.LSH(64, random_state=seed).fit(blobs) for seed in (0, 1))
        other.save(tmp_path / "other.model")
        codes = hasher.transform(blobs)
        self.export(target, codes, fingerprint=hasher.fingerprint)
        with pytest.raises(ValueError, match=r"codes of another model .*; export to another"):
            self.export(target, codes, fingerprint=other.fingerprint)
        with self.connect(target) as engine:
            with pytest.raises(ValueError, match="made by another model"):
                VectorSearch(engine, tmp_path / "other.model")
            found = VectorSearch(engine, hasher).search(blobs[:20], 10)
        self.check(found, codes, np.arange(len(codes)), codes[:20])

    def test_an_unreachable_target_is_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loading, "WAITS", (0,))
        unreachable = self.unreachable or str(tmp_path / "no" / "folder" / "target")
        for act in (
            lambda: self.connect(unreachable),
            lambda: self.export(unreachable, make_codes(64, n=10)[0]),
        ):
            with pytest.raises(OSError, match=".") as told:
                act()
            assert "\n" not in str(told.value)

    def test_a_missing_library_is_one_line(
        self, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, self.module, None)
        with pytest.raises(OSError, match=rf"is not installed; .*'sigah\[{self.name}\]'`$"):
            self.connect(target)

    def test_the_command_line(self, target: str, tmp_path: Path, blobs: Any, run: Any) -> None:
        paths = {name: tmp_path / name for name in ("model", "codes.npy", "vectors.npy", "found")}
        np.save(paths["vectors.npy"], blobs)
        np.save(tmp_path / "queries.npy", blobs[:50])
        sigah.LSH(64, random_state=0).fit(blobs).save(paths["model"])
        (tmp_path / "labels.txt").write_text(
            "\n".join("odd" if i % 2 else "even" for i in range(2000))
        )
        run("encode", paths["model"], paths["vectors.npy"], "--out", paths["codes.npy"])
        settings = [
            word for pair in self.settings.items() for word in ("--set", "{}={}".format(*pair))
        ]
        export_it = (
            "export", self.name, paths["codes.npy"], "--to", target,
            "--metadata", tmp_path / "labels.txt", *settings,
        )  # fmt: skip
        status, out, told = run(*export_it)
        assert (status, "2,000 codes of 64 bits, 2,000 of them new" in out) == (0, True), told
        assert "2,000 codes of 64 bits, 0 of them new" in run(*export_it)[1]
        query = (
            "query", self.name, paths["model"], tmp_path / "queries.npy", "--from", target,
            "-k", 3, "--out", paths["found"], *settings,
        )  # fmt: skip
        status, out, told = run(*query)
        assert (status, "3 neighbours of 50 queries among 2,000 codes" in out) == (0, True), told
        if self.replaces:
            withdraw = ("withdraw", self.name, "0,2,4,9999", "--from", target, *settings)
            assert run(*withdraw)[:2] == (0, f"{self.name}: 3 codes removed\n")
            assert "2,000 codes of 64 bits, 3 of them new" in run(*export_it)[1]
        status, _, told = run(*query, "--filter", "odd")
        if not self.filters:
            assert status == 1
            assert "cannot" in told
            return
        assert status == 0, told
        with np.load(paths["found"]) as found:
            assert (found["ids"] % 2 == 1).all()

    def test_the_command_line_ranks_by_vectors(
        self, target: str, tmp_path: Path, blobs: Any, run: Any
    ) -> None:
        model, codes, vectors = (tmp_path / name for name in ("m", "codes.npy", "vectors.npy"))
        np.save(vectors, blobs)
        np.save(tmp_path / "queries.npy", blobs[:50])
        sigah.LSH(64, random_state=0).fit(blobs).save(model)
        run("encode", model, vectors, "--out", codes)
        settings = [
            word for pair in self.settings.items() for word in ("--set", "{}={}".format(*pair))
        ]
        export_it = ("export", self.name, codes, "--to", target, *settings)
        status, _, told = run(*export_it, "--vectors", vectors)
        if not make_engine(self.name, target).keeps_vectors:
            assert status == 1
            assert "keeps codes only" in told
            return
        assert status == 0, told
        found = tmp_path / "found"
        query = ("query", self.name, model, tmp_path / "queries.npy", "--from", target, "-k", 3)
        status, _, told = run(*query, "--ranked", 200, "--out", found, *settings)
        assert status == 0, told
        with np.load(found) as file:
            exact = np.square(blobs[:50, np.newaxis] - blobs[file["ids"]]).sum(axis=2)
            assert (file["ids"][:, 0] == np.arange(50)).all()
            np.testing.assert_allclose(file["distances"], exact, rtol=0.01, atol=0.05)
        status, _, told = run(*query, "--ranked", 2, *settings)
        assert status == 1
        assert "--ranked 2" in told
        np.save(tmp_path / "few.npy", blobs[:7])
        status, _, told = run(*export_it, "--vectors", tmp_path / "few.npy")
        assert status == 1
        assert "has 7 rows, but CODES has 2,000 codes" in told
