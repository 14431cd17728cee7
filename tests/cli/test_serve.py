"""A server whose system fails it: no thread to spare, volumes that hang. It says so, serves on, and ends when told to."""

import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dragoman.bundle import WEIGHTS
from dragoman.client.sync import Client
from dragoman.config import DEFAULT_BUNDLE
from tests.bundles import write_model
from tests.faults import FOR_EVER, Faults
from tests.process import Process, launched, serving

LONG = (
    "The station is near the old bridge, and the train leaves at nine. " * 20
)  # more than 1,000 code points
SECONDS = 12.0  # for what takes no time; a bound, not an expectation


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a directory of bundles with one version."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copytree(DEFAULT_BUNDLE, folder / "1")
    return folder


@pytest.fixture
def faults(tmp_path: Path, models: Path) -> Iterator[Faults]:
    """Return what makes the system fail, for files of the bundles."""
    made = Faults(tmp_path, models)
    yield made
    made.disarm()


def translate(process: Process, *texts: str) -> list[str]:
    """Translate some texts, in one call each and all at once."""

    def one(text: str) -> str:
        with Client(f"127.0.0.1:{process.port}") as client:
            return client.translate([text], source="en", target="fr")[0].text

    with ThreadPoolExecutor(len(texts)) as callers:
        return list(callers.map(one, texts))


def ends(process: Process, seconds: float = SECONDS) -> int:
    """Tell a server to end, and return its exit code; it may not take longer."""
    process.signal(signal.SIGTERM)
    return process.process.wait(seconds)


class TestThreads:
    def test_no_thread_to_spare(self, models: Path, faults: Faults, tmp_path: Path) -> None:
        """
        Once it serves, a server needs no new thread: long texts are cut, files looked at, metrics told.
        """
        with serving(tmp_path, "--bundle", str(models), **faults.environment) as process:
            faults.arm("thread", times=FOR_EVER)

            texts = translate(process, *(f"Number {number}. {LONG}" for number in range(6)))

            assert all(len(text) > 1000 for text in texts)
            write_model(models / "2", "tiny@2")  # an older version: looked at and left alone
            process.signal(signal.SIGHUP)
            process.wait_for(lambda: process.metric("dragoman_last_reload_successful"))

    def test_none_for_a_new_version(self, models: Path, faults: Faults, tmp_path: Path) -> None:
        """
        A new version whose decode loops cannot be started is refused, and leaves nothing behind; the old one serves on.
        """
        with serving(
            tmp_path, "--bundle", str(models), "--decode-loops", "2", **faults.environment
        ) as process:
            threads = num_threads(process)
            write_model(models / "11", "tiny@11", seed=1)
            faults.arm("thread", after=1, times=FOR_EVER)
            process.signal(signal.SIGHUP)
            process.wait_for(lambda: process.reloads("model_refused"))

            assert "can't start new thread" in process.log
            assert translate(process, "Good morning.")
            process.wait_for(lambda: threads == num_threads(process))

            faults.disarm()
            process.signal(signal.SIGHUP)
            process.wait_for(lambda: process.reloads("model_retired"))

    def test_none_at_the_start(self, models: Path, faults: Faults, tmp_path: Path) -> None:
        """
        A server that cannot start its threads ends at once and says so in one line.
        """
        faults.arm("thread", after=2, times=FOR_EVER)
        with launched(tmp_path, "--bundle", str(models), **faults.environment) as process:
            assert 0 != process.process.wait(60)

        assert "Traceback" not in process.log
        assert "thread" in process.log.splitlines()[-1]


class TestDescriptors:
    @pytest.mark.parametrize(("hard", "allowed", "warns"), [(4096, 2132, False), (300, 300, True)])
    def test_one_for_each_connection(self, tmp_path: Path, hard: int, allowed: int, warns: bool) -> None:
        """
        A server may have a descriptor for each connection that its ports may take, or says that the system gives fewer.
        """
        shell = f'ulimit -S -n 256; ulimit -H -n {hard}; exec "$@"'
        with serving(tmp_path, shell=shell) as process:
            found = resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE)

        assert (allowed, hard) == found
        assert warns == (
            f"open files: the system allows {hard}, all connections may take 2132" in process.log
        )


class TestVolumes:
    def test_reload_hangs(self, models: Path, faults: Faults, tmp_path: Path) -> None:
        """
        A volume that does not answer harms no call; the metrics tell, later reloads wait for it, and SIGTERM ends the server.
        """
        flags = ("--bundle", str(models), "--reload-seconds", "0", "--file-read-seconds", "0.5")
        with launched(tmp_path, *flags, **faults.environment) as process:
            process.wait_until_it_serves()
            with faults.hanging():
                for _ in range(3):
                    process.signal(signal.SIGHUP)
                process.wait_for(lambda: 0 == process.metric("dragoman_last_reload_successful"))
                assert all(translate(process, *[LONG] * 4))
                assert 1 == faults.failed("read")

                assert 0 == ends(process)
        assert "Traceback" not in process.log

    def test_reload_goes_on(self, models: Path, faults: Faults, tmp_path: Path) -> None:
        """
        When the volume answers again the reload goes on as if nothing had been.
        """
        flags = ("--bundle", str(models), "--reload-seconds", "0", "--file-read-seconds", "0.5")
        with serving(tmp_path, *flags, **faults.environment) as process:
            write_model(models / "11", "tiny@11", seed=1)
            with faults.hanging():
                process.signal(signal.SIGHUP)
                process.wait_for(lambda: 0 == process.metric("dragoman_last_reload_successful"))

            process.wait_for(lambda: process.reloads("model_retired"))
            assert 1 == process.metric("dragoman_last_reload_successful")

    def test_start_hangs(self, models: Path, faults: Faults, tmp_path: Path) -> None:
        """
        SIGTERM ends a server that waits for its volume before it has served anybody.
        """
        with launched(tmp_path, "--bundle", str(models), **faults.environment) as process, faults.hanging():
            process.wait_for(lambda: faults.failed("read"))

            assert 143 == ends(process)

    def test_fifo(self, models: Path, tmp_path: Path) -> None:
        """
        A FIFO in a new version is refused, time and again, and keeps nobody from ending the server.
        """
        with serving(tmp_path, "--bundle", str(models), "--reload-seconds", "0") as process:
            fifo = write_model(models / "11", "tiny@11", seed=1) / WEIGHTS
            fifo.unlink()
            os.mkfifo(fifo)
            for number in (1, 2):
                process.signal(signal.SIGHUP)
                process.wait_for(lambda: process.reloads("model_refused") == number)  # noqa: B023
            began = time.monotonic()

        assert time.monotonic() - began < SECONDS
        assert "weights.bin: not a regular file" in process.log


def num_threads(process: Process) -> int:
    """Return how many threads a server has."""
    return sum(1 for _ in Path(f"/proc/{process.process.pid}/task").iterdir())
