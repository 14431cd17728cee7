"""Whatever the system gives fails once, at each place in turn: memory, opening, reading, threads.

As SQLite is tested: of a phase's calls of one kind first the first fails, then the second, and so on to the last. Through
start, calls, reload and drain the server may refuse and may end; it may not hang, say that it serves when it does not, or
lose a file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dragoman.client.errors import ServerError
from dragoman.client.sync import Client
from dragoman.config import DEFAULT_BUNDLE
from dragoman.security import key_store
from tests.bundles import write_model
from tests.conftest import Scale
from tests.faults import FOR_EVER, Faults
from tests.process import ROOT, Process, launched

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(900)]
DEADLINE = 10.0  # of a call
DRAIN_SECONDS = 2.0
SECONDS = 60.0  # for what takes no time: a bound, not an expectation
TEXTS = ("Good morning.", "The station is near the old bridge, and the train leaves at nine. " * 20)
MOST = 60  # places of one kind in one phase


@dataclass(frozen=True)
class Fault:
    """What fails: how many calls of a kind, one after the other; of memory, pieces of some size at least."""

    kind: str
    times: int = 1
    min_bytes: int = 0

    def arm(self, faults: Faults, after: int) -> None:
        """Let it happen after some calls."""
        faults.arm(self.kind, after=after, times=self.times, min_bytes=self.min_bytes)

    def num_calls(self, faults: Faults, work: Callable[[], object]) -> int:
        """Return how many calls of this kind some work makes."""
        self.arm(faults, after=FOR_EVER)
        before = faults.seen(self.kind)
        work()
        return faults.seen(self.kind) - before


OPEN, READ, THREAD, NO_THREAD = Fault("open"), Fault("read"), Fault("thread"), Fault("thread", FOR_EVER)
LARGE, NO_LARGE = Fault("memory", 1, 65_536), Fault("memory", FOR_EVER, 65_536)  # what arrays take
SMALL, SOME_SMALL = (
    Fault("memory", 1, 4096),
    Fault("memory", 20, 4096),
)  # what the interpreter takes now and then
# By test; `make test` takes the first of each.
FAULTS = {
    "test_start": [THREAD, OPEN, READ, LARGE, NO_LARGE],
    "test_calls": [SMALL, SOME_SMALL, LARGE, NO_LARGE, NO_THREAD],
    "test_reloads": [READ, OPEN, THREAD, LARGE, SMALL],
    "test_drain": [NO_THREAD, SMALL, LARGE],
    "test_key_file": [OPEN, READ, SMALL],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test once for each of its faults."""
    cases = FAULTS[metafunc.function.__name__]
    chosen = cases if metafunc.config.getoption("--full") else cases[:1]
    metafunc.parametrize(
        "fault", chosen, ids=lambda fault: f"{fault.kind}-{fault.min_bytes}-{fault.times == 1}"
    )


class Subject:
    """A server whose system fails, and what it says when it does not."""

    def __init__(self, process: Process) -> None:
        self.process = process
        process.wait_until_it_serves()
        self.wanted = {text: self.translate(text) for text in TEXTS}

    @property
    def has_ended(self) -> bool:
        """Tell whether it is gone."""
        return self.process.process.poll() is not None

    @property
    def threads(self) -> int:
        """Return how many threads it has."""
        return sum(1 for _ in Path(f"/proc/{self.process.process.pid}/task").iterdir())

    def translate(self, text: str) -> str:
        """Translate a text, with its alignment."""
        with Client(f"127.0.0.1:{self.process.port}", timeout=DEADLINE) as client:
            [translation] = client.translate([text], source="en", target="fr", alignment=True)
            return translation.text

    def says_that_it_serves(self) -> bool:
        """Ask for its health; it may be gone, or not serve, but not keep silent."""
        with grpc.insecure_channel(f"127.0.0.1:{self.process.port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            try:
                reply = health.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    pytest.fail(f"health keeps silent: {self.process.log}")
                return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def try_calls(self) -> None:
        """Make calls that may fail, but not hang; what comes back as a translation is one."""
        for text, wanted in self.wanted.items():
            try:
                assert wanted == self.translate(text)
            except ServerError as error:
                if error.code == "DEADLINE_EXCEEDED":
                    pytest.fail(f"a call hangs: {self.process.log}")

    def check(self) -> None:
        """Check that a server that is there, and says that it serves, does so."""
        if self.has_ended or not self.says_that_it_serves():
            return
        for text, wanted in self.wanted.items():
            assert wanted == self.translate(text), self.process.log


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a directory of bundles with one version."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copytree(DEFAULT_BUNDLE, folder / "1")
    return folder


@pytest.fixture
def faults(tmp_path: Path, models: Path) -> Iterator[Faults]:
    """Return what fails, and check that no file was lost or changed meanwhile."""
    before = digests(models / "1")
    made = Faults(tmp_path, models)
    yield made
    made.disarm()
    assert before == digests(models / "1")


def digests(folder: Path) -> dict[str, str]:
    """Return what is in each file of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@contextmanager
def server(faults: Faults, models: Path) -> Iterator[Process]:
    """Start a server that the system may fail."""
    flags = ("--bundle", str(models), "--drain-seconds", str(DRAIN_SECONDS), "--reload-seconds", "0")
    with launched(models.parent, *flags, **faults.environment) as process:
        yield process


def places(scale: Scale, count: int, least: int) -> list[int]:
    """Return which calls are to fail, of so many: each, or some from the first to the last where there are too many."""
    wanted = min(count, MOST if scale.is_full else least)
    return sorted({round(number * (count - 1) / max(1, wanted - 1)) for number in range(wanted)})


def ends(process: Process, *, well: bool = True) -> None:
    """Tell a server to end, if it is there; it may not take longer than it said."""
    process.signal(signal.SIGTERM)
    code = process.process.wait(DRAIN_SECONDS + 8 + 2)
    assert code in (0, signal.SIGALRM) or not well, process.log


def serves_or_ends(process: Process) -> bool:
    """Wait for a server to serve or to give up, and tell which."""
    deadline = time.monotonic() + SECONDS
    while process.process.poll() is None and "metrics on port" not in process.log:
        assert time.monotonic() < deadline, process.log
        time.sleep(0.01)
    return process.process.poll() is None


def test_start(scale: Scale, models: Path, faults: Faults, fault: Fault) -> None:
    """
    A server that the system fails at the start serves as if nothing had been, or ends; it says why if the fault is its own.
    """
    wanted: dict[str, str] = {}

    def undisturbed() -> None:
        with server(faults, models) as process:
            wanted.update(Subject(process).wanted)
            ends(process)

    for place in places(scale, fault.num_calls(faults, undisturbed), least=2):
        fault.arm(faults, after=place)
        with server(faults, models) as process:
            if serves_or_ends(process):
                faults.disarm()
                subject = Subject(process)
                assert wanted == subject.wanted
                assert subject.says_that_it_serves()
                ends(process)
            elif fault.kind != "memory":  # which may be lacking before any code of ours runs
                assert process.process.returncode < 0 or process.log.splitlines()[-1].startswith(
                    "dragoman: "
                ), process.log


class Restarting:
    """A server that is started again when a fault has ended it."""

    def __init__(self, faults: Faults, models: Path) -> None:
        self._faults, self._models = faults, models
        self._running = ExitStack()
        self._subject: Subject | None = None

    @property
    def subject(self) -> Subject:
        """Return the one that runs."""
        if self._subject is None or self._subject.has_ended:
            self._faults.disarm()
            self._running.close()
            self._subject = Subject(self._running.enter_context(server(self._faults, self._models)))
        return self._subject

    def close(self) -> None:
        """Let it end, in time."""
        self._faults.disarm()
        if not self.subject.has_ended:
            ends(self.subject.process)
        self._running.close()


@pytest.fixture
def restarting(faults: Faults, models: Path) -> Iterator[Restarting]:
    """Return a server that may be ended by faults."""
    made = Restarting(faults, models)
    yield made
    made.close()


def test_calls(scale: Scale, restarting: Restarting, faults: Faults, fault: Fault) -> None:
    """
    A call that the system fails is refused, or the server ends; the next one is answered as ever.
    """
    count = fault.num_calls(faults, restarting.subject.try_calls)
    for place in places(scale, max(1, count), least=4):
        subject = restarting.subject
        fault.arm(faults, after=place)
        subject.try_calls()
        faults.disarm()
        subject.check()


def test_reloads(scale: Scale, restarting: Restarting, faults: Faults, models: Path, fault: Fault) -> None:
    """
    A reload that the system fails leaves the old version in use and nothing behind; the next one brings the new.
    """
    count = fault.num_calls(faults, lambda: reload(restarting.subject, models, 20))
    num_threads = restarting.subject.threads
    for version, place in enumerate(places(scale, count, least=2), start=21):
        fault.arm(faults, after=place)
        reload(restarting.subject, models, version)
        faults.disarm()
        restarting.subject.check()
        subject = restarting.subject
        subject.process.signal(signal.SIGHUP)
        until(lambda: f" tiny@{version} " in subject.process.log)  # noqa: B023
        until(lambda: subject.threads <= num_threads + 3)  # noqa: B023 - the core of gRPC has some now and then
        shutil.rmtree(models / str(version - 1))


def reload(subject: Subject, models: Path, version: int) -> None:
    """Bring a new version, of the same weights, and wait for what becomes of it."""
    write_model(models / str(version), f"tiny@{version}")
    before = num_outcomes(subject)
    subject.process.signal(signal.SIGHUP)
    until(lambda: subject.has_ended or num_outcomes(subject) > before)


def num_outcomes(subject: Subject) -> int:
    """Return how many reloads are over, as the log says: its metrics would take part in the faults."""
    return sum(
        subject.process.log.count(f'"message": "{said}') for said in ("loaded ", "refused", "reload failed")
    )


def until(condition: Callable[[], object]) -> None:
    """Wait for what a server does in its own time."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_drain(scale: Scale, models: Path, faults: Faults, fault: Fault) -> None:
    """
    A server that the system fails while it drains ends in time; calls under way are answered, or told.
    """
    for place in places(scale, 1 if fault is NO_THREAD else 200, least=1):
        with server(faults, models) as process, ThreadPoolExecutor(1) as caller:
            subject = Subject(process)
            call = caller.submit(subject.try_calls)
            fault.arm(faults, after=place)
            ends(process, well=False)
            call.result(DEADLINE + 5)
            faults.disarm()


def test_key_file(scale: Scale, tmp_path: Path, fault: Fault) -> None:
    """
    A change of the key file that the system fails leaves the whole old file, and nothing beside it.
    """
    folder = tmp_path / "keys"
    folder.mkdir()
    file, faults = folder / "keys.json", Faults(tmp_path, folder)
    key_store.create(file, "first")
    count = fault.num_calls(faults, lambda: create(file, "count", faults))
    for place in places(scale, count, least=2):
        before = file.read_bytes()
        fault.arm(faults, after=place)
        code = create(file, f"key-{place}", faults)
        faults.disarm()

        ids = [key.id for key in key_store.read(file).keys]
        assert (code == 0) == (f"key-{place}" in ids)
        assert code == 0 or before == file.read_bytes()
        assert [file] == list(folder.iterdir())


def create(file: Path, id_: str, faults: Faults) -> int:
    """Add a key in a process that the system may fail; return its exit code."""
    command = [sys.executable, "-m", "dragoman", "keys", "create", id_, "--file", str(file)]
    done = subprocess.run(
        command,
        env=os.environ | faults.environment,
        cwd=ROOT,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode
