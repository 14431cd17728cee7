"""`dragoman bench` against a real server process, and against servers that misbehave."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import grpc
import pytest

from dragoman.bench.generator import Run, measure
from dragoman.bench.load import Load, Text
from dragoman.v1 import translation_pb2 as pb
from tests.cli.test_main import (
    COMMAND,
    PATIENCE,
    ROOT,
    Serving,
    complaint,
    dragoman,
    environment,
    start,
    stop,
)

TEXTS = (Text("en", "fr", "Good morning."), Text("fr", "en", "Le chat dort."))
Answer = Callable[[pb.TranslateRequest, Any], bytes]


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """Return a running server."""
    started = start()
    yield started
    stop(started)


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Run a server whose `Translate` is this function; yield its address."""
    method = grpc.unary_unary_rpc_method_handler(answer, pb.TranslateRequest.FromString)
    service = grpc.method_handlers_generic_handler("dragoman.v1.TranslationService", {"Translate": method})
    server = grpc.server(ThreadPoolExecutor(4), handlers=[service])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


def reply(tokens: int = 5) -> bytes:
    """Return a reply that says how many tokens it has."""
    metadata = pb.ResponseMetadata(target_tokens=tokens, model_version="fake@1")
    return bytes(pb.TranslateResponse(metadata=metadata).SerializeToString())


def briefly(**fields: Any) -> Load:
    """Return a load of half a second."""
    filled: dict[str, Any] = {"seconds": 0.5, "warm_up_seconds": 0.0, "deadline_seconds": 5.0, "texts": TEXTS}
    return Load(**filled | fields)


class TestCommand:
    def test_closed_loop(self, serving: Serving, tmp_path: Path) -> None:
        """
        Callers that wait for their replies: a table, a figure, and all figures as JSON.
        """
        json_path, svg_path = tmp_path / "report.json", tmp_path / "figure.svg"

        done = dragoman(
            "bench", serving.address, "--callers", "2", "--seconds", "1.5", "--warm-up", "0.5",
            "--align", "--json", str(json_path), "--svg", str(svg_path),
        )  # fmt: skip

        assert "closed loop, 2 callers, 40 texts, with alignment" in done.stdout
        assert "latency p99" in done.stdout
        written = json.loads(json_path.read_text())
        assert written["model"] in done.stdout
        assert written["num_sent"] == written["num_ok"] > 0
        assert written["target_tokens_per_second"] > written["achieved_rate"] > 0
        latency = written["latency_seconds"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
        assert (1.5, 0.5, 2) == tuple(written["load"][k] for k in ("seconds", "warm_up_seconds", "callers"))
        assert ElementTree.parse(svg_path).getroot().tag.endswith("svg")

    def test_open_loop(self, serving: Serving, tmp_path: Path) -> None:
        """
        Calls come at times that the seed decides, texts and directions from a file.
        """
        json_path, texts = tmp_path / "report.json", tmp_path / "texts"
        texts.write_text("Yes.\nfr\ten\tBonjour.\n")
        due = [*Load(rate=15, seconds=2, warm_up_seconds=0, seed=3, texts=TEXTS).arrivals()]

        done = dragoman(
            "bench", serving.address, "--rate", "15", "--seconds", "2", "--warm-up", "0", "--seed", "3",
            "--texts", str(texts), "--from", "en", "--to", "es", "--json", str(json_path),
        )  # fmt: skip

        assert "open loop, 15 calls/s, 2 texts" in done.stdout
        written = json.loads(json_path.read_text())
        assert len(due) == written["num_sent"]
        assert {} == written["failures"]
        assert written["lateness_seconds"]["max"] >= written["lateness_seconds"]["p99"] >= 0

    def test_nobody_listens(self, tmp_path: Path) -> None:
        """
        Nobody listening is one line, at once.
        """
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]

        assert "UNAVAILABLE: " in complaint("bench", f"127.0.0.1:{port}", "--rate", "1")

    def test_refused(self, serving: Serving, tmp_path: Path) -> None:
        """
        What the server refuses whoever asks, a direction say, is one line before any load.
        """
        (tmp_path / "texts").write_text("Yes.\nen\tde\tNo.\n")

        line = complaint("bench", serving.address, "--callers", "1", "--texts", str(tmp_path / "texts"))

        assert line.startswith("dragoman: NOT_FOUND: target_language_code: de is not served")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["localhost", "--rate", "1"], "'localhost': must be HOST:PORT, with a port between 1 and 65535"),
            (["localhost:70000", "--rate", "1"], "'localhost:70000': must be HOST:PORT"),
            (["localhost:1"], "given: neither"),
            (["localhost:1", "--rate", "fast"], "--rate='fast': not a number"),
            (["localhost:1", "--callers", "1.5"], "--callers='1.5': not a whole number"),
            (["localhost:1", "--callers", "0"], "callers=0: must be between 1 and 10,000"),
            (["localhost:1", "--rate", "1", "--texts", "/nonexistent"], "/nonexistent: No such file"),
            (["localhost:1", "--rate", "1", "--json", "/nonexistent/x"], "/nonexistent/x: No such file"),
        ],
    )
    def test_bad_option(self, arguments: list[str], said: str) -> None:
        """
        An option that does not fit is one line, before anybody is called.
        """
        assert said in complaint("bench", *arguments)

    def test_interrupt(self) -> None:
        """
        Ctrl-C shows what was measured until then, and ends the command with 130.
        """
        started = threading.Event()
        num_calls = 0

        def interrupting(request: pb.TranslateRequest, context: Any) -> bytes:
            nonlocal num_calls
            num_calls += 1
            if num_calls == 20:
                started.wait(PATIENCE)
                os.kill(process.pid, signal.SIGINT)
            return reply()

        with (
            answering(interrupting) as address,
            subprocess.Popen(
                # A shell ignores the signal for what it runs in the background, the tests perhaps.
                [
                    "env", "--default-signal=INT",
                    *COMMAND, "bench", address, "--rate", "50", "--seconds", "60", "--warm-up", "0",
                ],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
            ) as process,
        ):  # fmt: skip
            started.set()
            said, complained = process.communicate(timeout=PATIENCE)

        assert 130 == process.returncode
        assert "warning: interrupted after" in said
        assert "fake@1" in said
        assert "" == complained

    def test_silent_server(self) -> None:
        """
        A server that takes connections and says nothing ends the run all the same, with the code and no trace.
        """
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"

            done = dragoman(
                "bench",
                address,
                "--rate",
                "20",
                "--seconds",
                "0.5",
                "--warm-up",
                "0",
                "--deadline",
                "0.3",
                code=1,
            )

        assert "failed, DEADLINE_EXCEEDED" in done.stdout
        assert done.stderr.startswith("dragoman: DEADLINE_EXCEEDED: 0 of ")


class TestGenerator:
    def test_counts_refusals_by_code(self) -> None:
        """
        A call that is refused under load is counted under its code, and the others go on.
        """
        calls = iter(range(10**6))

        def picky(request: pb.TranslateRequest, context: Any) -> bytes:
            if next(calls) % 4 == 3:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
            return reply()

        with answering(picky) as address:
            found = measure(address, briefly(rate=100.0))

        assert {"RESOURCE_EXHAUSTED"} == found.failures.keys()
        assert found.num_sent == found.num_ok + found.failures["RESOURCE_EXHAUSTED"]
        assert ("fake@1", address, True) == (found.model, found.address, found.is_complete)

    def test_callers_wait_for_their_replies(self) -> None:
        """
        In a closed loop no more calls are out than there are callers, whatever fails.
        """
        lock, out, most = threading.Lock(), 0, 0

        def counting(request: pb.TranslateRequest, context: Any) -> bytes:
            nonlocal out, most
            with lock:
                out += 1
                most = max(most, out)
            time.sleep(0.005)  # long enough for somebody else to come in, if anybody did
            with lock:
                out -= 1
            return reply()

        with answering(counting) as address:
            found = measure(address, briefly(callers=2))

        assert found.num_ok > 2
        assert most <= 2

    def test_sets_what_was_asked_for(self) -> None:
        """
        Beam and alignment are sent when wanted, and left out otherwise: another server may not know them.
        """
        seen: list[pb.TranslateRequest] = []

        def noting(request: pb.TranslateRequest, context: Any) -> bytes:
            seen.append(request)
            return reply()

        with answering(noting) as address:
            measure(address, briefly(callers=1, seconds=0.1))
            plain = [*seen]
            seen.clear()
            measure(address, briefly(callers=1, seconds=0.1, beam_size=4, alignment=True))

        assert {False} == {request.HasField("decoding") or request.HasField("output") for request in plain}
        assert {(4, pb.ALIGNMENT_MODE_HARD)} == {(r.decoding.beam_size, r.output.alignment) for r in seen}
        assert {("en", "fr", "Good morning."), ("fr", "en", "Le chat dort.")} == {
            (r.source_language_code, r.target_language_code, r.contents[0]) for r in seen
        }

    def test_other_replies(self) -> None:
        """
        A reply that is not of the contract is a failure, not a stack trace.
        """
        calls = iter(range(10**6))

        with answering(lambda request, context: reply() if next(calls) < 4 else b"\xff") as address:
            found = measure(address, briefly(callers=1))

        assert {"MALFORMED_REPLY"} == found.failures.keys()

    async def test_cancelled(self) -> None:
        """
        A run that is cancelled keeps its samples; calls that were out count as unfinished.
        """
        released = threading.Event()
        calls = iter(range(10**6))

        def stuck(request: pb.TranslateRequest, context: Any) -> bytes:
            if next(calls) == 10:
                released.wait(PATIENCE)
            return reply()

        with answering(stuck) as address:
            run = Run(address, briefly(callers=1, seconds=60.0))
            going = asyncio.create_task(run.go())
            while len(run.samples) < 8:  # the two greetings are no samples
                await asyncio.sleep(0.01)
            going.cancel()
            await asyncio.wait([going])
            released.set()

        found = run.report()
        assert going.cancelled()
        assert (9, 8, 1) == (found.num_sent, found.num_ok, found.num_unfinished)
        assert not found.is_complete
