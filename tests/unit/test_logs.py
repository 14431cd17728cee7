"""How a log line looks, for people and for collectors."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from service import logs

SECRET = "text that nobody may see"


def record(message: str, exc_info: bool = False, **extra: object) -> logging.LogRecord:
    """Return what one of our modules logs; if wanted, with the error that is being handled."""
    info = sys.exc_info() if exc_info else None
    made = logging.LogRecord("service.x", logging.INFO, __file__, 1, message, None, info)
    made.__dict__.update(extra)
    return made


def failed() -> logging.LogRecord:
    """Return a line about an error, in a function that knows a secret."""
    kept = SECRET  # a local variable of the frame that fails
    try:
        raise ValueError(str(len(kept)))
    except ValueError:
        return record("call failed", exc_info=True)


def test_json() -> None:
    """
    A line is one JSON object: time, level, logger, message, and whatever else is known.
    """
    line = logs.formatter(is_terminal=False).format(record("call", request_id="a\nb", code="OK", seconds=0.5))

    said = json.loads(line)
    assert "\n" not in line
    assert said.pop("time").endswith("Z")
    assert {
        "level": "info", "logger": "service.x", "message": "call", "request_id": "a\nb", "code": "OK", "seconds": 0.5,
    } == said  # fmt: skip


@pytest.mark.parametrize("is_terminal", [False, True])
def test_stack_traces(is_terminal: bool) -> None:
    """
    A stack trace shows where, and never the variables there.
    """
    line = logs.formatter(is_terminal=is_terminal).format(failed())

    assert "ValueError: 24" in line
    assert SECRET not in line


def of_grpc(message: str, *arguments: object, error: Exception | None = None) -> logging.LogRecord:
    """Return what gRPC logs."""
    info = (type(error), error, None) if error else None
    return logging.LogRecord("grpc._cython.cygrpc", logging.ERROR, __file__, 1, message, arguments, info)


def test_what_callers_do() -> None:
    """
    What gRPC says of a header that is not UTF-8 is not written, for it may be a key; nor that a caller has left.
    """
    header = of_grpc("Invalid encoding on %s", b"Bearer \xff")
    left = of_grpc("ExecuteBatchError raised in core", error=RuntimeError('Failed "execute_batch": (...)'))
    misuse = of_grpc(
        "ExecuteBatchError raised in core", error=RuntimeError("Failed grpc_call_start_batch: 8")
    )

    name = of_grpc("%s", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte")

    assert [False] * 3 == [logs.is_ours(header), logs.is_ours(left), logs.is_ours(name)]
    assert [True, True] == [logs.is_ours(misuse), logs.is_ours(failed())]


def test_terminal() -> None:
    """
    On a terminal a line is for people: message first, then what else is known.
    """
    line = logs.formatter(is_terminal=True).format(record("call", code="OK"))

    assert "call" in line
    assert "{" not in line
    assert line.index("call") < line.index("OK")


def test_nobody_waits_for_who_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A pipe that nobody empties stops no one; once it is read, what waited comes in order, then what was lost.
    """
    monkeypatch.setattr(logs, "_PATIENCE_SECONDS", 10.0)
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as reader, open(writing, "w", encoding="utf-8") as stream:
        writer = logs.Writer(stream, max_waiting=100)
        writer.setFormatter(logging.Formatter("%(message)s"))
        for number in range(3000):  # 3 MB, a pipe holds 64 KiB
            writer.handle(record(f"{number} {'x' * 1000}"))

        def close() -> None:
            writer.close()
            stream.close()

        closing = threading.Thread(target=close)
        closing.start()
        lines = reader.read().splitlines()
        closing.join()

    told = "log lines were lost, for nobody read them in time"
    lost = [int(line.split()[0]) for line in lines if line.endswith(told)]
    written = [int(line.split()[0]) for line in lines if not line.endswith(told)]
    assert sorted(written) == written
    assert 100 <= len(written) < 300
    assert 3000 == len(written) + sum(lost)


def test_lines_are_whole_when_a_process_ends() -> None:
    """
    What was logged just before the end is written.
    """
    program = "import logging; from service import logs; logs.configure('info'); log = logging.getLogger('service.x')\n"
    program += "for number in range(500): log.info('line %d', number)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert [f"line {number}" for number in range(500)] == [
        json.loads(line)["message"] for line in done.stderr.splitlines()
    ]


def test_closed_collector(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Lines for a stream that is closed are dropped without a word, and the end comes at once.
    """
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        writer = logs.Writer(stream)
        writer.handle(record("nobody is there"))
        writer.close()
        with contextlib.suppress(BrokenPipeError):
            stream.close()

    assert ("", "") == tuple(capsys.readouterr())
