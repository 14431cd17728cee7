"""The port of /metrics as strangers meet it: bounded in connections, time, descriptors and threads."""

import gzip
import resource
import socket
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from dragoman.client.sync import Client
from dragoman.errors import StartupError
from dragoman.observability.metrics import Metrics
from dragoman.observability.metrics_server import Exposition, MetricsServer
from tests.process import Process, serving

GET = b"GET /metrics HTTP/1.1\r\nHost: here\r\n"
SECONDS = 30.0  # a bound, not an expectation


@contextmanager
def serve(
    max_connections: int = 4, seconds: float = SECONDS, host: str = "127.0.0.1"
) -> Iterator[MetricsServer]:
    """Serve fresh metrics for a while."""
    metrics = Metrics(CollectorRegistry())
    server = MetricsServer(metrics, host, 0, max_connections=max_connections, seconds=seconds)
    try:
        yield server
    finally:
        server.close()


def connect(port: int) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def reply(port: int, request: bytes) -> tuple[str, bytes]:
    """Send some bytes, and return head and body of what comes back until the end."""
    with connect(port) as connection:
        connection.sendall(request)
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    return head.decode(), body


def dropped(port: int, reason: str) -> float:
    """Return how many connections were ended without an answer."""
    _, body = reply(port, GET + b"\r\n")
    name = f'dragoman_metrics_connections_dropped_total{{reason="{reason}"}} '
    return next(
        float(line.removeprefix(name)) for line in body.decode().splitlines() if line.startswith(name)
    )


def has_ended(connection: socket.socket) -> bool:
    """Wait for the end of a connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def refusal(host: str, port: int) -> str:
    """Return why nobody can listen there."""
    with pytest.raises(StartupError) as refused:
        MetricsServer(Metrics(CollectorRegistry()), host, port, max_connections=1, seconds=1)
    return refused.value.message


class TestReplies:
    @pytest.mark.parametrize(
        "accept",
        [
            "",
            "*/*",
            "text/plain;version=abc",
            "text/plain;version=0.0.4,application/openmetrics-text;version=x.y.z;q=0.1",
        ],
    )
    def test_any_accept(self, accept: str) -> None:
        """
        Whatever versions somebody says to accept, there is an answer.
        """
        with serve() as server:
            head, body = reply(server.port, GET + f"Accept: {accept}\r\n\r\n".encode())

        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "Content-Type: text/plain" in head
        assert f"Content-Length: {len(body)}" in head
        assert b"dragoman_queue_depth" in body

    def test_what_prometheus_asks(self) -> None:
        """
        OpenMetrics, compression and a choice of names are the library's, as before.
        """
        request = b"GET /metrics?name%5B%5D=dragoman_threads HTTP/1.1\r\naccept-encoding: gzip\r\n"
        with serve() as server:
            head, body = reply(
                server.port, request + b"ACCEPT: application/openmetrics-text;version=1.0.0\r\n\r\n"
            )

        assert "application/openmetrics-text" in head
        lines = gzip.decompress(body).decode().splitlines()
        assert ["dragoman_threads 0.0", "# EOF"] == lines[-2:]

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (b"POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\n", "405 Method Not Allowed"),
            (b"\xff\xfe\x00\r\n\r\n", "400 Bad Request"),
            (b"GET\r\n\r\n", "400 Bad Request"),
            (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n", "400 Bad Request"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "405 Method Not Allowed"),
            (b"G" * 10_000, "400 Bad Request"),
            (b"GET /" + b"a" * 9000, "400 Bad Request"),
        ],
        ids=["method", "binary", "short", "headers", "http2", "endless", "path"],
    )
    def test_odd_requests(self, request_: bytes, status: str) -> None:
        """
        What is no request for metrics is refused, and the next one answered.
        """
        with serve() as server:
            head, _ = reply(server.port, request_)

            assert head.startswith(f"HTTP/1.1 {status}")
            assert 0 == dropped(server.port, "full")

    def test_taken(self) -> None:
        """
        A port that is taken, or an address that is not ours, is named.
        """
        with serve() as server:
            assert f"127.0.0.1:{server.port}: Address already in use" in refusal("127.0.0.1", server.port)
        assert "cannot serve metrics on 192.0.2.1:0: " in refusal("192.0.2.1", 0)

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
    def test_both_families(self) -> None:
        """
        Listening on all addresses of IPv6 includes those of IPv4.
        """
        with serve(host="::") as server:
            assert reply(server.port, GET + b"\r\n")[0].startswith("HTTP/1.1 200 OK")


class TestBounds:
    def test_the_oldest_makes_room(self) -> None:
        """
        However many connections keep silent, the newest gets its answer; those that had to go are counted.
        """
        with serve(max_connections=4) as server, ExitStack() as opened:
            silent = [opened.enter_context(connect(server.port)) for _ in range(40)]
            for connection in silent:
                connection.sendall(GET)

            assert 37 == dropped(server.port, "full")
            assert all(map(has_ended, silent[:37]))

    def test_time_is_up(self) -> None:
        """
        Who does not send a request in time is cut off, also if a byte of it comes now and then.
        """
        with serve(seconds=0.5) as server, connect(server.port) as silent, connect(server.port) as slow:
            began = time.monotonic()
            with suppress(ConnectionError):
                while time.monotonic() - began < SECONDS:
                    slow.sendall(b"a")
                    time.sleep(0.02)

            assert time.monotonic() - began < SECONDS
            assert has_ended(silent)
            assert 2 == dropped(server.port, "timeout")

    def test_all_at_once(self) -> None:
        """
        Callers that ask at the same time are answered one after the other.
        """
        with serve(max_connections=8) as server, ThreadPoolExecutor(8) as callers:
            heads = [head for head, _ in callers.map(lambda _: reply(server.port, GET + b"\r\n"), range(8))]

        assert all(head.startswith("HTTP/1.1 200 OK") for head in heads)

    def test_pauses(self) -> None:
        """
        Asking without end takes a part of a processor only: the server rests several times as long as it works.
        """
        with serve(max_connections=8) as server, ThreadPoolExecutor(4) as callers:
            began, used = time.monotonic(), time.process_time()
            list(callers.map(lambda _: reply(server.port, GET + b"\r\n"), range(60)))
            seconds, used = time.monotonic() - began, time.process_time() - used

        assert used < 0.6 * seconds  # half of it is the callers' own, in the same process


def test_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An answer that cannot be made, for want of memory say, ends its connection; the next one is made.
    """
    answer, failures = Exposition.__call__, iter([MemoryError()])

    def fail_once(exposition: Exposition, request: bytes) -> bytes:
        if error := next(failures, None):
            raise error
        return answer(exposition, request)

    monkeypatch.setattr(Exposition, "__call__", fail_once)
    with serve() as server:
        with connect(server.port) as connection:
            connection.sendall(GET + b"\r\n")
            assert has_ended(connection)

        assert reply(server.port, GET + b"\r\n")[0].startswith("HTTP/1.1 200 OK")


def test_half_requests(tmp_path: Path) -> None:
    """
    1,500 half requests take no thread and hardly a descriptor: with 256 of them, calls, health and Prometheus go on.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(tmp_path, "--decode-loops", "1") as process, ExitStack() as opened:
        resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE, (256, limits[1]))
        threads, files = num(process, "task"), num(process, "fd")
        for _ in range(1500):
            opened.enter_context(connect(process.metrics_port)).sendall(GET)

        with Client(f"127.0.0.1:{process.port}") as client:
            assert client.translate(["Good morning."], source="en", target="fr")
        address = f"http://127.0.0.1:{process.metrics_port}/metrics"
        assert 200 == urllib.request.urlopen(address, timeout=SECONDS).status
        assert num(process, "fd") < files + 40
        assert num(process, "task") < threads + 10  # gRPC has some for calls


def num(process: Process, kind: str) -> int:
    """Return how many threads or descriptors a process has."""
    return sum(1 for _ in Path(f"/proc/{process.process.pid}/{kind}").iterdir())
