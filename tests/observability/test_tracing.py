"""Spans of real calls, received by a collector over OTLP; and what it costs when nobody wants them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from dragoman import config
from dragoman.observability import trace_export, tracing
from dragoman.observability.metrics import SERVICE
from dragoman.v1 import translation_pb2 as pb
from tests.observability.collector import Collector, collecting, values
from tests.rpc.contract import align_request, pair, refused, request
from tests.servers import Running, running_traced

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = ("traceparent", f"00-{TRACE}-{PARENT}-01")
SECRETS = ("Zanzibar", "Bearer", "hunter2")


@contextmanager
def sent_to(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[tracing.Tracer]:
    """Trace into a collector, as the standard variables say."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with trace_export.opened(config.read({"tracing": "yes"}, os.environ)) as tracer:
        assert tracer is not None
        yield tracer


@asynccontextmanager
async def traced(
    monkeypatch: pytest.MonkeyPatch, **settings: str
) -> AsyncIterator[tuple[Running, Collector]]:
    """Run a server whose calls are traced."""
    with collecting() as collector, sent_to(collector, monkeypatch) as tracer:
        async with running_traced(tracer, **settings) as server:
            yield server, collector


def of_call(spans: list[Span]) -> tuple[Span, dict[str, Span]]:
    """Return the span of the only call, and its children by name."""
    [call] = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    children = {span.name: span for span in spans if span is not call}
    assert {call.span_id} == {span.parent_span_id for span in children.values()}
    assert {call.trace_id} == {span.trace_id for span in spans}
    return call, children


def trailer(call: Any, name: str) -> str:
    """Return one of the ids that come after a reply."""
    return str(dict(call).get(name, ""))


async def test_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call is a span, child of the caller's; splitting, waiting, reading and writing are spans in it, one after another.
    """
    async with traced(monkeypatch) as (server, collector):
        calling = server.stub.Translate(request("Zanzibar sleeps."), metadata=(TRACEPARENT,))
        reply = await calling
        response = trailer(await calling.trailing_metadata(), "traceresponse")
        call, stages = of_call(collector.wait_for(5))

    assert f"{SERVICE}/Translate" == call.name
    assert (TRACE, PARENT) == (call.trace_id.hex(), call.parent_span_id.hex())
    assert f"00-{TRACE}-{call.span_id.hex()}-01" == response
    assert ["split", "queue", "encode", "decode"] == sorted(
        stages, key=lambda name: stages[name].start_time_unix_nano
    )
    assert "dragoman" == collector.resources[0]["service.name"]
    ends = [call.start_time_unix_nano]
    for name in ("split", "queue", "encode", "decode"):
        ends += [stages[name].start_time_unix_nano, stages[name].end_time_unix_nano]
    assert ends[-1] <= call.end_time_unix_nano
    assert ends == sorted(ends)
    decoded = (ends[-1] - ends[-2]) / 1e9
    assert pytest.approx(reply.metadata.decode_seconds, abs=0.02) == decoded
    assert abs(time.time() - call.end_time_unix_nano / 1e9) < 10


async def test_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Spans have lengths, counts, pair, model and code, and not a word of what was said or sent along.
    """
    async with traced(monkeypatch) as (server, collector):
        metadata = (("authorization", "Bearer hunter2"), ("x-request-id", "hunter2"))
        reply = await server.stub.Translate(request("Zanzibar sleeps.", "Late."), metadata=metadata)
        call, stages = of_call(collector.wait_for(5))
        model = server.registry.bundle.full_name

    assert {
        "rpc.system.name": "grpc", "rpc.method": f"{SERVICE}/Translate", "rpc.response.status_code": "OK",
        "dragoman.pair": "en-fr", "dragoman.model": model, "dragoman.texts": 2, "dragoman.code_points": 21,
        "dragoman.sentences": 2, "dragoman.source_tokens": reply.metadata.source_tokens,
        "dragoman.target_tokens": reply.metadata.target_tokens,
    } == values(call.attributes)  # fmt: skip
    assert {"dragoman.texts": 2, "dragoman.sentences": 2} == values(stages["split"].attributes)
    assert {"dragoman.sentences": 2} == values(stages["decode"].attributes)
    said = "".join(map(str, collector.spans)) + str(collector.resources)
    assert [] == [secret for secret in SECRETS if secret in said]


async def test_stream_and_align(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A stream has the stages of each of its texts, an alignment those of each pair.
    """
    options = pb.StreamTranslateOptions(source_language_code="en", target_language_code="fr")
    messages = [
        pb.StreamTranslateRequest(id="0", content="The cat sat.", options=options),
        pb.StreamTranslateRequest(id="1", content="The dog ran. " * 40),
    ]
    async with traced(monkeypatch) as (server, collector):
        async for _ in server.stub.StreamTranslate(iter(messages)):
            pass
        await server.stub.Align(align_request(pair()))
        spans = collector.wait_for(1 + 8 + 1 + 3)

    [stream, align] = sorted(
        (span for span in spans if span.kind == Span.SPAN_KIND_SERVER),
        key=lambda span: span.start_time_unix_nano,
    )
    of_stream = sorted(span.name for span in spans if span.parent_span_id == stream.span_id)
    of_align = sorted(span.name for span in spans if span.parent_span_id == align.span_id)
    assert sorted(["split", "queue", "encode", "decode"] * 2) == of_stream
    assert ["decode", "encode", "queue"] == of_align
    facts = values(stream.attributes)
    assert (2, 41, "en-fr") == tuple(facts[f"dragoman.{name}"] for name in ("texts", "sentences", "pair"))


@pytest.mark.parametrize("traceparent", ["", "00-zz-zz-01", f"00-{'0' * 32}-{PARENT}-01", "x" * 4000])
async def test_unusable_parent(monkeypatch: pytest.MonkeyPatch, traceparent: str) -> None:
    """
    A parent that is none begins a trace of its own.
    """
    async with traced(monkeypatch) as (server, collector):
        await server.stub.ListModels(pb.ListModelsRequest(), metadata=(("traceparent", traceparent),))
        [call] = collector.wait_for(1)

    assert b"" == call.parent_span_id
    assert b"\0" * 16 != call.trace_id


async def test_a_caller_who_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A caller that does not record its trace has none recorded here; its id is known all the same.
    """
    async with traced(monkeypatch) as (server, collector):
        calling = server.stub.Translate(
            request("Hello."), metadata=(("traceparent", f"00-{TRACE}-{PARENT}-00"),)
        )
        await calling
        assert trailer(await calling.trailing_metadata(), "traceresponse").startswith(f"00-{TRACE}-")
        await server.stub.ListModels(pb.ListModelsRequest())
        spans = collector.wait_for(1)

    assert [f"{SERVICE}/ListModels"] == [span.name for span in spans]


async def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call that fails says with what; it is an error of the trace only if it is one of ours.
    """
    async with traced(monkeypatch, decode_loops="1") as (server, collector):
        code, _, _, error = await refused(server.stub.Translate(request("Hi.", target="xx")))
        with pytest.raises(grpc.aio.AioRpcError):
            await server.stub.Translate(
                request(*["The cat sat on the mat, and slept. " * 200] * 8), timeout=2
            )
        await asyncio.to_thread(collector.wait_for, 2)
        calls = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]

    mistaken, late = sorted(calls, key=lambda span: span.start_time_unix_nano)
    assert "INVALID_ARGUMENT" == code == values(mistaken.attributes)["rpc.response.status_code"]
    assert "INVALID_LANGUAGE_CODE" == values(mistaken.attributes)["dragoman.reason"]
    assert Status.STATUS_CODE_UNSET == mistaken.status.code
    assert mistaken.trace_id.hex() in trailer(error.trailing_metadata(), "traceresponse")
    assert Status.STATUS_CODE_ERROR == late.status.code
    assert "DEADLINE_EXCEEDED" == values(late.attributes)["rpc.response.status_code"]


async def test_silent_collector() -> None:
    """
    A collector that never answers costs its spans, not the calls, nor the end of the server.
    """
    with collecting() as collector:
        pass  # nobody listens there any more
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}"}
    program = (
        "import os, time; from dragoman import config; from dragoman.observability import trace_export\n"
        "with trace_export.opened(config.read({'tracing': 'yes'}, os.environ)) as tracer:\n"
        "    for _ in range(3000): tracer.begin('x', {}).end('OK', {})\n"
        "    time.sleep(0.5); began = time.monotonic()\n"
        "print(time.monotonic() - began)"
    )

    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], env={**os.environ, **variables}, capture_output=True, timeout=30
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    assert float(done.stdout) < 8


def test_switched_off() -> None:
    """
    Without tracing, OpenTelemetry is not even imported.
    """
    program = (
        "import sys; from dragoman import config; from dragoman.observability import trace_export; import dragoman.cli.main\n"
        "with trace_export.opened(config.read({}, {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:1'})) as tracer:\n"
        "    sys.exit(tracer is not None or any(name.startswith('opentelemetry') for name in sys.modules))"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


def test_not_installed() -> None:
    """
    Without the extra, a server that is to trace says what is missing, in one line, and does not start.
    """
    program = (
        "import sys; sys.modules['opentelemetry'] = None; from dragoman.cli.main import main\n"
        "main(['serve', '--tracing', 'yes', '--port', '0', '--metrics-port', '-1'])"
    )
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert 1 == done.returncode
    assert "dragoman: tracing: opentelemetry is not installed: pip install 'dragoman[otel]'\n" == done.stderr
