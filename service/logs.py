"""Log lines for people on a terminal and for collectors elsewhere. Never a text, never a key."""

from __future__ import annotations

import logging
import os
import sys

from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import EventRenamer, JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import Processor

# The core of gRPC writes lines of its own, with what callers send in them, line breaks included, and reads this
# once, when grpc is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

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
    had left, unless it learned of that before; and method names that are not UTF-8, of which `service.rpc.listener` tells.
    """
    if not record.name.startswith(("grpc.", "asyncio")):
        return True
    said = f"{record.getMessage()} {record.exc_info[1] if record.exc_info else ''}"
    return not any(known in said for known in _OF_CALLERS)


def configure(level: str) -> None:
    """Send log lines to standard error: ours from a level on, warnings of others, all in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(is_ours)
    handler.setFormatter(formatter(is_terminal=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("service").setLevel(level.upper())
