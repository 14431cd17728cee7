"""Status codes: the table from our errors to gRPC codes, and the details of an error."""

from __future__ import annotations

import math

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from dragoman import errors

DOMAIN = "dragoman"
CODES: dict[type[errors.DragomanError], grpc.StatusCode] = {
    errors.DragomanError: grpc.StatusCode.INTERNAL,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.OverLimit: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotYetServed: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotServed: grpc.StatusCode.NOT_FOUND,
    errors.QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.MemoryFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ProcessMemoryFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QuotaExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    errors.DeadlineTooShort: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
}


def code_of(error: errors.DragomanError) -> grpc.StatusCode:
    """Return the gRPC code of an error."""
    return CODES[type(error)]


def number_of(error: errors.DragomanError) -> int:
    """Return the `google.rpc.Code` of an error."""
    number: int = code_of(error).value[0]
    return number


def trailers(error: errors.DragomanError) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata of an error: its details, and the delay that gRPC's own retries respect."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    ]
    hints: list[tuple[str, str | bytes]] = []
    if isinstance(error, errors.InvalidRequest) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.QuotaExhausted):
        used_up = error_details_pb2.QuotaFailure.Violation(subject=error.subject, description=error.message)
        details.append(error_details_pb2.QuotaFailure(violations=[used_up]))
    if isinstance(error, errors.QueueFull | errors.QuotaExhausted | errors.DeadlineTooShort):
        milliseconds = math.ceil(1000 * error.retry_seconds)  # rounded up: never too early
        delay = Duration()
        delay.FromMilliseconds(milliseconds)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    # A retry after the same delay would fail again if the deadline was too short, so that has no such hint.
    if isinstance(error, errors.QueueFull | errors.QuotaExhausted):
        hints.append(("grpc-retry-pushback-ms", str(milliseconds)))
    packed = []
    for detail in details:
        any_ = Any()
        any_.Pack(detail)
        packed.append(any_)
    status = Status(code=number_of(error), message=error.message, details=packed)
    return (("grpc-status-details-bin", status.SerializeToString()), *hints)
