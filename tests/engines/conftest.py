from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from postgres import ask, running_server

pytest.register_assert_rewrite("contract")

SCHEMAS = count()


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    with running_server() as server:
        yield server


@pytest.fixture
def database(server: Any) -> str:
    """The address of an empty schema of a real PostgreSQL."""
    name = f"test{next(SCHEMAS)}"
    ask(server.get_uri(), f"CREATE SCHEMA {name}")
    return f"{server.get_uri()}&options=-csearch_path%3D{name}%2Cpublic"
