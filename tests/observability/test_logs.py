"""How a log line looks, for people and for collectors."""

import gc
import json
import logging
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from dragoman.observability import logs

SECRET = "text that nobody may see"


def record(message: str, exc_info: bool = False, **extra: object) -> logging.LogRecord:
    """Return what one of our modules logs; if wanted, with the error that is being handled."""
    info = sys.exc_info() if exc_info else None
    made = logging.LogRecord("dragoman.x", logging.INFO, __file__, 1, message, None, info)
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
        "level": "info", "logger": "dragoman.x", "message": "call", "request_id": "a\nb", "code": "OK", "seconds": 0.5,
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
    monkeypatch.setattr(logs, "LOG_SECONDS", 10.0)
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as reader, open(writing, "wb", buffering=0) as stream:
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


PROGRAM = """\
import logging
from dragoman.observability import logs
logs.LOG_SECONDS = {patience}
logs.configure("info")
log = logging.getLogger("dragoman.x")
for number in range({count}): log.info("line %d {text}", number)
"""


def test_lines_are_whole_when_a_process_ends() -> None:
    """
    What was logged just before the end is written.
    """
    program = PROGRAM.format(count=500, text="\u00e9", patience=60)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)

    assert [f"line {number} \u00e9" for number in range(500)] == [
        json.loads(line)["message"] for line in done.stderr.splitlines()
    ]


def test_a_process_ends_though_nobody_reads() -> None:
    """
    A pipe that is full does not keep a process alive, whatever the interpreter buffers.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    program = PROGRAM.format(count=3000, text="x" * 1000, patience=2)

    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, env=environment
    ) as process:
        assert 0 == process.wait(timeout=30)


def test_closed_collector(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Lines for a stream that is closed are dropped without a word.
    """
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as stream:
        writer = logs.Writer(stream)
        for _ in range(2):
            writer.handle(record("nobody is there"))
        writer.close()

    assert ("", "") == tuple(capsys.readouterr())


def test_a_stream_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where a full pipe refuses instead of waiting, the writer tries again after a pause, and writes the line whole.
    """
    naps: list[float] = []
    monkeypatch.setattr(logs, "time", SimpleNamespace(sleep=naps.append))
    answers = [None, 3, None, None]
    written = bytearray()

    def write(rest: memoryview) -> int | None:
        taken = answers.pop(0) if answers else len(rest)
        written.extend(rest[: taken or 0])
        return taken

    writer = logs.Writer(SimpleNamespace(write=write))  # type: ignore[arg-type]
    writer.setFormatter(logging.Formatter("%(message)s"))
    writer.handle(record("a line"))
    writer.close()

    assert (b"a line\n", 3) == (bytes(written), len(naps))


class Untidy:
    """Logs when it is thrown away, which may be in the midst of another line."""

    def __init__(self) -> None:
        self.me = self  # only the garbage collector gets it

    def __del__(self) -> None:
        logging.getLogger("dragoman.untidy").warning("thrown away")


def test_finalizers_may_log() -> None:
    """
    A line that is logged while another is handed over stops nobody.
    """
    with open(os.devnull, "wb", buffering=0) as stream:
        writer = logs.Writer(stream)
        logger = logging.getLogger("dragoman.untidy")
        logger.addHandler(writer)
        logger.propagate = False
        before = gc.get_threshold()
        gc.set_threshold(3)
        try:
            for _ in range(3000):
                Untidy()
                logger.warning("a line")
        finally:
            gc.set_threshold(*before)
            logger.removeHandler(writer)
            writer.close()
