"""A server process under observation: what it says, what it holds, whether it still does its work."""

import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dragoman.observability.metrics import SERVICE
from dragoman.v1 import translation_pb2 as pb
from tests.deploy.live import process

# Small limits, so that hostile requests pass them cheaply.
LIMITS = {
    "HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0", "DECODE_LOOPS": "1", "MAX_RUNNING_SENTENCES": "32",
    "MAX_CODE_POINTS": "500", "MAX_CALL_CODE_POINTS": "2000", "MAX_TEXTS": "16", "DEFAULT_DEADLINE_SECONDS": "5",
}  # fmt: skip
MAX_GROWTH_BYTES = 192 * 2**20  # of caches and allocators that had not met their largest request yet
# Asyncio's, which split long texts, and gRPC's: both make them one by one, up to a limit.
MAX_NEW_THREADS = min(32, (os.cpu_count() or 1) + 4) + 4
MAX_NORMAL_SECONDS = 30.0  # on a machine that does much else
_START_SECONDS = 60.0
_SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    resident_bytes: int
    threads: int
    descriptors: int


def _patiently(call: Any, request: Any) -> Any:
    """Make a call, for some seconds again if gRPC itself did not take it.

    It cancels calls when too many wait for a handler.
    """
    deadline = time.monotonic() + MAX_NORMAL_SECONDS
    while True:
        try:
            return call(request, timeout=MAX_NORMAL_SECONDS)
        except grpc.RpcError as error:
            failed: Any = error
            if failed.code() is not grpc.StatusCode.CANCELLED or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Watched:
    """A running server, and a client that behaves."""

    def __init__(self, pid: int, port: int, metrics_port: int, log: Path) -> None:
        self.pid, self.port, self._metrics_port, self._log = pid, port, metrics_port, log
        self._read = 0  # of the log, in bytes
        options = [("grpc.max_receive_message_length", -1)]
        self.channel: Any = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        self._health: Any = health_pb2_grpc.HealthStub(self.channel)
        self._expected: bytes | None = None
        self.first: Held | None = None

    def held(self) -> Held:
        """Return what the process holds now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        resident, threads = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads"))  # type: ignore[index]
        return Held(resident * 1024, threads, len(list(Path(f"/proc/{self.pid}/fd").iterdir())))

    def normal_call(self) -> pb.TranslateResponse:
        """Do what callers do."""
        request = pb.TranslateRequest(
            contents=["The cat sat on the mat."], source_language_code="en", target_language_code="fr"
        )
        call = self.channel.unary_unary(f"/{SERVICE}/Translate")
        reply: bytes = _patiently(call, request.SerializeToString())
        return pb.TranslateResponse.FromString(reply)

    def ask(self, method: str, payloads: list[bytes], timeout: float) -> str:
        """Make a call with these bytes, and return the name of its code."""
        path = f"/{SERVICE}/{method}"
        try:
            if method == "StreamTranslate":
                for reply in self.channel.stream_stream(path)(iter(payloads), timeout=timeout):
                    pb.StreamTranslateResponse.FromString(reply)
            else:
                self.channel.unary_unary(path)(payloads[0], timeout=timeout)
        except grpc.RpcError as error:
            failed: Any = error
            return str(failed.code().name)
        return "OK"

    def warm_up(self) -> None:
        """Let the server do the largest work that its limits allow, which is not to count as growth."""
        request = pb.TranslateRequest(
            contents=["The cat sat on the mat, and slept. " * 8] * 6, source_language_code="en",
            target_language_code="fr", output=pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_SOFT),
            decoding=pb.DecodingOptions(beam_size=2, max_target_tokens=8),
        )  # fmt: skip
        assert "OK" == self.ask("Translate", [request.SerializeToString()], timeout=60)
        self.check()

    def codes(self) -> dict[str, float]:
        """Return how many calls ended with each code, as the server counts."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        counted: dict[str, float] = {}
        for code, value in re.findall(
            r'^grpc_server_handled_total\{grpc_code="(\w+)".*\} (\S+)$', text, re.MULTILINE
        ):
            counted[code] = counted.get(code, 0) + float(value)
        return counted

    def check(self) -> Held:
        """Assert what must hold whatever was sent; return what the process holds."""
        reply = self.normal_call()
        text = reply.translations[0].translated_text
        self._expected = self._expected or text.encode()
        assert self._expected == text.encode(), "the same text has another translation"
        health = _patiently(self._health.Check, health_pb2.HealthCheckRequest(service=SERVICE))
        assert health_pb2.HealthCheckResponse.SERVING == health.status
        codes = self.codes()
        assert (0, 0) == (codes["INTERNAL"], codes["UNKNOWN"]), codes
        for line in self._new_lines():
            said = json.loads(line) if line.startswith("{") else {}
            assert "info" == said.get("level"), line
        return self._check_held()

    def _new_lines(self) -> list[str]:
        """Return what was logged since the last time, whole lines only."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        return new.decode().splitlines()

    def _check_held(self) -> Held:
        """Assert that nothing piles up: what is over is given back within seconds."""
        if self.first is None:
            self.first = self.held()
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            now = self.held()
            grown = now.resident_bytes - self.first.resident_bytes
            is_flat = (
                now.threads <= self.first.threads + MAX_NEW_THREADS
                and now.descriptors <= self.first.descriptors + 2
            )
            if is_flat and grown <= MAX_GROWTH_BYTES:
                return now
            assert time.monotonic() < deadline, f"{self.first} has become {now}"
            time.sleep(0.1)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Run a server, let it do its largest work once, and watch it from then on."""
    log = folder / "server.log"
    environment = {f"DRAGOMAN_{name}": value for name, value in LIMITS.items()}
    with process([sys.executable, "-m", "dragoman", "serve"], log, **environment) as running:
        deadline = time.monotonic() + _START_SECONDS
        while not (found := re.search(r"port (\d+), metrics on port (\d+)", log.read_text("utf-8"))):
            assert running.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, "the server has not started"
            time.sleep(0.05)
        server = Watched(running.pid, int(found[1]), int(found[2]), log)
        server.warm_up()
        yield server
        server.channel.close()
        assert running.poll() is None, "the server has died"
