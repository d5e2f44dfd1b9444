"""A web server on 127.0.0.1 whose misbehaviour a test scripts, request by request."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Step:
    """What the server does with one request; the default is to serve the file, with ranges and a strong ETag."""

    status: int | None = None  # answer this and nothing else
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # close the connection after this many bytes of the body
    stall: threading.Event | None = None  # and keep it open until then
    ranges: bool = True
    etag: str | None = "auto"  # "auto" is a hash of the content
    length: int | None = None  # the Content-Length to claim
    content: bytes | None = None  # serve this in place of the file
    honour_if_range: bool = True
    start: int | None = None  # begin here, whatever was asked for


class Loopback:
    """The files served, the steps still to come (then the default), and the requests seen."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.steps: deque[Step] = deque()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def ranges_asked(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: Loopback

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.close_connection = True
        self.loopback.requests.append((self.path, dict(self.headers)))
        step = self.loopback.steps.popleft() if self.loopback.steps else Step()
        content = step.content if step.content is not None else self.loopback.files.get(self.path)
        if content is None or step.status is not None:
            self._answer(step.status or 404, step.headers, b"", None)
            return
        etag = f'"{hashlib.md5(content).hexdigest()}"' if step.etag == "auto" else step.etag
        headers = {**({"ETag": etag} if etag else {}), **step.headers}
        asked = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if asked and step.ranges and (condition in (None, etag) or not step.honour_if_range):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            start = start if step.start is None else step.start
            if start >= len(content):
                self._answer(416, {**headers, "Content-Range": f"bytes */{len(content)}"}, b"", None)
                return
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._answer(206, headers, content[start:], step)
        else:
            self._answer(200, headers, content, step)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, step: Step | None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        length = step.length if step and step.length is not None else len(body)
        self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body if step is None or step.cut is None else body[: step.cut])
        if step and step.stall:
            self.wfile.flush()
            step.stall.wait(5)


@contextlib.contextmanager
def serve() -> Iterator[Loopback]:
    """Run the server in a thread on a free port."""
    loopback = Loopback()
    handler = type("Handler", (_Handler,), {"loopback": loopback})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        loopback.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield loopback
        finally:
            server.shutdown()
            thread.join(timeout=5)
