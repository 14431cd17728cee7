"""Strangers on the metrics port: half requests, slow ones and endless ones, as many as a client can send."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dragoman.client.sync import Client
from tests.conftest import Scale
from tests.drills.replica import Replica, load_cores, replica
from tests.drills.results import write

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 60
MEBIBYTES = 1024 - 200  # of the manifests' limit
DESCRIPTORS = 256
HALF, WHOLE = b"GET /metrics HTTP/1.1\r\nHost: a\r\n", b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


def half_requests(port: int) -> None:
    """Open connections without end, and say half of what is to be said."""
    opened: list[socket.socket] = []
    try:
        while len(opened) < 500:
            opened.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            opened[-1].sendall(HALF)
    finally:
        for connection in opened:
            connection.close()


def whole_requests(port: int) -> None:
    """Ask and do not take the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(WHOLE)
        time.sleep(0.002)


@contextlib.contextmanager
def attack(port: int, *ways: Callable[[int], None]) -> Iterator[None]:
    """Attack in several ways for a while, each in two threads."""
    is_over = threading.Event()

    def go_on(way: Callable[[int], None]) -> None:
        while not is_over.is_set():
            with contextlib.suppress(OSError):
                way(port)

    threads = [threading.Thread(target=go_on, args=(way,)) for way in ways for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def scrape(server: Replica) -> bool:
    """Ask as Prometheus does; tell whether there was an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as reply:
            return b"dragoman_threads" in reply.read()
    except OSError:
        return False


def is_serving(server: Replica) -> bool:
    """Ask for its health."""
    with grpc.insecure_channel(server.address) as channel:
        request = health_pb2.HealthCheckRequest()
        reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def test_strangers(tmp_path: Path, scale: Scale) -> None:
    """
    A minute of it costs callers less than a second at the 99th percentile, and the server neither memory nor descriptors nor
    threads worth mentioning; health goes on, and Prometheus gets in.
    """
    with load_cores(), replica(tmp_path) as server, Client(server.address) as client:
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, limits[1]))
        client.translate(["Good morning."], source="en", target="fr")
        before, start = server.footprint, time.monotonic()
        seconds: list[float] = []
        scrapes: list[bool] = []
        with attack(server.metrics_port, half_requests, whole_requests):
            while (began := time.monotonic()) - start < scale(SECONDS, least=2):
                client.translate(["Good morning."], source="en", target="fr")
                seconds.append(time.monotonic() - began)
                if len(scrapes) < began - start:  # each second
                    scrapes.append(scrape(server))
            assert is_serving(server)
            during = server.footprint
        assert scrape(server)

    p99 = sorted(seconds)[int(0.99 * len(seconds))]
    if scale.is_full:
        figures = {
            "seconds": SECONDS, "calls": len(seconds), "p99_seconds": round(p99, 4),
            "resident_mebibytes": round(during.resident_mebibytes, 1), "threads": during.threads - before.threads,
            "files": during.files - before.files, "scrapes": len(scrapes), "scrapes_answered": sum(scrapes),
        }  # fmt: skip
        write("metrics_port", figures)
    assert p99 < 1
    assert during.resident_mebibytes < MEBIBYTES
    assert during.threads < before.threads + 10
    assert during.files < before.files + 40
