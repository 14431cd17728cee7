"""The port of /metrics: a few connections, each for a short time, in one thread of its own.

Whoever reaches it may be a stranger. A connection whose request is not there in time is ended, and when there are too
many the oldest makes room: so Prometheus, which asks at once, gets in however many keep silent. Between two answers
there is a pause of several times what one takes: nobody can keep a processor busy by asking.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterable
from http.client import HTTPException, parse_headers
from io import BytesIO
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app

from dragoman.errors import StartupError
from dragoman.observability.metrics import Metrics
from dragoman.threads import started

log = logging.getLogger(__name__)
_MAX_WAITING = 1024  # connections that the system keeps for us
_MAX_REQUEST_BYTES = 8 * 1024  # Prometheus sends some hundred
_PAUSE = 4.0  # between two answers, in times of the first: at most a fifth of a processor
_CLOSE_SECONDS = 2.0
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class MetricsServer:
    """Answers on a port until closed; everything but `close` happens in its own thread."""

    def __init__(
        self, metrics: Metrics, host: str, port: int, *, max_connections: int, seconds: float
    ) -> None:
        """Listen.

        Args:
            port: 0 takes a free one.
            seconds: For a connection, from its first moment to its last.

        Raises:
            StartupError: The port is taken, the address is not ours, or there is no thread to spare.
        """
        self._answer = Exposition(metrics.registry)
        self._dropped = metrics.metrics_connections_dropped
        self._max_connections, self._seconds = max_connections, seconds
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._asking: dict[_Connection, bytes] = {}  # their requests are there
        self._is_pausing = False
        self._is_closing = asyncio.Event()
        self._listening = _listen(host, port)
        self.port: int = self._listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = started(threading.Thread(target=self._run, name="metrics", daemon=True))

    def close(self) -> None:
        """End all connections and the thread."""
        self._loop.call_soon_threadsafe(self._is_closing.set)
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            log.exception("metrics are not served any more")
        self._loop.close()

    async def _serve(self) -> None:
        # `backlog` is also how many are accepted at once, and so take descriptors before any makes room. Those who wait
        # with the system take none.
        server = await self._loop.create_server(
            lambda: _Connection(self), sock=self._listening, backlog=self._max_connections
        )
        self._listening.listen(_MAX_WAITING)
        await self._is_closing.wait()
        for connection in list(self._connections):
            connection.abort()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)  # for them to be let go

    def add(self, connection: _Connection) -> None:
        """Take a connection, in the place of the oldest if there are too many."""
        while len(self._connections) >= self._max_connections:
            silent = (other for other in self._connections if other not in self._asking)
            self._drop(next(silent, next(iter(self._connections))), "full")
        self._connections[connection] = None
        connection.ends = self._loop.call_later(self._seconds, self._drop, connection, "timeout")

    def ask(self, connection: _Connection, request: bytes) -> None:
        """Answer a request in its turn."""
        self._asking[connection] = request
        if not self._is_pausing:
            self._answer_next()

    def forget(self, connection: _Connection) -> None:
        """Let go of a connection that has ended."""
        self._connections.pop(connection, None)
        self._asking.pop(connection, None)

    def _drop(self, connection: _Connection, reason: str) -> None:
        self._dropped.labels(reason).inc()
        self.forget(connection)
        connection.abort()

    def _answer_next(self) -> None:
        self._is_pausing = bool(self._asking)
        if not self._asking:
            return
        connection = next(iter(self._asking))
        request, began = self._asking.pop(connection), time.monotonic()
        try:
            connection.finish(self._answer(request))
        except Exception:
            log.exception("metrics could not be written")
            connection.abort()
        finally:
            self._loop.call_later(_PAUSE * (time.monotonic() - began), self._answer_next)


class _Connection(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self, server: MetricsServer) -> None:
        self._server = server
        self._request = b""
        self._transport: Any = None
        self.ends: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.add(self)

    def data_received(self, data: bytes) -> None:
        if len(self._request) > _MAX_REQUEST_BYTES or b"\r\n\r\n" in self._request:
            return  # what is behind a request is of no use
        self._request += data[: _MAX_REQUEST_BYTES + 1]
        if b"\r\n\r\n" in self._request:
            self._server.ask(self, self._request)
        elif len(self._request) > _MAX_REQUEST_BYTES:
            self.finish(_BAD_REQUEST)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ends is not None:
            self.ends.cancel()
        self._server.forget(self)

    def finish(self, reply: bytes) -> None:
        """Send a reply and end once it is taken, if that is in time."""
        self._transport.write(reply)
        self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()


class Exposition:
    """HTTP requests to replies, by the application that comes with the library."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._application = make_wsgi_app(registry)

    def __call__(self, request: bytes) -> bytes:
        """Return the whole reply, whatever the request is."""
        try:
            line, _, rest = request.partition(b"\r\n")
            method, target, _ = line.decode("ascii").split(" ")
            headers = parse_headers(BytesIO(rest))
        except (ValueError, HTTPException):
            return _BAD_REQUEST
        path, _, query = target.partition("?")
        asked = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
        encoding = {"HTTP_ACCEPT_ENCODING": headers.get("Accept-Encoding", "")}
        try:
            return self._reply(asked | encoding | {"HTTP_ACCEPT": headers.get("Accept", "")})
        except (
            TypeError,
            ValueError,
        ):  # a version in `Accept` that is none; then there is what everybody reads
            return self._reply(asked | encoding)

    def _reply(self, environ: dict[str, str]) -> bytes:
        head: list[str] = []

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            head.append(f"HTTP/1.1 {status}")
            head.extend(f"{name}: {value}" for name, value in headers)

        body = b"".join(self._application(environ, start))
        head += ["Connection: close", f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(head).encode() + body


def _listen(host: str, port: int) -> socket.socket:
    """Open a port.

    Raises:
        StartupError: It is taken, or the address is not ours.
    """
    try:
        family, kind, protocol, _, address = _first(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_MAX_WAITING)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise StartupError(f"cannot serve metrics on {host}:{port}: {error.strerror}") from None
    return listening


def _first(found: Iterable[Any]) -> Any:
    return next(iter(found))
