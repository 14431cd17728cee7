"""What a server refuses or fails with, as one exception."""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class ServerError(Exception):
    """The server refused or failed.

    Attributes:
        code: gRPC's name of the status, `RESOURCE_EXHAUSTED` for example.
        reason: The contract's name of the condition, `QUEUE_FULL` for example; empty if the server gave none.
        retry_seconds: When the server wants to be asked again, if it said so; else 0.
    """

    def __init__(
        self, code: str, message: str, reason: str = "", metadata: dict[str, str] | None = None,
        retry_seconds: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = metadata or {}
        self.retry_seconds = retry_seconds


def of_call(error: Any) -> ServerError:
    """Return the failure of a whole call, with the details that came with its status."""
    status = rpc_status.from_call(error)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        detail.Unpack(info)
        detail.Unpack(retry)
    trailers = dict(error.trailing_metadata() or ())
    pushback = trailers.get("grpc-retry-pushback-ms", "0")
    seconds = max(retry.retry_delay.ToMilliseconds(), int(pushback)) / 1000
    return ServerError(error.code().name, error.details() or "", info.reason, dict(info.metadata), seconds)


def of_text(error: Any) -> ServerError:
    """Return the failure of one text, as the contract's `TextError` has it."""
    code = next((code.name for code in grpc.StatusCode if code.value[0] == error.code), "UNKNOWN")
    seconds = float(error.metadata.get("retry_seconds", 0))
    return ServerError(code, error.message, error.reason, dict(error.metadata), seconds)


def raise_for(item: Any) -> None:
    """Raise the error of a result that has one instead of a translation or an alignment."""
    if item.HasField("error"):
        raise of_text(item.error)
