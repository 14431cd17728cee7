"""A server process of its own, bound to one processor, and what can be seen of it from outside."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
_LISTENING = re.compile(r"on 127\.0\.0\.1 port (\d+), metrics on port (\d+)")
_CORES = sorted(os.sched_getaffinity(0))
_PORTS = range(
    20_000, 32_000
)  # below those that the system gives to clients, or a restart finds its own taken


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    resident_mebibytes: float
    threads: int
    files: int


class Replica:
    """One server: started, ended and started again on the same port."""

    def __init__(self, folder: Path, *flags: str, cores: Sequence[int] | None = None) -> None:
        """Prepare a server; `start` runs it.

        Args:
            folder: Where its log goes.
            flags: Settings besides the defaults.
            cores: Processors it may use; by default the first.
        """
        self.port = free_port()
        self._flags, self._cores = flags, cores or server_cores()
        self._log = folder / f"{self.port}.log"
        self.metrics_port = 0
        self.process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """Return where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run the server, and wait until it listens."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
        command = [sys.executable, "-m", "dragoman", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        # Bound here and not in the child, which would need a fork: gRPC, if it runs here, dies of that.
        with self._log.open("wb") as log, bound(self._cores):
            self.process = subprocess.Popen(
                [*command, "--metrics-port", "0", *self._flags], stderr=log, cwd=ROOT,
                env=kept | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        until(self._listens)

    def _listens(self) -> bool:
        found = _LISTENING.search(self.log)
        assert self.process.poll() is None, self.log
        self.metrics_port = int(found[2]) if found else 0
        return found is not None

    @property
    def log(self) -> str:
        """Return what it said since it was started."""
        return self._log.read_text("utf-8")

    def terminate(self) -> int:
        """Ask it to end, wait, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a metric that have these labels."""
        only = urllib.parse.urlencode({"name[]": name})  # a quarter of a second otherwise, under load
        address = f"http://127.0.0.1:{self.metrics_port}/metrics?{only}"
        with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as reply:
            text = reply.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @property
    def footprint(self) -> Footprint:
        """Return what it holds now."""
        folder = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        mebibytes = int(status["VmRSS"].split()[0]) / 1024
        return Footprint(mebibytes, int(status["Threads"]), sum(1 for _ in (folder / "fd").iterdir()))


@contextmanager
def replicas(folder: Path, count: int, *flags: str) -> Iterator[list[Replica]]:
    """Run some servers for a while; those that still run at the end must end well."""
    made = [Replica(folder, *flags) for _ in range(count)]
    try:
        for one in made:
            one.start()
        yield made
        for one in made:
            assert one.process.poll() is not None or 0 == one.terminate(), one.log
    finally:
        for one in made:
            if hasattr(one, "process") and one.process.poll() is None:
                one.kill()


@contextmanager
def replica(folder: Path, *flags: str) -> Iterator[Replica]:
    """Run a server for a while."""
    with replicas(folder, 1, *flags) as [one]:
        yield one


def server_cores() -> list[int]:
    """Return the processor that servers share; the load has the others, where there are any."""
    return _CORES[:1]


@contextmanager
def bound(cores: Sequence[int]) -> Iterator[None]:
    """Bind this thread, and all that it starts meanwhile, to some processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def load_cores() -> AbstractContextManager[None]:
    """Bind this thread, and those that it starts, to the processors that servers leave it."""
    return bound(_CORES[1:] or _CORES)


def free_port() -> int:
    """Return a port that nobody listens on, and that the system gives to nobody by itself."""
    chosen = random.Random()
    while True:
        port = chosen.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)
