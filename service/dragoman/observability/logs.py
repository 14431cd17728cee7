"""Log lines for people on a terminal and for collectors elsewhere. Never a text, never a key."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from io import FileIO, RawIOBase
from queue import SimpleQueue

from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import EventRenamer, JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import Processor

from dragoman.threads import LOG_SECONDS, started

# The core of gRPC writes lines of its own, with what callers send in them, line breaks included, and reads this
# once, when grpc is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_STANDARD_ERROR = 2  # itself: `sys.stderr` has a buffer
_PAUSE_SECONDS = 0.05
_OF_CALLERS = ("Invalid encoding on", 'Failed "execute_batch"', "'utf-8' codec can't decode byte")


def formatter(*, is_terminal: bool) -> logging.Formatter:
    """Return what writes a line: aligned and coloured for people, one JSON object for collectors."""
    known: list[Processor] = [
        add_log_level, add_logger_name, ExtraAdder(), TimeStamper(fmt="iso", utc=True, key="time"),
    ]  # fmt: skip
    written: list[Processor] = [format_exc_info, EventRenamer("message"), JSONRenderer(ensure_ascii=False)]
    if is_terminal:  # by default rich would show the local variables of a stack trace, and so texts
        written = [ConsoleRenderer(timestamp_key="time", exception_formatter=plain_traceback)]
    return ProcessorFormatter(
        processors=[ProcessorFormatter.remove_processors_meta, *written], foreign_pre_chain=known
    )


def is_ours(record: logging.LogRecord) -> bool:
    """Tell whether a line is for us, and not one of the stack traces that gRPC writes of what its callers do.

    It shows headers that are not UTF-8, and a key may be one; it reports replies that came too late for a caller who
    had left, unless it learned of that before; and method names that are not UTF-8, of which `dragoman.rpc.listener` tells.
    """
    if not record.name.startswith(("grpc.", "asyncio")):
        return True
    said = f"{record.getMessage()} {record.exc_info[1] if record.exc_info else ''}"
    return not any(known in said for known in _OF_CALLERS)


class Writer(logging.Handler):
    """Writes lines in a thread of its own: a collector that stands still must not stop who logs.

    As many as `max_waiting` lines wait; those behind are lost, and how many is the next line that is written.
    """

    def __init__(self, stream: RawIOBase, max_waiting: int = 10_000) -> None:
        """Start the thread.

        Args:
            stream: Without a buffer: the interpreter would wait for the lock of one when it ends.

        Raises:
            StartupError: There is no thread to spare.
        """
        super().__init__()
        self._stream, self._max_waiting = stream, max_waiting
        self._lines: SimpleQueue[str | None] = (
            SimpleQueue()
        )  # which a finalizer may log into, in the midst of a line
        self._lost = self._told = 0
        self._thread = started(threading.Thread(target=self._write, name="log", daemon=True))

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line over; never wait."""
        try:
            if self._lines.qsize() < self._max_waiting:
                self._lines.put(self.format(record))
            else:
                self._lost += 1
        except Exception:  # noqa: BLE001 - as in the standard handlers: a line that cannot be made harms nobody
            self.handleError(record)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(Exception):  # nobody reads any more, and nobody can be told
                rest = memoryview(f"{line}\n{self._loss()}".encode(errors="backslashreplace"))
                while rest:
                    written = self._stream.write(rest)
                    if written is None:  # somebody made the stream one that does not wait
                        time.sleep(_PAUSE_SECONDS)
                    else:
                        rest = rest[written:]

    def _loss(self) -> str:
        lost = self._lost - self._told  # no lock: only who logs counts up, and at the end the lock is taken
        if not lost:
            return ""
        self._told += lost
        told = "%d log lines were lost, for nobody read them in time"
        return (
            self.format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, told, (lost,), None)) + "\n"
        )

    def close(self) -> None:
        """Let what waits be written, for a moment; then give up."""
        self._lines.put(None)
        self._thread.join(LOG_SECONDS)
        super().close()


def configure(level: str) -> None:
    """Send log lines to standard error: ours from a level on, warnings of others, all in one form."""
    handler = Writer(FileIO(_STANDARD_ERROR, "w", closefd=False))
    handler.addFilter(is_ours)
    handler.setFormatter(formatter(is_terminal=os.isatty(_STANDARD_ERROR)))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """Write our lines from another level on."""
    logging.getLogger("dragoman").setLevel(level.upper())
