"""A server, load on it, and a Prometheus that watches: real processes on loopback, ended by their own ids."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc

from dragoman import Client, ServerError
from dragoman.client.credentials import Credentials
from dragoman.security import key_store
from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.conftest import require_tool
from tests.deploy.manifests import DEPLOY, ROOT

# Few rows, so that sentences wait; a short queue, so that calls are refused.
SLOW = {"DECODE_LOOPS": "1", "THREADS": "1", "MAX_RUNNING_SENTENCES": "2", "MAX_QUEUED_SENTENCES": "300"}
SOON = {"RELOAD_SECONDS": "0.5", "SECURITY_RELOAD_SECONDS": "0.5"}
TEXTS = [
    "Where is the station?",
    "The agreement on the European Economic Area was signed in August 1992 by twelve ministers.",
    "Good morning.",
]
LONG = 3 * "The agreement on the European Economic Area was signed in August 1992 by twelve ministers, "
LONG += "and that was that."  # 240 of these take more than a second on any processor of today, and less than twenty
_START_SECONDS = 60.0


@contextmanager
def process(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for a while; it is asked to end, and made to if it does not."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
    with log.open("wb") as output:
        running = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=ROOT, env={**inherited, **environment}
        )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def server(folder: Path, files: "Files") -> Iterator[tuple[int, int]]:
    """Run our server on free ports; yield that of the service and that of the metrics."""
    log = folder / "server.log"
    settings = {"HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0", **SLOW, **SOON}
    settings["API_KEY_FILE"] = str(files.keys)
    environment = {f"DRAGOMAN_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "dragoman", "serve", "--config", str(files.settings)]
    with process(command, log, **environment) as running:
        deadline = time.monotonic() + _START_SECONDS
        while not (found := re.search(r"port (\d+), metrics on port (\d+)", log.read_text("utf-8"))):
            assert running.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, "the server has not started"
            time.sleep(0.1)
        yield int(found[1]), int(found[2])


class Files:
    """What a server reads again while it runs: settings and keys.

    Attributes:
        credentials: Of a key that is among them.
    """

    def __init__(self, folder: Path) -> None:
        """Write files that are as they should be."""
        self.settings, self.keys = folder / "dragoman.toml", folder / "keys.json"
        self.settings.write_text("max_texts = 256\n", "utf-8")
        self.credentials = Credentials(api_key=key_store.create(self.keys, "load"))
        self._good = self.settings.read_bytes(), self.keys.read_bytes()

    def spoil(self) -> None:
        """Write what cannot be used."""
        self._write(b"max_texts = -1\n", b"{")

    def restore(self) -> None:
        """Write what was there."""
        self._write(*self._good)

    def _write(self, settings: bytes, keys: bytes) -> None:
        for file, content in ((self.settings, settings), (self.keys, keys)):
            new = file.with_suffix(".new")
            new.write_bytes(content)
            new.rename(file)


class Prometheus:
    """What a running Prometheus answers."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Tell whether queries are answered."""
        try:
            with urllib.request.urlopen(f"{self._address}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """Return what the API says."""
        address = f"{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            said = json.load(answer)
        assert "success" == said["status"]
        return said["data"]

    def values(self, expression: str) -> list[float]:
        """Return the values of an expression, now."""
        return [float(sample["value"][1]) for sample in self.get("query", query=expression)["result"]]


@contextmanager
def prometheus(folder: Path, metrics_port: int) -> Iterator[Prometheus]:
    """Run a Prometheus with our rules that reads our metrics every second."""
    labels = {"namespace": "test", "pod": "dragoman-0"}  # those of a pod in Kubernetes
    static = {"targets": [f"127.0.0.1:{metrics_port}"], "labels": labels}
    settings = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "monitoring/rules/*.yaml")],
        "scrape_configs": [{"job_name": "dragoman", "static_configs": [static]}],
    }
    file = folder / "prometheus.yaml"
    file.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
    port = _free_port()
    command = [
        require_tool("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    log = folder / "prometheus.log"
    with process(command, log) as running:
        watching = Prometheus(port)
        deadline = time.monotonic() + _START_SECONDS
        while not watching.is_ready():
            assert running.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, "Prometheus has not started"
            time.sleep(0.1)
        yield watching


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Load:
    """Calls that keep every series moving, the wrong and the abandoned ones too, until it is left."""

    def __init__(self, port: int, files: Files) -> None:
        self._address, self._files = f"127.0.0.1:{port}", files
        self._stopped = threading.Event()
        kinds = (
            self._translate, self._translate_back, self._ask_much, self._be_wrong, self._hang_up, self._doubt,
            self._deliver,
        )  # fmt: skip
        self._threads = [threading.Thread(target=self._repeat, args=(kind,), daemon=True) for kind in kinds]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _repeat(self, kind: Any) -> None:
        with Client(self._address, timeout=20, credentials=self._files.credentials) as client:
            while not self._stopped.wait(0.2):
                with suppress(ServerError):  # refusals are part of the load
                    kind(client)

    def _translate(self, client: Client) -> None:
        client.translate(TEXTS * 20, source="en", target="fr", alignment=True)

    def _translate_back(self, client: Client) -> None:
        client.translate(["Buenos días.", "¿Dónde está la estación?"] * 20, source="es", target="en")

    def _ask_much(self, client: Client) -> None:
        # Fits into the queue with one of the others, not with all.
        client.translate([LONG] * 240, source="en", target="fr")

    def _be_wrong(self, client: Client) -> None:
        client.translate([], source="en", target="fr")

    def _hang_up(self, client: Client) -> None:
        options = pb.StreamTranslateOptions(source_language_code="en", target_language_code="es")
        request = pb.StreamTranslateRequest(id="1", content=" ".join(TEXTS * 20), options=options)
        with grpc.insecure_channel(self._address) as channel:
            metadata = self._files.credentials.metadata()
            call = TranslationServiceStub(channel).StreamTranslate(
                iter([request]), timeout=20, metadata=metadata
            )
            with suppress(grpc.RpcError):  # a refusal, again
                next(call)
            call.cancel()  # with one sentence done, and others half written

    def _doubt(self, client: Client) -> None:
        # No number of the source's.
        client.translate([TEXTS[0]], source="en", target="fr", prefix="42 ")

    def _deliver(self, _: Client) -> None:
        # For a few scrapes each.
        self._files.spoil()
        self._stopped.wait(5)
        self._files.restore()
        self._stopped.wait(5)
