"""The proxy of deploy/components/edge-proxy in front of a real server, as its configuration has it; only ports differ."""

import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import require_tool
from tests.deploy.manifests import DEPLOY
from tests.drills.replica import free_port
from tests.process import PATIENCE, Process, serving

COMPONENT = DEPLOY / "components/edge-proxy"
CONFIG = COMPONENT / "haproxy.cfg"
_TELLS = ("haproxy_frontend_requests_denied_total", "haproxy_frontend_denied_connections_total")


class Edge:
    """A proxy, and the server behind it."""

    def __init__(self, server: Process, process: subprocess.Popen[bytes], ports: list[int]) -> None:
        self.server, self.process = server, process
        self.port, self.health_port, self.metrics_port = ports

    def metrics(self) -> str:
        """Return what the proxy tells Prometheus."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as reply:
            text: str = reply.read().decode()
        return text

    def refused(self) -> float:
        """Return how many calls and connections the proxy has refused."""
        found = re.findall(rf'^({"|".join(_TELLS)}){{proxy="grpc"}} (\d+)$', self.metrics(), re.MULTILINE)
        return sum(float(value) for _, value in found)


def settings() -> dict[str, str]:
    """Return the settings that the component gives the server, on ports of its own."""
    lines = (COMPONENT / "settings.env").read_text("utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    del given["DRAGOMAN_PORT"], given["DRAGOMAN_METRICS_HOST"]
    return given | {"DRAGOMAN_HEALTH_PORT": "0"}


@contextmanager
def edge(
    folder: Path, bind: str = "proto h2", *command: str, config: Path = CONFIG, **variables: str
) -> Iterator[Edge]:
    """Run a server with the proxy in front.

    Args:
        bind: How the proxy's port is bound, in its words.
        command: What runs the proxy; by default the program itself.
        variables: Environment of the server.
    """
    haproxy = require_tool("haproxy")
    with serving(folder, **{**settings(), **variables}) as server:
        ports = [free_port() for _ in range(3)]
        names = ("EDGE_PORT", "EDGE_HEALTH_PORT", "EDGE_METRICS_PORT")
        environment = {
            **os.environ, "EDGE_HOST": "127.0.0.1", "EDGE_BIND": bind, "EDGE_SERVER_PORT": str(server.port),
            "EDGE_SERVER_HEALTH_PORT": str(health_port(server)), **dict(zip(names, map(str, ports), strict=True)),
        }  # fmt: skip
        with (folder / "haproxy.log").open("wb") as log:
            process = subprocess.Popen(
                command or [haproxy, "-db", "-f", str(config)], env=environment, stdout=log, stderr=log
            )
        try:
            proxy = Edge(server, process, ports)
            wait_for_port(proxy, folder / "haproxy.log")
            yield proxy
            process.terminate()
            process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def health_port(server: Process) -> int:
    """Return the port of the server's health."""
    found = re.search(r"health on port (\d+)", server.log)
    assert found is not None
    return int(found[1])


def wait_for_port(proxy: Edge, log: Path) -> None:
    """Wait until the proxy listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert proxy.process.poll() is None, log.read_text("utf-8")
        try:
            proxy.metrics()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the proxy does not listen")
