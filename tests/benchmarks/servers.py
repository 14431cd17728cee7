"""Servers as processes of their own, ours and the peer's, and what a caller sees of them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc

from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.benchmarks import measure
from tests.benchmarks.corpus import Text
from tests.benchmarks.measure import ROOT, Plan
from tests.benchmarks.theirs import KERNELS, Settings

PATIENCE_SECONDS = 60.0
_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]  # each server has a connection of its own


class Server:
    """A process that listens; `stub` calls it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path, began: float) -> None:
        self.process, self.port = process, port
        self._wait_until_it_listens(log)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
        self._stub: Any = TranslationServiceStub(self._channel)
        self.call(Text("en", "fr", "Good morning."))
        self.startup_seconds = time.perf_counter() - began

    def call(self, text: Text) -> Any:
        """Translate a text."""
        return self._stub.Translate(request(text), timeout=PATIENCE_SECONDS)

    @property
    def resident_mebibytes(self) -> float:
        """Return how much memory it holds."""
        return measure.resident_mebibytes(self.process.pid)

    def close(self) -> None:
        """Ask it to end, and wait."""
        self._channel.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)

    def _wait_until_it_listens(self, log: Path) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {log.read_text()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.002)
        self.process.kill()
        raise TimeoutError(f"the server does not listen: {log.read_text()}")


def request(text: Text) -> pb.TranslateRequest:
    """Return the request for a text alone."""
    return pb.TranslateRequest(
        contents=[text.text], source_language_code=text.source, target_language_code=text.target
    )


@contextlib.contextmanager
def ours(plan: Plan, cores: Sequence[int], *settings: str) -> Iterator[Server]:
    """Run our server on some cores for a while, with its defaults unless other flags are given."""
    command = ["dragoman", "serve", "--host", "127.0.0.1", "--metrics-port", "-1"]
    command += ["--bundle", str(plan.bundle), *settings]
    with _running(command, cores) as server:
        yield server


@contextlib.contextmanager
def peer(plan: Plan, model: Path, cores: Sequence[int], settings: Settings, *flags: str) -> Iterator[Server]:
    """Run the peer's server on some cores for a while; `flags` say the mode."""
    command = ["tests.benchmarks.peer", "--model", str(model), "--bundle", str(plan.bundle)]
    command += ["--compute-type", settings.compute_type, "--kernels", settings.kernels]
    command += ["--threads", str(settings.threads), "--workers", str(settings.workers), *flags]
    with _running(command, cores) as server:
        yield server


@contextlib.contextmanager
def _running(command: Sequence[str], cores: Sequence[int]) -> Iterator[Server]:
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
    for name in KERNELS["mkl packed"]:
        environment.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as said, measure.pinned(cores):
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", *command, "--port", str(port)],
                stdout=said, stderr=said, cwd=ROOT, env=environment,
            )  # fmt: skip
        server = None
        try:
            server = Server(process, port, log, began)
            yield server
        finally:
            if server is None:
                process.kill()
                process.wait()
            else:
                server.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mixed(texts: Sequence[Text], count: int, seed: int = 1) -> list[Text]:
    """Return so many texts of one to four sentences each, most of one: what a server sees in a day."""
    chosen = random.Random(seed)
    by_direction: dict[tuple[str, str], list[str]] = {}
    for text in texts:
        by_direction.setdefault((text.source, text.target), []).append(text.text)
    found = []
    for _ in range(count):
        source, target = chosen.choice(sorted(by_direction))
        number = chosen.choice((1, 1, 1, 1, 2, 4))
        found.append(Text(source, target, " ".join(chosen.choices(by_direction[source, target], k=number))))
    return found
