"""Milvus Lite: the embedded server on a file, and the same server behind an address."""

from __future__ import annotations

import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract import EngineContract, make_codes

from sigah.engines import connect, export, make_engine

pytestmark = pytest.mark.engine


class TestFile(EngineContract):
    name = "milvus"
    module = "pymilvus"
    unreachable = "no/such/folder/target.db"

    @pytest.fixture
    def target(self, tmp_path: Path) -> str:
        return str(tmp_path / "target.db")


class Listening:
    """A server of Milvus Lite that listens at an address, as a server of Milvus does."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of setuptools, which it uses
            from milvus_lite import server as lite
        self._server = lite.Server(str(self.folder / "served.db"), f"127.0.0.1:{self.port}")
        assert self._server.init()
        assert self._server.start()
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail("Milvus Lite does not listen")

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    server = Listening(tmp_path)
    yield server
    server.stop()


def test_a_search_outlives_a_restart_of_the_server(listening: Listening) -> None:
    codes, ids, queries = make_codes(72, n=1000)
    labels = np.arange(1000) % 3
    export("milvus", listening.address, codes, fingerprint="c0ffee", ids=ids, labels=labels)
    with connect("milvus", listening.address) as engine:
        before = engine.search(queries, 10, filter=1)
        assert set(before[1].ravel().tolist()) <= set(ids[labels == 1].tolist())
        listening.stop()
        with pytest.raises(OSError, match=r"no server of Milvus answers; is it running\?$"):
            engine.search(queries, 10)
        listening.start()
        np.testing.assert_array_equal(engine.search(queries, 10, filter=1), before)
        listening.stop()  # and without a search while it is down
        listening.start()
        np.testing.assert_array_equal(engine.search(queries, 10, filter=1), before)


def test_a_search_outlives_the_local_server(tmp_path: Path) -> None:
    codes, ids, queries = make_codes(64, n=500)
    export("milvus", tmp_path / "a.db", codes, fingerprint="c0ffee", ids=ids)
    with connect("milvus", tmp_path / "a.db") as engine:
        before = engine.search(queries, 10)
        engine._server.stop()
        np.testing.assert_array_equal(engine.search(queries, 10), before)


def test_a_load_outlives_a_restart_of_the_server(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, ids, _ = make_codes(64, n=1000)
    engine = type(make_engine("milvus", listening.address))
    monkeypatch.setattr(engine, "batch", 100)
    put, calls = engine.put, []

    def restarted(self: Any, rows: Any) -> None:
        calls.append(rows)
        if len(calls) == 3:
            listening.stop()
            threading.Timer(1, listening.start).start()
        put(self, rows)

    monkeypatch.setattr(engine, "put", restarted)
    done = export("milvus", listening.address, codes, fingerprint="c0ffee", ids=ids)
    assert done == (1000, 1000)
    with connect("milvus", listening.address) as engine:
        assert len(engine) == 1000
        np.testing.assert_array_equal(np.sort(engine.get(np.sort(ids)).ids), np.sort(ids))


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_no_server_is_one_line_without_the_password(kind: str) -> None:
    with pytest.raises(OSError, match=r"is it running\?$") as told:
        connect("milvus", "http://sigah:secret@127.0.0.1:1/db", kind=kind)
    assert "\n" not in str(told.value)
    assert "secret" not in str(told.value)


def test_inverted_lists_are_refused_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"milvus: .*(IVF|index)") as told:
        export("milvus", tmp_path / "a.db", make_codes(64, n=9)[0], fingerprint="x", kind="ivf")
    assert "\n" not in str(told.value)


def test_a_collection_of_others_is_left_alone(listening: Listening) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(listening.address)
    client.create_collection("sigah", dimension=4)
    client.close()
    with pytest.raises(ValueError, match="was not made by `sigah export`"):
        export("milvus", listening.address, make_codes(64, n=3)[0], fingerprint="c0ffee")


def test_what_is_no_file_of_milvus_is_one_line(tmp_path: Path) -> None:
    for name in ("target", "a b.db", "a" * 33 + ".db"):
        with pytest.raises(ValueError, match=r"an address .*, or a file whose name ends in \.db"):
            connect("milvus", tmp_path / name)
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 50)
    with pytest.raises(OSError, match=r"is not a file of Milvus Lite|no server of Milvus answers"):
        connect("milvus", tmp_path / "text.db")


def test_a_filter_that_milvus_cannot_say_is_refused(tmp_path: Path) -> None:
    labels = ["line\nbreak", 'quote"\\', "", "👩\u200d🚀"]
    codes, ids, _ = make_codes(64, n=4)
    export("milvus", tmp_path / "a.db", codes, fingerprint="c0ffee", ids=ids, labels=labels)
    with connect("milvus", tmp_path / "a.db") as engine:
        assert engine.get(ids[:1]).labels.tolist() == labels[:1]
        for row in (1, 2, 3):
            _, found = engine.search(codes, 2, filter=labels[row])
            assert (found == [ids[row], -1]).all()
        with pytest.raises(ValueError, match="cannot contain control characters"):
            engine.search(codes, 1, filter=labels[0])
