"""A server in a process of its own, as an operator sees it: its log, its metrics, its memory, its signals."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0  # seconds; a bound, not an expectation


class Process:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log
        self.port = self.metrics_port = 0

    def wait_until_it_serves(self) -> None:
        """Wait for the line that says where it listens."""
        pattern = re.compile(r"on 127\.0\.0\.1 port (\d+), metrics on port (\d+)")
        self.wait_for(lambda: pattern.search(self.log))
        found = pattern.search(self.log)
        assert found is not None
        self.port, self.metrics_port = int(found[1]), int(found[2])

    @property
    def log(self) -> str:
        """Return what it has said so far."""
        return self._log.read_text("utf-8")

    @property
    def memory(self) -> int:
        """Return what it holds of its own in memory, in bytes; pages of files can be had again, and do not count."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def metric(self, name: str) -> float:
        """Return a sample by its name with labels, as it is written; one that does not exist is 0."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def reloads(self, result: str) -> float:
        """Return how many reloads ended so."""
        return self.metric(f'dragoman_reloads_total{{result="{result}"}}')

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until something is so while it runs."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end, and check that it ends well."""
        self.signal(signal.SIGTERM)
        self.ended_well()

    def ended_well(self) -> None:
        """Wait for its end, and check that it was a good one."""
        assert 0 == self.process.wait(PATIENCE), self.log
        assert "Traceback" not in self.log


@contextmanager
def launched(folder: Path, *arguments: str, shell: str = 'exec "$@"', **variables: str) -> Iterator[Process]:
    """Start a server on free ports; it is killed if it still runs at the end.

    Args:
        folder: Where its log is written.
        shell: What a shell does to start it.
        variables: Environment variables besides the present ones.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
    listening = ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"]
    command = [sys.executable, "-m", "dragoman", "serve", *listening, *arguments]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", shell, "sh", *command],
            stdout=output, stderr=output, cwd=ROOT, env={**kept, **variables},
        )  # fmt: skip
    try:
        yield Process(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def serving(folder: Path, *arguments: str, shell: str = 'exec "$@"', **variables: str) -> Iterator[Process]:
    """Run a server, and check that it ends well when it is asked to."""
    with launched(folder, *arguments, shell=shell, **variables) as process:
        process.wait_until_it_serves()
        yield process
        process.stop()
