"""A collector of OpenTelemetry, as small as one can be: a real gRPC server that keeps the spans it is sent."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Spans and resources, in the order in which they came."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.port = 0

    def Export(self, request: Any, context: object) -> Any:  # noqa: N802
        """Keep what is sent."""
        for sent in request.resource_spans:
            self.resources.append(values(sent.resource.attributes))
            for scope in sent.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(self, count: int) -> list[Span]:
        """Return the spans as soon as there are so many, or after half a minute."""
        deadline = time.monotonic() + 30
        while len(self.spans) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.spans


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port."""
    collector, server = Collector(), grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()
