"""A stranger who sends calls as fast as it is told, over one connection at a time: a program, so that it has a processor to itself.

    python -m tests.fuzz.floods reset PORT --rate 10000 --seconds 60

prints how many calls it sent and how many connections that took, as JSON.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.fuzz import frames
from tests.fuzz.attacks import ATTACKS, Attacker

SOURCE = "127.0.0.2"  # where no caller calls from
NO_TEXT = [(name, b"/\xff\xfe" if name == b":path" else value) for name, value in frames.call_headers()]
KINDS: dict[str, dict[str, Any]] = {
    "refused": {},
    "reset": {"is_reset": True},
    "names": {"headers": NO_TEXT},
    "health": {"headers": frames.call_headers("Check", "grpc.health.v1.Health")},
}
_TICK_SECONDS, _PATIENCE_SECONDS = 0.01, 5.0
_CONNECTIONS, _CALLS = 10, 15  # at once, of an attack on memory
_ROOT = Path(__file__).parents[2]


class Flood:
    """What is sent, and how much of it there was."""

    def __init__(self, kind: str, port: int, rate: int) -> None:
        self._call, self._port = KINDS[kind], port
        self._each = max(1, round(rate * _TICK_SECONDS))  # calls at a time
        self._pause = self._each / rate
        self.calls = self.connections = self.failures = 0

    def run(self, seconds: float, rest: float) -> None:
        """Send for so long; after a connection is closed, rest before the next."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self._over_one_connection(end)
            except OSError:
                self.failures += 1
            time.sleep(min(rest, max(0.0, end - time.monotonic())))

    def _over_one_connection(self, end: float) -> None:
        with socket.create_connection(("127.0.0.1", self._port), _PATIENCE_SECONDS, (SOURCE, 0)) as opened:
            self.connections += 1
            opened.sendall(frames.HELLO)
            opened.recv(2**16)  # the other side's settings, which it wants to see acknowledged
            opened.sendall(frames.frame(frames.SETTINGS, 1))
            stream = 1
            while time.monotonic() < end:
                began = time.monotonic()
                calls = (frames.opened(stream + 2 * n, **self._call) for n in range(self._each))
                opened.sendall(b"".join(calls))
                self.calls += self._each
                stream += 2 * self._each
                _read(opened)
                time.sleep(max(0.0, began + self._pause - time.monotonic()))


def _read(opened: socket.socket) -> None:
    """Take what has come, so that the other side can go on; notice when it has hung up."""
    opened.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while opened.recv(2**16):
            pass
        raise ConnectionResetError
    opened.settimeout(_PATIENCE_SECONDS)


@contextlib.contextmanager
def flood(kind: str, port: int, *, rate: int, seconds: float, rest: float) -> Iterator[dict[str, int]]:
    """Run a flood beside us; what it did is there when it is over."""
    command = [sys.executable, "-m", "tests.fuzz.floods", kind, str(port)]
    limits = ["--rate", str(rate), "--seconds", str(seconds), "--rest", str(rest)]
    path = {"PYTHONPATH": f"{_ROOT}:{_ROOT / 'service'}"}
    done: dict[str, int] = {}
    with subprocess.Popen([*command, *limits], stdout=subprocess.PIPE, cwd=_ROOT, env=path) as running:
        yield done
        output, _ = running.communicate(timeout=seconds + 60)
    assert 0 == running.returncode
    done.update(json.loads(output))


def attack(name: str, port: int, seconds: float, rest: float) -> dict[str, int]:
    """Hold memory over some connections at once, anew when they are closed; return how many there were."""
    end = time.monotonic() + seconds

    def over_and_over(_: int) -> int:
        times = 0
        while (left := end - time.monotonic()) > 0:
            Attacker(port, [ATTACKS[name]] * _CALLS).run(left)
            times += 1
            time.sleep(min(rest, max(0.0, end - time.monotonic())))
        return times

    with ThreadPoolExecutor(_CONNECTIONS) as attackers:
        return {"connections": sum(attackers.map(over_and_over, range(_CONNECTIONS)))}


def main() -> None:
    """Flood a port."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[*KINDS, *ATTACKS])
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=int, default=10_000, help="calls a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rest", type=float, default=1.0, help="seconds after a connection is closed")
    given = parser.parse_args()
    if given.kind in ATTACKS:
        print(json.dumps(attack(given.kind, given.port, given.seconds, given.rest)))
        return
    sent = Flood(given.kind, given.port, given.rate)
    sent.run(given.seconds, given.rest)
    print(json.dumps({"calls": sent.calls, "connections": sent.connections, "failures": sent.failures}))


if __name__ == "__main__":
    main()
