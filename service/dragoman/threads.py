"""Threads that are there from the start: one that is wanted later may not be had.

A control group that has used up its processes refuses new ones. What a server needs while it serves is therefore made
while it starts, where a failure is seen: threads for work beside the event loop, and one for each kind of file that is
looked at, since a volume that hangs holds whoever reads it.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

from dragoman.errors import StartupError

T = TypeVar("T")
Job = tuple[Callable[[], Any], Future[Any]]
EXIT_FORCED = 1
LOG_SECONDS = 2.0  # for what was logged to be written, at the end
_CLOSED = 0  # the number of no signal
log = logging.getLogger(__name__)


def started(thread: threading.Thread) -> threading.Thread:
    """Start a thread.

    Raises:
        StartupError: The system has none to spare.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise StartupError(f"thread {thread.name}: {error}") from None
    return thread


def started_pool(count: int, name: str) -> ThreadPoolExecutor:
    """Return a pool whose threads run already; by itself it would start each when it is first needed.

    Raises:
        StartupError: The system has not so many to spare.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    all_run = threading.Barrier(count + 1)  # none is free for a second job until all have one
    try:
        for _ in range(count):
            pool.submit(all_run.wait)
    except RuntimeError as error:
        all_run.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise StartupError(f"threads {name}, {count}: {error}") from None
    all_run.wait()
    return pool


class Background(threading.Thread):
    """A thread that does one thing after the other, and does not keep the process from ending."""

    def __init__(self, name: str) -> None:
        """Start it.

        Raises:
            StartupError: The system has no thread to spare.
        """
        super().__init__(name=name, daemon=True)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._num_given = self._num_done = 0  # each counted by one thread only
        started(self)

    @property
    def is_busy(self) -> bool:
        """Tell whether there is something to do, or something that it cannot be done with."""
        return self._num_given > self._num_done

    async def do(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return what some work returns, once all before it is done; who gives up waiting does not stop it."""
        future: Future[T] = Future()
        self._num_given += 1
        self._jobs.put((lambda: work(*arguments), future))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the thread end when it has done what it has been given."""
        self._jobs.put(None)

    def run(self) -> None:
        """Work until closed."""
        while job := self._jobs.get():
            self._finish(*job)
            del job  # it may hold a whole model
            self._num_done += 1

    @staticmethod
    def _finish(work: Callable[[], Any], future: Future[Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            future.set_exception(error)
        else:
            future.set_result(result)


def still_busy() -> list[str]:
    """Return the names of background threads that cannot be done with what they do."""
    running = threading.enumerate()
    return [thread.name for thread in running if isinstance(thread, Background) and thread.is_busy]


class LastResort:
    """Ends the process when it has been told to end and does not do so by itself.

    It learns of SIGTERM and SIGINT as soon as the system delivers them, whatever the main thread does: that may stand in the
    event loop, or in a read that never returns. Both signals must have handlers, of whatever kind. If even its own thread
    stands still, since a library waits for ever with the interpreter's lock, a timer of the system ends the process.
    """

    def __init__(self) -> None:
        """Start to wait, in a thread of its own; for the main thread.

        Raises:
            StartupError: The system has no thread to spare.
        """
        # How long the process may take, and how it ends then; at the start there is nothing to wait for.
        self.patience: Callable[[], float] = lambda: 0.0
        self._signals, self._wakeup = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._wakeup, False)
        started(threading.Thread(target=self._wait, name="last-resort", daemon=True))
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

    def close(self) -> None:
        """Wait no longer, unless the process has been told to end: it may be embedded in one that goes on."""
        signal.set_wakeup_fd(-1)
        os.write(self._wakeup, bytes([_CLOSED]))

    def _wait(self) -> None:
        while (number := os.read(self._signals, 1)[0]) not in (signal.SIGTERM, signal.SIGINT, _CLOSED):
            pass
        if number == _CLOSED:
            return
        seconds = self.patience()
        _exit_at_alarm(seconds + LOG_SECONDS)
        time.sleep(seconds)
        if not seconds:
            log.info("told to end before it serves")
            end_now(128 + number)
        names = ", ".join(sorted(thread.name for thread in threading.enumerate()))
        log.error("has not ended within %g seconds and is ended now; its threads: %s", seconds, names)
        end_now(EXIT_FORCED)


def _exit_at_alarm(seconds: float) -> None:
    """Let the system end the process, with the number of SIGALRM as its code.

    The handler is the C library's `_exit` itself: one of Python's would wait for the interpreter, and the default action spares
    the first process of a container.
    """
    library = ctypes.CDLL(None)
    library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    library.signal(signal.SIGALRM, ctypes.cast(library._exit, ctypes.c_void_p))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def end_now(code: int) -> NoReturn:
    """End the process at once, whatever its threads do; what is logged is written before, if somebody reads it."""
    logging.shutdown()
    os._exit(code)
