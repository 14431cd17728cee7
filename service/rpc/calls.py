"""What every call has in common: bytes in and out, deadline, metrics, errors to statuses, a request id.

Messages are parsed here and not by grpc.aio, whose own deserialiser answers a malformed one with
UNKNOWN as if it were our fault.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from service.errors import DeadlinePassed, DragomanError, InvalidRequest, Unavailable
from service.metrics import SERVICE, Metrics
from service.rpc import status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """What a method knows of the call besides its request.

    Attributes:
        deadline: On the clock of `time.monotonic`; a stream may have none.
    """

    request_id: str
    deadline: float


Method = Callable[[Any, Call], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
StreamMethod = Callable[[AsyncIterator[Any], Call, Send], Awaitable[None]]
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
        self.running = self.begun = 0  # calls of our service, not those that watch its health
        self.is_draining = False

    def service(
        self,
        methods: Mapping[str, tuple[type[Message], Method]],
        streams: Mapping[str, tuple[type[Message], StreamMethod]],
    ) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the handler of the whole service."""
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._unary(name, request_type, method))
            for name, (request_type, method) in methods.items()
        }
        handlers |= {
            name: grpc.stream_stream_rpc_method_handler(self._stream(name, request_type, stream))
            for name, (request_type, stream) in streams.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _unary(self, name: str, request_type: type[Message], method: Method) -> Any:
        async def handle(payload: bytes, context: Any) -> bytes:
            async with self._observed(("unary", SERVICE, name), context) as call:
                request = _parse(request_type, payload)
                reply = await method(request, call)
                return reply.SerializeToString()
            raise AssertionError("a failed call is aborted. This is a bug.")

        return handle

    def _stream(self, name: str, request_type: type[Message], stream: StreamMethod) -> Any:
        async def handle(payloads: AsyncIterator[bytes], context: Any) -> None:
            async def send(reply: Message) -> None:
                try:
                    await context.write(reply.SerializeToString())
                except grpc.aio.InternalError:  # the call is over: its client has gone, or we drain no longer
                    raise asyncio.CancelledError from None

            is_cut = False

            async def requests() -> AsyncIterator[Message]:
                nonlocal is_cut
                taken = 0
                async for payload in payloads:
                    if (
                        taken and self.is_draining
                    ):  # what was taken is answered; another server takes the rest
                        is_cut = True
                        return
                    taken += 1
                    yield _parse(request_type, payload)

            async with self._observed(("bidi_stream", SERVICE, name), context) as call:
                await stream(requests(), call, send)
                if is_cut:
                    raise Unavailable("the server is shutting down", reason="DRAINING")

        return handle

    @asynccontextmanager
    async def _observed(self, labels: tuple[str, str, str], context: Any) -> AsyncIterator[Call]:
        """Count and time a call, keep it within its deadline, and turn errors into statuses."""
        began = time.monotonic()
        code = grpc.StatusCode.CANCELLED  # until proved otherwise
        self.running += 1
        self.begun += 1
        self._metrics.started.labels(*labels).inc()
        try:
            async with self._bounded(labels[0], context) as call:
                yield call
            code = grpc.StatusCode.OK
        except DragomanError as error:
            code = status.code_of(error)
            self._metrics.rejected.labels(error.reason).inc()
            await context.abort(code, error.message, status.trailers(error))
        except asyncio.CancelledError:
            if context.time_remaining() == 0:  # gRPC itself may notice before we do
                code = grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        finally:
            self.running -= 1
            self._metrics.handled.labels(*labels, code.name).inc()
            self._metrics.handling_seconds.labels(*labels).observe(time.monotonic() - began)

    @asynccontextmanager
    async def _bounded(self, kind: str, context: Any) -> AsyncIterator[Call]:
        """Run a call within its deadline, and turn what nobody expected into our own error."""
        id_ = request_id(context)
        seconds = context.time_remaining()
        if seconds is None:
            seconds = self._default_deadline if kind == "unary" else math.inf  # each text has its own
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                yield Call(id_, time.monotonic() + seconds)
        except TimeoutError:
            raise DeadlinePassed(f"not finished within {seconds:.1f} s") from None
        except DragomanError as error:
            if status.code_of(error) is not grpc.StatusCode.INTERNAL:
                raise
            raise self._unexpected(error, id_) from None
        except Exception as error:  # noqa: BLE001 - a stack trace is for the log, not for the caller
            raise self._unexpected(error, id_) from None

    def _unexpected(self, error: Exception, id_: str) -> DragomanError:
        log.error("call failed", exc_info=error, extra={"request_id": id_})
        return DragomanError(f"internal error; please report request {id_}", request_id=id_)


def _parse(request_type: type[Message], payload: bytes) -> Message:
    try:
        return request_type.FromString(payload)
    except DecodeError:
        message = f"not a {request_type.DESCRIPTOR.name}, or text in it that is not UTF-8"
        raise InvalidRequest(message, field="", reason="MALFORMED_MESSAGE") from None
