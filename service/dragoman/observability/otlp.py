"""Spans for OpenTelemetry, sent over OTLP by gRPC. The only module that imports it, and only when it is wanted.

Where to, how often, which calls: the standard OTEL_* variables, read by the SDK.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from dragoman.observability.tracing import Facts

_CLOSE_SECONDS = 2.0  # a collector that does not answer must not hold up the end of the server
# What the conventions of OpenTelemetry count as errors of a server; the others are its callers' own.
_OURS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


class OtlpTracer:
    """Makes spans, and sends them from a thread of its own; when its queue is full they are dropped."""

    def __init__(self) -> None:
        ours = Resource({"service.name": "dragoman"})
        resource = (
            Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        )  # the environment wins
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("dragoman")

    def begin(self, method: str, headers: Mapping[str, str]) -> OtlpSpan:
        """Begin the span of a call."""
        span = self._tracer.start_span(
            method,
            context=propagate.extract(headers),
            kind=SpanKind.SERVER,
            attributes={"rpc.system.name": "grpc", "rpc.method": method},
        )
        return OtlpSpan(self._tracer, span)

    def close(self) -> None:
        """Send what is left, but not for long."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


class OtlpSpan:
    """The span of a call; its stages are children of it."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._epoch = time.time_ns() - time.monotonic_ns()  # a step of the wall clock moves no stage
        context = span.get_span_context()
        self.trace_id = trace.format_trace_id(context.trace_id)
        span_id = trace.format_span_id(context.span_id)
        self.traceresponse = f"00-{self.trace_id}-{span_id}-{int(context.trace_flags):02x}"

    def stage(self, name: str, began: float, ended: float, facts: Facts) -> None:
        """Make a child that is over."""
        if self._span.is_recording():
            context = trace.set_span_in_context(self._span)
            child = self._tracer.start_span(
                name, context, attributes=_attributes(facts), start_time=self._nanoseconds(began)
            )
            child.end(self._nanoseconds(ended))

    def end(self, code: str, facts: Facts) -> None:
        """End the span with what is known of the call."""
        self._span.set_attributes({"rpc.response.status_code": code, **_attributes(facts)})
        if code in _OURS:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def _nanoseconds(self, monotonic: float) -> int:
        return self._epoch + int(monotonic * 1e9)


def _attributes(facts: Facts) -> dict[str, str | int]:
    return {f"dragoman.{name}": value for name, value in facts.items()}
