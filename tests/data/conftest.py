"""A web server that fails as a test chooses."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Web:
    """The files of the server, its behaviour, and the requests it got."""

    files: dict[str, bytes] = field(default_factory=dict)
    supports_ranges: bool = True
    cut_after: int | None = None  # bytes of a body before the connection ends
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, web: Web, *args: object) -> None:
        self.web = web
        super().__init__(*args)

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.web.requests.append((self.path, wanted))
        if self.path not in self.web.files:
            self.send_error(404)
            return
        content = self.web.files[self.path]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.web.supports_ranges else 0
        if start >= len(content):
            self._head(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
            return
        sent = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self._head(206 if start else 200, {"Content-Length": str(len(content) - start), **sent})
        self.wfile.write(content[start:][: self.web.cut_after])

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "*")
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, web))
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield web
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
