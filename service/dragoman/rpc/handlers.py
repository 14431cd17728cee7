"""What every call has in common: bytes in and out, deadline, metrics, errors to statuses, a request id.

Messages are parsed here and not by grpc.aio, whose own deserialiser answers a malformed one with
UNKNOWN as if it were our fault.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from dragoman.errors import (
    DeadlinePassed,
    DragomanError,
    InvalidRequest,
    ProcessMemoryFull,
    Unavailable,
    duration,
)
from dragoman.observability.metrics import SERVICE, Metrics
from dragoman.observability.tracing import Tracer
from dragoman.rpc import status
from dragoman.rpc.access import Access, Gate
from dragoman.rpc.access_log import CallRecord
from dragoman.rpc.intake import Intake, address
from dragoman.rpc.memory_budget import Hold, MemoryBudget
from dragoman.rpc.overload import Overload
from dragoman.rpc.reply_writer import ReplyWriter, Send, abort
from dragoman.security.guard import Caller

log = logging.getLogger(__name__)
_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined] # stubs lack it
_FIRST_SECONDS = 1.0  # for the first text of a stream that was let in, once the server drains


@dataclass(frozen=True)
class Call:
    """What a method knows of the call besides its request.

    Attributes:
        deadline: On the clock of `time.monotonic`; a stream may have none.
        caller: Whose call it is, and what its quota is charged with.
        memory: Where bytes are held for it.
        hold: Holds more of them, until the call ends.
        facts: What its line in the log and its span will say: figures and names, never a text.
    """

    request_id: str
    deadline: float
    caller: Caller
    memory: MemoryBudget
    facts: dict[str, str | int] = field(default_factory=dict)
    hold: Hold = lambda more, *, is_refused=True: None

    def add(self, **figures: int) -> None:
        """Count something more of what the call asked for or cost."""
        for name, figure in figures.items():
            self.facts[name] = int(self.facts.get(name, 0)) + figure


Method = Callable[[Any, Call], Awaitable[Message]]
StreamMethod = Callable[[AsyncIterator[Any], Call, Send], Awaitable[None]]


class RpcHandlers:
    """Wraps methods into handlers."""

    def __init__(
        self,
        metrics: Metrics,
        default_deadline_seconds: Callable[[], float],
        access: Access,
        intake: Intake,
        overload: Overload,
        tracer: Tracer | None = None,
    ) -> None:
        self._metrics, self._default_deadline = metrics, default_deadline_seconds
        self.intake, self._overload = intake, overload
        self._access, self._tracer = access, tracer
        self.running = self.begun = 0  # calls of our service, not those that watch its health
        self.draining = asyncio.Event()

    def service(
        self,
        methods: Mapping[str, tuple[type[Message], Method]],
        streams: Mapping[str, tuple[type[Message], StreamMethod]],
    ) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the handler of the whole service."""
        handlers = {
            name: grpc.stream_unary_rpc_method_handler(self._unary(name, request_type, method))
            for name, (request_type, method) in methods.items()
        }
        handlers |= {
            name: grpc.stream_stream_rpc_method_handler(self._stream(name, request_type, stream))
            for name, (request_type, stream) in streams.items()
        }
        return Gate(SERVICE, handlers, self._access, self._refusal)

    def _refusal(self, name: str, error: DragomanError) -> Any:
        kind = "bidi_stream" if name.startswith("Stream") else "unary"

        async def handle(payloads: AsyncIterator[bytes], context: Any) -> None:
            async with self._observed((kind, SERVICE, name), context):
                raise error

        return handle

    def _unary(self, name: str, request_type: type[Message], method: Method) -> Any:
        async def handle(payloads: AsyncIterator[bytes], context: Any) -> bytes:
            held = ExitStack()
            context.add_done_callback(lambda _: held.close())  # once the reply is sent: until then it is held
            async with self._observed(("unary", SERVICE, name), context) as call:
                payload = await self.intake.read(context, call.caller.id or address(context))
                if payload is _EOF:
                    raise InvalidRequest("there is no request", field="", reason="MALFORMED_MESSAGE")
                hold = held.enter_context(call.memory.holding(len(payload), call.caller.id))
                reply = (
                    await method(_parse(request_type, payload), replace(call, hold=hold))
                ).SerializeToString()
                hold(len(reply), is_refused=False)  # or the work is lost
                return reply
            raise AssertionError("a failed call is aborted. This is a bug.")

        return handle

    def _stream(self, name: str, request_type: type[Message], stream: StreamMethod) -> Any:
        async def handle(payloads: AsyncIterator[bytes], context: Any) -> None:
            async with (
                self._observed(("bidi_stream", SERVICE, name), context) as call,
                ReplyWriter(context) as send,
            ):
                requests = _Requests(self, request_type, context)
                async with aclosing(aiter(requests)) as taken:
                    await stream(taken, call, send)
                if requests.is_cut:
                    raise _draining()

        return handle

    @asynccontextmanager
    async def _observed(self, labels: tuple[str, str, str], context: Any) -> AsyncIterator[Call]:
        """Count, time and record a call, keep it within its deadline, and turn errors into statuses."""
        began = time.monotonic()
        record = CallRecord(f"{labels[1]}/{labels[2]}", context, self._tracer)
        code = grpc.StatusCode.CANCELLED  # until proved otherwise
        self.running += 1
        self.begun += 1
        self._metrics.started.labels(*labels).inc()
        try:
            context.set_trailing_metadata(record.trailers)
            async with self._bounded(labels, context, record) as call:
                yield call
            code = grpc.StatusCode.OK
        except DragomanError as error:
            code = status.code_of(error)
            self._metrics.rejected.labels(error.reason).inc()
            record.facts["reason"] = error.reason
            await abort(context, code, error.message, (*status.trailers(error), *record.trailers))
        except asyncio.CancelledError:
            if context.time_remaining() == 0:  # gRPC itself may notice before we do
                code = grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        finally:
            self.running -= 1
            self._metrics.handled.labels(*labels, code.name).inc()
            seconds = time.monotonic() - began
            self._access.settle(context, code, seconds)
            self._metrics.handling_seconds.labels(*labels).observe(seconds)
            record.end(code.name, seconds)

    @asynccontextmanager
    async def _bounded(
        self, labels: tuple[str, str, str], context: Any, record: CallRecord
    ) -> AsyncIterator[Call]:
        """Run a call within its deadline, and turn what nobody expected into our own error."""
        kind, _, name = labels
        seconds = context.time_remaining()
        if seconds is None:
            seconds = self._default_deadline() if kind == "unary" else math.inf  # each text has its own
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                self._overload.check()
                caller, deadline = self._access.caller(name, context), time.monotonic() + seconds
                yield Call(record.request_id, deadline, caller, self._access.memory, record.facts)
        except TimeoutError:
            raise DeadlinePassed(f"not finished within {duration(seconds)}") from None
        except DragomanError as error:
            if status.code_of(error) is not grpc.StatusCode.INTERNAL:
                raise
            raise self._unexpected(error, record.request_id) from None
        except Exception as error:  # noqa: BLE001 - a stack trace is for the log, not for the caller
            raise self._unexpected(error, record.request_id) from None

    def _unexpected(self, error: Exception, id_: str) -> DragomanError:
        log.error("call failed", exc_info=error, extra={"request_id": id_})
        return DragomanError(f"internal error; please report request {id_}", request_id=id_)


class _Requests:
    """The requests of a stream. Once the server drains, what was taken is answered, and another server takes the rest."""

    def __init__(self, rpcs: RpcHandlers, request_type: type[Message], context: Any) -> None:
        self._rpcs, self._request_type, self._context = rpcs, request_type, context
        self.is_cut = False

    async def __aiter__(self) -> AsyncGenerator[Message]:
        taken = 0
        draining = asyncio.ensure_future(self._rpcs.draining.wait())
        coming: asyncio.Future[Any] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(self._context.read())
                with self._rpcs.intake.idle() as told:
                    await asyncio.wait({coming, draining, told}, return_when=asyncio.FIRST_COMPLETED)
                    if told.done() and not coming.done():
                        raise ProcessMemoryFull
                if draining.done() and not taken:
                    # What was let in is answered, and its first text may be under way.
                    await asyncio.wait({coming}, timeout=_FIRST_SECONDS)
                if not coming.done() or (draining.done() and taken and coming.result() is not _EOF):
                    self.is_cut = True
                    if not taken:
                        raise _draining()
                    return
                if coming.result() is _EOF:
                    return
                taken += 1
                message, coming = _parse(self._request_type, coming.result()), None
                yield message
                del message
        finally:
            for waiting in (draining, coming):
                if waiting is not None:
                    waiting.cancel()


def _draining() -> Unavailable:
    return Unavailable("the server is shutting down", reason="DRAINING")


def _parse(request_type: type[Message], payload: bytes) -> Message:
    try:
        return request_type.FromString(payload)
    except DecodeError:
        message = f"not a {request_type.DESCRIPTOR.name}, or text in it that is not UTF-8"
        raise InvalidRequest(message, field="", reason="MALFORMED_MESSAGE") from None
