"""A web server on this machine that can be told to misbehave."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Web:
    """A server on this machine: files by path, and how it behaves. Requests are noted as (path, Range or None)."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Callable[[], tuple[int, bytes]]] = field(default_factory=dict)  # instead of files
    cut_after: int | None = None  # bytes of each response after which the connection breaks
    stall_after: int | None = None  # bytes after which nothing more comes; `stalled` is set then
    stalled: threading.Event = field(default_factory=threading.Event)
    ranges: bool = True  # whether Range is honoured
    etag: str | None = "strong"  # strong, weak or None
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def tag(self, content: bytes) -> str | None:
        name = f'"{hashlib.md5(content).hexdigest()}"'
        return {"strong": name, "weak": f"W/{name}"}.get(self.etag or "")


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def answer(self, status: int, body: bytes, **headers: str | None) -> None:
            self.send_response(status)
            for key, value in headers.items():
                if value is not None:
                    self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if web.cut_after is not None and web.cut_after < len(body):
                self.wfile.write(body[: web.cut_after])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
            elif web.stall_after is not None and web.stall_after < len(body):
                self.wfile.write(body[: web.stall_after])
                self.wfile.flush()
                web.stalled.set()
                self.rfile.read(1)  # until the other side is gone
                self.close_connection = True
            else:
                self.wfile.write(body)

        def do_GET(self) -> None:
            path, _, _ = self.path.partition("?")
            web.requests.append((self.path, self.headers.get("Range")))
            if path in web.answers:
                self.answer(*web.answers[path]())
                return
            if path not in web.files:
                self.answer(404, b"")
                return
            content = web.files[path]
            tag = web.tag(content)
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            unchanged = self.headers.get("If-Range") in (None, tag)
            if wanted and web.ranges and unchanged:
                start = int(wanted[1])
                if start >= len(content):
                    self.answer(416, b"", Content_Range=f"bytes */{len(content)}")
                else:
                    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                    self.answer(206, content[start:], Content_Range=span, ETag=tag)
            else:
                self.answer(200, content, ETag=tag)

    return Handler


@pytest.fixture
def web() -> Iterator[Web]:
    """A fresh server for each test."""
    web = Web()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(web)) as server:
        web.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield web
        server.shutdown()
        thread.join()
