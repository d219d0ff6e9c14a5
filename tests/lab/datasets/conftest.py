"""A web server on the loopback interface, and a cache of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Host:
    """What the web server serves, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)  # bytes sent before hanging up
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def respond(self, request: BaseHTTPRequestHandler) -> None:
        name, wanted = request.path.rpartition("/")[2], request.headers["Range"]
        self.requests.append((name, wanted))
        if name not in self.files:
            request.send_error(404)
            return
        body, start, stop = self.files[name], 0, len(self.files[name])
        if wanted and self.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(stop, int(last) + 1) if last else stop
            if start >= len(body):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(body)}")
                request.end_headers()
                return
        request.send_response(206 if wanted and self.ranges else 200)
        request.send_header("Content-Length", str(stop - start))
        request.end_headers()
        breaks = self.breaks.get(name)
        request.wfile.write(body[start : min(stop, start + breaks.pop(0)) if breaks else stop])


@pytest.fixture
def web_host() -> Iterator[Host]:
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.respond(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield host
        server.shutdown()
        thread.join()


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the web server is asked directly."""
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"
