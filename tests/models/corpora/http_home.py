"""A home of files on loopback that can be as unreliable as real ones."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Home:
    """What is served, how badly, and what was asked for."""

    port: int
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)  # of the next requests, one each
    has_ranges: bool = True
    has_length: bool = True
    version: str = '"1"'
    asked: list[str] = field(default_factory=list)  # the Range header of each request, or ""

    def url(self, name: str) -> str:
        """Return where a file is."""
        return f"http://127.0.0.1:{self.port}/{name}"


class Handler(BaseHTTPRequestHandler):
    """Answers one request, or half of it."""

    home: Home

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Send a file, a part of it, or an error."""
        home = self.home
        wanted = self.headers.get("Range", "")
        home.asked.append(wanted)
        fault = home.faults.pop(0) if home.faults else ""
        content = home.files.get(self.path.lstrip("/"))
        if fault.isdigit() or content is None:
            return self.send_error(int(fault) if fault.isdigit() else 404)
        is_same = self.headers.get("If-Range", home.version) == home.version
        start = int(wanted[6:-1]) if wanted and home.has_ranges and is_same else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if home.has_length:
            self.send_header("Content-Length", str(len(content) - start))
        if home.version:
            self.send_header("ETag", home.version)
        self.end_headers()
        rest = content[start:]
        self.wfile.write(rest[: len(rest) // 2] if fault == "cut" else rest)


def open_home() -> tuple[Home, ThreadingHTTPServer]:
    """Start to serve on a free port, in a thread of its own."""

    class Own(Handler):
        """Answers for this home alone."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    Own.home = home = Home(server.server_port)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return home, server
