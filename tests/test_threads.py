"""Threads that are there from the start, and an end that comes whatever they do."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from dragoman import threads
from dragoman.errors import StartupError
from dragoman.threads import Background, started_pool, still_busy

SECONDS = 30.0  # a bound, not an expectation


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does in its own time."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class TestBackground:
    async def test_one_after_the_other(self) -> None:
        """
        Work is done in order, in one thread that is not ours, and brings what it returns.
        """
        reader = Background("reader")
        done: list[int] = []

        def work(number: int) -> str:
            done.append(number)
            return threading.current_thread().name

        names = await asyncio.gather(*(reader.do(work, number) for number in range(20)))
        reader.close()

        assert list(range(20)) == done
        assert {"reader"} == set(names)
        until(lambda: not reader.is_alive())

    async def test_failures(self) -> None:
        """
        What goes wrong is told to whoever waits, and harms nothing that comes after.
        """
        reader = Background("reader")

        with pytest.raises(ZeroDivisionError):
            await reader.do(lambda: 1 // 0)

        assert 2 == await reader.do(lambda: 2)
        reader.close()

    async def test_who_gives_up(self) -> None:
        """
        Work that nobody waits for any more goes on, and what is behind it waits; the thread is busy until then.
        """
        reader, released = Background("stuck"), threading.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.do(released.wait)
        behind = asyncio.ensure_future(reader.do(lambda: "behind"))
        await asyncio.sleep(0.05)

        assert not behind.done()
        assert reader.is_busy
        assert ["stuck"] == still_busy()

        released.set()
        assert "behind" == await behind
        until(lambda: not reader.is_busy)
        reader.close()

    async def test_lets_go(self) -> None:
        """
        What was worked with is not kept until the next work comes.
        """

        class Large:
            """Something worth letting go."""

        reader, large = Background("reader"), Large()
        gone = weakref.ref(large)
        await reader.do(lambda it: None, large)
        del large
        until(lambda: not reader.is_busy)
        gc.collect()

        assert gone() is None
        reader.close()


class TestStart:
    def test_pool(self) -> None:
        """
        All threads of a pool run before there is anything to do.
        """
        pool = started_pool(5, "aside-test")
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("aside-test")]
        pool.shutdown()

        assert 5 == len(names)

    @pytest.mark.parametrize("spare", [0, 1, 4])
    def test_no_thread_to_spare(self, spare: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Where the system has too few threads, that is said, and those that were started end.
        """
        start, left = threading.Thread.start, iter(range(spare))

        def scarce(thread: threading.Thread) -> None:
            if next(left, None) is None:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", scarce)
        with pytest.raises(StartupError, match="threads few, 5: can't start new thread"):
            started_pool(5, "few")
        if not spare:
            with pytest.raises(StartupError, match="thread reader: can't start new thread"):
                Background("reader")
        until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("few")])


STUCK = """
import logging, signal, sys, threading
from dragoman.threads import LastResort
logging.basicConfig(level=logging.INFO)
last_resort = LastResort()
signal.signal(signal.SIGTERM, lambda *_: None)
last_resort.patience = lambda: float(sys.argv[1])
print("ready", flush=True)
lock = threading.Lock()
lock.acquire()
lock.acquire()  # never to be had: the main thread is where no handler runs
"""


DEADLOCKED = """
import ctypes, signal, time
from dragoman import threads
threads.LOG_SECONDS = 0.2
last_resort = threads.LastResort()
last_resort.patience = lambda: 0.2
library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)  # which is called with the interpreter's lock
def wait_for_ever(*_):
    time.sleep(0.1)
    for _ in range(2):
        library.pthread_mutex_lock(mutex)
signal.signal(signal.SIGTERM, wait_for_ever)
print("ready", flush=True)
time.sleep(60)
"""


def test_last_resort_without_the_interpreter() -> None:
    """
    A library that waits for ever with the interpreter's lock, so that no thread of ours runs, is ended by the system.
    """
    with subprocess.Popen([sys.executable, "-c", DEADLOCKED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        process.send_signal(signal.SIGTERM)

        assert signal.SIGALRM == process.wait(SECONDS)


@pytest.mark.parametrize(
    ("patience", "code", "said"),
    [
        ("0", 128 + signal.SIGTERM, "told to end before it serves"),
        (
            "0.2",
            threads.EXIT_FORCED,
            "not ended within 0.2 seconds and is ended now; its threads: MainThread",
        ),
    ],
)
def test_last_resort(patience: str, code: int, said: str) -> None:
    """
    A process whose main thread is stuck for ever ends at SIGTERM: at once, or after the time that it is given.
    """
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, patience], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=SECONDS)

    assert code == process.returncode
    assert said in error
    assert time.monotonic() - began >= float(patience)


def test_a_last_resort_that_is_closed_ends_nothing() -> None:
    """
    Once it is closed, a signal that the process lives through does not end it: a server may be part of another program.
    """
    program = (
        "import signal, time; from dragoman.threads import LastResort\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "LastResort().close(); signal.raise_signal(signal.SIGTERM); time.sleep(0.5); print('alive')"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert (0, "alive\n") == (done.returncode, done.stdout)
