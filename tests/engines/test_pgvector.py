"""PostgreSQL with pgvector, on a real server."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from contract import EngineContract, make_codes
from postgres import ask

from sigah.engines import connect, export, make_engine

pytestmark = pytest.mark.engine


class PgVectorContract(EngineContract):
    name = "pgvector"
    module = "psycopg"
    unreachable = "postgresql://sigah:secret@127.0.0.1:1/none?connect_timeout=2"

    @pytest.fixture
    def target(self, database: str) -> str:
        return database


class TestFlat(PgVectorContract):
    settings = {"kind": "flat"}


class TestHNSW(PgVectorContract):
    settings = {"kind": "hnsw", "expansion": 200}
    recall = 0.95


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_search_outlives_a_restart_of_the_server(kind: str, database: str, server: Any) -> None:
    codes, ids, queries = make_codes(72, n=2000)
    export("pgvector", database, codes, fingerprint="c0ffee", ids=ids, kind=kind)
    with connect("pgvector", database) as engine:
        before = engine.search(queries, 10)
        pid = server.get_pid()
        server.stop()
        with pytest.raises(
            OSError, match=r"check that PostgreSQL is running there and that you may connect$"
        ):
            engine.search(queries, 10)
        server.ensure_postgres_running()
        assert server.get_pid() != pid
        np.testing.assert_array_equal(engine.search(queries, 10), before)
    with connect("pgvector", database) as engine:
        np.testing.assert_array_equal(engine.search(queries, 10), before)


def test_a_load_outlives_a_restart_of_the_server(
    database: str, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, ids, _ = make_codes(64, n=2000)
    engine = type(make_engine("pgvector", database))
    monkeypatch.setattr(engine, "batch", 250)
    put, calls = engine.put, []

    def restarted(self: Any, rows: Any) -> None:
        calls.append(rows)
        if len(calls) == 3:
            server.stop()
            threading.Timer(1, server.ensure_postgres_running).start()
        put(self, rows)

    monkeypatch.setattr(engine, "put", restarted)
    done = export("pgvector", database, codes, fingerprint="c0ffee", ids=ids, kind="flat")
    assert done == (2000, 2000)
    assert ask(database, "SELECT count(*), count(DISTINCT id) FROM sigah") == [(2000, 2000)]


def test_the_graph_is_used_and_agrees_with_the_operator(database: str) -> None:
    codes, _, queries = make_codes(72, n=10_000)
    ask(database, 'CREATE SCHEMA "other one"')
    export("pgvector", database, codes, fingerprint="c0ffee", table="other one.Odd name")
    word = "".join(map(str, np.unpackbits(queries[0])))
    question = 'FROM "other one"."Odd name" ORDER BY code <~> %s::bit(72) LIMIT 10'
    plan = ask(database, f"EXPLAIN SELECT id {question}", word)
    assert 'Index Scan using "Odd name_code_index"' in plan[0][0] + plan[1][0]
    found = ask(database, f"SELECT code <~> %s::bit(72) {question}", word, word)
    with connect("pgvector", database, table="other one.Odd name") as engine:
        distances, _ = engine.search(queries[:1], 10)
    assert [row[0] for row in found] == distances[0].tolist()


def test_an_empty_database_gets_the_extension(server: Any) -> None:
    ask(server.get_uri(), "CREATE DATABASE fresh")
    database = server.get_uri(database="fresh")
    codes, _, _ = make_codes(64, n=100)
    assert export("pgvector", database, codes, fingerprint="c0ffee").written == 100
    assert ask(database, "SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == [(1,)]


def test_a_rare_label_is_found_whole(database: str) -> None:
    codes, ids, queries = make_codes(64, n=10_000)
    labels = np.full(len(codes), "common", object)
    labels[::1000] = "rare"
    export("pgvector", database, codes, fingerprint="c0ffee", ids=ids, labels=labels)
    with connect("pgvector", database) as engine:
        _, found = engine.search(queries, 10, filter="rare")
    assert (np.sort(found, axis=1) == np.sort(ids[::1000])).all()


def test_labels_keep_what_the_bulk_format_has_signs_for(database: str) -> None:
    codes, _, _ = make_codes(64, n=5)
    labels = ["tab\t", "line\n", "\\N", "", "\\"]
    export("pgvector", database, codes, fingerprint="c0ffee", labels=labels)
    with connect("pgvector", database) as engine:
        assert engine.get(np.arange(5)).labels.tolist() == labels


def test_a_table_of_others_is_left_alone(database: str) -> None:
    ask(database, "CREATE TABLE sigah (id bigint)")
    with pytest.raises(ValueError, match="is a table that `sigah export` did not make"):
        export("pgvector", database, make_codes(64, n=3)[0], fingerprint="c0ffee")


def test_columns_that_others_added_stay(database: str) -> None:
    codes, ids, _ = make_codes(64, n=50)
    export("pgvector", database, codes, fingerprint="c0ffee", ids=ids)
    ask(database, "ALTER TABLE sigah ADD COLUMN name text, ADD COLUMN n int NOT NULL DEFAULT 7")
    ask(database, "UPDATE sigah SET name = id::text")
    assert export("pgvector", database, ~codes, fingerprint="c0ffee", ids=ids).written == 50
    assert ask(database, "SELECT count(*) FROM sigah WHERE name = id::text") == [(50,)]


def test_codes_too_long_for_a_graph_are_refused_before_the_load(database: str) -> None:
    codes = np.zeros((2, 8001), np.uint8)
    with pytest.raises(ValueError, match="at most 64,000 bits, .* export with kind=flat"):
        export("pgvector", database, codes, fingerprint="c0ffee")
    assert export("pgvector", database, codes, fingerprint="c0ffee", kind="flat").written == 2


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://sigah:se:cr/et@127.0.0.1:1/none",
        "postgresql://127.0.0.1:1/none?user=sigah&password=secret",
        "host=127.0.0.1 port=1 password='se cret'",
    ],
)
def test_passwords_stay_out_of_messages(address: str) -> None:
    with pytest.raises(OSError, match="check that PostgreSQL is running there") as told:
        connect("pgvector", address)
    assert "et@" not in str(told.value)
    assert "cret" not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("table", ["", "a.b.c", ".a", "ä" * 26])
def test_a_bad_name_of_a_table_is_refused(table: str) -> None:
    with pytest.raises(ValueError, match=r"table must be a name .at most 50 bytes. or schema.name"):
        connect("pgvector", "postgresql://127.0.0.1:1/none", table=table)


def test_settings_of_a_search_do_not_outlive_it(database: str) -> None:
    codes, ids, queries = make_codes(64, n=500)
    export("pgvector", database, codes, fingerprint="c0ffee", ids=ids)
    with connect("pgvector", database, expansion=321) as engine:
        engine.search(queries, 5)
        shown = engine._connection.execute("SHOW hnsw.ef_search").fetchone()
        assert shown == ("40",)
        assert engine._connection.info.transaction_status.name == "IDLE"


def test_vectors_reach_the_server_to_the_last_bit(database: str) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    vectors = np.resize(every[np.isfinite(every)], (3968, 16))
    codes = np.zeros((len(vectors), 1), np.uint8)
    export("pgvector", database, codes, fingerprint="c0ffee", vectors=vectors, kind="flat")
    with connect("pgvector", database) as engine:
        held = engine.get(np.arange(len(vectors)))
    kept = held.take(np.argsort(held.ids)).vectors
    assert kept is not None
    np.testing.assert_array_equal(kept.astype(np.float16), vectors)
