"""The example of a service: several clients, several workers, writes, and new models meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from sigah import ITQ, LSH, KeyedIndex
from sigah.serving import Deployment

pytestmark = pytest.mark.engine  # FastAPI is not among what `make test` installs

ROOT = Path(__file__).parents[2]
N, D, CLIENTS, ROUNDS = 500, 16, 4, 12
VECTORS = np.random.default_rng(0).normal(size=(N + CLIENTS * ROUNDS, D)).astype(np.float32)
NAMES = [f"doc/{row}" for row in range(N)]
OLD = ITQ(n_bits=16, random_state=0).fit(VECTORS)
NEW = LSH(n_bits=64, random_state=1).fit(VECTORS)


class Service:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, content: Any = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = KeyedIndex.of(OLD)
    index.add(OLD.transform(VECTORS[:N]), NAMES)
    Deployment.create(tmp_path / "served", index, OLD)
    return tmp_path / "served"


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    """Two workers of the example, stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = f"-m uvicorn --app-dir {ROOT / 'examples/service'} service:app --workers 2"
    server = subprocess.Popen(
        [sys.executable, *words.split(), "--port", str(port), "--log-level", "warning"],
        env=os.environ | {"SIGAH_FOLDER": str(folder)},
        start_new_session=True,
    )
    try:
        service = Service(port)
        ends = time.monotonic() + 120
        while True:
            try:
                if service.ask("GET", "/health")[0] == 200:
                    break
            except OSError:
                assert server.poll() is None and time.monotonic() < ends
                time.sleep(0.2)
        yield service
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            raise
        assert server.returncode in (0, -signal.SIGINT, 130)


def test_under_load_nothing_is_lost_and_nothing_is_wrong(service: Service, folder: Path) -> None:
    """Clients write and search while models are switched; each answer is that of brute force.

    A client's own writes are found by its next request, whichever worker answers.
    """
    models = {1: OLD, 2: NEW}
    codes = {number: model.transform(VECTORS) for number, model in models.items()}
    generations, switched = set(), Event()

    def right(answer: Any, row: int) -> None:
        generations.add(answer["generation"])
        own = codes[answer["generation"]]
        for distance, key in zip(answer["distances"][0], answer["keys"][0], strict=True):
            assert distance == np.bitwise_count(own[int(key.partition("/")[2])] ^ own[row]).sum()

    def client(number: int) -> set[str]:
        kept, turn = set(), 0
        while turn < ROUNDS or not switched.is_set():
            row = N + number * ROUNDS + turn % ROUNDS
            key, vector = f"new/{row}", VECTORS[row].tolist()
            turn += 1
            assert service.ask("POST", "/add", {"keys": [key], "vectors": [vector]}) == (
                200, {"added": 1}
            )  # fmt: skip
            status, found = service.ask("POST", "/search", {"vectors": [vector], "k": 5})
            assert status == 200 and found["distances"][0][0] == 0
            right(found, row)
            only = {"vectors": [vector], "k": 1, "only": [key]}
            assert service.ask("POST", "/search", only)[1]["keys"] == [[key]]
            kept.add(key)
            if turn % 3 == 0:
                assert service.ask("POST", "/remove", {"keys": [key]})[0] == 200
                assert service.ask("POST", "/search", only)[1]["keys"] == [[]]
                kept.discard(key)
        return kept

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        try:
            operator = Deployment(folder)
            operator.reencode(NEW, VECTORS[:N], NAMES)
            operator.switch()
            operator.save()
            operator.back()
            operator.back()
        finally:
            switched.set()
        kept = set().union(*(one.result() for one in clients))
    assert generations <= {1, 2}
    ends = time.monotonic() + 60  # both workers have loaded the new model
    while {service.ask("GET", "/health")[1]["generation"] for _ in range(8)} != {2}:
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert {service.ask("GET", "/health")[1]["n"] for _ in range(8)} == {N + len(kept)}
    opened = Deployment(folder).current()
    assert set(opened.index.keys) == set(NAMES) | kept
    rows = [int(key.partition("/")[2]) for key in opened.index.keys]
    assert (opened.index.get(opened.index.keys) == codes[2][rows]).all()


BAD = {
    "1 features": ("/search", {"vectors": [[1.0]], "k": 3}, 400),
    "NaN": ("/add", {"keys": ["a"], "vectors": [[float("nan")] * D]}, 400),
    "'nobody' is not in the index": ("/remove", {"keys": ["nobody"]}, 400),
    "greater than or equal to 1": ("/search", {"vectors": [[0.0] * D], "k": 0}, 422),
    "inhomogeneous": ("/search", {"vectors": [[0.0] * D, [1.0]]}, 400),
}


def test_bad_requests_are_told_and_change_nothing(service: Service, folder: Path) -> None:
    for reason, (path, content, wanted) in BAD.items():
        status, answer = service.ask("POST", path, content)
        assert status == wanted and reason in str(answer), answer
    assert len(Deployment(folder)) == N
