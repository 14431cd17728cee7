"""What every call has in common: bytes in and out, deadline, metrics, errors to statuses, a request id.

Messages are parsed here and not by grpc.aio, whose own deserialiser answers a malformed one with
UNKNOWN as if it were our fault.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from service.errors import DeadlinePassed, DragomanError, InvalidRequest
from service.metrics import SERVICE, Metrics
from service.rpc import status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """What a method knows of the call besides its request.

    Attributes:
        deadline: On the clock of `time.monotonic`.
    """

    request_id: str
    deadline: float


Method = Callable[[Any, Call], Awaitable[Message]]
_MAX_REQUEST_ID = 128


def request_id(context: Any) -> str:
    """Return the caller's `x-request-id` if it is usable, else a new one."""
    given = dict(context.invocation_metadata() or ()).get("x-request-id", "")
    if (
        isinstance(given, str)
        and 0 < len(given) <= _MAX_REQUEST_ID
        and given.isascii()
        and given.isprintable()
    ):
        return given
    return uuid.uuid4().hex


class Calls:
    """Wraps methods into handlers."""

    def __init__(self, metrics: Metrics, default_deadline_seconds: float) -> None:
        self._metrics, self._default_deadline = metrics, default_deadline_seconds
        self.running = 0  # calls of our service, not those that watch its health

    def service(
        self, methods: Mapping[str, tuple[type[Message], Method]]
    ) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the handler of the whole service."""
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._unary(name, request_type, method))
            for name, (request_type, method) in methods.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _unary(self, name: str, request_type: type[Message], method: Method) -> Any:
        labels = ("unary", SERVICE, name)

        async def handle(payload: bytes, context: Any) -> bytes:
            began = time.monotonic()
            code = grpc.StatusCode.CANCELLED  # until proved otherwise
            self.running += 1
            self._metrics.started.labels(*labels).inc()
            try:
                reply = await self._answer(payload, context, request_type, method)
                code = grpc.StatusCode.OK
                return reply.SerializeToString()
            except DragomanError as error:
                code = status.code_of(error)
                self._metrics.rejected.labels(error.reason).inc()
                await context.abort(code, error.message, status.trailers(error))
                raise AssertionError("abort raises. This is a bug.") from None
            except asyncio.CancelledError:
                if context.time_remaining() == 0:  # gRPC itself may notice before we do
                    code = grpc.StatusCode.DEADLINE_EXCEEDED
                raise
            finally:
                self.running -= 1
                self._metrics.handled.labels(*labels, code.name).inc()
                self._metrics.handling_seconds.labels(*labels).observe(time.monotonic() - began)

        return handle

    async def _answer(
        self, payload: bytes, context: Any, request_type: type[Message], method: Method
    ) -> Message:
        """Parse, run within the deadline, and turn what nobody expected into our own error."""
        id_ = request_id(context)
        try:
            request = request_type.FromString(payload)
        except DecodeError:
            message = f"not a {request_type.DESCRIPTOR.name}, or text in it that is not UTF-8"
            raise InvalidRequest(message, field="", reason="MALFORMED_MESSAGE") from None
        remaining = context.time_remaining()
        seconds = self._default_deadline if remaining is None else remaining
        try:
            async with asyncio.timeout(seconds):
                return await method(request, Call(id_, time.monotonic() + seconds))
        except TimeoutError:
            raise DeadlinePassed(f"not finished within {seconds:.1f} s") from None
        except DragomanError as error:
            if status.code_of(error) is not grpc.StatusCode.INTERNAL:
                raise
            unexpected: Exception = error
        except Exception as error:  # noqa: BLE001 - a stack trace is for the log, not for the caller
            unexpected = error
        log.error("call failed", exc_info=unexpected, extra={"request_id": id_})
        raise DragomanError(f"internal error; please report request {id_}", request_id=id_) from None
